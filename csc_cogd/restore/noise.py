"""Noise: what is known of it, how it is estimated, and how noise that isn't Gaussian is made so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Protocol

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from csc_cogd.engine import as_number
from csc_cogd.errors import InputError, Remark
from csc_cogd.restore.observation import Observation, ScaledPlanes

MEDIAN_OF_NORMAL = 0.6745  # of its absolute value
ESTIMATION_SIDE = 2048  # of the middle of large images, where noise is estimated
_FLAT_SIDE = 7  # pixels: with noise, so large a square isn't flat by chance, but for rounding to whole numbers above it
_MENTIONED = 0.05  # share of the known pixels, up to which flat ones hardly move a median
_BLOCK = 16  # side of the places of which the calmest count
_OF_CALM_NOISE = 1.1  # of the lower quartile of blocks' medians of noise that is everywhere the same, the median of all
ROUNDING = 12**-0.5
"""Standard deviation of the error of whole numbers."""
_LEAST, _MOST = 1e-6, 1e3  # noise for images in [0, 1] that isn't lost in single precision
_OFFSET = 3 / 8
_FEW = 32  # values that occur, up to which one value and the next are taken to be one count apart
_ROUNDS = 30  # at most, of estimating the gain, on which the offset depends: little without read noise
_NEGATIVE = 1e-3  # share of values below four standard deviations of the read noise, up to which they may be outliers


class Noise(Protocol):
    """What is known of the noise in an image.

    Without an operator an image is stabilized, restored and taken back (`stabilize`, `expected`, `sigma(stabilized=True)`);
    behind one, the data term does it (`fidelity`, `sigma(stabilized=False)`).

    Attributes
    ----------
    fidelity : str
        The data term that belongs to it, of :func:`csc_cogd.sparse_code`.
    """

    fidelity: str

    def check(self, observation: Observation) -> None:
        """Raise InputError for an image that can't have such noise."""

    def stabilize(self, observation: Observation) -> Observation:
        """Return an image whose noise is Gaussian and the same everywhere."""

    def expected(self, stabilized: Any) -> np.ndarray:
        """Return E[values] for E[stabilized values]: the exact unbiased inverse of :meth:`stabilize`."""

    def of(self, channels: slice) -> Noise:
        """Return the noise of channels that are restored together."""

    def sigma(self, scaled: ScaledPlanes, *, stabilized: bool) -> float:
        """Standard deviation of the noise on the scale of [0, 1]; of a stabilized image, or at the mean level."""


@dataclass(frozen=True)
class Gaussian:
    """White Gaussian noise.

    Attributes
    ----------
    noise_sigma : float >= 0, "auto", None, or sequence of floats > 0
        Its standard deviation in the image's units, or those of the channels; ``"auto"`` estimates it, None is none at all.
    strength : float > 0
        Factor on what is estimated.

    Raises
    ------
    InputError
        If it isn't one of these.
    """

    noise_sigma: float | str | Sequence[float] | None = "auto"
    strength: float = 1.0
    fidelity = "least squares"

    def __post_init__(self) -> None:
        sigma: Any = as_number(self.noise_sigma)
        if np.ndim(sigma) == 1:
            sigma = tuple(map(as_number, sigma))
            if not all(isinstance(one, Real) and 0 < float(one) < np.inf for one in sigma):
                raise InputError("noise_sigma", f"must have positive numbers, one for each channel, got {sigma}")
        object.__setattr__(self, "noise_sigma", sigma)
        if sigma is None or isinstance(sigma, tuple) or (isinstance(sigma, str) and sigma == "auto"):
            return
        number = float(sigma) if isinstance(sigma, Real) and not isinstance(sigma, bool) else -1.0
        if not (np.isfinite(number) and number >= 0):
            raise InputError("noise_sigma", f"must be a finite number of zero or more, or 'auto', got {sigma}")

    def check(self, observation: Observation) -> None:
        """Raise InputError where there isn't a standard deviation for each channel."""
        if isinstance(self.noise_sigma, tuple) and len(self.noise_sigma) != len(observation.planes):
            n_given, n_channels = len(self.noise_sigma), len(observation.planes)
            raise InputError("noise_sigma", f"has {n_given} standard deviations, but the image has {n_channels} channels")

    def stabilize(self, observation: Observation) -> Observation:
        """Return the image: its noise is Gaussian."""
        return observation

    def expected(self, stabilized: Any) -> np.ndarray:
        """Return the values as they are."""
        return np.asarray(stabilized)

    def of(self, channels: slice) -> Gaussian:
        """Return the noise of channels that are restored together: of several, the root mean square."""
        if not isinstance(self.noise_sigma, tuple):
            return self
        return Gaussian(float(np.sqrt(np.mean(np.square(self.noise_sigma[channels])))))

    def sigma(self, scaled: ScaledPlanes, *, stabilized: bool) -> float:
        """Standard deviation on the scale of [0, 1], of the middle of large images; NaN where it can't be estimated."""
        if self.noise_sigma is None:
            return 0.0
        if not isinstance(self.noise_sigma, str):
            assert not isinstance(self.noise_sigma, Sequence), "take that of some channels by `of` first"
            sigma = min(float(self.noise_sigma) / scaled.range, _MOST)
            return sigma if sigma > _LEAST else 0.0
        planes, missing = scaled.crop(*middle_of(scaled.planes.shape[1:]))
        return self.strength * rms_noise(zip(planes, ~missing, strict=True))


