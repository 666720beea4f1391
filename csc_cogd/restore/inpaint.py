"""Inpainting: fill the missing pixels of an image by a smooth base layer and a sparse code of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from csc_cogd.csc.admm import Iteration
from csc_cogd.csc.codes import SparseCodes, sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import learn_dictionary
from csc_cogd.restore.base_layer import base_layer, pilot_estimate
from csc_cogd.restore.coding import Progress, channel_groups, frequency_weights
from csc_cogd.restore.damage import find_missing
from csc_cogd.restore.layers import intensity_range
from csc_cogd.restore.trust import trust_in_code

LMBDA = 0.005
GRADIENT_PENALTY = 0.01
ITERATIONS, ITERATIONS_SCATTERED, SCATTERED = 80, 50, (0.25, 0.6)  # fewer where this much is missing, in small holes
RHO, RHO_DATA = 0.15, 0.3
LEARNING_ROUNDS, LEARNING_RHO = 10, 1.5
LEARNING_LMBDA = 6.0  # times lmbda: filters are learned from sparser and smoother codes than pictures are restored with,
LEARNING_GRADIENT_PENALTY = 1.0  # or they take up the pattern of the missing pixels


@dataclass(frozen=True, eq=False)
class InpaintingReport:
    """What :func:`inpaint` did, for those who ask.

    Attributes
    ----------
    missing : float
        Fraction of the values.
    settings : dict
    histories, dictionaries, trust : lists
        By group of channels that are coded together: the solver's history, the dictionary, and the weight of the code
        against the pilot (see :func:`csc_cogd.restore.trust.trust_in_code`).
    """

    missing: float
    settings: dict[str, Any]
    histories: list[list[Iteration]] = field(default_factory=list)
    dictionaries: list[Dictionary] = field(default_factory=list)
    trust: list[float] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What was chosen and how it went, for a person to read."""
        chosen = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [f"settings: {chosen}"]
        for dictionary, history, trust in zip(self.dictionaries, self.histories, self.trust, strict=True):
            end, (h, w) = history[-1], dictionary.filter_shape
            lines.append(
                f"{dictionary.n_filters} filters up to {h} x {w}: {end.iteration} iterations in {end.seconds:.1f} s, "
                f"objective {end.objective:.4g}, residuals {end.primal_residual:.1e} and {end.dual_residual:.1e}; "
                f"weight of the code {trust:.2f}, of biharmonic interpolation {1 - trust:.2f}"
            )
        return lines


