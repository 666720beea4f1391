"""Removing noise as cameras make it: correlated, by intensity, and apart in luminance and color.

A prior makes the pilot, whose thresholds are told what each filter meets of the noise, or without one, a DCT with hard
thresholds [Yu, Sapiro 2011, "DCT image denoising"]; similar patches are then estimated under a Gaussian model of their own,
with the covariance of the noise [Lebrun, Colom, Morel 2015, "Multiscale image blind denoising"; of their scales, one more,
of color alone: `coarse_noise.py`].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from csc_cogd.backend import noise_groups
from csc_cogd.backend.blas import single_threaded_blas
from csc_cogd.engine import Engine
from csc_cogd.restore.coarse_noise import without_coarse_color
from csc_cogd.restore.noise_estimation import CameraNoise, estimate_camera_noise, mixed, significance, with_quantization
from csc_cogd.restore.noise_spectrum import DCT, SIDE, blocks_of, coefficients_of, patch_covariance
from csc_cogd.restore.report import SILENT, Reporter
from csc_cogd.unrolled.correlated import OPPONENT
from csc_cogd.unrolled.inference import turned_mean
from csc_cogd.unrolled.prior import Prior

_THRESHOLD = 2.7
_DCT_STEP = 2
_SIZE, _STEP, _RADIUS, _N_SIMILAR = 5, 3, 15, 60
_FLOOR = 1e-2  # least variance of a patch's values, for values from 0 to 255
_TILE, _MARGIN = 384, 60  # both multiples of both steps, so that tiles have the same patches as all at once
_PASSES = {"fast": 1, "default": 2, "best": 3}
_PRIOR_PASSES = {"fast": 0, "default": 1, "best": 2}
_PRIOR_TURNS = {"fast": 2, "default": 2, "best": 8}
_PRIOR_LEVEL = 0.85
"""Of the noise's standard deviation, that the prior is told. All three were chosen on photographs that it hadn't seen."""

CHANNELS = (1, 3)
NO_NOISE_SEEN = "no noise to speak of"
KINDS = ("camera", "grain", "jpeg")
VISIBLE, VISIBLY_CORRELATED = 1.75, 3.25
"""Gray levels of noise in luminance, white and correlated: in pictures without JPEG's errors, less of it may be texture."""


@dataclass(frozen=True)
class Correlated:
    """Noise of a camera, of film or of JPEG, as it was found in an image.

    Attributes
    ----------
    noise : CameraNoise
        For values from 0 to 255; nothing is done where its variances are zero.
    low, unit : float
        The image's value that is 0 there, and what one gray level is.
    found : str
        What was found, in words.
    white : bool
        Whether what was found is white.
    strength : float
        Factor that the standard deviation of the noise has been multiplied by since.
    """

    noise: CameraNoise
    low: float
    unit: float
    found: str
    white: bool = False
    strength: float = 1.0
    fidelity = "least squares"

    @classmethod
    def none(cls, n_channels: int) -> Correlated:
        """Return no noise at all."""
        nothing = CameraNoise(np.zeros(1), np.zeros((n_channels, 1)), np.ones((n_channels, SIDE, SIDE)), 0.0)
        return cls(nothing, 0.0, 1.0, NO_NOISE_SEEN)

    @property
    def sigmas(self) -> list[float]:
        """Standard deviation of each channel, in gray or luminance and color differences, in the image's units."""
        return [float(sigma * self.unit) for sigma in self.noise.sigmas]


def find(planes: np.ndarray, kind: str, low: float, unit: float, strength: float) -> Correlated | None:
    """Estimate the noise of an image (1 or 3, H, W); what is of no significance isn't touched. None where none is seen.

    Parameters
    ----------
    kind : {"auto", "camera", "grain", "jpeg"}
        "auto" believes only what is significant, the others all that is estimated: "grain" of luminance alone, "jpeg" in the
        errors of quantization alone.
    strength : float
        Factor on the standard deviation.
    """
    values = (planes.astype(np.float64) - low) / unit
    estimate = estimate_camera_noise(values)
    if estimate is None:
        return None
    if kind == "auto":
        weights = significance(estimate)
    else:
        weights = np.zeros_like(estimate.variances) if kind == "jpeg" else np.ones_like(estimate.variances)
        weights[1:] *= kind != "grain"
    believed = replace(estimate, variances=estimate.variances * weights)
    noise = believed if kind == "grain" else with_quantization(believed)
    least = VISIBLE if estimate.white else VISIBLY_CORRELATED
    if kind == "auto" and not noise.compressed and believed.sigmas[0] < least:
        return Correlated.none(len(planes))
    return Correlated(
        noise.scaled(strength), low, unit, _in_words(believed, kind), estimate.white and bool(believed.variances[0].any()),
        strength,
    )  # fmt: skip


