"""Reconstruction: learn filters and codes of pictures, and rebuild the pictures from them [CoGD, section 5.2]."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import beside, device_of, from_gpu, with_mask
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.csc.alternation import Round
from csc_cogd.csc.codes import reconstruct_images, sparse_code
from csc_cogd.csc.debias import debias as refit
from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.csc.learning import filter_shapes, learn_dictionary
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.learning.base_detail import Layers, split_layers
from csc_cogd.learning.learn import bytes_needed, check_memory
from csc_cogd.report.figures import data_range_of
from csc_cogd.report.information import code_bits
from csc_cogd.report.metrics import WINDOW, psnr, ssim
from csc_cogd.restore.report import Progress

LMBDA = 0.03
CODE_ITERATIONS = 100
BIT_STEP = 1 / 255  # amplitudes are counted to one grey level of 8 bits


class Quality(NamedTuple):
    """How well a picture was rebuilt, and from how much.

    Attributes
    ----------
    psnr : float
        In dB, against the original, over its known values; for its peak see
        :func:`csc_cogd.report.figures.data_range_of`.
    ssim : float
        With the same peak; NaN where values are missing or the picture is smaller than its window.
    nonzeros : int
        Codes that aren't zero.
    nonzeros_per_value : float
        The same, by value of the picture.
    bits : float
        An estimate of the codes' information (see :func:`csc_cogd.report.information.code_bits`) with amplitudes to 1/255 of
        the picture's range, the base layer not counted.
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
        Of each picture's detail; (C, K, ..) where a grey dictionary codes the channels one by one.
    reconstruction : list of arrays
        The images rebuilt, each of its original's shape and dtype.
    quality : list of Quality
    history : list of Round
        Of learning; empty for a given dictionary.
    """

    dictionary: Dictionary
    codes: list[np.ndarray]
    reconstruction: list[np.ndarray]
    quality: list[Quality]
    history: list[Round]


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
    callback: Callable[[Progress], Any] | None = None,
) -> Reconstruction:
    """Learn filters and codes from pictures and rebuild them, or code them with a given dictionary.

    Each picture becomes a smooth base layer and detail (see :mod:`csc_cogd.learning.base_detail`). Filters are learned from
    all details together, which minimizes CoGD's eq. 21; then each detail is coded over the filters, and rebuilt from that.

    Parameters
    ----------
    images : sequence of (H, W) arrays, or with channels along `channel_axis`
        Integers or floats. Without a `dictionary`, all of one shape. NaN is missing: it is filled in.
        Of arrays of CuPy, codes and reconstruction are such.
    dictionary : Dictionary, optional
        Default: learn one. A grey dictionary codes the channels of a colour picture one by one.
    n_filters, filter_shape : of the filters to learn; see :func:`csc_cogd.learn_dictionary`
    channel_axis : int, optional
        Axis of the channels; default: grey images.
    lmbda : float >= 0
        Weight of the l1 term for pictures in [0, 1]: larger is sparser, and less faithful.
    max_iter : int
        Rounds of learning.
    cogd : CogradientRule, optional
        Learn with cogradient descent.
    debias : bool
        Refit the codes without the l1 term on the support that it has found: more faithful, equally sparse.
    seed : int
        Of the initial filters.
    checkpoint : path, optional
        File to save learning to, and to go on from; see :func:`csc_cogd.learn_dictionary`.
    dtype, device, threads, fft
        As in :func:`csc_cogd.sparse_code`.
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
    if dictionary is not None and (cogd is not None or checkpoint is not None):
        raise InputError("dictionary", "is given, so nothing is learned", "leave out {cogd} and {checkpoint}")
    if dictionary is not None:
        check_dictionary(dictionary)
    images = images if hasattr(images, "__len__") else list(images)
    device = device_of(images[0], device) if len(images) else device
    engine = Engine(dtype, device, threads, fft)
    if dictionary is not None:
        engine = engine.without_measuring()
    layers = split_layers(images, channel_axis, engine.backend)

    def tell(stage: str, total: int, record: Any) -> Any:
        return callback(Progress(stage, record.iteration, total, record)) if callback else None

    history: list[Round] = []
    if dictionary is None:
        details, weights = _stacks(layers)
        check_memory(bytes_needed(details, filter_shapes(n_filters, filter_shape), cogd is not None, dtype))
        learned = learn_dictionary(
            details, n_filters, filter_shape, lmbda=lmbda, weights=weights, max_iter=max_iter, cogd=cogd, seed=seed,
            checkpoint=checkpoint, callback=lambda record: tell("learning", max_iter, record), engine=engine,
        )  # fmt: skip
        dictionary, history = learned.dictionary, learned.history
    codes, rebuilt, quality = [], [], []
    for image, layer in zip(images, layers, strict=True):
        detail, known = _as_coded(layer.detail, dictionary), _as_coded(layer.known, dictionary)
        result = sparse_code(
            detail, dictionary, lmbda=lmbda, weights=known, max_iter=CODE_ITERATIONS,
            callback=lambda record: tell("codes", CODE_ITERATIONS, record), engine=engine,
        )  # fmt: skip
        code = result.codes
        if debias:
            code = refit(detail, code, dictionary, weights=known, engine=engine)
        fit = reconstruct_images(code, dictionary, device=device)  # as anybody does who has the two, to the last bit
        picture = layer.picture(fit.reshape(layer.detail.shape))
        codes.append(beside(code, image))
        rebuilt.append(beside(picture, image))
        quality.append(_quality(np.ma.getdata(with_mask(from_gpu(image))), picture, layer, code))
    return Reconstruction(dictionary, codes, rebuilt, quality, history)


