"""Denoising: Gaussian noise by codes and similar patches, Poisson noise made Gaussian, impulse noise by finding it first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from scipy.ndimage import median_filter, rank_filter

from csc_cogd.backend import get_backend, single_threaded_blas
from csc_cogd.csc.codes import sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.errors import InputError
from csc_cogd.restore.base_layer import base_layer, pilot_estimate
from csc_cogd.restore.coding import Progress, channel_groups, engine_settings, frequency_weights
from csc_cogd.restore.counts import Counts, estimate_gain
from csc_cogd.restore.damage import find_missing
from csc_cogd.restore.inpaint import InpaintingReport, restore_planes
from csc_cogd.restore.layers import as_pixels, intensity_range
from csc_cogd.restore.noise import check_noise_sigma
from csc_cogd.restore.pipeline import Stages, check_restoring, choose_effort, stack
from csc_cogd.restore.stacks import takes_stacks_and_gpu_arrays
from csc_cogd.restore.tiles import Plan, admm_memory, choose_tiles, map_tiles, memory_to_plan_with, picture_memory
from csc_cogd.restore.trace import Trace

NOISES = ("gaussian", "poisson", "impulse")
NO_NOISE = "noise_sigma: no noise was found, and nothing was taken off: give its standard deviation if you see some"
MEDIAN = 5  # side of the window whose median is the first guess under impulse noise
IMPULSE_LMBDA, IMPULSE_RHO = 1.5, 5.0
IMPULSE_ROUNDS, IMPULSE_ITERATIONS = 3, 25  # in each, the pixels that were found before are left out
OUTLYING = 4.0  # standard deviations, and in the image's range at least and at most:
OUTLYING_RANGE = (0.08, 0.25)
FREQUENT, OVERWHELMING = 0.01, 0.75  # share of values at the ends of their range in pictures with salt and pepper
LEAST_OF_EXTREMES = 0.02  # by which they deviate at least
BYTES_A_VALUE = 48  # of the picture, that the search for impulses keeps besides


@takes_stacks_and_gpu_arrays
def denoise(
    image: Any,
    noise_sigma: float | str = "auto",
    *,
    mask: Any = None,
    dictionary: Dictionary | None = None,
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    mask_polarity: str = "missing",
    noise: str = "gaussian",
    gain: float | str = "auto",
    effort: str = "default",
    lmbda: float | None = None,
    max_iter: int | None = None,
    tol: float = 0.0,
    tile: int | str = "auto",
    max_memory: float | None = None,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    callback: Callable[[Progress], Any] | None = None,
    return_report: bool = False,
    dry_run: bool = False,
    trace: Trace | None = None,
) -> Any:
    """Remove noise from an image, and fill what is missing.

    Gaussian noise: the sparse code of the image is the pilot, from which similar patches are found and estimated under a
    Gaussian model of their own (see :mod:`csc_cogd.restore.similar`). Impulse noise (salt and pepper, hot and dead pixels):
    a sparse code under the sum of absolute deviations, which outliers hardly move, tells which pixels are spoilt; these
    are filled as by :func:`csc_cogd.inpaint`, and all others come back exactly as they were. Poisson noise, of counts of
    photons or electrons, is made Gaussian and alike everywhere first, see :mod:`csc_cogd.restore.counts`.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
        Integers or floats of any range. NaN, what `mask` marks, and what is masked by ``numpy.ma`` is filled.
        Arrays of CuPy come back as such.
    noise_sigma : float or "auto"
        Standard deviation of the Gaussian noise, in the image's units; ``"auto"`` estimates it, see
        :func:`csc_cogd.restore.noise.estimate_noise`. With Poisson noise, that of the read noise beside it, and
        ``"auto"`` is none.
    noise : {"gaussian", "poisson", "impulse"}
    gain : float > 0 or "auto"
        With Poisson noise, counts to one unit of the image, after the detector's offset has been taken off; ``"auto"``
        estimates it.
    mask, mask_polarity, dictionary, channel_axis, stack_axis, effort, lmbda, max_iter, tol, tile, max_memory, dtype, device,
    threads, fft, callback, dry_run, trace
        As in :func:`csc_cogd.inpaint`.
    return_report : bool
        Also return an :class:`csc_cogd.InpaintingReport`; `missing` is the fraction of the values that were missing or found
        spoilt. With Poisson noise, its `noise_sigmas` are one, of the stabilized values.

    Returns
    -------
    array of the image's shape and dtype, or (array, InpaintingReport)

    Raises
    ------
    InputError
        If the image isn't one, or an argument doesn't fit; the message says which.

    Examples
    --------
    >>> import numpy as np
    >>> clean = np.add.outer(np.arange(48.0), np.arange(48.0))
    >>> noisy = clean + np.random.default_rng(0).normal(0, 5, clean.shape)
    >>> bool(abs(denoise(noisy, 5) - clean).mean() < abs(noisy - clean).mean() / 2)
    True
    """
    if noise not in NOISES:
        raise InputError(f"noise: {noise!r} is unknown: choose 'gaussian', 'poisson' or 'impulse'")
    if noise == "impulse" and noise_sigma != "auto":
        raise InputError("noise_sigma: it belongs to Gaussian noise: leave it out for noise 'impulse'")
    if noise != "poisson" and gain != "auto":
        raise InputError("gain: it belongs to the noise 'poisson': leave it out")
    if gain != "auto" and not (isinstance(gain, Real) and np.isfinite(gain) and gain > 0):
        raise InputError(f"gain: {gain} counts to a unit of the image aren't possible: use a number above zero, or 'auto'")
    if noise_sigma is None:
        raise InputError("noise_sigma: None isn't a standard deviation: use a number, or 'auto'")
    check_noise_sigma(noise_sigma)
    check_restoring(effort, lmbda, max_iter, tol)
    pixels, missing = find_missing(
        image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=True
    )  # fmt: skip
    if pixels.dtype.kind == "b":
        raise InputError("image: it is bilevel: widen it to 8 bits first")
    counts, told = _counts_of(pixels, missing, gain, noise_sigma) if noise == "poisson" else (None, [])
    if trace is not None:
        trace.begin(pixels.shape, channel_axis, None if counts is None else counts.expected)
    groups = channel_groups(len(pixels), dictionary)
    engine = engine_settings(dtype, device, threads, fft)
    run = partial(
        restore_planes, groups=groups, effort=effort, changes={"max_iter": max_iter}, lmbda=lmbda, tol=tol,
        tile=tile, max_memory=max_memory, dry_run=dry_run, engine=engine, callback=callback, trace=trace,
    )  # fmt: skip
    if noise == "impulse":
        search = _Search(tile, max_memory, engine, callback)
        if dry_run:  # what is spoilt isn't known before the search: only that is planned
            stages = [Stages(d, 0.0, [], 0, None, search.plan(pixels, ~missing[c], d)) for c, d in groups]
            efforts = [choose_effort(effort, missing[c], 0.0) for c, _ in groups]
            report = InpaintingReport(float(missing.mean()), efforts, stages, [0.0] * len(groups))
            restored = pixels
        else:
            spoilt = missing | _outliers(pixels, missing, groups, search)
            restored, report = run(pixels, missing=spoilt, noise_sigma=None, keep_known=True)
    elif counts:
        stabilized = counts.stabilized(np.where(missing, 0, pixels))
        stabilized, report = run(stabilized, missing=missing, noise_sigma=1.0, keep_known=False)
        restored = pixels if dry_run else as_pixels(counts.expected(stabilized), pixels.dtype)
        report = replace(report, gain=counts.gain, warnings=told)
    else:
        restored, report = run(pixels, missing=missing, noise_sigma=noise_sigma, keep_known=False)
        if noise_sigma == "auto" and not report.warnings and not any(report.noise_sigmas):
            report.warnings.append(NO_NOISE)
    restored = restored[0] if channel_axis is None else np.ascontiguousarray(np.moveaxis(restored, 0, channel_axis))
    return (restored, report) if return_report else restored


def _counts_of(
    pixels: np.ndarray, missing: np.ndarray, gain: float | str, read_noise: float | str
) -> tuple[Counts, list[str]]:
    """What the values count, and warnings."""
    read_noise = 0.0 if isinstance(read_noise, str) else float(read_noise)
    if not read_noise and (pixels[~missing] < 0).any():
        raise InputError(
            "image: there are negative values, which aren't counts: take off the detector's offset first, or give the read "
            "noise as noise_sigma"
        )
    told = list[str]()
    if isinstance(gain, str):
        gain = estimate_gain(zip(pixels, ~missing, strict=True))
        if np.isnan(gain):
            gain, told = 1.0, ["gain: no noise is seen that it could be estimated from, and it is taken for 1: give it"]
    return Counts(float(gain), read_noise), told


def find_impulses(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Which known values of channels (C, H, W) :func:`denoise` takes for impulses; bool of the same shape."""
    search = _Search("auto", None, {"dtype": "float32"}, None)
    return _outliers(pixels, missing, channel_groups(len(pixels), None), search)


