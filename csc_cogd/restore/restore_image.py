"""Deblurring and upscaling: the scene behind a blurred, coarse or noisy picture, as a base layer and a sparse code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypedDict

import numpy as np

from csc_cogd.backend import get_backend, single_threaded_blas
from csc_cogd.csc.codes import reconstruct_images, sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.csc.settings import check_settings
from csc_cogd.errors import InputError
from csc_cogd.restore.coding import Progress, channel_groups, engine_settings, frequency_weights
from csc_cogd.restore.damage import find_missing
from csc_cogd.restore.deconvolution import smooth_scene
from csc_cogd.restore.layers import as_pixels, intensity_range
from csc_cogd.restore.noise import NOISE_UNKNOWN, check_noise_sigma, middle_of, noise_of
from csc_cogd.restore.operators import Blur, Decimation
from csc_cogd.restore.pipeline import Damaged
from csc_cogd.restore.stacks import takes_stacks_and_gpu_arrays
from csc_cogd.restore.tiles import (
    Overlap,
    Plan,
    Tile,
    admm_memory,
    choose_tiles,
    map_tiles,
    memory_to_plan_with,
    picture_memory,
    retry_in_less_memory,
)

NOISES = ("gaussian", "poisson")
LMBDA, LMBDA_POWER = 0.4, 1.6  # tuned on photographs, see _strength
LEAST_SIGMA = {Blur: 0.5 / 255, Decimation: 2 / 255}  # noise of pictures without any: what model and code can't say
GRADIENT_PENALTY = 2.0  # times lmbda
ITERATIONS = 60
RHO, RHO_DATA = 0.15, 0.3


@dataclass(frozen=True, eq=False)
class RestorationReport:
    """What :func:`restore_image` did, for those who ask.

    Attributes
    ----------
    missing : float
        Fraction of the values.
    settings : dict
    plans, noise_sigmas, lmbdas, histories, dictionaries : lists
        By group of channels that are coded together: the tiles, standard deviation of the noise in the image's units (for
        Poisson noise that at the mean), the weight of the l1 term for an image in [0, 1], the solver's history in the first
        tile, the dictionary. The last three are empty after a dry run.
    warnings : list of str
        As of :class:`csc_cogd.InpaintingReport`.
    """

    missing: float
    settings: dict[str, Any]
    plans: list[Plan] = field(default_factory=list)
    noise_sigmas: list[float] = field(default_factory=list)
    lmbdas: list[float] = field(default_factory=list)
    histories: list[list[Iteration]] = field(default_factory=list)
    dictionaries: list[Dictionary] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What was chosen and how it went, for a person to read."""
        lines = ["settings: " + ", ".join(f"{name} {value}" for name, value in self.settings.items())]
        lines += [str(plan) for plan in self.plans]
        groups = zip(self.noise_sigmas, self.lmbdas, self.histories, self.dictionaries, strict=bool(self.histories))
        for sigma, lmbda, history, dictionary in groups:
            if not history:
                continue
            end, (h, w) = history[-1], dictionary.filter_shape
            lines.append(
                f"noise of {sigma:.3g}, lmbda {lmbda:.3g}; {dictionary.n_filters} filters up to {h} x {w}: "
                f"{end.iteration} iterations in {end.seconds:.1f} s, objective {end.objective:.4g}, "
                f"residuals {end.primal_residual:.1e} and {end.dual_residual:.1e}"
            )
        return lines


class Options(TypedDict, total=False):
    """The keyword arguments of :func:`restore_image`, for those who pass them on."""

    mask: Any
    dictionary: Dictionary | None
    channel_axis: int | None
    stack_axis: int | None
    mask_polarity: str
    noise: str
    noise_sigma: float | str
    gain: float
    lmbda: float | None
    max_iter: int | None
    tol: float
    tile: int | str
    max_memory: float | None
    dtype: Any
    device: str
    threads: int | None
    fft: str | None
    callback: Callable[[Progress], Any] | None
    return_report: bool
    dry_run: bool