def in_other_units(noise: Noise, scaled: ScaledPlanes) -> Remark | None:
    """Return what to say of a standard deviation that was given and is hardly in the image's units."""
    sigma, dtype = getattr(noise, "noise_sigma", None), scaled.planes.dtype
    if not isinstance(sigma, Real) or not sigma:
        return None
    sigma = float(sigma)
    if dtype.kind in "iu" and sigma < ROUNDING:
        fix = "give it in the image's units"
        if dtype.itemsize < 4:
            most = np.iinfo(dtype).max
            fix += f": {sigma:.3g} of a range from 0 to 1 is {sigma * most:.3g} of one from 0 to {most}"
        return Remark("noise_sigma", f"is {sigma:.3g}, less than rounding to whole numbers adds", fix)
    constant = (np.ptp(plane[~gone]) == 0 for plane, gone in zip(scaled.planes, scaled.missing, strict=True))
    if sigma <= scaled.range or any(constant):
        return None
    span = f"is {sigma:.3g}, but the image's values span {scaled.low:.3g} to {scaled.high:.3g}"
    return Remark("noise_sigma", span, "give it in the image's units")


@dataclass(frozen=True)
class Poisson:
    """Noise of counts, such as of photons or electrons, with Gaussian read noise beside it.

    Attributes
    ----------
    gain : float > 0
        Counts to one unit of the image.
    read_noise : float >= 0
        Standard deviation in the image's units.

    Raises
    ------
    InputError
        If the gain isn't a positive number.

    Examples
    --------
    >>> noise = Poisson(gain=0.5)
    >>> values = np.random.default_rng(0).poisson(30, 10_000) / 0.5
    >>> stabilized = noise.stabilized(values)
    >>> round(float(stabilized.std()), 1), round(float(noise.expected(stabilized.mean())))
    (1.0, 60)
    """

    gain: float
    read_noise: float = 0.0
    fidelity = "poisson"

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", as_number(self.gain))
        if not (isinstance(self.gain, Real) and np.isfinite(self.gain) and self.gain > 0):
            raise InputError("gain", f"must be a positive number, got {self.gain}")

    def check(self, observation: Observation) -> None:
        """Raise InputError for negative values, which aren't counts."""
        if not self.read_noise and any((values < 0).any() for values in observation.known_values()):
            raise InputError(
                "image", "has negative values, which aren't counts",
                "subtract the detector's offset first, or give the read noise as {noise_sigma}",
            )  # fmt: skip

    def stabilized(self, values: Any) -> np.ndarray:
        """Return values with noise of standard deviation one.

        The Anscombe transform [1948], generalized for read noise [Murtagh, Starck, Bijaoui 1995].
        """
        counts = self.gain * np.asarray(values, np.float64)
        return 2 * np.sqrt(np.maximum(counts + _OFFSET + (self.gain * self.read_noise) ** 2, 0))

    def expected(self, stabilized: Any) -> np.ndarray:
        """Return the expectation of values whose stabilized ones have this expectation: the inverse without bias.

        In closed form [Mäkitalo, Foi 2011, eq. 6; with read noise 2013, eq. 12]; the algebraic inverse is too low for few
        counts.
        """
        d = np.maximum(stabilized, 2 * np.sqrt(_OFFSET))
        root = np.sqrt(1.5)
        counts = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8
        return np.maximum(counts - (self.gain * self.read_noise) ** 2, 0) / self.gain

    def stabilize(self, observation: Observation) -> Observation:
        """Return the image of stabilized values."""
        return replace(observation, planes=self.stabilized(np.where(observation.missing, 0, observation.planes)))

    def of(self, channels: slice) -> Poisson:
        """Return the same: every channel is counted alike."""
        return self

    def sigma(self, scaled: ScaledPlanes, *, stabilized: bool) -> float:
        """Return one in the stabilized image's units, or the standard deviation at the image's mean."""
        if stabilized:
            return Gaussian(1.0).sigma(scaled, stabilized=True)
        return float(np.sqrt(mean_level(scaled) / (self.gain * scaled.range)))


def mean_level(scaled: ScaledPlanes) -> float:
    """Mean of the known values on the scale of [0, 1]; 1 where it is zero."""
    known = [plane[~gone] for plane, gone in zip(scaled.planes, scaled.missing, strict=True)]
    total = sum(float(values.sum(dtype=np.float64)) for values in known)
    return (total / sum(map(len, known)) - scaled.low) / scaled.range or 1.0


