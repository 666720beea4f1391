"""Unrolled convolutional sparse coding: some iterations of ISTA whose filters and thresholds are learned.

    z_0 = 0
    z_k = S(z_{k-1} - A_k^T M (B_k z_{k-1} - y), tau_k),    tau_k = t0_k + t1_k sigma,    k = 1 .. K
    x   = D z_K

y is the image less its mean, M its mask (1 where known), A_k^T correlation with M filters at stride s, B_k and D its
transpose with filters of their own, S soft-thresholding. Unrolled: K. Gregor, Y. LeCun, "Learning fast approximations of
sparse coding" (ICML 2010). Strided: D. Simon, M. Elad, "Rethinking the CSC model for natural images" (NeurIPS 2019).
Thresholds that grow with the noise: N. Janjusevic, A. Khalilian-Gourtani, Y. Wang, "CDLNet: Noise-adaptive convolutional
dictionary learning network for blind denoising and demosaicing" (IEEE OJSP 2022).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, array_module, kernels_for, on_gpu
from csc_cogd.backend import polyphase as plain
from csc_cogd.errors import InputError

COLUMNS, COLUMNS_ON_GPU = 2048, 1 << 16
"""Places of a code's map that are worked on at a time, about: what belongs to them stays in cache, or fills a GPU."""
INITIAL_T0, INITIAL_T1 = 1e-3, 0.1


