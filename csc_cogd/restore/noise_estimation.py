"""The noise of a photograph, estimated from its calm places: by intensity, by frequency, and in color.

Blocks of 8 x 8 pixels are sorted by intensity. Where nothing but noise is seen, the energies of their DCT coefficients,
weighted by the noise's spectrum, have a gamma distribution: its sharp lower edge stands below that of all texture [after
Colom, Buades, Morel 2014, "Nonparametric noise estimation method for raw images", who take the calmest blocks]. How noise
depends on intensity is smooth; so the edges of different intensities bound each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import gamma

from csc_cogd.restore.jpeg import error_spectra, quality_of
from csc_cogd.restore.noise_spectrum import SIDE, blocks_of, coefficients_of, correlation_of, normalized, without_texture
from csc_cogd.unrolled.correlated import OPPONENT, Correlation

_INTENSITIES = 8  # bins, of equally many blocks
_MOST_BLOCKS = 1 << 16
_LOW, _HIGH = 0.1, 0.5  # shares of the gamma distribution by which an edge is found
_SHARP = 3.3  # of _HIGH / _LOW, from which an edge is sharp
_CALM_SHARE = 0.04  # of a bin's blocks, that must stand at its edge
_VARIATION = 0.25  # of the noise's standard deviation within a bin
_ROUNDS = 5
_LEAST_FREQUENCIES = 5  # what has fewer is a pattern, not noise
_NEAR_EDGE = 1.6  # times the edge: blocks in which color is looked at
_SLOPE = 3.0  # most that the logarithm of a variance changes over all intensities
_BACKGROUND = 1.0  # variance in units of gray levels of three channels, below which JPEG or clipping has left no noise
_WHITE = (0.5, 0.75, 0.75)  # least power of high frequencies of white noise, of each channel
_VISIBLY_COMPRESSED = 92  # JPEG's quality
_STRONGLY_COMPRESSED = 65
_SEEN = 0.5  # gray levels of noise in luminance
_LEAST_LEVEL = 0.05  # variance, so that spectra of errors can be told relative to it
_GRAY = np.sqrt(3.0)  # orthonormal luminance of gray level one


@dataclass(frozen=True, eq=False)
class CameraNoise:
    """Noise that depends on intensity, and is correlated, in gray or in luminance and two color differences.

    Attributes
    ----------
    intensities : (K,) array
        At which the noise is known, of the first channel.
    variances : (C, K) array
        Of each channel at these intensities, for values from 0 to 255.
    spectra : (C, 8, 8) array
        Power spectra over the DCT, with mean one.
    share : float
        Of the image that tells: calm places.
    quality : int or None
        With which the image was written as JPEG.
    """

    intensities: np.ndarray
    variances: np.ndarray
    spectra: np.ndarray
    share: float
    quality: int | None = None

    @property
    def sigmas(self) -> np.ndarray:
        """Standard deviation of each channel (C,) in gray levels, at the middle of its intensities."""
        unit = _GRAY if len(self.variances) == 3 else 1.0
        return np.asarray(np.sqrt(np.median(self.variances, axis=1)) / unit)

    @property
    def of_strong_compression(self) -> bool:
        """Whether there is nothing to be seen but the errors of strong JPEG compression, which no prior has learned."""
        return self.quality is not None and self.quality < _STRONGLY_COMPRESSED and bool(self.sigmas[0] < _SEEN)

    @property
    def correlation(self) -> Correlation:
        """How the noise is correlated, with the variances at the middle of its intensities."""
        return Correlation(np.median(self.variances, axis=1), np.array([correlation_of(each) for each in self.spectra]))

    @property
    def white(self) -> bool:
        """Whether all channels have as much of high frequencies as of others."""
        return all(spectrum[5:, 5:].mean() > least for spectrum, least in zip(self.spectra, _WHITE, strict=False))

    @property
    def compressed(self) -> bool:
        """Whether JPEG has changed the image visibly."""
        return self.quality is not None and self.quality <= _VISIBLY_COMPRESSED

    def scaled(self, factor: float) -> CameraNoise:
        """Return the same noise with a standard deviation that many times as large."""
        return replace(self, variances=self.variances * factor**2)

    def levels(self, first: np.ndarray) -> np.ndarray:
        """Return the variances (C, H, W) at the intensities of the first channel (H, W)."""
        smooth = gaussian_filter(first, 2.0)
        return np.array([np.interp(smooth, self.intensities, one) for one in self.variances])


def mixed(planes: np.ndarray) -> np.ndarray:
    """Return gray (1, H, W) as it is, and color as luminance and two color differences (3, H, W), orthonormal."""
    return planes if len(planes) == 1 else np.tensordot(OPPONENT, planes, 1)


def estimate_camera_noise(planes: np.ndarray) -> CameraNoise | None:
    """Estimate the noise of an image (1 or 3, H, W) of values from 0 to 255; None where no edge of noise is seen."""
    channels = mixed(planes)
    step = max(2, int(np.sqrt(planes[0].size / _MOST_BLOCKS)))
    ends = np.asarray(((planes <= 0) | (planes >= 255)).any(axis=0), np.float32)
    energies = np.array([coefficients_of(channel, step) for channel in channels]) ** 2
    intensity = np.sqrt(energies[0, :, 0, 0]) / SIDE
    energies[:, :, 0, 0] = 0
    usable = (blocks_of(ends, step).mean(axis=(1, 2)) < 0.05) & (energies[0].sum(axis=(1, 2)) > 1e-6)
    if usable.sum() < 64 * _INTENSITIES:
        return None
    energies, intensity = energies[:, usable], intensity[usable]
    bounds = np.unique(np.quantile(intensity, np.linspace(0, 1, _INTENSITIES + 1)))
    if len(bounds) < 3:
        return None
    bins = np.clip(np.searchsorted(bounds, intensity, "right") - 1, 0, len(bounds) - 2)
    middle = np.array([intensity[bins == k].mean() for k in range(len(bounds) - 1)])
    gray = middle / (_GRAY if len(channels) == 3 else 1.0)
    found = _luminance(energies[0], bins, gray)
    if found is None:
        return None
    spectrum, variances, near = found
    spectra, levels = [spectrum], [variances]
    for color in energies[1:]:
        spectrum, level = _color(color, bins, near, gray)
        spectra.append(spectrum)
        levels.append(level)
    return CameraNoise(middle, np.array(levels), np.array(spectra), float(near.mean()), quality_of(planes))


def with_quantization(noise: CameraNoise) -> CameraNoise:
    """Return the noise together with the errors of JPEG's quantization.

    In calm places JPEG has taken most of the noise away, in all others it has added its own.
    """
    if not noise.compressed:
        return noise
    assert noise.quality is not None
    spectra = []
    for spectrum, errors, level in zip(
        noise.spectra, error_spectra(noise.quality, len(noise.spectra)), np.median(noise.variances, axis=1), strict=True
    ):
        spectra.append(spectrum + errors / max(level, _LEAST_LEVEL))
    levels = np.maximum(noise.variances, _LEAST_LEVEL)
    return replace(noise, spectra=np.array(spectra), variances=levels)


def significance(noise: CameraNoise) -> np.ndarray:
    """Return how far the estimated variances (C, K) are to be believed, from 0 to 1.

    Texture that covers a picture looks like noise, but differs in this: noise is seen in many places, and cameras make it
    in color, too; grain, which is gray, is seen nearly everywhere and is smooth. What is so weak that it isn't visible is
    left, but for that under JPEG's errors.
    """
    luminance, *colors = noise.variances
    unit = _GRAY if colors else 1.0
    sigma, compressed = np.sqrt(luminance) / unit, noise.compressed
    seen = _rise(noise.share, *((0.0, 0.01) if compressed else (0.03, 0.08)))
    smooth = noise.spectra[0][5:, 5:].mean() < 0.1
    grain = _rise(noise.share, *((0.45, 0.52) if smooth else (0.6, 0.7)))
    colorful = 1.0
    if colors:
        ratio = float(np.median(np.sqrt(colors[0] / np.maximum(luminance, 1e-9))))
        colorful = _rise(ratio, *((0.07, 0.14) if compressed else (0.35, 0.5)))
    visible = np.ones_like(sigma) if compressed else np.array([_rise(one, 1.3, 2.0) for one in sigma])
    factors = [visible * seen * max(colorful, grain)]
    for color in colors:
        visible = np.ones_like(sigma) if compressed else np.array([_rise(one, 1.3, 2.0) for one in np.sqrt(color)])
        factors.append(visible * seen)
    return np.array(factors)


def _rise(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, and what lies between."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _luminance(
    energies: np.ndarray, bins: np.ndarray, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return spectrum (8, 8), variance of each bin (K,), and which blocks (n,) stand near the edge of noise."""
    total = energies[:, 2:, :].sum(axis=(1, 2)) + energies[:, :2, 2:].sum(axis=(1, 2))
    edges = np.array([np.quantile(total[bins == k], 0.1) for k in range(len(middle))])
    calm, bias = total <= edges[bins], 1.0
    for _ in range(_ROUNDS):
        spectrum = (energies[calm] / edges[bins[calm]][:, None, None]).mean(axis=0) / bias
        spectrum = normalized(without_texture(np.maximum(spectrum, 1e-3 * spectrum.max())))
        weights = 1 / np.maximum(spectrum, 0.03 * spectrum.max())
        weights[0, 0] = 0
        expected = weights * spectrum
        scores = np.tensordot(energies, weights, 2) / expected.sum()
        freedom = expected.sum() ** 2 / (expected**2).sum()
        if spectrum.sum() ** 2 / (spectrum**2).sum() < _LEAST_FREQUENCIES:
            return None
        freedom /= 1 + freedom * _VARIATION**2 / 2
        found = np.array([_lower_edge(scores[bins == k], freedom) for k in range(len(middle))])
        edges, shares = found.T
        if np.isnan(edges).all():
            return None
        median = gamma.ppf(_HIGH, freedom / 2)
        calm, bias = scores <= edges[bins] * median / (freedom / 2), gamma.cdf(median, freedom / 2 + 1) / _HIGH
    variances = _smooth_bound(middle, edges, shares)
    return spectrum, variances, scores <= _NEAR_EDGE * variances[bins]


