"""What stands between a scene and its picture: blur by a kernel, and sampling at every factor-th pixel only.

With a kernel h and factor f, on the grid of the scene s,

    b[i, j] = sum_ab h[a, b] s[f i + p - a, f j + q - b],       p = (f + height - 2) // 2,  q = (f + width - 2) // 2,

so a pixel of the picture lies in the middle of the f x f pixels of the scene that take its place. Convolution commutes with
a sum of convolutions, ``h * sum_k d_k * x_k = sum_k (h * d_k) * x_k``: a scene is coded over the filters d_k from its
picture by coding the picture over the filters h * d_k, at the pixels that are sampled. Nothing is imposed beyond the
picture: the scene that it shows is larger by the kernel, less one pixel, and is restored there too, then cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import scipy

from csc_cogd.backend import to_numpy
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.errors import InputError

LARGEST_FACTOR = 16


@runtime_checkable
class Operator(Protocol):
    """A linear map H from a scene s to its picture b = H s, as restoring needs it.

    The map must be the same everywhere, but for the sampling: tiles are restored by `apply` on their own size; others need
    ``tile=0``. It must map a constant to that constant. One is added by a class with these members; :class:`Convolution`
    has them all for a kernel.
    """

    @property
    def factor(self) -> int:
        """Pixels of the restored image to one of the picture's, in either direction."""

    @property
    def least_sigma(self) -> float:
        """Smallest noise assumed in pictures in [0, 1] when `lmbda` is chosen: the error of model and code."""

    @property
    def taus(self) -> Sequence[float]:
        """Standard deviations assumed of the scene's error, one for each turn of `stages.plug_and_play`, in [0, 1]."""

    @property
    def rounding(self) -> float:
        """Smallest standard deviation of noise with which a picture in [0, 1] is fitted."""

    @property
    def reach(self) -> int:
        """Pixels of the scene by which neighboring tiles must overlap."""

    def check(self, shape: tuple[int, int]) -> None:
        """Raise InputError where pictures of a shape (H, W) can't be restored."""

    def restored_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the image that a picture is restored to."""

    def final_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what :meth:`finish` returns."""

    def finish(self, restored: np.ndarray, picture: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Return the result for an image restored (C, height, width) of a picture (C, H, W): most often that image."""

    def scene_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of all of the scene that a picture depends on."""

    def apply(self, scene: np.ndarray) -> np.ndarray:
        """Return the picture (..., H, W) of a scene, whose shape is that of :meth:`scene_shape`."""

    def adjoint(self, picture: np.ndarray) -> np.ndarray:
        """Return ``H^T b`` of a picture (..., H, W), on the scene."""

    def on_grid(self, picture: np.ndarray) -> np.ndarray:
        """Return a picture on the scene's grid, zeros between its pixels, to be coded over :meth:`through`."""

    def crop(self, scene: np.ndarray) -> np.ndarray:
        """Return the restored image's part of a scene."""

    def through(self, dictionary: Dictionary) -> Dictionary:
        """Return the filters as the operator shows them."""

    def __str__(self) -> str:
        """Say what it is, for reports."""


class Convolution:
    """An operator that a kernel and a factor define.

    Attributes
    ----------
    kernel : (h, w) array
        Its sum is 1, as :func:`check_kernel` makes it.
    factor : int
        Of every how many pixels, in either direction, one is kept.
    """

    kernel: np.ndarray
    factor: int = 1
    least_sigma: float = 0.5 / 255
    rounding: float = 0.5 / 255
    taus: Sequence[float] = tuple(tau / 255 for tau in (16, 12, 8, 6, 4))

    @property
    def reach(self) -> int:
        return 2 * max(self.kernel.shape)

    def __str__(self) -> str:
        return "kernel of {} x {}".format(*self.kernel.shape)

    def check(self, shape: tuple[int, int]) -> None:
        """Raise InputError where pictures of a shape (H, W) can't be restored."""
        (h, w), (H, W), total = self.kernel.shape, shape, float(self.kernel.sum())
        if not abs(total - 1) < 1e-4:
            raise InputError("operator", f"has a kernel whose sum is {total:.4g}", "divide the kernel by its sum")
        if self.factor == 1 and (h > H or w > W):
            raise InputError("kernel", f"of {h} x {w} pixels is larger than the image, {H} x {W}", "cut off its margin")

    def restored_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the image that a picture is restored to."""
        return self.factor * shape[0], self.factor * shape[1]

    def final_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what :meth:`finish` returns."""
        return self.restored_shape(shape)

    def finish(self, restored: np.ndarray, picture: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Return the image that was restored: nothing is left to do."""
        return restored

    def scene_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of all of the scene that a picture depends on."""
        (H, W), (h, w) = shape, self.kernel.shape
        return self.factor * (H - 1) + h, self.factor * (W - 1) + w

    def apply(self, scene: np.ndarray) -> np.ndarray:
        """Return the picture (..., H, W) of a scene, whose shape is that of :meth:`scene_shape`."""
        blurred = scipy.signal.oaconvolve(scene, self._kernel_for(scene), mode="valid", axes=(-2, -1))
        return blurred[..., :: self.factor, :: self.factor]

    def adjoint(self, picture: np.ndarray) -> np.ndarray:
        """Return ``H^T b`` of a picture (..., H, W), on the scene."""
        return scipy.signal.oaconvolve(
            self.on_grid(picture), self._kernel_for(picture)[..., ::-1, ::-1], mode="full", axes=(-2, -1)
        )

    def on_grid(self, picture: np.ndarray) -> np.ndarray:
        """Return a picture's pixels on the scene's grid, (.., f (H - 1) + 1, f (W - 1) + 1), zeros between them."""
        H, W = picture.shape[-2:]
        f = self.factor
        grid = np.zeros((*picture.shape[:-2], f * (H - 1) + 1, f * (W - 1) + 1), picture.dtype)
        grid[..., ::f, ::f] = picture
        return grid

    def crop(self, scene: np.ndarray) -> np.ndarray:
        """Return the restored image's part of a scene."""
        f, (h, w) = self.factor, self.kernel.shape
        H, W = ((length - size) // f + 1 for length, size in zip(scene.shape[-2:], (h, w), strict=True))
        top, left = h - 1 - (f + h - 2) // 2, w - 1 - (f + w - 2) // 2
        return scene[..., top : top + f * H, left : left + f * W]

    def through(self, dictionary: Dictionary) -> Dictionary:
        """Return the filters ``h * d_k``, larger by the kernel less one pixel."""
        filters, shapes = dictionary.with_channels(), dictionary.shapes + np.array(self.kernel.shape) - 1
        blurred = scipy.signal.oaconvolve(filters, self._kernel_for(filters), mode="full", axes=(-2, -1))
        for d, (height, width) in zip(blurred, shapes, strict=True):
            d[:, height:] = 0  # what rounding has left there
            d[:, :, width:] = 0
        return Dictionary(blurred if dictionary.filters.ndim == 4 else blurred[:, 0], shapes)

    def _kernel_for(self, array: np.ndarray) -> np.ndarray:
        return self.kernel.reshape((1,) * (array.ndim - 2) + self.kernel.shape)


class Identity(Convolution):
    """The picture is the scene: what is missing is filled, and noise is removed."""

    kernel = np.ones((1, 1))


@dataclass(frozen=True, eq=False)
class Blur(Convolution):
    """Convolution with a kernel, as ``scipy.signal.convolve(scene, kernel, mode="same")`` away from the border.

    Parameters
    ----------
    kernel : (h, w) array
        The picture of a point. Its middle is at [(h - 1) // 2, (w - 1) // 2]; it is divided by its sum.

    Raises
    ------
    InputError
        If it isn't two-dimensional and finite with a sum above zero.

    Examples
    --------
    >>> import numpy as np
    >>> Blur(np.ones((1, 4))).apply(np.arange(8.0)[None])
    array([[1.5, 2.5, 3.5, 4.5, 5.5]])
    """

    kernel: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel", check_kernel(self.kernel))


@dataclass(frozen=True, eq=False)
class Decimation(Convolution):
    """Convolution with a kernel, of which every factor-th pixel in either direction is kept.

    Parameters
    ----------
    factor : int, 1 to 16
    kernel : (h, w) array, optional
        On the finer grid; it is divided by its sum. Default: :func:`bicubic_kernel`, by which most programs make pictures
        smaller. Height and width should be odd where the factor is, and even where it is even: the picture is taken to be
        shifted by half a pixel of the finer grid otherwise.

    Raises
    ------
    InputError
        If the factor isn't such a number, or the kernel isn't one (see :class:`Blur`).

    Examples
    --------
    >>> import numpy as np
    >>> Decimation(2, np.ones((2, 2))).apply(np.arange(16.0).reshape(2, 8))
    array([[ 4.5,  6.5,  8.5, 10.5]])
    """

    factor: int
    kernel: np.ndarray = None  # type: ignore[assignment]  # filled in below
    least_sigma: ClassVar[float] = 3 / 255  # type: ignore[misc]
    rounding: ClassVar[float] = 1 / 255  # type: ignore[misc]
    taus: ClassVar[Sequence[float]] = tuple(tau / 255 for tau in (24, 20, 16, 12, 8, 6, 4))  # type: ignore[misc]

    def __post_init__(self) -> None:
        check_factor(self.factor)
        kernel = bicubic_kernel(self.factor) if self.kernel is None else check_kernel(self.kernel)
        missing = [max(self.factor - size, 0) for size in kernel.shape]  # a kernel must reach all pixels of the scene
        padded = np.pad(kernel, [((less + 1) // 2, less // 2) for less in missing])
        padded.setflags(write=False)
        object.__setattr__(self, "kernel", padded)


def check_factor(factor: Any) -> int:
    if not isinstance(factor, (int, np.integer)) or not 1 <= factor <= LARGEST_FACTOR:
        raise InputError("factor", f"must be a whole number from 1 to {LARGEST_FACTOR}, got {factor}")
    return int(factor)


def check_kernel(kernel: Any) -> np.ndarray:
    """A kernel with sum one, (h, w), float64, read-only; zeros around it are cut off as long as its middle stays."""
    kernel = to_numpy(kernel, "kernel")
    if kernel.ndim != 2 or 0 in kernel.shape:
        raise InputError("kernel", f"must be of shape (height, width), got {kernel.shape}")
    if kernel.dtype.kind not in "fiub" or not np.isfinite(kernel).all():
        raise InputError("kernel", "must have finite real numbers")
    kernel = kernel.astype(np.float64)
    total, largest = kernel.sum(), abs(kernel).max()
    if not total > 1e-6 * largest:
        raise InputError("kernel", "must have a sum above zero, as the picture of a point has")
    for axis in (0, 1):
        used = np.flatnonzero(kernel.any(axis=1 - axis))
        margin = min(used[0], kernel.shape[axis] - 1 - used[-1])
        kernel = kernel.take(range(margin, kernel.shape[axis] - margin), axis)
    kernel /= total
    kernel.setflags(write=False)
    return kernel


# -- kernels -----------------------------------------------------------------------------------------------------------


def gaussian_kernel(sigma: float, *, even: bool = False) -> np.ndarray:
    """Gaussian of standard deviation `sigma` in pixels, out to four of them; odd height and width, or even."""
    if not (np.isfinite(sigma) and 0 < sigma <= 100):
        raise InputError("sigma", f"must be a number of pixels above 0, at most 100, got {sigma}")
    radius = int(np.ceil(4 * sigma)) - (0.5 if even else 0)
    profile = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return check_kernel(np.outer(profile, profile))


def uniform_kernel(size: int) -> np.ndarray:
    """Mean over `size` x `size` pixels."""
    if not isinstance(size, (int, np.integer)) or not 1 <= size <= 1000:
        raise InputError("size", f"must be a whole number of pixels from 1 to 1000, got {size}")
    return check_kernel(np.ones((size, size)))


def motion_kernel(length: float, angle: float) -> np.ndarray:
    """Straight uniform motion over `length` pixels; `angle` in degrees, counter-clockwise from the right.

    Every pixel has the length of the path inside it.
    """
    if not (np.isfinite(length) and 1 <= length <= 1000):
        raise InputError("length", f"must be a number of pixels from 1 to 1000, got {length}")
    if not np.isfinite(angle):
        raise InputError("angle", f"must be a finite number of degrees, got {angle}")
    n_points = 64 * int(np.ceil(length))
    along = ((np.arange(n_points) + 0.5) / n_points - 0.5) * length
    rows, columns = (np.rint(along * f(np.deg2rad(angle))).astype(int) for f in (lambda a: -np.sin(a), np.cos))
    top, left = abs(rows).max(), abs(columns).max()
    kernel = np.zeros((2 * top + 1, 2 * left + 1))
    np.add.at(kernel, (rows + top, columns + left), 1.0)
    return check_kernel(kernel)


def bicubic_kernel(factor: int) -> np.ndarray:
    """Kernel of reduction by bicubic interpolation with antialiasing: Keys' cubic [1981], a = -0.5, stretched by the factor.

    What Pillow's and Matlab's bicubic reduction do, away from the border.
    """
    check_factor(factor)
    size = 4 * factor - factor % 2
    profile = cubic((np.arange(size) - (size - 1) / 2) / factor)
    return check_kernel(np.outer(profile, profile))


def cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic [1981], a = -0.5, at distances in pixels."""
    t = abs(distance)
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0))
