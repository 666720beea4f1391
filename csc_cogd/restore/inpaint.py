"""Inpainting: fill the missing pixels of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import Remark
from csc_cogd.restore.noise import Gaussian
from csc_cogd.restore.observation import Observation, over_frames
from csc_cogd.restore.prior import with_fill_prior
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import Progress, Reporter, Trace
from csc_cogd.restore.restore import restore
from csc_cogd.restore.settings import Solve, Tiling
from csc_cogd.unrolled.prior import Prior

NOTHING_MISSING = Remark("mask", "marks no pixel, so the image comes back as it is")


@over_frames
def inpaint(
    image: Any,
    mask: Any = None,
    *,
    dictionary: Dictionary | None = None,
    prior: Prior | str = "default",
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    mask_polarity: str = "missing",
    keep_known: bool | None = None,
    noise_sigma: float | str | Sequence[float] | None = None,
    effort: str = "default",
    learn: bool | None = None,
    lmbda: float | None = None,
    max_iter: int | None = None,
    tol: float = 0.0,
    fill: str = "auto",
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
    """Fill the missing pixels of an image.

    Biharmonic interpolation is refined from similar patches of the picture, see
    :mod:`csc_cogd.restore.stages.nonlocal_bayes`. Where many pixels are missing one by one, a prior, an unrolled network
    that learned to fill photographs, refines it first, see :mod:`csc_cogd.unrolled.network`. Where nearly all
    are missing, on a GPU, with noise, where channels miss other values each, or a setting or a dictionary asks for it, there
    is a code instead: a base layer, the low-passed biharmonic estimate, takes the smooth part; the rest is coded sparsely
    over a dictionary from the known pixels alone, and the code fills the gaps. Holes are filled in several ways, of which
    those count that are right about what is around the hole, see :mod:`csc_cogd.restore.holes`.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`, frames along `stack_axis`, or both
        8- or 16-bit (or any) integers, or floats of any range; NaN is missing. Masked arrays of ``numpy.ma`` bring their
        mask along, arrays of CuPy come back as such. Scaling or shifting the values scales and shifts the result.
    mask : (H, W) array, or of the image's shape, optional
        Non-zero means missing. Where it marks nothing, the image comes back as it is, with a warning.
    dictionary : Dictionary, optional
        Default: the one that ships, for gray or for color. With a gray dictionary the channels are restored one by
        one, and tell nothing of each other; with a color dictionary three channels (the first three of four) together;
        else all channels together.
    prior : {"default", "none"}, or Prior
        One that learned to fill, by :func:`csc_cogd.learn_prior` with noise ``"missing"``, is used wherever pixels are
        missing; the one that ships, where many are, one by one. ``"none"``: a code is, instead.
    channel_axis : int, optional
        Axis of the channels; default: a gray image.
    stack_axis : int, optional
        Axis of the frames of a stack, which are restored one by one where they have gaps. `mask` is one for all, or a stack
        as well.
    mask_polarity : {"missing", "valid"}
        ``"valid"``: non-zero means known.
    keep_known : bool, optional
        Return known pixels exactly as they came in; default: unless there is a `noise_sigma`, by which they are denoised.
    noise_sigma : float, "auto", or sequence of floats, optional
        Standard deviation of the noise in the known pixels, in the image's units, or those of the channels; ``"auto"``
        estimates it. Default: none.
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
    fill : {"auto", "smooth", "texture"}
        What holes are filled with: what is most likely, which is smooth; or texture from elsewhere in the picture, which is
        invented. ``"auto"``: texture in holes of more than 24 x 24 pixels of photographs (integers of 8 or 16 bits with 1, 3
        or 4 channels, no stacks), where what is around has texture. The report says how much is invented.
    solve : Solve, optional
        In place of `effort`, `learn`, `lmbda`, `max_iter`, `tol` and `fill`.
    tile : "auto" or int
        Restore in tiles of this many pixels square, blended so that no seams show; 0: all of the damage at once. By default
        what is cheapest: where nothing is missing, nothing is solved.
    max_memory : float, optional
        In bytes, of the whole program, or of a GPU's memory where that solves; tiles are chosen to fit. Default: 2e9, or
        most of what is free on the GPU.
    tiling : Tiling, optional
        In place of `tile` and `max_memory`.
    dtype : {"float32", "float64"}
        Precision of the computation.
    device, threads, fft
        See :func:`csc_cogd.backend.get_backend`.
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.
    callback : callable, optional
        Called with a :class:`csc_cogd.Progress`; a true return value ends the present stage early.
    return_report : bool
        Also return an :class:`csc_cogd.RestorationReport`; of a stack, a list with one of each frame.
    dry_run : bool
        Restore nothing, return the image as it is: for the report, which says what would be done and in how much memory.
    trace : csc_cogd.restore.report.Trace, optional
        Gathers what the code and every stage make of the picture.

    Returns
    -------
    array of the image's shape and dtype, or (array, RestorationReport)
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
    solve = record_of(Solve(effort=effort, learn=learn, lmbda=lmbda, max_iter=max_iter, tol=tol, fill=fill), solve)
    if stack_axis is not None:
        solve = solve.of_science()
    tiling = record_of(Tiling(tile, max_memory), tiling)
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    marked = mask is not None or isinstance(image, np.ma.MaskedArray)
    observation = Observation.of(
        image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=marked or stack_axis is not None
    )
    problem = with_fill_prior(inpainting(observation, dictionary, noise_sigma, keep_known), prior, solve)
    if marked and stack_axis is None and not observation.missing.any() and noise_sigma is None:
        problem = replace(problem, remarks=(NOTHING_MISSING,))
    planes, report = restore(
        problem, solve, tiling, engine.without_measuring(), reporter=Reporter(callback), trace=trace, dry_run=dry_run
    )
    restored = observation.to_image(planes)
    return (restored, report) if return_report else restored


def inpainting(
    observation: Observation,
    dictionary: Dictionary | None = None,
    noise_sigma: float | str | Sequence[float] | None = None,
    keep_known: bool | None = None,
) -> Problem:
    """Return the problem that :func:`inpaint` solves."""
    if keep_known is None:
        keep_known = noise_sigma is None
    elif not keep_known and noise_sigma is None:
        noise_sigma = "auto"
    return Problem(observation, noise=Gaussian(noise_sigma), dictionary=dictionary, keep_known=keep_known)