@takes_stacks_and_gpu_arrays
@single_threaded_blas()
def restore_image(
    image: Any,
    operator: Blur | Decimation,
    *,
    mask: Any = None,
    dictionary: Dictionary | None = None,
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    mask_polarity: str = "missing",
    noise: str = "gaussian",
    noise_sigma: float | str = "auto",
    gain: float = 1.0,
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
) -> Any:
    """Restore the scene s behind a picture ``b = H s + noise`` of which pixels may be missing.

    A smooth base layer u (see :func:`csc_cogd.restore.deconvolution.smooth_scene`) is taken off, the detail ``b - H u`` is
    coded sparsely over the filters as H shows them, and the scene is u plus what the filters themselves make of the code.
    Nothing is imposed beyond the picture. (The function isn't called ``restore``, as a subpackage is.)

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
        8- or 16-bit (or any) integers, or floats of any range; NaN is missing. Masked arrays of ``numpy.ma`` bring their
        mask along, arrays of CuPy come back as such. With Gaussian noise, scaling or shifting the values scales and shifts
        the result.
    operator : Blur or Decimation
        H; see :mod:`csc_cogd.restore.operators`.
    mask : (H, W) array, or of the image's shape, optional
        Non-zero means missing.
    noise : {"gaussian", "poisson"}
        ``"poisson"``: the values times `gain` are counts of events (photons, electrons).
    noise_sigma : float >= 0 or "auto"
        Standard deviation of Gaussian noise, in the image's units; ``"auto"`` estimates it, see
        :func:`csc_cogd.restore.noise.estimate_noise`. Below 0.5/255 of the image's range, for decimation 2/255, it is taken
        to be that much: model and code aren't exact.
    gain : float > 0
        Counts to one unit of the image, with Poisson noise.
    dictionary, channel_axis, stack_axis, mask_polarity, tol, tile, max_memory, dtype, device, threads, fft, callback
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
    >>> scene = np.zeros((32, 32))
    >>> scene[:, 16:] = 200
    >>> blurred = np.apply_along_axis(np.convolve, 1, np.pad(scene, ((0, 0), (2, 2)), "edge"), np.ones(5) / 5, "valid")
    >>> restored = restore_image(blurred, Blur(np.ones((1, 5))), noise_sigma=0.5)
    >>> float(abs(blurred - scene).max()), bool(abs(restored - scene).max() < 30)
    (80.0, True)
    """
    if not isinstance(operator, (Blur, Decimation)):
        raise InputError(f"operator: a Blur or a Decimation is needed, not {type(operator).__name__}")
    pixels, missing = find_missing(
        image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=True
    )  # fmt: skip
    max_iter = ITERATIONS if max_iter is None else max_iter
    _check(pixels, missing, operator, noise, noise_sigma, gain)
    check_settings(lmbda or 0.0, max_iter, tol)
    groups = channel_groups(len(pixels), dictionary)
    engine = engine_settings(dtype, device, threads, fft)
    backend = get_backend(**engine)
    (h, w), f, (height, width) = operator.kernel.shape, operator.factor, operator.restored_shape(pixels.shape[1:])
    settings = {
        "kernel": f"{h} x {w}", "factor": f, "noise": noise, "device": device, "dtype": engine["dtype"],
        "max_iter": max_iter, "rho": RHO, "rho_data": RHO_DATA,
    }  # fmt: skip
    report = RestorationReport(float(missing.mean()), settings)
    restored = None if dry_run else np.empty((len(pixels), height, width), pixels.dtype)
    for channels, group_dictionary in groups:
        values = [plane[~gone] for plane, gone in zip(pixels[channels], missing[channels], strict=True)]
        low, high = intensity_range(values)
        low = 0.0 if noise == "poisson" else low
        damaged = Damaged(pixels[channels], missing[channels], low, high, np.inf)
        taken, most = memory_to_plan_with(
            backend, picture_memory(pixels.size, pixels.dtype.itemsize, len(values) * height * width), max_memory
        )
        plan_for = partial(
            _plan, damaged.missing, partial(_tile_memory, group_dictionary, backend.dtype.itemsize, operator), taken, tile,
            backend.threads, Overlap.on_grid(f, 2 * max(h, w)),
        )  # fmt: skip
        plan = plan_for(most)
        if noise == "poisson":
            level = (sum(float(v.sum(dtype=np.float64)) for v in values) / sum(map(len, values)) - low) / (high - low)
            level = level or 1.0
            sigma = float(np.sqrt(level / (gain * (high - low))))
        else:
            level, (looked_at, gone) = 1.0, damaged.piece(*middle_of(pixels.shape[1:]))
            sigma = noise_of(looked_at, ~gone, noise_sigma, high - low)
        if np.isnan(sigma):
            sigma, report.warnings[:] = 0.0, [NOISE_UNKNOWN]
        report.plans.append(plan)
        report.noise_sigmas.append(sigma * (high - low))
        if restored is None:
            continue
        options = {"max_iter": max_iter, "tol": tol, "rho": RHO, "rho_data": RHO_DATA, **engine}
        group = _Group(damaged, operator, group_dictionary, noise, level, options)
        restore = partial(_restore_group, group, sigma, lmbda, callback)
        planes, strength, history, report.plans[-1] = retry_in_less_memory(restore, plan_for, most, taken, backend.release)
        for target, plane in zip(restored[channels], planes, strict=True):
            plane *= high - low
            plane += low
            target[...] = as_pixels(np.maximum(plane, 0) if noise == "poisson" else plane, pixels.dtype)
        report.lmbdas.append(strength)
        report.histories.append(history)
        report.dictionaries.append(group_dictionary)

    restored = pixels if restored is None else restored
    restored = restored[0] if channel_axis is None else np.ascontiguousarray(np.moveaxis(restored, 0, channel_axis))
    return (restored, report) if return_report else restored


