"""Images, weights and filters, checked and placed on the domain of the codes.

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
    """The periodic domain of the transforms, and the places of images and codes on it."""

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
        """The place of the image on the domain."""
        H, W = self.image_shape
        top, left = (0, 0) if self.boundary == "circular" else (self.filter_shape[0] - 1, self.filter_shape[1] - 1)
        return slice(top, top + H), slice(left, left + W)

    def crop(self, padded: Any) -> Any:
        """Return the image on the domain, (..., H, W)."""
        return padded[(..., *self.window)]

    def crop_codes(self, maps: Any) -> Any:
        height, width = self.codes_shape
        return maps[..., :height, :width]

    def place(self, backend: Backend, images: Any) -> Any:
        """Return images on the domain, zero around them."""
        padded = backend.xp.zeros((*images.shape[:-2], *self.shape), backend.dtype)
        self.crop(padded)[...] = backend.asarray(images)
        return padded


def check_images(images: Any) -> Any:
    """Return `images`, of NumPy or CuPy, as (N, C, H, W), after checking its shape, type and values."""
    refuse_masked_images(images)
    try:
        images = as_array(images, "images")
    except ValueError:
        fix = "cut them to one size, or learn by learn_dictionary_online, which takes any sizes"
        raise InputError("images", "must be of the same size", fix) from None
    if images.dtype.kind not in "fiub":
        raise InputError("images", f"must be real numbers, got {images.dtype}")
    if images.ndim not in (3, 4) or 0 in images.shape:
        fix = "of one image, give images[None]; of signals (N, T), images[:, None], each as an image of one row"
        wrong = f"must be of shape (N, H, W) or (N, C, H, W), got {images.shape}"
        raise InputError("images", wrong, fix if images.ndim == 2 else "")
    return images if images.ndim == 4 else images[:, None]


def refuse_masked_images(images: Any) -> None:
    """Raise InputError if ``numpy.ma`` masks a value, as the engine marks missing values by weights."""
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
        raise InputError("weights", "must be finite numbers >= 0", "0 is missing, 1 is observed")
    if weights.ndim == 3:
        weights = weights[:, None]
    weights = weights.reshape(full_shape("weights", weights, images.shape))
    if not weights.any():
        raise InputError("weights", "must not all be zero, for then nothing is observed")
    return weights


def full_shape(name: str, array: Any, shape: tuple[int, ...], whose: str = "the images'") -> tuple[int, ...]:
    """Return an array's shape with as many axes as `shape`, or raise InputError if the array doesn't broadcast to that."""
    full = (1,) * (len(shape) - array.ndim) + array.shape
    if array.ndim > len(shape) or any(a not in (1, b) for a, b in zip(full, shape, strict=True)):
        raise InputError(name, f"must broadcast to {whose} shape {tuple(shape)}, got {array.shape}")
    return full


def check_observed(images: Any, weights: Any) -> Any:
    """Return where weights are positive, in the shape of the images, which must be finite there."""
    observed = np.broadcast_to(weights > 0, images.shape)
    if not np.isfinite(images[observed]).all():
        raise InputError("images", "have NaN or infinite values where the weight is positive", "give these weight zero")
    return observed


def check_filters_fit(shapes: np.ndarray, images: Any) -> None:
    """Raise InputError for filters of these heights and widths (K, 2), if one is larger than the images."""
    largest = tuple(shapes.max(axis=0).tolist())
    if any(np.greater(largest, images.shape[2:])):
        raise InputError("filter_shape", f"must not be larger than the images, {images.shape[2:]}, got {largest}")


def observed_data(backend: Backend, domain: Domain, images: np.ndarray, weights: np.ndarray) -> MaskedLeastSquares:
    """Return least squares on the domain. Images may be NaN where their weight is zero, but not where it is positive."""
    placed, full = _placed(backend, domain, images, weights)
    return MaskedLeastSquares(placed, full)


def data_term(
    backend: Backend, domain: Domain, images: np.ndarray, weights: np.ndarray, fidelity: str, background: Any = None
) -> DataTerm:
    """Return the data term of that name on the domain; see :func:`csc_cogd.sparse_code`."""
    if fidelity not in FIDELITIES:
        raise InputError("fidelity", f"must be one of {', '.join(map(repr, FIDELITIES))}, got {fidelity!r}")
    if background is not None and fidelity != "poisson":
        raise InputError("background", f"doesn't go with {fidelity!r}", "leave it out, or use {fidelity} 'poisson'")
    placed, full = _placed(backend, domain, images, weights)
    if fidelity == "least squares":
        return MaskedLeastSquares(placed, full)
    if fidelity == "absolute deviation":
        return MaskedAbsoluteDeviation(placed, full)
    if (placed < 0).any():
        raise InputError("images", "have negative values, which aren't counts", "subtract the detector's offset first")
    return MaskedPoissonLikelihood(placed, full, domain.place(backend, _check_background(background, images)))


def _check_background(background: Any, images: np.ndarray) -> np.ndarray:
    background = as_array(0.0 if background is None else background, "background")
    if background.dtype.kind not in "fiu" or not np.isfinite(background).all():
        raise InputError("background", "must be finite numbers")
    if background.ndim == 3:
        background = background[:, None]
    return np.broadcast_to(background.reshape(full_shape("background", background, images.shape)), images.shape)


def _placed(backend: Backend, domain: Domain, images: np.ndarray, weights: np.ndarray) -> tuple[Any, Any]:
    """Return images and weights on the domain, checked."""
    if on_gpu(images) != on_gpu(weights):
        images, weights = backend.asarray(images), backend.asarray(weights)
    observed = check_observed(images, weights)
    full = np.broadcast_to(weights, (weights.shape[0], weights.shape[1], *images.shape[2:]))
    return domain.place(backend, np.where(observed, images, 0)), domain.place(backend, full)


def filter_spectra(backend: Backend, domain: Domain, dictionary: Dictionary) -> Any:
    """Return spectra of the filters on the domain, (K, C, H, W // 2 + 1)."""
    return map_spectra(backend, domain, backend.asarray(dictionary.with_channels()))


def map_spectra(backend: Backend, domain: Domain, maps: Any) -> Any:
    """Return spectra of (K, R, ...) maps that start at the domain's origin, (K, R, H, W // 2 + 1)."""
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
    """Return ``function(workspace, index)`` of every visit to maps of a shape (M, K, H, W), on all threads."""

    def visit(workspace: Any, index: Index) -> Any:
        return function(workspace.part(*index), index)

    workspaces = backend.workspaces((*backend.visit_shape(shape), *shape[2:]))
    return backend.run(visit, backend.visits(shape), workspaces)


def gram(operator: Any, xp: Any) -> Any:
    """Return a A^H per frequency, (R, R, H, W // 2 + 1), of an operator (K, R, H, W // 2 + 1).

    It is computed row by row, so that no second copy of the spectra is made.
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


def convolve(codes: Any, filters: np.ndarray, *, boundary: str = "free", backend: Backend) -> Any:
    """Return the images that `codes` stand for, (N, C, H, W): the valid part of ``sum_k d_k * x_k``, or the circular one."""
    N, K, height, width = codes.shape
    C, h, w = filters.shape[1:]
    shape = (height, width) if boundary == "circular" else (height - h + 1, width - w + 1)
    domain = Domain(shape, (h, w), boundary)
    spectra = map_spectra(backend, domain, backend.asarray(filters))
    H, W = domain.shape
    at_once, _ = backend.visit_shape((N, K, H, W))
    maps = backend.workspace((*backend.visit_shape((N, K, H, W)), H, W))
    images = backend.workspace((at_once, C, H, W))
    result = backend.xp.empty((N, C, *shape), backend.dtype)

    for problems, here in backend.visits((N, K, H, W)):
        part, sums = maps.part(problems, here), images.part(problems, slice(0, C))
        part.real[...] = 0
        part.real[..., :height, :width] = backend.asarray(codes[problems, here])
        part.forward()
        backend.kernels.accumulate_forward(spectra[here], part.spectrum, sums.spectrum, here.start > 0)
        if here.stop == K:
            sums.spectrum *= 1 / (H * W)
            sums.inverse()
            result[problems] = domain.crop(sums.real)
    return result


def laplacian_symbol(height: int, width: int) -> np.ndarray:
    """Return the symbol of -Laplacian = sum of squared forward differences, circular, (H, W // 2 + 1)."""
    rows = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(height))
    columns = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(width))
    return rows[:, None] + columns


def laplacian(maps: Any, xp: Any) -> Any:
    """Return the sum of the four neighbors less four times the middle, circular."""
    return sum(xp.roll(maps, shift, axis) for axis in (-2, -1) for shift in (1, -1)) - 4 * maps