def _in_words(noise: CameraNoise, kind: str) -> str:
    sigmas = noise.sigmas
    parts = []
    if kind != "jpeg" and sigmas.max() > 0:
        luminance = f"{'grain' if kind == 'grain' else 'noise'} of {sigmas[0]:.2g}"
        color = f" in luminance and {sigmas[1:].mean():.2g} in color" if len(sigmas) == 3 and kind != "grain" else ""
        shape = "" if noise.spectra[0][5:, 5:].mean() > 0.5 else ", correlated"
        parts.append(f"{luminance}{color} gray levels{shape} (estimated)")
    if noise.compressed and kind != "grain":
        parts.append(f"JPEG of quality {noise.quality}")
    return ", ".join(parts) or NO_NOISE_SEEN


@single_threaded_blas()
def remove_camera_noise(
    planes: np.ndarray,
    noise: CameraNoise,
    engine: Engine,
    effort: str = "default",
    reporter: Reporter = SILENT,
    *,
    prior: Prior | None = None,
    strength: float = 1.0,
) -> np.ndarray:
    """Return an image (1 or 3, H, W) of values from 0 to 255 without the noise.

    Parameters
    ----------
    planes : (C, H, W) array of float
    noise : CameraNoise
    engine : Engine
        Where the prior computes; patches are the CPU's.
    effort : {"default", "fast", "best"}
    reporter : Reporter, optional
        Is told of each tile.
    prior : Prior, optional
        For as many channels; makes the pilot, except under nothing but the errors of strong compression. Before, coarse
        noise of color is taken off at half the size, see :mod:`csc_cogd.restore.coarse_noise`.
    strength : float
        Factor by which the standard deviation of the noise was changed after it was estimated.

    Returns
    -------
    (C, H, W) array of float32
    """
    on_cpu = engine if engine.backend.xp is np else replace(engine, device="cpu")
    if prior is None or noise.of_strong_compression:
        return _removed(_channels_of(planes), noise, None, _PASSES[effort], on_cpu, reporter.report)
    passes, turns, network = _PRIOR_PASSES[effort], _PRIOR_TURNS[effort], prior.network

    def removed(image: np.ndarray, its_noise: CameraNoise, told: Reporter) -> np.ndarray:
        channels, values = _channels_of(image), image.astype(np.float32) / np.float32(255)
        sigma = _PRIOR_LEVEL / 255 * np.sqrt(its_noise.levels(channels[0]).mean(axis=0))
        aware = network.with_gains(its_noise.correlation.gains(network))
        estimate = 255 * turned_mean(aware, values, sigma, engine, values.mean(axis=(1, 2)), turns)
        return _removed(channels, its_noise, mixed(estimate).astype(np.float32), passes, on_cpu, told.report)

    planes = without_coarse_color(planes, noise, strength, lambda small, coarse: removed(small, coarse, SILENT))
    return removed(planes, noise, reporter)


def _channels_of(planes: np.ndarray) -> np.ndarray:
    """Return an image (1 or 3, H, W) in gray, or in luminance and color differences, in single precision."""
    return mixed(planes.astype(np.float32)).astype(np.float32)


def _removed(
    channels: np.ndarray,
    noise: CameraNoise,
    pilot: np.ndarray | None,
    passes: int,
    engine: Engine,
    tell: Callable[[str, int, int], bool],
) -> np.ndarray:
    """Return an image (1 or 3, H, W) of these channels, in gray or luminance and color differences, without the noise."""
    result = np.empty(channels.shape, np.float32)
    H, W = channels.shape[1:]
    tiles = [(i, j) for i in range(0, max(H - 2 * SIDE, 1), _TILE) for j in range(0, max(W - 2 * SIDE, 1), _TILE)]
    tell("tiles", 0, len(tiles))
    for number, (i, j) in enumerate(tiles, 1):
        bottom, right = (H if i + _TILE >= H - 2 * SIDE else i + _TILE), (W if j + _TILE >= W - 2 * SIDE else j + _TILE)
        top, left = max(i - _MARGIN, 0), max(j - _MARGIN, 0)
        window = (slice(None), slice(top, bottom + _MARGIN), slice(left, right + _MARGIN))
        done = _denoised(channels[window], noise, engine, passes, None if pilot is None else pilot[window])
        result[:, i:bottom, j:right] = done[:, i - top : bottom - top, j - left : right - left]
        if tell("tiles", number, len(tiles)):
            result[:, bottom:], result[:, i:, right:] = channels[:, bottom:], channels[:, i:, right:]
            break
    return result if len(channels) == 1 else np.tensordot(OPPONENT.T.astype(np.float32), result, 1)


