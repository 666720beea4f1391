"""Noise of pictures that an operator made: what compression has lost of them, and texture isn't noise.

A decoded JPEG's 8 x 8 blocks have cosine coefficients at multiples of the quantization table's steps, but for rounding to
whole numbers. From steps and coefficients follows how much was lost, if these had a Laplacian distribution [Reininger,
Gibson 1983]; steps that no coefficient tells are those of the standard's table at the same quality [ITU-T T.81, annex K].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from csc_cogd.restore.noise import MEDIAN_OF_NORMAL, Gaussian, middle_of
from csc_cogd.restore.observation import Observation, ScaledPlanes
from csc_cogd.unrolled.correlated import OPPONENT

BLOCK = 8
LUMINANCE = np.array([0.299, 0.587, 0.114])
# fmt: off
STANDARD = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
])
# fmt: on
STEPS = np.arange(2, 129)
_PEAKED = 0.5  # scale of the small coefficients to that of the large ones: most blocks are smoother than the average
_CALM, _TEXTURE = 16, 3.0
_SIDE = 512  # of the middle of large images, which is looked at
_BLOCKS = 1000  # of which about so many tell the steps
_FEWEST_STEPS = 4
_FEWEST = 12  # coefficients other than zero that tell a step
_ON_GRID = 0.5  # mean cosine, at least, of coefficients on a grid of the right step,
_BY_CHANCE = 4.0  # and in standard deviations of that of any coefficients
_TOLD = 0.6  # share of the steps looked for that a compressed picture tells
_LOOKED_AT = [(u, v) for u in range(5) for v in range(5) if 0 < u + v < 5]  # low frequencies: others are mostly zero
_COLOR = 1.5  # errors of the channels to those of luminance: chroma is quantized more, and sampled at every other pixel


@dataclass(frozen=True)
class SceneNoise(Gaussian):
    """White Gaussian noise that is estimated, but not below what compression has lost.

    Attributes
    ----------
    lost : float >= 0
        Root mean square of the errors that compression made in luminance, in the image's units.
    color : float
        Those of three channels to that of luminance, as much of them as counts.
    reduced : bool
        The picture was made smaller and may have texture as fine as its pixels, see :func:`noise_beside_texture`.
    """

    lost: float = 0.0
    color: float = _COLOR
    reduced: bool = False

    def of(self, channels: slice) -> SceneNoise:
        """Return the same: channels are compressed alike."""
        return self

    def sigma(self, scaled: ScaledPlanes, *, stabilized: bool) -> float:
        """Standard deviation on the scale of [0, 1]; NaN where it can't be estimated."""
        sigma = super().sigma(scaled, stabilized=stabilized)
        if self.reduced and sigma > 0:
            planes, missing = scaled.crop(*middle_of(scaled.planes.shape[1:]))
            sigma = min(sigma, noise_beside_texture(planes, ~missing))
        lost = self.lost * (self.color if len(scaled.planes) == 3 else 1.0)
        return float(np.fmax(sigma, lost / scaled.range)) if lost else sigma


def scene_noise(observation: Observation, *, reduced: bool) -> SceneNoise:
    """Return the noise to estimate in an image of which nothing is known but, it may be, that it was made smaller."""
    return SceneNoise(lost=compression_error(observation), reduced=reduced)


def noise_beside_texture(planes: np.ndarray, known: np.ndarray) -> float:
    """Standard deviation of white noise in channels (C, H, W), told from texture.

    Texture is mostly of luminance, and white noise is the same in color differences: of three channels, that counts of
    luminance and orthonormal color differences in which there is the least; of others, the root mean square.
    """
    if len(planes) == 3:
        return min(two_scale_noise(plane, np.asarray(known.all(axis=0))) for plane in np.tensordot(OPPONENT, planes, 1))
    return float(np.sqrt(np.mean([two_scale_noise(*pair) ** 2 for pair in zip(planes, known, strict=True)])))


