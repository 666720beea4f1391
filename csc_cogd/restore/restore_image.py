"""Deblurring, upscaling, and whatever else a linear operator describes: the scene behind its picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import Engine, as_number, record_of
from csc_cogd.errors import InputError
from csc_cogd.restore.noise import Gaussian, Noise, Poisson
from csc_cogd.restore.observation import Observation, over_frames
from csc_cogd.restore.operators import Operator
from csc_cogd.restore.prior import as_restored, with_scene_prior
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.reduction import Reduction
from csc_cogd.restore.report import Progress, Reporter
from csc_cogd.restore.restore import restore
from csc_cogd.restore.scene_noise import scene_noise
from csc_cogd.restore.settings import Solve, Tiling
from csc_cogd.unrolled.prior import Prior


class Options(TypedDict, total=False):
    """The keyword arguments of :func:`restore_image`, for those who pass them on."""

    mask: Any
    dictionary: Dictionary | None
    prior: Prior | str
    channel_axis: int | None
    stack_axis: int | None
    mask_polarity: str
    noise: str
    noise_sigma: float | str | Sequence[float]
    gain: float
    lmbda: float | None
    max_iter: int | None
    tol: float
    solve: Solve | None
    tile: int | str
    max_memory: float | None
    tiling: Tiling | None
    dtype: Any
    device: str
    threads: int | None
    fft: str | None
    engine: Engine | None
    callback: Callable[[Progress], Any] | None
    return_report: bool
    dry_run: bool


@over_frames
def restore_image(
    image: Any,
    operator: Operator | Reduction,
    *,
    mask: Any = None,
    dictionary: Dictionary | None = None,
    prior: Prior | str = "default",
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    mask_polarity: str = "missing",
    noise: str = "gaussian",
    noise_sigma: float | str | Sequence[float] = "auto",
    gain: float = 1.0,
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
) -> Any:
    """Restore the scene s behind a picture ``b = H s + noise`` of which pixels may be missing.

    A smooth base layer u (see :func:`csc_cogd.restore.stages.base_layer.smooth_scene`) is refined by the picture and a prior
    in turn (see :mod:`csc_cogd.restore.stages.prior_scene`). Without a prior, u is taken off, the detail ``b - H u`` is
    coded sparsely over the filters as H shows them, and the scene is u plus what the filters themselves make of the code,
    refined by similar patches (see :mod:`csc_cogd.restore.stages.plug_and_play`).
    Nothing is imposed beyond the picture. (The function isn't called ``restore``, as a subpackage is.)

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
        8- or 16-bit (or any) integers, or floats of any range; NaN is missing. Masked arrays of ``numpy.ma`` bring their
        mask along, arrays of CuPy come back as such. With Gaussian noise, scaling or shifting the values scales and shifts
        the result.
    operator : Blur, Decimation, another :class:`csc_cogd.restore.operators.Operator`, or a Reduction
        H; of a :class:`csc_cogd.restore.reduction.Reduction`, the kernel may be found out from the picture.
    mask : (H, W) array, or of the image's shape, optional
        Non-zero means missing.
    noise : {"gaussian", "poisson"}
        ``"poisson"``: the values times `gain` are counts of events (photons, electrons).
    noise_sigma : float >= 0, "auto", or sequence of floats
        Standard deviation of Gaussian noise, in the image's units, or those of the channels; ``"auto"`` estimates it, see
        :func:`csc_cogd.restore.noise.estimate_noise` and :class:`csc_cogd.restore.scene_noise.SceneNoise`: in 8 bits, at
        least what JPEG compression has lost. Below 0.5/255 of the image's range, for decimation 3/255, it is taken
        to be that much: model and code aren't exact.
    gain : float > 0
        Counts to one unit of the image, with Poisson noise.
    prior : Prior, "default" or "none"
        What images look like, as learned from photographs. ``"default"`` is the gray prior that ships, for color, too, where
        no dictionary and no setting of the code, `lmbda`, `max_iter` or `tol`, is given; and ``"none"`` elsewhere: the
        sparse code and similar patches.
    dictionary, channel_axis, stack_axis, mask_polarity, tol, solve, tile, max_memory, tiling, dtype, device, threads, fft,
    engine, callback
        As in :func:`csc_cogd.inpaint`; tiles are measured in pixels of `image`. What is estimated from the picture, its
        range, noise and `lmbda`, is that of the whole, so that tiles agree.
    lmbda : float, optional
        Weight of the l1 term for an image in [0, 1]; larger is smoother. Default: from noise and detail.
    max_iter : int, optional
        Iterations of the code solve; default: 60.
    return_report : bool
        Also return a :class:`RestorationReport`.
    dry_run : bool
        Restore nothing, return the image as it is: for the report, which says what would be done and in how much memory.

    Returns
    -------
    array of the image's dtype, or (array, RestorationReport)
        Of the image's shape, its height and width times the factor for decimation. Missing pixels are filled. Integers keep
        to the range of their type, floats may go beyond the image's: blur has lowered its peaks.

    Raises
    ------
    InputError
        If the image isn't one, something doesn't fit it, every pixel is missing, the kernel of a blur is larger, or
        `max_memory` doesn't suffice.

    Examples
    --------
    >>> import numpy as np
    >>> from csc_cogd import Blur
    >>> scene = np.zeros((32, 32))
    >>> scene[:, 16:] = 200
    >>> blurred = np.apply_along_axis(np.convolve, 1, np.pad(scene, ((0, 0), (2, 2)), "edge"), np.ones(5) / 5, "valid")
    >>> restored = restore_image(blurred, Blur(np.ones((1, 5))), noise_sigma=0.5)
    >>> float(abs(blurred - scene).max()), bool(abs(restored - scene).max() < 30)
    (80.0, True)
    """
    solve = record_of(Solve(lmbda=lmbda, max_iter=max_iter, tol=tol), solve)
    tiling = record_of(Tiling(tile, max_memory), tiling)
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    observation = Observation.of(image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=True)
    seen = as_restored(observation, dictionary, prior, noise, noise_sigma)
    problem = seen_through(seen, operator, dictionary, noise, noise_sigma, gain)
    problem = with_scene_prior(problem, prior, noise, solve)
    planes, report = restore(
        problem, solve, tiling, engine.without_measuring(), reporter=Reporter(callback), dry_run=dry_run
    )
    restored = observation.to_image(planes)
    return (restored, report) if return_report else restored


def seen_through(
    observation: Observation,
    operator: Operator | Reduction,
    dictionary: Dictionary | None = None,
    noise: str = "gaussian",
    noise_sigma: float | str | Sequence[float] = "auto",
    gain: float = 1.0,
) -> Problem:
    """Return the problem that :func:`restore_image` solves."""
    if observation.planes.dtype.kind == "b":
        raise InputError("image", "must not be bilevel", "convert it to 8 bits first")
    assumed = noise_behind(operator, noise, noise_sigma, gain)
    operator = operator.of(observation) if isinstance(operator, Reduction) else operator
    if isinstance(assumed, Gaussian) and assumed.noise_sigma == "auto":
        assumed = scene_noise(observation, reduced=operator.factor > 1)
    return Problem(observation, operator, assumed, dictionary)


def noise_behind(operator: Any, noise: str, noise_sigma: Any, gain: Any) -> Noise:
    """Return the noise of a picture that an operator made.

    Raises
    ------
    InputError
        If that is no operator, or they don't go together.
    """
    if isinstance(operator, type):
        raise InputError("operator", f"must be an operator, such as Blur(kernel), got the class {operator.__name__}")
    if not isinstance(operator, (Operator, Reduction)):
        lacking = sorted(name for name in vars(Operator) if name[0] != "_" and not hasattr(operator, name))
        found = f"got {type(operator).__name__}, which lacks {', '.join(lacking)}"
        raise InputError("operator", f"must be an operator, such as Blur or Decimation, {found}")
    if noise not in ("gaussian", "poisson"):
        raise InputError("noise", f"must be 'gaussian' or 'poisson', got {noise!r}")
    noise_sigma, gain = as_number(noise_sigma), as_number(gain)
    if noise == "poisson" and not isinstance(noise_sigma, str):
        raise InputError("noise_sigma", "follows from the values with Poisson noise", "give the {gain}, and leave it out")
    if noise == "gaussian" and gain != 1:
        raise InputError("gain", "belongs to Poisson noise", "leave it out, or use {noise} 'poisson'")
    return Poisson(gain) if noise == "poisson" else Gaussian(noise_sigma)
