"""Reconstruction: learn filters and codes of images, and reconstruct the images from them [CoGD, section 5.2]."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import beside, from_gpu, with_mask
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.csc.alternation import OuterIteration
from csc_cogd.csc.codes import reconstruct_images, sparse_code
from csc_cogd.csc.debias import debias as refit
from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.csc.learning import filter_shapes, learn_dictionary
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import InputError
from csc_cogd.learning.base_detail import Decomposition, decompose
from csc_cogd.learning.learn import bytes_needed, check_memory, report_to, without_single_channel
from csc_cogd.report.figures import data_range_of
from csc_cogd.report.information import code_bits
from csc_cogd.report.metrics import WINDOW, psnr, ssim
from csc_cogd.restore.report import Progress

LMBDA = 0.03
CODE_ITERATIONS = 100
BIT_STEP = 1 / 255  # amplitudes are counted to one gray level of 8 bits


class Quality(NamedTuple):
    """The quality of a reconstructed image, and the size of its code.

    Attributes
    ----------
    psnr : float
        In dB, against the original, over its known values; for its peak see
        :func:`csc_cogd.report.figures.data_range_of`.
    ssim : float
        With the same peak; NaN if values are missing or the image is smaller than its window.
    nonzeros : int
        Codes that aren't zero.
    nonzeros_per_value : float
        The same, divided by the values of the image.
    bits : float
        An estimate of the codes' information (see :func:`csc_cogd.report.information.code_bits`) with amplitudes to 1/255 of
        the image's range, the base layer not counted.
    bits_per_value : float
    """

    psnr: float
    ssim: float
    nonzeros: int
    nonzeros_per_value: float
    bits: float
    bits_per_value: float


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Result of :func:`reconstruct`.

    Attributes
    ----------
    dictionary : Dictionary
    codes : list of (1, K, H + h - 1, W + w - 1) arrays
        Of each image's detail; (C, K, ..) if a gray dictionary codes the channels one by one.
    reconstruction : list of arrays
        The reconstructed images, each of its original's shape and dtype.
    quality : list of Quality
    history : list of OuterIteration
        Of learning; empty for a given dictionary.
    """

    dictionary: Dictionary
    codes: list[np.ndarray]
    reconstruction: list[np.ndarray]
    quality: list[Quality]
    history: list[OuterIteration]


def reconstruct(
    images: Sequence[Any],
    dictionary: Dictionary | None = None,
    *,
    n_filters: int | Sequence[int] = 64,
    filter_shape: int | Sequence[Any] = 11,
    channel_axis: int | None = None,
    lmbda: float = LMBDA,
    max_iter: int = 20,
    debias: bool = False,
    seed: int = 0,
    cogd: CogradientRule | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[Progress], Any] | None = None,
) -> Reconstruction:
    """Learn filters and codes from images and reconstruct them, or code them with a given dictionary.

    Each image becomes a smooth base layer and detail (see :mod:`csc_cogd.learning.base_detail`). Filters are learned from
    all details together, which minimizes CoGD's eq. 21; then each detail is coded over the filters, and reconstructed from
    its code.

    Parameters
    ----------
    images : sequence of (H, W) arrays, or with channels along `channel_axis`
        Integers or floats. Without a `dictionary`, all of one shape. NaN is missing: it is filled in.
        Of arrays of CuPy, codes and reconstruction are such.
    dictionary : Dictionary, optional
        Default: learn one. A gray dictionary codes the channels of a color image one by one.
    n_filters : int, or sequence of int
        Number of filters to learn; see :func:`csc_cogd.learn_dictionary`.
    filter_shape : int or (h, w), or sequence of these
        Their size; see :func:`csc_cogd.learn_dictionary`.
    channel_axis : int, optional
        Axis of the channels; default: gray images.
    lmbda : float
        Weight of the l1 term, >= 0, for images in [0, 1]: larger is sparser, and less faithful.
    max_iter : int
        Rounds of learning.
    debias : bool
        Refit the codes without the l1 term on the support that it has found: more faithful, equally sparse.
    seed : int
        Random seed for the initial filters.
    cogd : CogradientRule, optional
        Learn with cogradient descent.
    checkpoint : path, optional
        File to save learning to, and to continue it from; see :func:`csc_cogd.learn_dictionary`.
    dtype : {"float32", "float64"}
        Precision of the computation.
    device : str
        See :func:`csc_cogd.backend.get_backend`, also for `threads` and `fft`.
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.
    callback : callable, optional
        Called with a :class:`csc_cogd.Progress`; a true return value ends the present stage early.

    Returns
    -------
    Reconstruction

    Raises
    ------
    InputError
        If an argument doesn't fit; the message says which.
    DeviceError
        If learning needs more memory than the machine has.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 24, 24), np.uint8)
    >>> result = reconstruct(images, n_filters=4, filter_shape=5, max_iter=2)
    >>> result.reconstruction[0].shape, result.reconstruction[0].dtype, len(result.quality)
    ((24, 24), dtype('uint8'), 2)
    """
    if dictionary is not None:
        check_dictionary(dictionary)
        for name, value in (("cogd", cogd), ("checkpoint", checkpoint)):
            if value is not None:
                raise InputError(name, "belongs to learning, but a dictionary is given", "leave one of them out")
    images = images if hasattr(images, "__len__") else list(images)
    engine = record_of(Engine(dtype, device, threads, fft), engine).beside(images)
    if dictionary is not None:
        engine = engine.without_measuring()
    decompositions = decompose(images, channel_axis, engine.backend)
    history: list[OuterIteration] = []
    if dictionary is None:
        details, weights = _stacks(decompositions)
        check_memory(bytes_needed(details, filter_shapes(n_filters, filter_shape), cogd is not None, engine.dtype))
        learned = learn_dictionary(
            details, n_filters, filter_shape, lmbda=lmbda, weights=weights, max_iter=max_iter, cogd=cogd, seed=seed,
            checkpoint=checkpoint, callback=report_to(callback, "learning", max_iter), engine=engine,
        )  # fmt: skip
        dictionary, history = learned.dictionary, learned.history
    coder = _Coder(dictionary, lmbda, debias, engine, report_to(callback, "codes", CODE_ITERATIONS))
    codes, rebuilt, quality = [], [], []
    for image, decomposition in zip(images, decompositions, strict=True):
        code, fit = coder.code(decomposition)
        restored = decomposition.compose(fit.reshape(decomposition.detail.shape))
        codes.append(beside(code, image))
        rebuilt.append(beside(restored, image))
        quality.append(_quality(np.ma.getdata(with_mask(from_gpu(image))), restored, decomposition, code))
    return Reconstruction(dictionary, codes, rebuilt, quality, history)