@dataclass(frozen=True)
class _Search:
    """How impulses are looked for: settings of the tiles and of the engine."""

    tile: int | str
    max_memory: float | None
    engine: dict[str, Any]
    callback: Callable[[Progress], Any] | None

    def plan(self, pixels: np.ndarray, known: np.ndarray, dictionary: Dictionary) -> Plan:
        """Tiles for channels of which (C, H, W) is known."""
        backend = get_backend(**self.engine)
        whole = picture_memory(pixels.size, pixels.dtype.itemsize) + BYTES_A_VALUE * known.size
        taken, most = memory_to_plan_with(backend, whole, self.max_memory)
        return choose_tiles(
            np.ones(known.shape[1:], bool), ~known, partial(admm_memory, dictionary, backend.dtype.itemsize), taken,
            tile=self.tile, max_memory=most, threads=backend.threads,
        )  # fmt: skip


def _at_the_ends(planes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which values (C, H, W) are the smallest or the largest known ones of their channel."""
    lows = np.array([plane[k].min() for plane, k in zip(planes, known, strict=True)])
    highs = np.array([plane[k].max() for plane, k in zip(planes, known, strict=True)])
    return np.asarray((planes == lows[:, None, None]) | (planes == highs[:, None, None]))


def _beyond_neighbours(planes: np.ndarray) -> np.ndarray:
    """Which values (C, H, W) are smaller or larger than all their eight neighbours but one: edges and lines aren't."""
    around = np.array([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]], bool)
    second_lowest, second_highest = (rank_filter(planes, rank, footprint=around) for rank in (1, -2))
    return np.asarray((planes < second_lowest) | (planes > second_highest))