def two_scale_noise(image: np.ndarray, known: np.ndarray) -> float:
    """Standard deviation of white noise in an image (H, W), told from texture.

    White noise has the same second differences over neighbors and over every other pixel, s_1 = s_2; those of texture grow,
    as its spectrum falls: s_2^2 is taken for ``n^2 + 3 (s_1^2 - n^2)`` [as in photographs of half the size], so that n^2 =
    (3 s_1^2 - s_2^2) / 2. The larger one of all blocks' medians and of the calmest eighth's counts.

    Parameters
    ----------
    image : (H, W) array of float
    known : (H, W) bool array

    Returns
    -------
    float
        0 where there seems to be none, or too little is known to tell.
    """
    power = [_second_differences(np.where(known, image, np.nan), apart) for apart in (1, 2)]
    power[0] = power[0][1:-1, 1:-1]
    H, W = (length // _CALM * _CALM for length in power[1].shape)
    if 0 in (H, W):
        return 0.0
    blocks = [p[:H, :W].reshape(H // _CALM, _CALM, W // _CALM, _CALM).swapaxes(1, 2).reshape(-1, _CALM**2) for p in power]
    complete = np.isfinite(blocks[1]).mean(axis=1) > 0.5
    if not complete.any():
        return 0.0
    fine, coarse = (np.nanmedian(block[complete], axis=1) ** 2 for block in blocks)
    calm = np.argsort(fine, kind="stable")[: max(len(fine) // 8, 1)]
    squares = ((_TEXTURE * f - c) / (_TEXTURE - 1) for f, c in (
        (np.median(fine), np.median(coarse)), (fine[calm].mean(), coarse[calm].mean()),
    ))  # fmt: skip
    return float(np.sqrt(max(0.0, *squares)) / MEDIAN_OF_NORMAL / 6)  # 6: the filter's norm


def _second_differences(image: np.ndarray, apart: int) -> np.ndarray:
    rows = image[2 * apart :] - 2 * image[apart:-apart] + image[: -2 * apart]
    return abs(rows[:, 2 * apart :] - 2 * rows[:, apart:-apart] + rows[:, : -2 * apart])


def compression_error(observation: Observation) -> float:
    """Root mean square of the errors in luminance of an image that was a JPEG, in its units; 0 where none can be told."""
    planes = observation.planes
    if planes.dtype != np.uint8 or len(planes) not in (1, 3) or observation.missing.any():
        return 0.0
    H, W = planes.shape[1:]
    rows, columns = (max((length - _SIDE) // 2, 0) // BLOCK * BLOCK for length in (H, W))
    planes = planes[:, rows : rows + _SIDE, columns : columns + _SIDE]
    return jpeg_error(luminance_of(planes), np.asarray(((planes > 0) & (planes < 255)).all(axis=0)))


def luminance_of(planes: np.ndarray) -> np.ndarray:
    """Return the luminance (H, W) of three channels; of others, their mean."""
    weights = LUMINANCE if len(planes) == 3 else np.full(len(planes), 1 / len(planes))
    return np.tensordot(weights, planes.astype(np.float64), 1)


def jpeg_error(image: np.ndarray, unclipped: np.ndarray | None = None) -> float:
    """Root mean square of what JPEG compression has changed in an image (H, W) of 8 bits; 0 for one that wasn't a JPEG.

    The blocks may begin anywhere, as in a picture that was cropped. Those with pixels that aren't `unclipped`, (H, W) bool,
    don't tell steps, for their coefficients aren't on the grid.

    Examples
    --------
    >>> import numpy as np
    >>> jpeg_error(np.random.default_rng(0).integers(0, 256, (64, 64)))
    0.0
    """
    if min(image.shape) < 5 * BLOCK:
        return 0.0
    for top, left in np.ndindex(BLOCK, BLOCK):
        coefficients = block_cosines(image[top:, left:])
        whole = slice(None) if unclipped is None else _blocks(unclipped[top:, left:]).all(axis=(1, 2))
        steps = _steps(coefficients[whole])
        if steps is not None:
            return float(np.sqrt(np.mean([_lost(coefficients[:, u, v], float(steps[u, v])) for u, v in np.ndindex(8, 8)])))
    return 0.0


def _steps(coefficients: np.ndarray) -> np.ndarray | None:
    """Return the quantization table (8, 8) of blocks' coefficients; None if they weren't quantized, or too few tell."""
    some = coefficients[:: max(len(coefficients) // _BLOCKS, 1)]
    found: dict[tuple[int, int], int] = {}
    for u, v in _LOOKED_AT:
        step = _step(some[:, u, v])
        if step is not None:
            found[u, v] = step
        if len(found) >= _FEWEST_STEPS and not any(found.values()):
            return None
    if len(found) < _FEWEST_STEPS or np.mean([step > 0 for step in found.values()]) < _TOLD:
        return None
    quality = np.median([step / STANDARD[at] for at, step in found.items() if step])
    table = np.maximum(quality * STANDARD, 1)
    for at, step in found.items():
        table[at] = step or table[at]
    return table


def block_cosines(image: np.ndarray) -> np.ndarray:
    """Return the cosine coefficients (n, 8, 8) of an image's blocks."""
    return scipy.fft.dctn(_blocks(image).astype(np.float64), axes=(1, 2), norm="ortho")


def _blocks(image: np.ndarray) -> np.ndarray:
    H, W = (length // BLOCK for length in image.shape)
    return image[: BLOCK * H, : BLOCK * W].reshape(H, BLOCK, W, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)


def _step(coefficients: np.ndarray) -> int | None:
    """Return the step on whose multiples coefficients lie, 0 if there is none, None where too few tell."""
    sizes = abs(coefficients)
    if np.count_nonzero(sizes > 1) < _FEWEST:
        return None
    outside = sizes[:, None] > STEPS / 2
    number = outside.sum(axis=0)
    on_grid = np.sum(outside * np.cos(2 * np.pi / STEPS * sizes[:, None]), axis=0) / np.maximum(number, 1)
    chance = _BY_CHANCE * np.sqrt(0.5 / np.maximum(number, 1))
    steps = STEPS[(number >= _FEWEST) & (on_grid > np.maximum(_ON_GRID, chance))]
    return int(steps[-1]) if len(steps) else 0


def _lost(coefficients: np.ndarray, step: float) -> float:
    """Mean square of the errors of coefficients that were rounded to multiples of a step, if Laplacian before."""
    n = len(coefficients)
    share = np.clip(np.mean(abs(coefficients) > step / 2), 0.5 / n, 1 - 0.5 / n)
    scale = step / 2 / -np.log(share)
    inside = (np.arange(64) + 0.5) / 64 * step / 2  # distances from zero, within the interval around it
    across = ((np.arange(64) + 0.5) / 64 - 0.5) * step  # from the middle of another interval
    return float(
        (1 - share) * np.average(inside**2, weights=np.exp(-inside / (_PEAKED * scale)))
        + share * np.average(across**2, weights=np.exp(-(across + step / 2) / scale))
    )
