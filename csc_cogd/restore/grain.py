"""Grain for what was filled in: noise like that around, or fills show as smooth spots on grainy film.

The noise of the picture is estimated from its calm places, by intensity, frequency and color, see
:mod:`csc_cogd.restore.noise_estimation`. Noise of that spectrum is made anew and added to the fill, with as much of its
variance as the fill lacks of what is around: what a fill has copied of the grain isn't added twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter, label

from csc_cogd.restore.noise import middle_of
from csc_cogd.restore.noise_estimation import CameraNoise, estimate_camera_noise, mixed
from csc_cogd.restore.noise_spectrum import DCT, SIDE, SQUARED, blocks_of, coefficients_of
from csc_cogd.restore.observation import as_pixels
from csc_cogd.unrolled.correlated import OPPONENT

LEAST_SIDE = 64
"""Pixels of the shorter side, from which grain is told from texture."""
CHANNELS = (1, 3)
FINE = 1.5
"""Pixels of the Gaussian that takes away what isn't grain, where fill and surroundings are compared."""
MOST = 1.2
"""What is around isn't taken to have more than this of the grain's variance, as the rest is texture."""
AROUND, APART = 7, 2
"""Width of what counts as around a fill, and how far it begins from it, in pixels."""
FADE = 4
"""Pixels around a place that are looked at besides, so that the Gaussian has something to go by."""
HIGH, CALM, FEWEST = 26, 1.4, 64
"""Squared frequency from which texture is rarely seen; energy of these in blocks that show noise alone, in its own; and how
many such blocks are needed to tell its spectrum."""
MOST_BLOCKS = 1 << 15
MEDIAN_OF_ENERGY = 0.4549
"""Median of a squared normal deviate."""
SHADING = 1.3
"""Low frequencies have this much more than the middle ones tell, at most."""
_EVERY_WAY = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class Grain:
    """The grain of a picture.

    Attributes
    ----------
    noise : CameraNoise
        For values from 0 to 255.
    unit : float
        The picture's value of one gray level; black is 0.
    """

    noise: CameraNoise
    unit: float

    @classmethod
    def of(cls, planes: np.ndarray) -> Grain | None:
        """Estimate the grain of a photograph (1 or 3, H, W) of unsigned integers; None where none can be told."""
        if planes.dtype.kind != "u" or len(planes) not in CHANNELS or min(planes.shape[1:]) < LEAST_SIDE:
            return None
        unit = np.iinfo(planes.dtype).max / 255
        rows, columns = middle_of(planes.shape[1:])
        values = planes[:, rows, columns] / unit
        noise = estimate_camera_noise(values)
        if noise is None or not noise.variances.any():
            return None
        channels = mixed(values)
        return cls(replace(noise, spectra=np.array([_spectrum(channels, noise, c) for c in range(len(channels))])), unit)

    @property
    def sigma(self) -> float:
        """Standard deviation in luminance, in gray levels."""
        return float(self.noise.sigmas[0])

    def add_to(
        self, planes: np.ndarray, filled: np.ndarray, *, missing: np.ndarray | None = None, seed: int = 0
    ) -> np.ndarray:
        """Return a picture (C, H, W) whose filled pixels, (H, W) bool, have grain.

        Parameters
        ----------
        planes : (C, H, W) array
        filled : (H, W) bool array
            What gets grain.
        missing : (H, W) bool array, optional
            What doesn't tell how grainy it is around, besides.
        seed : int
        """
        grainy = planes.copy()
        unknown = filled if missing is None else filled | missing
        labels, _ = label(filled, _EVERY_WAY)
        for number, box in enumerate(find_objects(labels), 1):
            window = tuple(
                slice(max(part.start - AROUND - APART - FADE, 0), min(part.stop + AROUND + APART + FADE, length))
                for part, length in zip(box, filled.shape, strict=True)
            )
            part = planes[:, *window] / self.unit
            inside = labels[window] == number
            channels = mixed(part)
            rng = np.random.default_rng((seed, *(int(edge.start) for edge in box)))
            noise = self._made(channels, rng)
            noise *= self._lack(channels, noise, inside, unknown[window])[:, None, None]
            added = noise if len(noise) == 1 else np.tensordot(OPPONENT.T, noise, 1)
            grainy[:, *window][:, inside] = as_pixels((part + added)[:, inside] * self.unit, planes.dtype)
        return grainy

    def _made(self, channels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return new noise for channels (C, h, w), in gray or luminance and color differences."""
        h, w = channels.shape[1:]
        shape = (h + 2 * SIDE, w + 2 * SIDE)
        made = []
        for level, spectrum in zip(self.noise.levels(channels[0]), self.noise.spectra, strict=True):
            white = np.fft.rfft2(rng.standard_normal(shape))
            colored = np.fft.irfft2(white * np.sqrt(_power(spectrum, shape)), shape)[SIDE : SIDE + h, SIDE : SIDE + w]
            made.append(colored * np.sqrt(level))
        return np.array(made)

    def _lack(self, channels: np.ndarray, noise: np.ndarray, inside: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """Return for each channel the factor on new noise that makes a fill as grainy as what is around it.

        How grainy that is, is told by its known pixels alone, beside the noise seen through the same holes.
        """
        near = binary_dilation(inside, _EVERY_WAY, iterations=APART + AROUND)
        around = near & ~binary_dilation(unknown, _EVERY_WAY, iterations=APART)
        if not around.any():
            return np.ones(len(channels))
        weights = np.maximum(gaussian_filter((~unknown).astype(np.float64), FINE), 1e-6)
        factors = []
        for channel, made in zip(channels, noise, strict=True):
            picture, through_holes = (
                _energy(plane, gaussian_filter(plane * ~unknown, FINE) / weights, around) for plane in (channel, made)
            )
            usual = min(picture / max(through_holes, 1e-12), MOST)
            own, added = (_energy(plane, gaussian_filter(plane, FINE), inside) for plane in (channel, made * inside))
            whole = _energy(made, gaussian_filter(made, FINE), ...)
            factors.append(np.sqrt(max(usual * whole - own, 0.0) / max(added, 1e-12)))
        return np.array(factors)


def _energy(plane: np.ndarray, smooth: np.ndarray, where: Any) -> float:
    """Return the mean square of what smoothing took away from some pixels."""
    return float(np.mean((plane - smooth)[where] ** 2))


def _spectrum(channels: np.ndarray, noise: CameraNoise, number: int) -> np.ndarray:
    """Return the spectrum (8, 8) of a channel's noise, with the coarse grain that an estimate for denoising leaves out.

    It is the median over blocks whose high frequencies are those of noise. What these show of low frequencies more than
    the fall of the middle ones tells is shading.
    """
    step = max(2, int(np.sqrt(channels[0].size / MOST_BLOCKS)))
    energies = coefficients_of(channels[number], step) ** 2
    intensity = blocks_of(channels[0], step).mean(axis=(1, 2))
    level = np.maximum(np.interp(intensity, noise.intensities, noise.variances[number]), 1e-6)
    high = SQUARED >= HIGH
    energies /= level[:, None, None]
    calm = energies[:, high].mean(axis=1) < CALM * noise.spectra[number][high].mean()
    if calm.sum() < FEWEST:
        return noise.spectra[number]
    spectrum = np.median(energies[calm], axis=0) / MEDIAN_OF_ENERGY
    used = (SQUARED >= 4) & (SQUARED < HIGH) & (spectrum > 3 * spectrum.min())
    if used.sum() < 6:
        return noise.spectra[number]
    slope, start = np.polyfit(SQUARED[used], np.log(spectrum[used]), 1, w=1 / np.sqrt(1 + SQUARED[used]))
    most = SHADING * np.exp(start + min(slope, 0.0) * SQUARED)
    spectrum = np.where(high, spectrum, np.minimum(spectrum, most))
    spectrum[0, 0] = (spectrum[0, 1] + spectrum[1, 0]) / 2
    return spectrum


def _power(spectrum: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the power at the frequencies of a real Fourier transform of noise with a spectrum (8, 8) over the DCT."""
    of_block = np.einsum("fx,gy,fg,fu,gv->xyuv", DCT, DCT, spectrum, DCT, DCT, optimize=True)
    x, y, u, v = np.indices(of_block.shape)
    lags = abs(x - u) * SIDE + abs(y - v)
    count = np.bincount(lags.ravel(), minlength=SIDE**2)
    correlation = (np.bincount(lags.ravel(), of_block.ravel(), SIDE**2) / count).reshape(SIDE, SIDE)
    fade = np.cos(np.pi / 2 * np.maximum(np.arange(SIDE) - SIDE / 2, 0) / (SIDE / 2))
    whole = np.zeros(shape)
    for i in range(-SIDE + 1, SIDE):
        for j in range(-SIDE + 1, SIDE):
            whole[i, j] = correlation[abs(i), abs(j)] * fade[abs(i)] * fade[abs(j)]
    return np.maximum(np.fft.rfft2(whole).real, 0)
