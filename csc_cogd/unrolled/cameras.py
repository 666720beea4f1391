"""Noise as cameras and film make it, to learn from.

A camera is simulated backwards and forwards [after Brooks et al. 2019, "Unprocessing images for learned raw denoising"]:
from the pixels to linear light and the sensor's colors, where noise is that of photons and of reading; and back through
demosaicking, color correction, the smoothing that cameras do, tone and JPEG.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter

MARGIN = 16
"""Pixels by which the pieces are larger that noise is made on: JPEG's blocks then begin anywhere in what is cut out."""
SHOT = (1e-4, 6e-3)
"""Variance of the noise of photons at full light: from a low to a high sensitivity."""
KINDS = {"camera": 0.7, "grain": 0.15, "white": 0.15}
"""How often each is drawn."""
_GREEN = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
_RED_OR_BLUE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4


@dataclass(frozen=True)
class Camera:
    """A camera, and how it takes and develops a picture.

    Attributes
    ----------
    shot, read : float
        Variances of the noise of photons, at full light, and of reading, for linear light in [0, 1].
    balance : (3, 1, 1) array
        Gains of the white balance.
    saturation : float
        By how much color correction pulls the sensor's channels apart.
    curved : bool
        Whether contrast is raised, by a curve, after gamma.
    from_differences : bool
        Whether red and blue are interpolated less green, or by themselves.
    blurs : tuple of float
        Standard deviations in pixels by which noise of luminance and of color is smoothed,
    kept : tuple of float
        and the parts of their standard deviations that remain.
    """

    shot: float
    read: float
    balance: np.ndarray
    saturation: float
    curved: bool
    from_differences: bool
    blurs: tuple[float, float]
    kept: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, shot: float | None = None) -> Camera:
        """Draw one, of a given sensitivity or of any."""
        drawn = float(np.exp(rng.uniform(*np.log(SHOT))))
        shot = drawn if shot is None else shot
        read = float(np.exp(2.18 * np.log(shot) + 1.2 + 0.26 * rng.standard_normal()))
        balance = np.array([rng.uniform(1.2, 2.4), 1, rng.uniform(1.2, 2.4)], np.float32).reshape(3, 1, 1)
        blurs = (max(rng.uniform(-0.4, 0.8), 0.0), max(rng.uniform(-1.0, 3.0), 0.0))
        kept = (rng.uniform(0.5, 1), rng.uniform(0.3, 1.3))
        return cls(
            shot, read, balance, rng.uniform(0, 0.8), bool(rng.random() < 0.5), bool(rng.random() < 0.6), blurs, kept
        )  # fmt: skip

    def take(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a picture (3, h, w) in [0, 1] as this camera gives it, before it is compressed."""
        light = to_light(clean, self.curved)
        mean = light.mean(axis=0, keepdims=True)
        sensed = (mean + (light - mean) / (1 + self.saturation)) / self.balance
        noise = np.sqrt(self.shot * np.maximum(sensed, 0) + self.read) * rng.standard_normal(clean.shape, np.float32)
        noise = self.balance * demosaicked(noise, self.from_differences, int(rng.integers(4)))
        gray = noise.mean(axis=0, keepdims=True)
        luminance, color = (
            kept * _smoothed(part, blur)
            for part, blur, kept in zip((gray, (1 + self.saturation) * (noise - gray)), self.blurs, self.kept, strict=True)
        )
        return from_light(np.clip(light + luminance + color, 0, 1), self.curved)


def degraded(clean: np.ndarray, rng: np.random.Generator, shot: float | None = None) -> np.ndarray:
    """Return a picture (1 or 3, h, w) in [0, 1] with noise of a camera, of film, or white; mostly compressed, in 8 bits.

    `shot` says how sensitive a camera is; with it, no other noise is drawn.
    """
    colors = np.repeat(clean, 3, axis=0) if len(clean) == 1 else clean
    kind = "camera" if shot is not None else str(rng.choice(list(KINDS), p=list(KINDS.values())))
    if kind == "camera":
        noisy = Camera.draw(rng, shot).take(colors, rng)
    elif kind == "grain":
        noisy = grainy(colors, rng)
    else:
        noisy = colors + np.float32(rng.uniform(3, 30) / 255) * rng.standard_normal(colors.shape, np.float32)
    noisy = compressed(noisy, rng)
    return noisy.mean(axis=0, keepdims=True) if len(clean) == 1 else noisy


def softened(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture (C, h, w) as lenses, interpolation and sharpening leave it, every other time."""
    if rng.random() < 0.5:
        return clean
    soft = gaussian_filter(clean, (0, *2 * [rng.uniform(0.4, 1.0)]))
    sharpening = np.float32(max(rng.uniform(-1, 1), 0))
    return np.asarray(np.clip(soft + sharpening * (soft - gaussian_filter(soft, (0, 1, 1))), 0, 1))


def to_light(values: np.ndarray, curved: bool) -> np.ndarray:
    """Return the linear light of sRGB values in [0, 1], whose contrast was raised where `curved`."""
    if curved:
        values = 0.5 - np.sin(np.arcsin(1 - 2 * values) / 3)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def from_light(light: np.ndarray, curved: bool) -> np.ndarray:
    """Return the sRGB values of linear light in [0, 1]: the inverse of :func:`to_light`."""
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
    return (values * values * (3 - 2 * values) if curved else values).astype(np.float32)


def demosaicked(noise: np.ndarray, from_differences: bool, turn: int = 0) -> np.ndarray:
    """Return what is left of noise (3, h, w) where each pixel has one of the colors, and the others are interpolated.

    Parameters
    ----------
    from_differences : bool
        Interpolate red and blue less green, else by themselves.
    turn : int
        Which of its four pixels the Bayer pattern begins with.
    """
    row, column = divmod(turn, 2)
    red, blue = np.zeros((2, *noise.shape[1:]), np.float32)
    red[row::2, column::2] = blue[1 - row :: 2, 1 - column :: 2] = 1
    green = convolve(noise[1] * (1 - red - blue), _GREEN, mode="mirror")
    base = green if from_differences else np.float32(0)
    others = [
        base + convolve((one - base) * at, _RED_OR_BLUE, mode="mirror") for one, at in ((noise[0], red), (noise[2], blue))
    ]
    return np.stack([others[0], green, others[1]])


def grainy(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture (3, h, w) with grain, which is gray, smooth, and the same everywhere or most in the middle tones."""
    field = gaussian_filter(rng.standard_normal(clean.shape[1:], np.float32), rng.uniform(0.4, 1.4))
    gray = clean.mean(axis=0)
    amount = 4 * gray * (1 - gray) if rng.random() < 0.5 else np.float32(1)
    return clean + np.float32(rng.uniform(3, 20) / 255 / field.std()) * amount * field


def compressed(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture (3, h, w) in [0, 1] in 8 bits, mostly after JPEG of quality 60 to 98."""
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.85:
        file, quality = io.BytesIO(), int(rng.integers(60, 99))
        subsampling = 2 if rng.random() < 0.6 else 0
        Image.fromarray(np.moveaxis(pixels, 0, -1)).save(file, "JPEG", quality=quality, subsampling=subsampling)
        pixels = np.moveaxis(np.asarray(Image.open(file)), -1, 0)
    return pixels.astype(np.float32) / np.float32(255)


def _smoothed(noise: np.ndarray, blur: float) -> np.ndarray:
    """Return noise blurred by so many pixels, as strong as before."""
    if blur < 0.2:
        return noise
    smooth = gaussian_filter(noise, (0, blur, blur))
    return np.asarray(smooth * (noise.std() / max(float(smooth.std()), 1e-12)))