def _check(
    pixels: np.ndarray, missing: np.ndarray, operator: Any, noise: str, noise_sigma: float | str, gain: float
) -> None:
    if pixels.dtype.kind == "b":
        raise InputError("image: it is bilevel: widen it to 8 bits first")
    (h, w), (H, W) = operator.kernel.shape, pixels.shape[1:]
    if isinstance(operator, Blur) and (h > H or w > W):
        raise InputError(f"kernel: {h} x {w} is larger than the image, {H} x {W}: cut off its margin")
    if noise not in NOISES:
        raise InputError(f"noise: {noise!r} is unknown: choose 'gaussian' or 'poisson'")
    check_noise_sigma(noise_sigma)
    if not (np.isfinite(gain) and gain > 0):
        raise InputError(f"gain: {gain} counts to a unit of the image aren't possible: use a number above zero")
    if noise == "poisson" and noise_sigma != "auto":
        raise InputError("noise_sigma: Poisson noise follows from the values and the gain: leave it out")
    if noise == "gaussian" and gain != 1:
        raise InputError("gain: it belongs to the noise 'poisson': leave it out")
    if noise == "poisson" and (pixels[~missing] < 0).any():
        raise InputError("image: there are negative values, which aren't counts: take off the detector's offset first")


def _tile_memory(dictionary: Dictionary, itemsize: int, operator: Blur | Decimation, shape: tuple[int, int]) -> int:
    return admm_memory(dictionary, itemsize, operator.scene_shape(shape), gradient_penalty=True)


@dataclass(frozen=True, eq=False)
class _Group:
    """Channels that are coded together, and how; `level` is their mean on the scale of [0, 1] for Poisson noise."""

    damaged: Damaged
    operator: Blur | Decimation
    dictionary: Dictionary
    noise: str
    level: float
    options: dict[str, Any]

    def layers(self, tile: Tile) -> tuple[np.ndarray, ...]:
        """Of a tile's part of the picture: its values, which are known, the base layer, and the picture of that."""
        observed, gone = self.damaged.piece(*tile.window)
        base = smooth_scene(observed, ~gone, self.operator)
        return observed, ~gone, base, self.operator.apply(base)


def _plan(
    missing: np.ndarray, solve: Callable[[tuple[int, int]], int], taken: int, tile: int | str, threads: int,
    overlap: Overlap, most: float,
) -> Plan:  # fmt: skip
    everywhere = np.ones(missing.shape[1:], bool)
    return choose_tiles(everywhere, missing, solve, taken, tile=tile, max_memory=most, threads=threads, overlap=overlap)


