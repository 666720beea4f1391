"""What is coded: images, weights and filters, checked at the door and laid out on the domain of the codes.

Images of H x W are placed on a larger periodic domain, with weight zero around them, so that no boundary condition is
imposed on them and the FFT's wrap-around touches only what isn't observed [FFCSC, section 3.1]. On that domain

    image[i, j] = sum_k sum_ab d_k[a, b] x_k[i + h - 1 - a, j + w - 1 - b],       0 <= i < H, 0 <= j < W,

the "valid" part of the convolutions, so codes are (H + h - 1) x (W + w - 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, Index, as_array, is_masked, on_gpu
from csc_cogd.backend.fft import fast_length
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.prox import DataTerm, MaskedAbsoluteDeviation, MaskedLeastSquares, MaskedPoissonLikelihood
from csc_cogd.errors import InputError

BOUNDARIES = ("free", "circular")
FIDELITIES = ("least squares", "absolute deviation", "poisson")


@dataclass(frozen=True)
class Domain:
    """Where images and codes lie on the periodic domain of the transforms."""

    image_shape: tuple[int, int]
    filter_shape: tuple[int, int]
    boundary: str = "free"

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the transforms."""
        if self.boundary == "circular":
            return self.image_shape
        height, width = self.codes_shape
        return fast_length(height), fast_length(width)

    @property
    def codes_shape(self) -> tuple[int, int]:
        """Size of a code map: the positions from which a filter reaches the image."""
        if self.boundary == "circular":
            return self.image_shape
        (H, W), (h, w) = self.image_shape, self.filter_shape
        return H + h - 1, W + w - 1

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the image stands on the domain."""
        H, W = self.image_shape
        top, left = (0, 0) if self.boundary == "circular" else (self.filter_shape[0] - 1, self.filter_shape[1] - 1)
        return slice(top, top + H), slice(left, left + W)

    def crop(self, padded: Any) -> Any:
        """The image on the domain, (..., H, W)."""
        return padded[(..., *self.window)]

    def crop_codes(self, maps: Any) -> Any:
        height, width = self.codes_shape
        return maps[..., :height, :width]

    def place(self, backend: Backend, images: Any) -> Any:
        """Images on the domain, zero around them."""
        padded = backend.xp.zeros((*images.shape[:-2], *self.shape), backend.dtype)
        self.crop(padded)[...] = backend.asarray(images)
        return padded


def check_images(images: Any) -> Any:
    """Return `images`, of NumPy or CuPy, as (N, C, H, W), after checking its shape, type and values."""
    refuse_masked_images(images)
    try:
        images = as_array(images, "images")
    except ValueError:
        raise InputError(
            "images: they are of different sizes: cut them to one, or learn by learn_dictionary_online, which takes any"
        ) from None
    if images.dtype.kind not in "fiub":
        raise InputError(f"images: real numbers are needed, not {images.dtype}")
    if images.ndim == 2:
        raise InputError(
            "images", f"must be of shape (N, H, W) or (N, C, H, W), got {images.shape}",
            "of one image, give images[None]; of signals (N, T), images[:, None], each as an image of one row",
        )  # fmt: skip
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise InputError(f"images: shape {images.shape} is neither (N, H, W) nor (N, C, H, W)")
    return images if images.ndim == 4 else images[:, None]


def refuse_masked_images(images: Any) -> None:
    """Raise InputError where ``numpy.ma`` masks a value: the engine's way of saying what is missing are weights."""
    if is_masked(images):
        raise InputError("images", "must not have masked values here", "fill them, and give {weights}, 0 where masked")


def check_weights(weights: Any, images: Any) -> Any:
    """Return the data term's weights as an array that broadcasts against (N, C, H, W) `images`."""
    if weights is None:
        weights = np.ones((1, 1, 1, 1), np.float32)
    weights = as_array(weights, "weights")
    if weights.dtype == bool:
        weights = weights.astype(np.float32)
    if weights.dtype.kind not in "fiu" or not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError("weights: finite values of zero (missing) or more (observed) are needed")
    if weights.ndim == 3:
        weights = weights[:, None]
    full = (1,) * (4 - weights.ndim) + weights.shape
    if weights.ndim > 4 or any(a not in (1, b) for a, b in zip(full, images.shape, strict=True)):
        raise InputError(f"weights: shape {weights.shape} doesn't fit images of shape {images.shape}")
    if not weights.any():
        raise InputError("weights: all are zero: nothing is observed")
    return weights.reshape(full)


def observed_data(backend: Backend, domain: Domain, images: np.ndarray, weights: np.ndarray) -> MaskedLeastSquares:
    """Least squares on the domain. What has weight zero may be NaN in `images`; what is observed may not."""
    placed, full = _placed(backend, domain, images, weights)
    return MaskedLeastSquares(placed, full)


def data_term(
    backend: Backend, domain: Domain, images: np.ndarray, weights: np.ndarray, fidelity: str, background: Any = None
) -> DataTerm:
    """The data term of that name on the domain; see :func:`csc_cogd.sparse_code`."""
    if fidelity not in FIDELITIES:
        raise InputError(f"fidelity: {fidelity!r} is unknown: choose 'least squares', 'absolute deviation' or 'poisson'")
    if background is not None and fidelity != "poisson":
        raise InputError(f"background: it belongs to the fidelity 'poisson', not to {fidelity!r}: leave it out")
    placed, full = _placed(backend, domain, images, weights)
    if fidelity == "least squares":
        return MaskedLeastSquares(placed, full)
    if fidelity == "absolute deviation":
        return MaskedAbsoluteDeviation(placed, full)
    if (placed < 0).any():
        raise InputError("images: there are negative values, which aren't counts: take off the detector's offset first")
    return MaskedPoissonLikelihood(placed, full, domain.place(backend, _check_background(background, images)))