def inpaint(
    image: Any,
    mask: Any = None,
    *,
    dictionary: Dictionary | None = None,
    channel_axis: int | None = None,
    mask_polarity: str = "missing",
    keep_known: bool = True,
    learn: bool = False,
    lmbda: float = LMBDA,
    max_iter: int | None = None,
    tol: float = 0.0,
    dtype: Any = None,
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    callback: Callable[[Progress], Any] | None = None,
    return_report: bool = False,
) -> Any:
    """Fill the missing pixels of an image.

    A base layer, the low-passed biharmonic estimate, takes the smooth part; the rest is coded sparsely over a
    dictionary from the known pixels alone, and the code fills the gaps. How far to trust it against the biharmonic
    estimate is measured on known pixels that are hidden for the purpose.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
        8- or 16-bit (or any) integers, or floats of any range; NaN is missing. Masked arrays of ``numpy.ma`` bring their
        mask along. Scaling or shifting the values scales and shifts the result.
    mask : (H, W) array, or of the image's shape, optional
        Non-zero means missing.
    dictionary : Dictionary, optional
        Default: the one that ships, for grey or for colour. With a grey dictionary the channels are restored one by
        one; with a colour dictionary three channels (the first three of four) together; else all channels together.
    channel_axis : int, optional
        Axis of the channels; default: a grey image.
    mask_polarity : {"missing", "valid"}
        ``"valid"``: non-zero means known.
    keep_known : bool
        Return known pixels exactly as they came in; otherwise their approximation by the code, which smooths noise.
    learn : bool
        Adapt the dictionary to this image, from its known pixels: slower, better on repetitive texture.
    lmbda : float
        Weight of the l1 term for an image in [0, 1]; larger is smoother.
    max_iter : int, optional
        Iterations of the code solve; default: 80, or 50 where 25 to 60 % is missing. Stopping early is
        part of the regularisation: many more don't improve the picture.
    tol : float
        Stop earlier, where the relative residuals are below.
    dtype : {"float32", "float64"}, optional
        Precision of the computation; default: float32.
    device, threads, fft
        See :func:`csc_cogd.backend.get_backend`.
    callback : callable, optional
        Called with a :class:`Progress`; a true return value ends the present stage early.
    return_report : bool
        Also return an :class:`InpaintingReport`.

    Returns
    -------
    array of the image's shape and dtype, or (array, InpaintingReport)
        Filled values lie within the range of the known ones.

    Raises
    ------
    InputError
        If the image isn't one, the mask doesn't fit, or nothing or everything is missing.

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
    pixels, missing = find_missing(image, mask, channel_axis=channel_axis, mask_polarity=mask_polarity)
    groups = channel_groups(len(pixels), dictionary)
    if max_iter is None:
        scattered = SCATTERED[0] <= missing.any(axis=0).mean() <= SCATTERED[1]
        max_iter = ITERATIONS_SCATTERED if scattered else ITERATIONS
    settings = {
        "device": device, "dtype": dtype or "float32", "learn": learn, "lmbda": lmbda,
        "gradient_penalty": GRADIENT_PENALTY, "max_iter": max_iter, "rho": RHO, "rho_data": RHO_DATA,
    }  # fmt: skip
    report = InpaintingReport(float(missing.mean()), settings)
    known_values = [plane[~gone] for plane, gone in zip(pixels, missing, strict=True)]

    def tell(stage: str, total: int, record: Any) -> Any:
        return callback(Progress(stage, record.iteration if record else 0, total, record)) if callback else None

    backend: dict[str, Any] = {"dtype": dtype or "float32", "device": device, "threads": threads, "fft": fft}
    restored = np.where(missing, 0.0, pixels).astype(np.float64)
    for channels, group_dictionary in groups:
        gone = missing[channels]
        if not gone.any() and keep_known:
            continue
        tell("base layer", 1, None)
        low, high = intensity_range(known_values[channels])
        scaled = np.where(gone, 0.0, (restored[channels] - low) / (high - low))
        pilot = pilot_estimate(scaled, gone)
        base = base_layer(pilot)
        detail, known = np.where(gone, 0.0, scaled - base)[None], ~gone[None]
        if learn:
            group_dictionary = _adapt(group_dictionary, detail, known, lmbda, tell, backend)
        code = partial(
            _code, group_dictionary,
            {
                "lmbda": lmbda, "l1_weights": frequency_weights(group_dictionary), "gradient_penalty": GRADIENT_PENALTY,
                "max_iter": max_iter, "tol": tol, "rho": RHO, "rho_data": RHO_DATA, **backend,
            },
        )  # fmt: skip
        result = code(detail, known, callback=lambda record: tell("codes", max_iter, record))
        coded = base + result.reconstruction.reshape(base.shape)
        tell("checking", 1, None)
        trust = trust_in_code(scaled, gone, lambda *tiles, code=code: code(*tiles).reconstruction.reshape(tiles[0].shape))
        filled = np.where(gone, pilot + trust * (coded - pilot), coded)
        restored[channels] = filled * (high - low) + low
        report.trust.append(trust)
        report.histories.append(result.history)
        report.dictionaries.append(group_dictionary)

    for plane, values in zip(restored, known_values, strict=True):
        np.clip(plane, values.min(), values.max(), out=plane)
    if pixels.dtype.kind in "iub":
        restored = np.rint(restored)
    restored = restored.astype(pixels.dtype)
    if keep_known:
        restored[~missing] = pixels[~missing]
    restored = restored[0] if channel_axis is None else np.ascontiguousarray(np.moveaxis(restored, 0, channel_axis))
    return (restored, report) if return_report else restored


def _code(
    dictionary: Dictionary, options: dict[str, Any], detail: np.ndarray, known: np.ndarray, callback: Any = None
) -> SparseCodes:
    """Sparse codes of details (N, C, H, W) from their known pixels."""
    if dictionary.filters.ndim == 3:
        detail, known = detail[:, 0], known[:, 0]
    return sparse_code(detail, dictionary, weights=known, callback=callback, **options)


def _adapt(
    dictionary: Dictionary, detail: np.ndarray, known: np.ndarray, lmbda: float, tell: Any, backend: dict[str, Any]
) -> Dictionary:
    """Continue learning the dictionary on the known pixels of the damaged image itself."""
    shapes, counts = np.unique(dictionary.shapes, axis=0, return_counts=True)
    order = np.lexsort(dictionary.shapes.T[::-1])
    ordered = Dictionary(dictionary.filters[order], dictionary.shapes[order])
    learned = learn_dictionary(
        detail[:, 0] if dictionary.filters.ndim == 3 else detail,
        [int(count) for count in counts],
        [tuple(int(size) for size in shape) for shape in shapes],
        lmbda=LEARNING_LMBDA * lmbda,
        gradient_penalty=LEARNING_GRADIENT_PENALTY,
        rho=LEARNING_RHO,
        rho_data=LEARNING_RHO,
        max_iter=LEARNING_ROUNDS,
        code_iterations=8,
        filter_iterations=8,
        tol=0.0,
        start=ordered,
        callback=lambda record: tell("learning", LEARNING_ROUNDS, record),
        weights=known[:, 0] if dictionary.filters.ndim == 3 else known,
        **backend,
    )
    return learned.dictionary
