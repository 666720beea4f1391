"""Inpainting: fill the missing pixels of an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, get_backend, single_threaded_blas
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.restore.coding import Progress, channel_groups, engine_settings
from csc_cogd.restore.damage import find_missing
from csc_cogd.restore.layers import as_pixels, intensity_range
from csc_cogd.restore.noise import check_noise_sigma, middle_of, noise_of
from csc_cogd.restore.pipeline import Damaged, Effort, Stages, check_restoring, choose_effort, restore_channels
from csc_cogd.restore.stacks import takes_stacks_and_gpu_arrays
from csc_cogd.restore.tiles import (
    Plan,
    admm_memory,
    choose_tiles,
    code_memory,
    memory_to_plan_with,
    picture_memory,
    retry_in_less_memory,
)
from csc_cogd.restore.trace import GroupTrace, Trace


@dataclass(frozen=True, eq=False)
class InpaintingReport:
    """What :func:`inpaint` or :func:`csc_cogd.denoise` did, for those who ask.

    Attributes
    ----------
    missing : float
        Fraction of the values.
    efforts, stages : lists of Effort and of Stages
        By group of channels that are restored together.
    noise_sigmas : list of float
        Standard deviation of the noise that was assumed, in the image's units.
    gain : float, or None
        Counts to one unit of the image, of :func:`csc_cogd.denoise` with Poisson noise.
    """

    missing: float
    efforts: list[Effort]
    stages: list[Stages]
    noise_sigmas: list[float]
    gain: float | None = None

    def __repr__(self) -> str:
        return "\n".join([f"InpaintingReport: {self.missing:.1%} of the values missing", *self.lines()])

    def lines(self) -> list[str]:
        """What was chosen and how it went, for a person to read."""
        lines = []
        for effort, done, sigma in zip(self.efforts, self.stages, self.noise_sigmas, strict=True):
            (h, w), patches, line = done.dictionary.filter_shape, effort.patches, str(done.plan)
            if done.history:
                end = done.history[-1]
                line += (
                    f"; noise {sigma:.3g}; {done.dictionary.n_filters} filters up to {h} x {w}"
                    f"{', adapted' if effort.learn else ''}, lmbda {done.lmbda:.3g}: {end.iteration} iterations in "
                    f"{end.seconds:.1f} s, objective {end.objective:.4g}, residuals {end.primal_residual:.1e} and "
                    f"{end.dual_residual:.1e}; {done.passes} passes over groups of {patches.similar} similar patches of "
                    f"{patches.size} x {patches.size}"
                    + ("" if done.trust is None else f"; weight {done.trust:.2f} against biharmonic interpolation")
                )
            lines.append(line)
        return lines


@takes_stacks_and_gpu_arrays
def inpaint(
    image: Any,
    mask: Any = None,
    *,
    dictionary: Dictionary | None = None,
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    mask_polarity: str = "missing",
    keep_known: bool | None = None,
    noise_sigma: float | str | None = None,
    effort: str = "default",
    learn: bool | None = None,
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
    """Fill the missing pixels of an image.

    A base layer, the low-passed biharmonic estimate, takes the smooth part; the rest is coded sparsely over a
    dictionary from the known pixels alone, and the code fills the gaps. What it fills in is then refined from similar
    patches of the picture, see :mod:`csc_cogd.restore.similar`.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`, frames along `stack_axis`, or both
        8- or 16-bit (or any) integers, or floats of any range; NaN is missing. Masked arrays of ``numpy.ma`` bring their
        mask along, arrays of CuPy come back as such. Scaling or shifting the values scales and shifts the result.
    mask : (H, W) array, or of the image's shape, optional
        Non-zero means missing.
    dictionary : Dictionary, optional
        Default: the one that ships, for grey or for colour. With a grey dictionary the channels are restored one by
        one, and tell nothing of each other; with a colour dictionary three channels (the first three of four) together;
        else all channels together.
    channel_axis : int, optional
        Axis of the channels; default: a grey image.
    stack_axis : int, optional
        Axis of the frames of a stack, which are restored one by one where they have gaps. `mask` is one for all, or a stack
        as well.
    mask_polarity : {"missing", "valid"}
        ``"valid"``: non-zero means known.
    keep_known : bool, optional
        Return known pixels exactly as they came in; default: unless there is a `noise_sigma`, by which they are denoised.
    noise_sigma : float or "auto", optional
        Standard deviation of the noise in the known pixels, in the image's units; ``"auto"`` estimates it. Default: none.
    effort : {"default", "fast", "best"}
        How much time to spend: less than by default, or several times as much.
    learn : bool, optional
        Adapt the dictionary to this image, from its known pixels: slower, and a little better. Default: with effort "best",
        where most is missing.
    lmbda : float, optional
        Weight of the l1 term for an image in [0, 1]; larger is smoother. Default: 0.015, more with noise.
    max_iter : int, optional
        Rounds of the code solve; default: 4, or 8 for "best". Many more don't improve the picture. On a GPU, where ADMM
        solves, a round is 20 iterations.
    tol : float
        Stop the code solve earlier, where the relative duality gap is this at most; see :func:`csc_cogd.sparse_code`.
    tile : "auto" or int
        Restore in tiles of this many pixels square, blended so that no seams show; 0: all of the damage at once. By default
        what is cheapest: where nothing is missing, nothing is solved.
    max_memory : float, optional
        In bytes, of the whole program, or of a GPU's memory where that solves; tiles are chosen to fit. Default: 2e9, or
        most of what is free on the GPU.
    dtype : {"float32", "float64"}
        Precision of the computation.
    device, threads, fft
        See :func:`csc_cogd.backend.get_backend`.
    callback : callable, optional
        Called with a :class:`csc_cogd.Progress`; a true return value ends the present stage early.
    return_report : bool
        Also return an :class:`csc_cogd.InpaintingReport`; of a stack, a list with one of each frame.
    dry_run : bool
        Restore nothing, return the image as it is: for the report, which says what would be done and in how much memory.
    trace : csc_cogd.restore.trace.Trace, optional
        Gathers what the code and every stage make of the picture.

    Returns
    -------
    array of the image's shape and dtype, or (array, InpaintingReport)
        Filled values lie within the range of the known ones.

    Raises
    ------
    InputError
        If the image isn't one, the mask doesn't fit, nothing or everything is missing, a setting can't be, or `max_memory`
        doesn't suffice.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    >>> mask = np.zeros((32, 32), bool)
    >>> mask[10:14, 5:25] = True
    >>> restored = inpaint(np.where(mask, 0, image).astype(np.uint8), mask)
    >>> restored.dtype, int(abs(restored.astype(int) - image).max()) <= 1
    (dtype('uint8'), True)
    """
    pixels, missing = find_missing(
        image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=stack_axis is not None
    )
    check_noise_sigma(noise_sigma, optional=True)
    if trace is not None:
        trace.begin(pixels.shape, channel_axis)
    if keep_known is None:
        keep_known = noise_sigma is None
    elif not keep_known and noise_sigma is None:
        noise_sigma = "auto"
    restored, report = restore_planes(
        pixels, missing, channel_groups(len(pixels), dictionary), effort, noise_sigma,
        {"learn": learn, "max_iter": max_iter}, keep_known=keep_known, lmbda=lmbda, tol=tol, tile=tile,
        max_memory=max_memory, dry_run=dry_run,
        engine=engine_settings(dtype, device, threads, fft), callback=callback, trace=trace,
    )  # fmt: skip
    restored = restored[0] if channel_axis is None else np.ascontiguousarray(np.moveaxis(restored, 0, channel_axis))
    return (restored, report) if return_report else restored


@single_threaded_blas()
def restore_planes(
    pixels: np.ndarray,
    missing: np.ndarray,
    groups: list[tuple[slice, Dictionary]],
    effort: str,
    noise_sigma: float | str | None,
    changes: dict[str, Any],
    *,
    keep_known: bool,
    lmbda: float | None,
    tol: float,
    tile: int | str = "auto",
    max_memory: float | None = None,
    dry_run: bool = False,
    engine: dict[str, Any],
    callback: Callable[[Progress], Any] | None = None,
    trace: Trace | None = None,
) -> tuple[np.ndarray, InpaintingReport]:
    """Restore (C, H, W) pixels of any dtype, group by group, each on the scale of its own values.

    `changes` are fields of :class:`Effort` to be set otherwise, where not None. With `dry_run`, nothing is restored: the
    report says what would be done.
    """
    check_restoring(effort, lmbda, changes.get("max_iter"), tol)
    changes = {name: value for name, value in changes.items() if value is not None}
    backend = get_backend(**engine)
    report = InpaintingReport(float(missing.mean()), [], [], [])
    known_values = [plane[~gone] for plane, gone in zip(pixels, missing, strict=True)]
    restored = pixels.copy()
    for channels, dictionary in groups:
        gone = missing[channels]
        if not gone.any() and keep_known:
            continue
        low, high = intensity_range(known_values[channels])
        damaged = Damaged(pixels[channels], gone, low, high)
        noise = _noise_of(damaged, noise_sigma)
        if not gone.any() and not noise:
            continue
        chosen = replace(choose_effort(effort, gone, noise), **changes)
        everywhere = bool(noise) and not keep_known
        needed = np.ones(gone.shape[1:], bool) if everywhere else np.asarray(gone.any(axis=0))
        taken, solve, most = _memory(backend, pixels, dictionary, len(gone), max_memory)
        plan_for = partial(_plan, needed, gone, solve, taken, tile, backend.threads)
        if dry_run:
            estimate, stages = None, Stages(dictionary, lmbda or 0.0, [], 0, None, plan_for(most))
        else:
            changed = np.ones_like(gone) if everywhere else gone
            traced = None if trace is None else GroupTrace(trace, channels, changed, low, high)
            restore = partial(
                restore_channels, damaged, dictionary, chosen, noise=noise, lmbda=lmbda, tol=tol, engine=engine,
                callback=callback, traced=traced,
            )  # fmt: skip
            estimate, stages = retry_in_less_memory(restore, plan_for, most, taken, backend.release)
        report.efforts.append(chosen)
        report.stages.append(stages)
        report.noise_sigmas.append(noise * (high - low))
        if estimate is None:
            continue
        for plane, values, known, changed in zip(restored[channels], estimate, known_values[channels], gone, strict=True):
            if everywhere:
                changed = np.ones_like(changed)
            new = values[changed].astype(np.float64) * (high - low) + low
            plane[changed] = as_pixels(np.clip(new, known.min(), known.max()), pixels.dtype)
    return restored, report


def _memory(
    backend: Backend, pixels: np.ndarray, dictionary: Dictionary, n_channels: int, max_memory: float | None
) -> tuple[int, Callable[[tuple[int, int]], int], float]:
    """Bytes that the picture takes, that a tile takes, and that there are: of a GPU's memory where that solves."""
    itemsize = backend.dtype.itemsize
    by_admm = partial(admm_memory, dictionary, itemsize)
    solve = partial(code_memory, dictionary, n_channels, itemsize) if backend.compiled else by_admm
    taken, most = memory_to_plan_with(backend, picture_memory(pixels.size, pixels.dtype.itemsize), max_memory)
    return taken, solve, most


def _plan(
    needed: np.ndarray, missing: np.ndarray, solve: Callable[[tuple[int, int]], int], taken: int, tile: int | str,
    threads: int, most: float,
) -> Plan:  # fmt: skip
    return choose_tiles(needed, missing, solve, taken, tile=tile, max_memory=most, threads=threads)


def _noise_of(damaged: Damaged, noise_sigma: float | str | None) -> float:
    """Standard deviation of the noise, on the scale of [0, 1]; of large pictures, the middle is looked at."""
    observed, gone = damaged.piece(*middle_of(damaged.pixels.shape[1:]))
    return noise_of(observed, ~gone, noise_sigma, damaged.high - damaged.low)