def _check_background(background: Any, images: np.ndarray) -> np.ndarray:
    background = as_array(0.0 if background is None else background, "background")
    if background.dtype.kind not in "fiu" or not np.isfinite(background).all():
        raise InputError("background: finite numbers are needed")
    if background.ndim == 3:
        background = background[:, None]
    full = (1,) * (4 - background.ndim) + background.shape
    if background.ndim > 4 or any(a not in (1, b) for a, b in zip(full, images.shape, strict=True)):
        raise InputError(f"background: shape {background.shape} doesn't fit images of shape {images.shape}")
    return np.broadcast_to(background.reshape(full), images.shape)


def _placed(backend: Backend, domain: Domain, images: np.ndarray, weights: np.ndarray) -> tuple[Any, Any]:
    """Images and weights on the domain, checked."""
    if on_gpu(images) != on_gpu(weights):
        images, weights = backend.asarray(images), backend.asarray(weights)
    observed = np.broadcast_to(weights > 0, images.shape)
    if not np.isfinite(images[observed]).all():
        raise InputError("images: there are NaN or infinite values where the weight is positive: give them weight zero")
    full = np.broadcast_to(weights, (weights.shape[0], weights.shape[1], *images.shape[2:]))
    return domain.place(backend, np.where(observed, images, 0)), domain.place(backend, full)


def filter_spectra(backend: Backend, domain: Domain, dictionary: Dictionary) -> Any:
    """Spectra of the filters on the domain, (K, C, H, W // 2 + 1)."""
    return map_spectra(backend, domain, backend.asarray(dictionary.with_channels()))


def map_spectra(backend: Backend, domain: Domain, maps: Any) -> Any:
    """Spectra of (K, R, ...) maps that start at the domain's origin, (K, R, H, W // 2 + 1)."""
    K, R, h, w = maps.shape
    H, W = domain.shape
    spectra = backend.xp.empty((K, R, H, W // 2 + 1), backend.complex_dtype)

    def transform(workspace: Any, index: Index) -> None:
        workspace.real[...] = 0
        workspace.real[..., :h, :w] = maps[index]
        workspace.forward()
        spectra[index] = workspace.spectrum

    for_maps(backend, (K, R, H, W), transform)
    return spectra


def for_maps(backend: Backend, shape: tuple[int, ...], function: Callable[[Any, Index], Any]) -> list[Any]:
    """``function(workspace, index)`` of every visit to maps of a shape (M, K, H, W), on all threads."""

    def visit(workspace: Any, index: Index) -> Any:
        return function(workspace.part(*index), index)

    workspaces = backend.workspaces((*backend.visit_shape(shape), *shape[2:]))
    return backend.run(visit, backend.visits(shape), workspaces)


def gram(operator: Any, xp: Any) -> Any:
    """A A^H per frequency, (R, R, H, W // 2 + 1), of an operator (K, R, H, W // 2 + 1).

    Row by row, so that no second copy of the spectra is made.
    """
    K, R, H, W = operator.shape
    if R == 1:
        total = xp.zeros((1, 1, H, W), operator.real.dtype)
        for k in range(K):
            total += operator[k].real ** 2 + operator[k].imag ** 2
        return total
    product = xp.empty((R, R, H, W), operator.dtype)
    for i in range(H):
        rows = operator[:, :, i].transpose(2, 1, 0)  # W, R, K
        product[:, :, i] = xp.matmul(rows, rows.conj().transpose(0, 2, 1)).transpose(1, 2, 0)
    return product


def convolve(codes: Any, dictionary: Dictionary, *, boundary: str = "free", backend: Backend) -> Any:
    """Images that `codes` stand for, (N, C, H, W): the valid part of ``sum_k d_k * x_k``, or the circular one."""
    N, K, height, width = codes.shape
    h, w = dictionary.filter_shape
    shape = (height, width) if boundary == "circular" else (height - h + 1, width - w + 1)
    domain = Domain(shape, (h, w), boundary)
    spectra = filter_spectra(backend, domain, dictionary)
    H, W = domain.shape
    C = spectra.shape[1]
    at_once, _ = backend.visit_shape((N, K, H, W))
    maps = backend.workspace((*backend.visit_shape((N, K, H, W)), H, W))
    images = backend.workspace((at_once, C, H, W))
    result = backend.xp.empty((N, C, *shape), backend.dtype)

    for problems, filters in backend.visits((N, K, H, W)):
        part, sums = maps.part(problems, filters), images.part(problems, slice(0, C))
        part.real[...] = 0
        part.real[..., :height, :width] = backend.asarray(codes[problems, filters])
        part.forward()
        backend.kernels.gather(spectra[filters], part.spectrum, sums.spectrum, filters.start > 0)
        if filters.stop == K:
            sums.spectrum *= 1 / (H * W)
            sums.inverse()
            result[problems] = domain.crop(sums.real)
    return result


def laplacian_symbol(height: int, width: int) -> np.ndarray:
    """Symbol of -Laplacian = sum of squared forward differences, circular, (H, W // 2 + 1)."""
    rows = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(height))
    columns = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(width))
    return rows[:, None] + columns


def laplacian(maps: Any, xp: Any) -> Any:
    """Sum of the four neighbours less four times the middle, circular."""
    return sum(xp.roll(maps, shift, axis) for axis in (-2, -1) for shift in (1, -1)) - 4 * maps
