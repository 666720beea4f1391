"""Denoising: white noise, that of cameras, film and JPEG, Poisson noise made Gaussian, impulses by finding them first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import Engine, as_number, record_of
from csc_cogd.errors import InputError, Remark
from csc_cogd.restore.camera_noise import CHANNELS, KINDS, Correlated, find
from csc_cogd.restore.impulses import ImpulseSearch
from csc_cogd.restore.noise import Gaussian, Poisson, estimate_gain
from csc_cogd.restore.observation import Observation, intensity_range, over_frames
from csc_cogd.restore.prior import as_restored, kind_of_noise, with_prior
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import Progress, Reporter, Trace
from csc_cogd.restore.restore import restore
from csc_cogd.restore.settings import Solve, Tiling
from csc_cogd.unrolled.prior import Prior

NOISES = ("auto", "white", "camera", "grain", "jpeg", "poisson", "impulse", "gaussian")
"""Kinds of noise; "gaussian" is another name of "white"."""
LEAST_SIDE = 96  # pixels, from which noise that isn't white can be told from texture
NOT_TOLD = Remark(
    "image", "shows no noise that can be told from its texture, and stays as it is",
    "give {noise_sigma}, or {noise} 'white', 'camera' or 'grain', if there is some",
)  # fmt: skip
GAIN_UNKNOWN = Remark(
    "gain", "can't be estimated, as no noise is seen or an offset was subtracted, and is taken to be 1",
    "give it, or add the offset back",
)  # fmt: skip


@over_frames
def denoise(
    image: Any,
    noise_sigma: float | str | Sequence[float] = "auto",
    *,
    mask: Any = None,
    dictionary: Dictionary | None = None,
    prior: Prior | str = "default",
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    mask_polarity: str = "missing",
    noise: str = "auto",
    strength: float = 1.0,
    gain: float | str = "auto",
    effort: str = "default",
    lmbda: float | None = None,
    max_iter: int | None = None,
    tol: float = 0.0,
    solve: Solve | None = None,
    tile: int | str = "auto",
    max_memory: float | None = None,
    tiling: Tiling | None = None,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[Progress], Any] | None = None,
    return_report: bool = False,
    dry_run: bool = False,
    trace: Trace | None = None,
) -> Any:
    """Remove noise from an image, and fill what is missing.

    Gaussian noise: a pilot, from which similar patches are found and estimated under a Gaussian model of their own (see
    :mod:`csc_cogd.restore.stages.nonlocal_bayes`). The pilot is the estimate of a prior, learned from photographs (see
    :mod:`csc_cogd.restore.stages.prior`), or the sparse code of the image over a dictionary. Impulse noise (salt and pepper,
    hot and dead pixels): a sparse code under the sum of absolute deviations, which outliers hardly move, tells which pixels
    are corrupted; these are filled as by :func:`csc_cogd.inpaint`, and all others come back exactly as they were. Poisson
    noise, of counts of photons or electrons, is made Gaussian and alike everywhere first, see
    :class:`csc_cogd.restore.noise.Poisson`.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
        Integers or floats of any range. NaN, what `mask` marks, and what is masked by ``numpy.ma`` is filled.
        Arrays of CuPy come back as such.
    noise_sigma : float, "auto", or sequence of floats
        Standard deviation of the Gaussian noise, in the image's units, or those of the channels; ``"auto"`` estimates it,
        see :func:`csc_cogd.restore.noise.estimate_noise`. With Poisson noise, that of the read noise beside it, and
        ``"auto"`` is none.
    noise : {"auto", "white", "camera", "grain", "jpeg", "poisson", "impulse"}
        ``"white"`` is Gaussian noise, also called ``"gaussian"``. ``"camera"`` is what photographs have: estimated by
        intensity, by frequency, and in luminance and color apart, together with the errors of JPEG; ``"grain"`` is the same
        of luminance alone, and ``"jpeg"`` the errors of JPEG alone; see :mod:`csc_cogd.restore.noise_estimation`. These
        have one channel or three, and nothing missing. ``"auto"`` looks for the noise of a camera in such images of
        integers, unless `noise_sigma` is given, removes it where it is significant, and takes it for white where it is;
        all other images have white noise.
    strength : float > 0
        Factor on the standard deviation that is estimated.
    gain : float > 0 or "auto"
        With Poisson noise, counts to one unit of the image, after the detector's offset has been taken off; ``"auto"``
        estimates it.
    prior : Prior, "default" or "none"
        What images look like. ``"default"`` is the prior that ships, for gray or for color, where nothing is missing, the
        noise is above 4.5 of 255, isn't impulses and is the same in all channels, and neither a dictionary nor a setting of
        the code, `lmbda`, `max_iter` or `tol`, is given; and ``"none"`` elsewhere: the sparse code. With effort "fast", the
        prior does all. Under a camera's noise, it makes the pilot for similar patches, and ``"none"`` is a DCT with
        thresholds. With a prior given that learned white noise, ``"auto"`` noise is white.
    mask, mask_polarity, dictionary, channel_axis, stack_axis, effort, lmbda, max_iter, tol, solve, tile, max_memory, tiling,
    dtype, device, threads, fft, engine, callback, dry_run, trace
        As in :func:`csc_cogd.inpaint`.
    return_report : bool
        Also return an :class:`csc_cogd.RestorationReport`; `missing` is the fraction of the values that were missing
        or found corrupted. With Poisson noise, its `noise_sigmas` are one, of the stabilized values.

    Returns
    -------
    array of the image's shape and dtype, or (array, RestorationReport)

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
    solve = record_of(Solve(effort=effort, lmbda=lmbda, max_iter=max_iter, tol=tol), solve)
    tiling = record_of(Tiling(tile, max_memory), tiling)
    engine = record_of(Engine(dtype, device, threads, fft), engine).without_measuring()
    observation = Observation.of(image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=True)
    reporter = Reporter(callback)
    noise = kind_of_noise(noise, dictionary, prior, solve)
    seen = as_restored(observation, dictionary, prior, noise, noise_sigma)
    problem = denoising(seen, dictionary, noise, noise_sigma, gain, strength)
    problem = with_prior(problem, prior, noise, solve)
    if noise == "impulse":
        search = ImpulseSearch(tiling, engine, reporter)
        if dry_run:  # what is corrupted isn't known before the search: only that is planned
            report = search.plan_only(observation, dictionary)
            return (image, report) if return_report else image
        problem = search.mark(problem)
    planes, report = restore(problem, solve, tiling, engine, reporter=reporter, trace=trace, dry_run=dry_run)
    restored = observation.to_image(planes)
    return (restored, report) if return_report else restored