def _restore_group(
    group: _Group, sigma: float, lmbda: float | None, callback: Callable[[Progress], Any] | None, plan: Plan
) -> tuple[np.ndarray, float, list[Iteration], Plan]:
    """The restored channels on the scale of [0, 1], lmbda, the history of the first tile's code, and the plan."""
    operator, (tiles, jobs, _) = group.operator, plan
    several, max_iter = len(tiles) > 1, group.options["max_iter"]

    def tell(stage: str, done: int, total: int, record: Any = None) -> Any:
        return callback(Progress(stage, done, total, record)) if callback else None

    tell("tiles" if several else "base layer", 0, len(tiles))
    kept = None if several else group.layers(tiles[0])
    if lmbda is None:

        def energy(tile: Tile) -> float:
            observed, known, _, expected = kept or group.layers(tile)
            return float((tile.weight * known * (observed - expected) ** 2).sum())

        known_values = np.count_nonzero(~group.damaged.missing)
        lmbda = _strength(sigma, sum(map_tiles(energy, tiles, jobs)) / known_values, operator)
    options = group.options | {"lmbda": lmbda, "gradient_penalty": GRADIENT_PENALTY * lmbda}
    if jobs > 1:
        options["threads"] = 1
    if not several:
        options["callback"] = lambda record: tell("codes", record.iteration, max_iter, record)
    stopped = False

    def work(tile: Tile) -> tuple[np.ndarray, list[Iteration]]:
        observed, known, base, expected = kept or group.layers(tile)
        if stopped:
            return operator.crop(base), []
        if group.noise == "poisson":
            coded, weights, extra = observed, known * group.level, {"fidelity": "poisson", "background": expected}
        else:
            coded, weights, extra = np.where(known, observed - expected, 0.0), known, {}
        code = _codes(group.dictionary, operator, coded, weights, extra, options)
        detail = reconstruct_images(code.codes, group.dictionary, device=options["device"]).reshape(base.shape)
        return operator.crop(base + detail), code.history

    pixels = group.damaged.pixels
    height, width = operator.restored_shape(pixels.shape[1:])
    total = np.zeros((len(pixels), height, width), np.result_type(pixels.dtype, np.float32))
    history: list[Iteration] = []
    with closing(map_tiles(work, tiles, jobs)) as results:
        for number, (tile, (piece, record)) in enumerate(zip(tiles, results, strict=True), 1):
            fine = tile.finer(operator.factor)
            total[:, *fine.window] += fine.weight * piece
            history = history or record
            if several and tell("tiles", number, len(tiles)):
                stopped = True
    return total, lmbda, history, plan


def _strength(sigma: float, energy: float, operator: Blur | Decimation) -> float:
    """lmbda for noise of sigma: ``LMBDA sigma^p a^(1 - p)``, with a the standard deviation of the detail less its noise.

    `energy` is the detail's mean square. So it scales with the image. If codes were independent with a Laplacian
    distribution, p would be 2.
    """
    sigma = max(sigma, LEAST_SIGMA[type(operator)])
    amplitude = np.sqrt(max(energy - sigma**2, sigma**2 / 4))
    return float(LMBDA * sigma**LMBDA_POWER * amplitude ** (1 - LMBDA_POWER))


def _codes(
    dictionary: Dictionary,
    operator: Any,
    coded: np.ndarray,
    weights: np.ndarray,
    extra: dict[str, Any],
    options: dict[str, Any],
) -> Any:
    """Sparse codes of (C, H, W) over the filters as the operator shows them, on the scene's grid."""
    channels = slice(None) if dictionary.filters.ndim == 4 else 0
    images, weights = operator.on_grid(coded)[None, channels], operator.on_grid(weights)[None, channels]
    if "background" in extra:
        extra = extra | {"background": operator.on_grid(extra["background"])[None, channels]}
    return sparse_code(
        images, operator.blurred(dictionary), weights=weights, l1_weights=frequency_weights(dictionary), **extra, **options
    )