@dataclass(frozen=True)
class Shape:
    """What an unrolled network is made of.

    Attributes
    ----------
    channels : int
        Of images.
    n_filters : int
    size : int
        Side of the filters in pixels.
    stride : int
        Pixels from one place of a filter to the next.
    n_iter : int
        Iterations.

    Raises
    ------
    InputError
        If one isn't a whole number that makes sense.
    """

    channels: int = 1
    n_filters: int = 64
    size: int = 7
    stride: int = 2
    n_iter: int = 8

    def __post_init__(self) -> None:
        most = {"channels": 16, "n_filters": 4096, "size": 64, "stride": 16, "n_iter": 200}
        for name, largest in most.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
                raise InputError(name, f"must be a whole number from 1 to {largest}, got {value!r}")
        if self.stride > self.size:
            raise InputError("stride", f"must not be larger than the filters' size, {self.size}, got {self.stride}")

    @property
    def taps(self) -> int:
        """Weights of a filter."""
        return self.channels * self.size**2

    @property
    def beyond(self) -> int:
        """Rows of phases beyond those of the codes' maps, that filters reach into."""
        return -(-self.size // self.stride) - 1

    @property
    def halo(self) -> int:
        """Pixels, a multiple of the stride, from which on nothing changes a pixel of the result."""
        reach = self.n_iter * 2 * (self.size - 1) // 2 + self.size - 1
        return -(-reach // self.stride) * self.stride

    @property
    def n_numbers(self) -> int:
        """Filters' weights and thresholds, all together."""
        return 2 * self.n_iter * self.n_filters * (self.taps + 1)


class Weights:
    """The filters and thresholds of a network, views of one vector.

    Attributes
    ----------
    vector : (n,) array of float
    A : (K, M, C P^2) array
        Analysis filters.
    B : (K - 1, M, C P^2) array
        Synthesis filters of all iterations but the first, which begins at zero.
    D : (M, C P^2) array
        The dictionary.
    t0, t1 : (K, M) arrays
        Thresholds without noise, and how they grow with it, for images in [0, 1].
    """

    def __init__(self, shape: Shape, vector: Any):
        K, M, T = shape.n_iter, shape.n_filters, shape.taps
        self.vector, n = vector, K * M * T
        self.A = vector[:n].reshape(K, M, T)
        self.B = vector[n : 2 * n - M * T].reshape(K - 1, M, T)
        self.D = vector[2 * n - M * T : 2 * n].reshape(M, T)
        self.t0, self.t1 = vector[2 * n :].reshape(2, K, M)

    def project(self) -> None:
        """Clip filters to norm 1 and thresholds to 0 or more."""
        xp = array_module(self.vector)
        for filters in (self.A, self.B, self.D):
            norms = xp.sqrt((filters**2).sum(axis=-1, keepdims=True))
            filters /= xp.maximum(norms, 1)
        for thresholds in (self.t0, self.t1):
            xp.maximum(thresholds, 0, out=thresholds)


@dataclass(frozen=True, eq=False)
class Trail:
    """What a pass leaves for the gradients: residuals and codes of all iterations."""

    residuals: list[Any]
    codes: list[Any]


@dataclass(frozen=True, eq=False)
class Network:
    """An unrolled network.

    Parameters
    ----------
    shape : Shape
    vector : (shape.n_numbers,) array of float
        Its weights, see :class:`Weights`. Of NumPy or CuPy, as all arrays are that it computes with.
    images : int
        How many images of one size lie below one another in phases; each is coded by itself.
    """

    shape: Shape
    vector: Any
    images: int = 1

    def __post_init__(self) -> None:
        if self.vector.shape != (self.shape.n_numbers,):
            raise InputError("vector", f"must have {self.shape.n_numbers} numbers, got {self.vector.shape}")

    @cached_property
    def weights(self) -> Weights:
        return Weights(self.shape, self.vector)

    @classmethod
    def random(cls, shape: Shape, rng: np.random.Generator, dtype: Any = np.float32) -> Network:
        """Begin as ISTA with random filters: all A, B and D the same, of a norm with which it converges."""
        network = cls(shape, np.empty(shape.n_numbers, dtype))
        filters = rng.standard_normal((shape.n_filters, shape.taps))
        filters /= np.linalg.norm(filters, axis=1, keepdims=True)
        filters /= np.sqrt(_largest_eigenvalue(shape, filters, rng))
        weights = network.weights
        weights.A[...] = weights.B[...] = weights.D[...] = filters
        weights.t0[...], weights.t1[...] = INITIAL_T0, INITIAL_T1
        return network

    def to_phases(self, planes: Any) -> Any:
        """Return planes (C, H, W) in phases, zeros where there is no pixel; see :mod:`csc_cogd.backend.polyphase`."""
        (C, H, W), s = planes.shape, self.shape.stride
        h, w = -(-H // s) + self.shape.beyond, -(-W // s) + self.shape.beyond
        first = self._first
        padded = array_module(planes).zeros((C, h * s, w * s), planes.dtype)
        padded[:, first : first + H, first : first + W] = planes
        return padded.reshape(C, h, s, w, s).transpose(0, 2, 4, 1, 3).reshape(C * s * s, h, w)

    def from_phases(self, phases: Any, size: tuple[int, int]) -> Any:
        """Return the planes (C, H, W) of phases."""
        s, (h, w), first = self.shape.stride, phases.shape[1:], self._first
        planes = phases.reshape(-1, s, s, h, w).transpose(0, 3, 1, 4, 2).reshape(-1, h * s, w * s)
        return planes[:, first : first + size[0], first : first + size[1]]

    def with_gains(self, gains: Any) -> Network:
        """Return the network whose thresholds grow with the noise by another factor for each filter, (K, M)."""
        network = Network(self.shape, self.vector.copy(), self.images)
        network.weights.t1[...] *= array_module(self.vector).asarray(gains)
        return network

    def on(self, backend: Backend) -> Network:
        """Return the network with its weights where a backend computes: itself, on the CPU."""
        return self if backend.xp is np else replace(self, vector=backend.xp.asarray(self.vector))

    def together(self, images: int) -> Network:
        """Return the network, with the same weights, for so many images that lie below one another in phases."""
        return replace(self, images=images)

    @property
    def _first(self) -> int:
        """Row and column of the first pixel among those that filters reach into."""
        return (self.shape.size - self.shape.stride) // 2

    def code_shape(self, phases: Any) -> tuple[int, int]:
        """Return height and width of the codes' maps, of all images together."""
        return phases.shape[1] - self.images * self.shape.beyond, phases.shape[2] - self.shape.beyond

    def encode(self, image: Any, mask: Any, sigma: Any, trail: Trail | None = None) -> Any:
        """Return the codes (M, h w) of an image.

        Parameters
        ----------
        image, mask : (C s^2, h + q, w + q) arrays, in phases
            The image less its mean, with a first guess of what is missing, and 1 where it is known, 0 elsewhere. The guess
            counts in the first iteration only.
        sigma : (h w,) array
            Standard deviation of the noise where a code is, for images in [0, 1].
        trail : Trail, optional
            Is left, for :meth:`gradient`.
        """
        xp, (h, w), weights, kernels = array_module(image), self.code_shape(image), self.weights, _kernels(image)
        codes = xp.zeros((self.shape.n_filters, h * w), image.dtype)
        for k in range(self.shape.n_iter):
            residual = self.synthesize(weights.B[k - 1], codes, (h, w)) if k else xp.zeros_like(image)
            residual -= image
            if k:
                residual *= mask
            following = codes if trail is None else xp.empty_like(codes)
            for part, columns in self._columns(residual):
                step = weights.A[k] @ columns
                kernels.shrink(codes, step, weights.t0[k], weights.t1[k], sigma, part.start, following)
            codes = following
            if trail is not None:
                trail.residuals.append(residual)
                trail.codes.append(codes)
        return codes

    def decode(self, codes: Any, size: tuple[int, int]) -> Any:
        """Return the image of codes (M, h w) in phases; `size` is (h, w)."""
        return self.synthesize(self.weights.D, codes, size)

    def synthesize(self, filters: Any, codes: Any, size: tuple[int, int]) -> Any:
        """Return what filters (M, C P^2) make of codes (M, h w), in phases; `size` is (h, w)."""
        (h, w), shape, xp, kernels = size, self.shape, array_module(codes), _kernels(codes)
        tall = h + self.images * shape.beyond
        phases = xp.zeros((shape.channels * shape.stride**2, tall, w + shape.beyond), codes.dtype)
        transposed = xp.ascontiguousarray(filters.T)
        for row, rows in _bands(h, w, codes):
            columns = (transposed @ codes[:, row * w : (row + rows) * w]).reshape(-1, rows, w)
            kernels.scatter(columns, shape.size, shape.stride, row, h // self.images, phases)
        return phases

    def gradient(self, trail: Trail, mask: Any, sigma: Any, upstream: Any, into: Weights) -> None:
        """Add the gradient of a loss to that of the weights.

        Parameters
        ----------
        trail : Trail
            Of :meth:`encode`, with the same `mask` and `sigma`.
        upstream : (C s^2, h + q, w + q) array
            Gradient of the loss with respect to what :meth:`decode` returned; zero where there is no pixel.
        into : Weights
        """
        weights, (residuals, codes) = self.weights, (trail.residuals, trail.codes)
        flowing = self._synthesis_backward(weights.D, codes[-1], upstream, into.D)
        for k in reversed(range(self.shape.n_iter)):
            _kernels(flowing).shrink_backward(codes[k], flowing, sigma, into.t0[k], into.t1[k])
            for part, columns in self._columns(residuals[k]):
                into.A[k] -= flowing[:, part] @ columns.T
            if k:
                residual = self.synthesize(weights.A[k], flowing, self.code_shape(mask))
                residual *= -mask
                flowing += self._synthesis_backward(weights.B[k - 1], codes[k - 1], residual, into.B[k - 1])

    def _synthesis_backward(self, filters: Any, codes: Any, upstream: Any, into: Any) -> Any:
        """Return the gradient of the codes that :meth:`synthesize` was given, and add to that of the filters."""
        flowing = array_module(codes).empty_like(codes)
        for part, columns in self._columns(upstream):
            into += codes[:, part] @ columns.T
            flowing[:, part] = filters @ columns
        return flowing

    def _columns(self, phases: Any) -> Iterator[tuple[slice, Any]]:
        """Yield places of the codes' maps, and what filters meet there, (C P^2, n)."""
        (h, w), shape, xp, kernels = self.code_shape(phases), self.shape, array_module(phases), _kernels(phases)
        for row, rows in _bands(h, w, phases):
            columns = xp.empty((shape.taps, rows, w), phases.dtype)
            kernels.gather(phases, shape.size, shape.stride, row, h // self.images, columns)
            yield slice(row * w, (row + rows) * w), columns.reshape(shape.taps, -1)


def _bands(height: int, width: int, array: Any) -> Iterator[tuple[int, int]]:
    """Yield the first row, and how many, of each part of the codes' maps that is worked on at a time, where an array is."""
    rows = max((COLUMNS_ON_GPU if on_gpu(array) else COLUMNS) // width, 1)
    for row in range(0, height, rows):
        yield row, min(rows, height - row)


def _kernels(array: Any) -> Any:
    return kernels_for("polyphase", array) or plain


def _largest_eigenvalue(shape: Shape, filters: np.ndarray, rng: np.random.Generator) -> float:
    """Return the largest eigenvalue of analysis after synthesis, by power iteration on a map that has no border's effect."""
    network, size = Network(shape, np.zeros(shape.n_numbers)), (32, 32)
    codes, value = rng.standard_normal((shape.n_filters, size[0] * size[1])), 1.0
    for _ in range(30):
        codes /= np.linalg.norm(codes)
        phases = network.synthesize(filters, codes, size)
        codes = np.concatenate([filters @ columns for _, columns in network._columns(phases)], axis=1)
        value = float(np.linalg.norm(codes))
    return value