def denoising(
    observation: Observation,
    dictionary: Dictionary | None = None,
    noise: str = "auto",
    noise_sigma: float | str | Sequence[float] = "auto",
    gain: float | str = "auto",
    strength: float = 1.0,
) -> Problem:
    """Return the problem that :func:`denoise` solves; under impulse noise, once the impulses are known to be missing."""
    if observation.planes.dtype.kind == "b":
        raise InputError("image", "must not be bilevel", "convert it to 8 bits first")
    noise_sigma, gain, strength = as_number(noise_sigma), as_number(gain), as_number(strength)
    check_noise(noise, noise_sigma, gain, strength)
    if noise == "impulse":
        return Problem(observation, noise=Gaussian(None), dictionary=dictionary, keep_known=True)
    if noise in KINDS:
        _check_of_camera(observation, noise)
        found = find(observation.planes, noise, *_gray_levels(observation), strength)
        return _without_noise(observation) if found is None else Problem(observation, correlated=found)
    if noise == "auto" and isinstance(noise_sigma, str) and _is_photograph(observation):
        found = find(observation.planes, noise, *_gray_levels(observation), strength)
        if found is None:
            return _without_noise(observation)
        if not found.white:
            return Problem(observation, correlated=found)
    if noise != "poisson":
        return Problem(observation, noise=Gaussian(noise_sigma, strength), dictionary=dictionary)
    read_noise = 0.0 if isinstance(noise_sigma, str) else float(noise_sigma)  # type: ignore[arg-type]
    counts = Poisson(1.0 if isinstance(gain, str) else gain, read_noise)
    counts.check(observation)
    if isinstance(gain, str):
        estimate = estimate_gain(zip(observation.planes, ~observation.missing, strict=True), read_noise)
        if np.isnan(estimate):
            return Problem(observation, noise=counts, dictionary=dictionary, remarks=(GAIN_UNKNOWN,))
        counts = replace(counts, gain=estimate)
    return Problem(observation, noise=counts, dictionary=dictionary)


