"""Denoising: Gaussian noise, Poisson noise made Gaussian, impulse noise by finding it first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import Engine, as_number, record_of
from csc_cogd.errors import InputError, Remark
from csc_cogd.restore.impulses import ImpulseSearch
from csc_cogd.restore.noise import Gaussian, Poisson, estimate_gain
from csc_cogd.restore.observation import Observation, over_frames
from csc_cogd.restore.prior import with_prior
from csc_cogd.restore.report import Progress, Reporter, Trace
from csc_cogd.restore.restore import Problem, restore
from csc_cogd.restore.settings import Solve, Tiling
from csc_cogd.unrolled.prior import Prior

NOISES = ("gaussian", "poisson", "impulse")
GAIN_UNKNOWN = Remark("gain", "can't be estimated, as no noise is seen, and is taken to be 1", "give it")


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
    noise: str = "gaussian",
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
    are spoilt; these are filled as by :func:`csc_cogd.inpaint`, and all others come back exactly as they were. Poisson
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
    noise : {"gaussian", "poisson", "impulse"}
    gain : float > 0 or "auto"
        With Poisson noise, counts to one unit of the image, after the detector's offset has been taken off; ``"auto"``
        estimates it.
    prior : Prior, "default" or "none"
        What images look like. ``"default"`` is the prior that ships, where nothing is missing, the noise is above 4.5 of
        255, isn't impulses and is the same in all channels, the device is the CPU, and neither a dictionary nor a setting of
        the code, `lmbda`, `max_iter` or `tol`, is given; and ``"none"`` elsewhere: the sparse code. With effort "fast", the
        prior does all in gray images.
    mask, mask_polarity, dictionary, channel_axis, stack_axis, effort, lmbda, max_iter, tol, solve, tile, max_memory, tiling,
    dtype, device, threads, fft, engine, callback, dry_run, trace
        As in :func:`csc_cogd.inpaint`.
    return_report : bool
        Also return an :class:`csc_cogd.RestorationReport`; `missing` is the fraction of the values that were missing
        or found spoilt. With Poisson noise, its `noise_sigmas` are one, of the stabilized values.

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
    solve = record_of(Solve, solve, effort=effort, lmbda=lmbda, max_iter=max_iter, tol=tol)
    tiling = record_of(Tiling, tiling, tile=tile, max_memory=max_memory)
    engine = record_of(Engine, engine, dtype=dtype, device=device, threads=threads, fft=fft).without_measuring()
    observation = Observation.of(image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=True)
    reporter = Reporter(callback)
    problem = denoising(observation, dictionary, noise, noise_sigma, gain)
    problem = with_prior(problem, prior, noise, solve, engine)
    if noise == "impulse":
        search = ImpulseSearch(tiling, engine, reporter)
        if dry_run:  # what is spoilt isn't known before the search: only that is planned
            report = search.plan_only(observation, dictionary)
            return (image, report) if return_report else image
        problem = search.mark(problem)
    planes, report = restore(problem, solve, tiling, engine, reporter=reporter, trace=trace, dry_run=dry_run)
    restored = observation.to_image(planes)
    return (restored, report) if return_report else restored


def denoising(
    observation: Observation,
    dictionary: Dictionary | None = None,
    noise: str = "gaussian",
    noise_sigma: float | str | Sequence[float] = "auto",
    gain: float | str = "auto",
) -> Problem:
    """Return the problem that :func:`denoise` solves; under impulse noise, once the impulses are known to be missing."""
    if observation.planes.dtype.kind == "b":
        raise InputError("image", "must not be bilevel", "convert it to 8 bits first")
    noise_sigma, gain = as_number(noise_sigma), as_number(gain)
    check_noise(noise, noise_sigma, gain)
    if noise == "impulse":
        return Problem(observation, noise=Gaussian(None), dictionary=dictionary, keep_known=True)
    if noise == "gaussian":
        return Problem(observation, noise=Gaussian(noise_sigma), dictionary=dictionary)
    read_noise = 0.0 if isinstance(noise_sigma, str) else float(noise_sigma)  # type: ignore[arg-type]
    counts = Poisson(1.0 if isinstance(gain, str) else gain, read_noise)
    counts.check(observation)
    if isinstance(gain, str):
        estimate = estimate_gain(zip(observation.planes, ~observation.missing, strict=True))
        if np.isnan(estimate):
            return Problem(observation, noise=counts, dictionary=dictionary, remarks=(GAIN_UNKNOWN,))
        counts = replace(counts, gain=estimate)
    return Problem(observation, noise=counts, dictionary=dictionary)


def check_noise(noise: str, noise_sigma: float | str | Sequence[float] | None, gain: float | str) -> None:
    """Raise InputError for noise that :func:`denoise` can't be told of."""
    if noise not in NOISES:
        raise InputError("noise", f"must be 'gaussian', 'poisson' or 'impulse', got {noise!r}")
    if noise == "impulse" and (not isinstance(noise_sigma, str) or noise_sigma != "auto"):
        raise InputError("noise_sigma", "belongs to Gaussian noise", "leave it out, or use {noise} 'gaussian'")
    if noise != "poisson" and gain != "auto":
        raise InputError("gain", "belongs to Poisson noise", "leave it out, or use {noise} 'poisson'")
    if noise_sigma is None:
        raise InputError("noise_sigma", "must be a number of zero or more, or 'auto', got None")
    Gaussian(noise_sigma)
    if noise == "poisson" and np.ndim(noise_sigma):
        raise InputError("noise_sigma", "must be one number with Poisson noise: that of the read noise")
    if noise == "poisson" and not isinstance(gain, str):
        Poisson(gain)