def estimate_noise(image: np.ndarray, known: np.ndarray | None = None) -> float:
    """Standard deviation of white noise in an image (H, W), from second differences along both axes at once.

    That filter, the outer product of (1, -2, 1) with itself, answers to little but noise, and the median of its absolute
    response to edges hardly at all [Immerkaer 1996; Donoho, Johnstone 1994]. In sharp pictures with fine texture all over,
    the texture is taken for noise. Where the image is at either end of its range, it may be clipped: these places are left
    out. So is what is exactly flat, if it is a part worth mentioning, as outside of a mosaic's or a scan's field; but as the
    flat parts of a drawing are free of noise, the calmest of the other places count then.

    Parameters
    ----------
    image : (H, W) array of float
    known : (H, W) bool array, optional

    Returns
    -------
    float
        NaN where an image is too small, too gappy or too flat to tell, with fewer than 9 such differences; but 0 where all
        pixels are equal.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0, 5, (100, 100))
    >>> round(estimate_noise(np.arange(100.0) + noise))
    5
    """
    usable = np.ones(image.shape, bool) if known is None else known
    if usable.any() and np.ptp(image[usable]) == 0:
        return 0.0
    if min(image.shape) < 3 or not usable.any():
        return np.nan
    flat = _flat(image, usable)
    partly_flat = flat.sum() > _MENTIONED * usable.sum()
    for end in (float(image[usable].min()), float(image[usable].max())):
        if np.count_nonzero(image[usable] == end) > 1:
            usable = usable & (image != end)
    if partly_flat:
        usable = usable & ~flat
    response = abs(np.diff(np.diff(image, 2, axis=0), 2, axis=1))
    valid = np.asarray(np.lib.stride_tricks.sliding_window_view(usable, (3, 3)).all(axis=(2, 3)))
    if np.count_nonzero(valid) < 9:
        return np.nan
    median = float(np.median(response[valid]))
    if partly_flat:
        median = min(median, _OF_CALM_NOISE * _calm_median(response, valid))
    return median / MEDIAN_OF_NORMAL / 6  # 6: the filter's norm


def _flat(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which pixels (H, W) lie in a square of side _FLAT_SIDE in which all known ones are equal."""
    if min(image.shape) < _FLAT_SIDE:
        return np.zeros(image.shape, bool)
    highest = maximum_filter(np.where(known, image, -np.inf), _FLAT_SIDE)
    lowest = minimum_filter(np.where(known, image, np.inf), _FLAT_SIDE)
    return known & maximum_filter(highest == lowest, _FLAT_SIDE)


def _calm_median(response: np.ndarray, valid: np.ndarray) -> float:
    """Return the lower quartile of the valid values' medians in blocks; of blocks that are half valid, or of all values."""
    corners = [(row, column) for row in range(0, valid.shape[0], _BLOCK) for column in range(0, valid.shape[1], _BLOCK)]
    blocks = [(slice(row, row + _BLOCK), slice(column, column + _BLOCK)) for row, column in corners]
    medians = [np.median(response[block][valid[block]]) for block in blocks if valid[block].sum() >= _BLOCK**2 / 2]
    return float(np.quantile(medians, 0.25) if medians else np.median(response[valid]))


def middle_of(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the part of an image (H, W) that is looked at for its noise: all of it, or the middle of a large one."""
    side = ESTIMATION_SIDE
    rows, columns = (slice(max((n - side) // 2, 0), (n + side) // 2) for n in shape)
    return rows, columns


def rms_noise(planes: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the root mean square of the noise of channels, (H, W) values and what is known of them.

    Channels that are constant, or too flat to tell, don't count. 0 where all are constant, NaN where none tells.
    """
    varying = [(plane, known) for plane, known in planes if known.any() and np.ptp(plane[known]) > 0]
    if not varying:
        return 0.0
    estimates = np.array([estimate_noise(plane, known) for plane, known in varying])
    told = estimates[~np.isnan(estimates)]
    return float(np.sqrt(np.mean(np.square(told)))) if told.size else np.nan


def estimate_gain(planes: Iterable[tuple[np.ndarray, np.ndarray]], read_noise: float = 0.0) -> float:
    """Return the gain with which the noise of channels, (H, W) values and what is known of them, has standard deviation one.

    Where so few values occur that they must be single counts, their distance tells more. NaN where no noise can be seen, or
    more values are negative than the read noise explains: an offset was taken off, which hides the gain.
    """
    pieces = [(plane[middle_of(plane.shape)].astype(np.float64), known[middle_of(plane.shape)]) for plane, known in planes]
    values = np.unique(np.concatenate([np.unique(p[k]) for p, k in pieces]))
    if 1 < len(values) <= _FEW:
        return float(1 / np.diff(values).min())
    if read_noise and np.mean(np.concatenate([p[k] for p, k in pieces]) < -4 * read_noise) > _NEGATIVE:
        return np.nan
    gain = 0.0
    for _ in range(_ROUNDS):
        offset = _OFFSET / gain + gain * read_noise**2 if gain else 0.0
        sigma = rms_noise((2 * np.sqrt(np.maximum(np.where(k, p, 0) + offset, 0)), k) for p, k in pieces)
        if not sigma > 0:
            return np.nan
        gain, before = sigma**-2, gain
        if abs(gain - before) < 1e-3 * gain:
            break
    return gain