@single_threaded_blas()
def _outliers(
    pixels: np.ndarray, missing: np.ndarray, groups: list[tuple[slice, Dictionary]], search: _Search
) -> np.ndarray:
    """Which values (C, H, W) no sparse code explains: further from the fit than the others are."""
    outlying = np.zeros(pixels.shape, bool)
    for channels, dictionary in groups:
        known = ~missing[channels]
        plan = search.plan(pixels, known, dictionary)
        low, high = intensity_range([plane[k] for plane, k in zip(pixels[channels], known, strict=True)])
        scaled = (np.where(known, pixels[channels], low).astype(np.float64) - low) / (high - low)
        if not known.all():
            scaled = _blend(plan, known.shape, lambda window: pilot_estimate(scaled[window], ~known[window]))  # noqa: B023
        base = base_layer(median_filter(scaled, (1, MEDIAN, MEDIAN)))
        detail, trusted = np.where(known, scaled - base, 0.0), known
        for number in range(IMPULSE_ROUNDS):
            fit, stopped = _robust_fit(detail, trusted, dictionary, plan, number, search)
            deviation = abs(scaled - base - fit)
            spread = np.quantile(deviation[trusted], 0.25) / 0.3186  # the quartile of a normal deviation: outliers are above
            trusted = known & (deviation <= np.clip(OUTLYING * spread, *OUTLYING_RANGE))
            if stopped or not trusted.any():
                break
        extreme = known & _at_the_ends(pixels[channels], known)
        if FREQUENT < extreme[known].mean() < OVERWHELMING and (~trusted)[extreme].mean() > 0.5:
            outlying[channels] = extreme & (deviation > LEAST_OF_EXTREMES)  # salt and pepper: nothing else is spoilt
        else:
            outlying[channels] = known & ~trusted & ((deviation > OUTLYING_RANGE[1]) | _beyond_neighbours(scaled))
        if not (known & ~outlying[channels]).any(axis=(1, 2)).all():
            raise InputError("image: no pixel of a channel looks unspoilt: is this impulse noise?")
    return outlying


def _robust_fit(
    detail: np.ndarray, trusted: np.ndarray, dictionary: Dictionary, plan: Plan, number: int, search: _Search
) -> tuple[np.ndarray, bool]:
    """What a sparse code under the sum of absolute deviations makes of (C, H, W) values, and whether to stop there."""
    several, stopped = len(plan.tiles) > 1, False
    engine = search.engine if plan.jobs == 1 else search.engine | {"threads": 1}

    def tell(done: int, total: int, record: Any) -> Any:
        nonlocal stopped
        if search.callback is not None:
            progress = Progress("impulses", number * total + done, IMPULSE_ROUNDS * total, record)
            stopped = bool(search.callback(progress)) or stopped
        return stopped

    def fit(window: tuple[Any, ...]) -> np.ndarray:
        images, weights = stack(dictionary, detail[window], trusted[window])
        if stopped or not weights.any():
            return np.zeros_like(detail[window])
        code = sparse_code(
            images, dictionary, weights=weights, fidelity="absolute deviation", lmbda=IMPULSE_LMBDA,
            l1_weights=frequency_weights(dictionary), rho=IMPULSE_RHO, rho_data=2 * IMPULSE_RHO,
            max_iter=IMPULSE_ITERATIONS, tol=0.0, **engine,
            callback=None if several else lambda record: tell(record.iteration, IMPULSE_ITERATIONS, record),
        )  # fmt: skip
        return code.reconstruction.reshape(detail[window].shape)

    blended = _blend(plan, detail.shape, fit, (lambda done: tell(done, len(plan.tiles), None)) if several else None)
    return blended, stopped


def _blend(
    plan: Plan, shape: tuple[int, ...], function: Callable[[Any], np.ndarray], tell: Callable[[int], Any] | None = None
) -> np.ndarray:
    """What `function` makes of the tiles' windows, (C, H, W) in all; `tell` is told how many are done."""
    total = np.zeros(shape)
    windows = [(slice(None), *tile.window) for tile in plan.tiles]
    with closing(map_tiles(function, windows, plan.jobs)) as results:
        for number, (tile, window, piece) in enumerate(zip(plan.tiles, windows, results, strict=True), 1):
            total[window] += tile.weight * piece
            if tell is not None:
                tell(number)
    return total