def _denoised(channels: np.ndarray, noise: CameraNoise, engine: Engine, passes: int, pilot: np.ndarray | None) -> np.ndarray:
    """Return the channels (C, H, W) of a tile, in gray or luminance and color differences, denoised."""
    levels = np.maximum(noise.levels(channels[0]), 1e-6).astype(np.float32)
    if pilot is None:
        pilot = np.array([_thresholded(*one) for one in zip(channels, levels, noise.spectra, strict=True)])
    estimate = pilot
    covariances = [patch_covariance(spectrum, _SIZE).astype(np.float32) for spectrum in noise.spectra]
    for _ in range(passes):
        estimate = _pass(estimate, channels, levels, covariances, engine)
    return estimate


def _thresholded(plane: np.ndarray, level: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Return a plane (H, W) whose DCT coefficients below the noise are zero, in blocks all over it."""
    H, W = plane.shape
    pad = [(0, -(n - SIDE) % _DCT_STEP) for n in (H, W)]
    plane, level = (np.pad(one, pad, mode="edge") for one in (plane, level))
    coefficients = coefficients_of(plane, _DCT_STEP)
    noise = blocks_of(level, _DCT_STEP).mean(axis=(1, 2))[:, None, None] * spectrum.astype(np.float32)
    kept = coefficients**2 > _THRESHOLD**2 * noise
    kept[:, 0, 0] = True
    certainty = 1 / kept.sum(axis=(1, 2)).astype(np.float32)
    values = DCT.T.astype(np.float32) @ (coefficients * kept).astype(np.float32) @ DCT.astype(np.float32)
    values *= certainty[:, None, None]
    rows, columns = ((n - SIDE) // _DCT_STEP + 1 for n in plane.shape)
    values, certainty = values.reshape(rows, columns, SIDE, SIDE), certainty.reshape(rows, columns)
    total, weight = np.zeros((2, *plane.shape), np.float32)
    for a in range(SIDE):
        for b in range(SIDE):
            places = (slice(a, a + rows * _DCT_STEP, _DCT_STEP), slice(b, b + columns * _DCT_STEP, _DCT_STEP))
            total[places][:rows, :columns] += values[:, :, a, b]
            weight[places][:rows, :columns] += certainty
    return np.asarray((total / weight)[:H, :W])


def _pass(
    pilot: np.ndarray, observed: np.ndarray, levels: np.ndarray, covariances: list[np.ndarray], engine: Engine
) -> np.ndarray:
    """Estimate all patches of all channels anew from those that are similar in the pilot."""
    backend = engine.backend
    rows, columns = (np.unique(np.append(np.arange(0, n - _SIZE, _STEP), n - _SIZE)) for n in pilot.shape[1:])
    tasks = [
        np.stack([np.repeat(part, len(columns)), np.tile(columns, len(part))], axis=1)
        for part in np.split(rows, range(backend.rows_at_once, len(rows), backend.rows_at_once))
    ]
    estimate_groups: Any = noise_groups.estimate_groups
    if backend.compiled:
        from csc_cogd.backend.compiled_noise_groups import estimate_groups

    def work(references: np.ndarray) -> tuple[int, int, np.ndarray, np.ndarray]:
        matches = np.empty((len(references), _N_SIMILAR, 2), np.int32)
        backend.patches.match_patches(pilot, references, _SIZE, _RADIUS, matches)
        top = max(int(references[0, 0]) - _RADIUS, 0)
        bottom = min(int(references[-1, 0]) + _RADIUS + _SIZE, pilot.shape[1])
        matches[..., 0] -= top * (matches[..., 0] >= 0)
        total, weight = np.zeros((2, len(pilot), bottom - top, pilot.shape[2]), np.float32)
        for c, covariance in enumerate(covariances):
            parts = (one[c, top:bottom] for one in (pilot, observed, levels))
            estimate_groups(*parts, matches, covariance, _FLOOR, total[c], weight[c])
        return top, bottom, total, weight

    total, weight = np.zeros((2, *pilot.shape), np.float32)
    for top, bottom, part_total, part_weight in backend.each(work, tasks):
        total[:, top:bottom] += part_total
        weight[:, top:bottom] += part_weight
    return np.where(weight > 0, total / np.maximum(weight, 1), pilot)