def _stacks(layers: list[Layers]) -> tuple[np.ndarray, np.ndarray | None]:
    """Details (N, H, W) or (N, C, H, W), and their weights where something is missing."""
    shapes = sorted({layer.detail.shape for layer in layers})
    if len(shapes) > 1:
        problem = f"must be of one shape to learn from, got {shapes[0]} and {shapes[1]} (channels, height, width)"
        raise InputError("images", problem, "learn a dictionary with learn_dictionary_online first, or give one")
    details, known = np.stack([layer.detail for layer in layers]), np.stack([layer.known for layer in layers])
    if details.shape[1] == 1:
        details, known = details[:, 0], known[:, 0]
    return details, None if known.all() else known


def _as_coded(planes: np.ndarray, dictionary: Dictionary) -> np.ndarray:
    """Planes (C, H, W) as the stack of images that the dictionary codes."""
    if dictionary.filters.ndim == 3:
        return planes
    if len(planes) != dictionary.n_channels:
        problem = f"has filters of {dictionary.n_channels} channels, but the images have {len(planes)}"
        raise InputError("dictionary", problem, "use a gray one")
    return planes[None]


def _quality(image: np.ndarray, picture: np.ndarray, layer: Layers, code: np.ndarray) -> Quality:
    known = layer.known[0] if layer.channel_axis is None else np.moveaxis(layer.known, 0, layer.channel_axis)
    peak = data_range_of(image[known])
    peak = layer.high - layer.low if np.isnan(peak) else peak
    image, picture = (np.where(known, (np.asarray(p, np.float64) - layer.low) / peak, 0) for p in (image, picture))
    comparable = known.all() and min(layer.detail.shape[1:]) >= WINDOW
    similarity = ssim(picture, image, data_range=1, channel_axis=layer.channel_axis) if comparable else float("nan")
    nonzeros, bits = int(np.count_nonzero(code)), sum(code_bits(maps, BIT_STEP) for maps in code)
    return Quality(
        psnr(picture, image, data_range=1, where=known), similarity,
        nonzeros, nonzeros / image.size, bits, bits / image.size,
    )  # fmt: skip