def _without_noise(observation: Observation) -> Problem:
    """Return the problem of an image that stays as it is, as no noise is seen."""
    return Problem(observation, correlated=Correlated.none(len(observation.planes)), remarks=(NOT_TOLD,))


def _is_photograph(observation: Observation) -> bool:
    """Whether an image may have the noise of a camera: gray or color in 8 or 16 bits, large enough, with nothing missing."""
    planes = observation.planes
    whole = planes.dtype in (np.uint8, np.uint16) and len(planes) in CHANNELS
    return bool(whole and min(planes.shape[1:]) >= LEAST_SIDE and not observation.missing.any())


def _check_of_camera(observation: Observation, noise: str) -> None:
    """Raise InputError for an image that can't have noise of this kind."""
    n_channels, side = len(observation.planes), min(observation.planes.shape[1:])
    if n_channels not in CHANNELS:
        raise InputError("noise", f"{noise!r} belongs to gray or color images, and this one has {n_channels} channels")
    if observation.missing.any():
        raise InputError("noise", f"{noise!r} needs an image with nothing missing", "fill it first, or use {noise} 'white'")
    if side < LEAST_SIDE:
        fix = "use {noise} 'white'"
        raise InputError("noise", f"{noise!r} needs an image of at least {LEAST_SIDE} pixels a side, got {side}", fix)


def _gray_levels(observation: Observation) -> tuple[float, float]:
    """Return the value of black, and what one of 256 gray levels is: of the type, or of an image of floats."""
    dtype = observation.planes.dtype
    if dtype.kind == "u" and dtype.itemsize <= 2:
        return 0.0, np.iinfo(dtype).max / 255
    low, high = intensity_range(observation.known_values())
    return low, (high - low) / 255


def check_noise(
    noise: str, noise_sigma: float | str | Sequence[float] | None, gain: float | str, strength: float = 1.0
) -> None:
    """Raise InputError for noise that :func:`denoise` can't be told of."""
    if noise not in NOISES:
        raise InputError("noise", f"must be one of {', '.join(map(repr, NOISES[:-1]))}, got {noise!r}")
    given = not isinstance(noise_sigma, str) or noise_sigma != "auto"
    if noise in ("impulse", *KINDS) and given:
        raise InputError("noise_sigma", "belongs to white noise", "leave it out, or use {noise} 'white'")
    if noise != "poisson" and gain != "auto":
        raise InputError("gain", "belongs to Poisson noise", "leave it out, or use {noise} 'poisson'")
    if noise_sigma is None:
        raise InputError("noise_sigma", "must be a number of zero or more, or 'auto', got None")
    Gaussian(noise_sigma)
    if noise == "poisson" and np.ndim(noise_sigma):
        raise InputError("noise_sigma", "must be one number with Poisson noise: that of the read noise")
    if noise == "poisson" and not isinstance(gain, str):
        Poisson(gain)
    if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 < strength < np.inf:
        raise InputError("strength", f"must be a positive number, got {strength!r}")
    if strength != 1 and (given or noise in ("poisson", "impulse")):
        fix = "leave it out, or change {noise_sigma}" if given else "leave it out"
        raise InputError("strength", "belongs to noise that is estimated", fix)