@dataclass(frozen=True)
class _Coder:
    """Codes the details of images over a dictionary; see :func:`reconstruct`."""

    dictionary: Dictionary
    lmbda: float
    debias: bool
    engine: Engine
    callback: Callable[[Any], Any]

    def code(self, decomposition: Decomposition) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of a detail, and the detail reconstructed from them."""
        detail, known = (_as_coded(planes, self.dictionary) for planes in (decomposition.detail, decomposition.known))
        code = sparse_code(
            detail, self.dictionary, lmbda=self.lmbda, weights=known, max_iter=CODE_ITERATIONS, callback=self.callback,
            engine=self.engine,
        ).codes  # fmt: skip
        if self.debias:
            code = refit(detail, code, self.dictionary, weights=known, engine=self.engine)
        return code, reconstruct_images(code, self.dictionary, device=self.engine.device)  # as users do, to the last bit


def _stacks(decompositions: list[Decomposition]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the details (N, H, W) or (N, C, H, W), and their weights if something is missing."""
    shapes = sorted({each.detail.shape for each in decompositions})
    if len(shapes) > 1:
        raise InputError(
            "images", f"must be of one shape to be learned from together, got (C, H, W) of {shapes[0]} and {shapes[1]}",
            "learn a dictionary with learn_dictionary_online first, or give a {dictionary}",
        )  # fmt: skip
    lists = [each.detail for each in decompositions], [each.known for each in decompositions]
    details, known = map(np.stack, without_single_channel(*lists))
    return details, None if known.all() else known


def _as_coded(planes: np.ndarray, dictionary: Dictionary) -> np.ndarray:
    """Return planes (C, H, W) as the stack of images that the dictionary codes."""
    if dictionary.filters.ndim == 3:
        return planes
    if len(planes) != dictionary.n_channels:
        have = f"has filters of {dictionary.n_channels} channels, but the images have {len(planes)}"
        raise InputError("dictionary", have, "use a gray one")
    return planes[None]


def _quality(image: np.ndarray, restored: np.ndarray, decomposition: Decomposition, code: np.ndarray) -> Quality:
    axis = decomposition.channel_axis
    known = decomposition.known[0] if axis is None else np.moveaxis(decomposition.known, 0, axis)
    peak = data_range_of(image[known])
    peak = decomposition.high - decomposition.low if np.isnan(peak) else peak
    image, restored = (np.where(known, (np.asarray(p, np.float64) - decomposition.low) / peak, 0) for p in (image, restored))
    comparable = known.all() and min(decomposition.detail.shape[1:]) >= WINDOW
    similarity = ssim(restored, image, data_range=1, channel_axis=axis) if comparable else float("nan")
    nonzeros, bits = int(np.count_nonzero(code)), sum(code_bits(maps, BIT_STEP) for maps in code)
    return Quality(
        psnr(restored, image, data_range=1, where=known), similarity,
        nonzeros, nonzeros / image.size, bits, bits / image.size,
    )  # fmt: skip