def _lower_edge(scores: np.ndarray, freedom: float) -> tuple[float, float]:
    """Return where scores begin as those of noise do, as its mean, and the share of them that belongs to it; else NaN."""
    low, high = gamma.ppf([_LOW, _HIGH], freedom / 2) / (freedom / 2)
    scores = np.sort(scores)
    n = len(scores)
    candidates = np.geomspace(max(scores[min(5, n - 1)], 1e-9) / high, max(scores[-1], 1e-8) / high, 300)
    below, up_to = (np.searchsorted(scores, candidates * bound) for bound in (low, high))
    sharp = (up_to >= max(_CALM_SHARE * _HIGH * n, 12)) & (up_to >= _SHARP * np.maximum(below, 1))
    if not sharp.any():
        return np.nan, 0.0
    first = int(np.argmax(sharp))
    last = first + int(np.argmin(np.append(sharp[first:], False))) - 1
    return float(candidates[last]), float(up_to[last] / _HIGH / n)


def _smooth_bound(middle: np.ndarray, edges: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the variances (K,) at most those of the edges, and nowhere steeper than noise is: texture stands above it."""
    told = ~np.isnan(edges)
    noisy = told & (edges > _BACKGROUND)
    used = noisy if shares[noisy].sum() > shares[told].sum() / 2 else told
    distance = abs(middle[:, None] - middle[used]) / 255
    bound = np.exp((np.log(edges[used]) + _SLOPE * distance).min(axis=1))
    return np.where(told & ~used, np.fmin(bound, edges), bound)


def _color(energies: np.ndarray, bins: np.ndarray, near: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return spectrum (8, 8) and variances (K,) of a color difference, from blocks whose luminance is calm."""
    total = energies.sum(axis=(1, 2)) / (SIDE**2 - 1)
    chosen, levels = np.zeros(len(near), bool), np.full(len(middle), np.nan)
    for k in range(len(middle)):
        of_bin = near & (bins == k)
        if of_bin.sum() >= 20:
            of_bin &= total <= np.quantile(total[of_bin], 0.8)
            chosen |= of_bin
            levels[k] = 1.15 * total[of_bin].mean() + 1e-3
    if not chosen.any():
        return np.ones((SIDE, SIDE)), np.zeros(len(middle))
    told = ~np.isnan(levels)
    distance = abs(middle[:, None] - middle[told]) / 255
    levels = np.exp((np.log(levels[told]) + _SLOPE * distance).min(axis=1))
    spectrum = (energies[chosen] / levels[bins[chosen]][:, None, None]).mean(axis=0)
    return normalized(without_texture(np.maximum(spectrum, 1e-3 * spectrum.max()))), levels
