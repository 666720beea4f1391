"""How a picture was made smaller: by a kernel that is named or told from its spectrum, and by any factor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
import scipy.sparse

from csc_cogd.errors import InputError
from csc_cogd.restore.nearest_scene import nearest_scene
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.operators import LARGEST_FACTOR, Decimation, bicubic_kernel, cubic, gaussian_kernel
from csc_cogd.restore.scene_noise import luminance_of

NAMES = ("auto", "bicubic", "box")
BOX_SHARE = {"box": 0.8, "bicubic": 0.3}
"""How likely a reduction is the mean over blocks, after what its spectrum was taken for."""
_SIDE = 1024  # of the middle of large pictures, whose spectrum is looked at
_LEAST_SIDE = 48  # from which a spectrum tells anything
_BINS = np.array([0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5])  # cycles to a pixel
_ACROSS = 0.12  # frequency along the other axis, up to which power counts
_EXPONENTS = np.arange(1, 5.01, 0.1)
_USUAL_EXPONENT, _ITS_DEVIATION, _MISFIT = 2.5, 0.5, 0.25  # of photographs' power along an axis; of its logarithm
_ERROR_TO_NOISE = 8.0  # of the scene that is fitted to the picture at last


@dataclass(frozen=True, eq=False)
class Reduction:
    """A reduction by any factor, by a kernel that may be found out from a picture.

    Parameters
    ----------
    factor : float, 1 to 16
        Width and height of the scene to those of the picture. Where it isn't a whole number, the kernel has a name.
    kernel : "auto", "bicubic", "box", "gaussian:S", or (h, w) array
        ``"box"`` is the mean over a pixel's area, S in pixels of the scene, an array as in
        :class:`csc_cogd.restore.operators.Decimation`; ``"auto"`` is bicubic or box, see :func:`estimate_reduction`: for
        whole factors their mean, with weights by how likely they are, which costs less than the wrong one would.

    Raises
    ------
    InputError
        If it isn't one.
    """

    factor: float
    kernel: Any = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.factor, bool) or not isinstance(self.factor, Real) or not 1 <= self.factor <= LARGEST_FACTOR:
            raise InputError("factor", f"must be a number from 1 to {LARGEST_FACTOR}, got {self.factor}")
        if isinstance(self.kernel, str):
            _profile(self.kernel if self.kernel != "auto" else "box", self.factor)
        elif self.whole is None:
            raise InputError("kernel", f"must have a name for a factor of {self.factor}", "use 'bicubic' or 'gaussian:S'")
        else:
            Decimation(self.whole, self.kernel)

    @property
    def whole(self) -> int | None:
        """The factor, if it is a whole number."""
        return int(self.factor) if float(self.factor).is_integer() else None

    def of(self, observation: Observation) -> Decimation:
        """Return the operator that made a picture."""
        kernel, finer = self.kernel, math.ceil(self.factor)
        if isinstance(kernel, str) and kernel == "auto":
            odds = estimate_reduction(luminance_of(observation.planes), bool(observation.missing.any()))
            kernel = "box" if odds is not None and odds > 0 else "bicubic"
            if self.whole is not None and odds is not None:
                kernel = _mixed(finer, BOX_SHARE[kernel])
        if self.whole is None:
            ratio = float(self.factor)
            return RationalDecimation(finer, _kernel(kernel, finer, finer / ratio), ratio, kernel)
        return Decimation(finer, _kernel(kernel, finer) if isinstance(kernel, str) else kernel)


@dataclass(frozen=True, eq=False)
class RationalDecimation(Decimation):
    """Reduction by a factor between whole numbers.

    The scene is restored on the grid of the next whole factor, where filters and kernel are convolutions, reduced from there
    to the grid asked for by bicubic interpolation with antialiasing, which loses little, and fitted to the picture again, so
    that its own reduction is the picture.
    """

    ratio: float = 1.0
    name: str = "bicubic"

    def final_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the image that a picture is restored to at last."""
        return round(self.ratio * shape[0]), round(self.ratio * shape[1])

    def finish(self, restored: np.ndarray, picture: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Return what was restored on the finer grid, (C, height, width), on that of :meth:`final_shape`."""
        shape = self.final_shape(picture.shape[1:])
        to_grid = Resampling.between(restored.shape[1:], shape, "bicubic", restored.shape[1] / shape[0])
        sampling = Resampling.between(shape, picture.shape[1:], self.name, self.ratio)
        ratio = np.full(picture.shape, _ERROR_TO_NOISE**-2)
        return nearest_scene(to_grid.apply(restored.astype(np.float64)), picture, known, ratio, sampling)


@dataclass(frozen=True, eq=False)
class Resampling:
    """A linear map between grids, of each axis by itself; borders are cut off, weights add up to 1."""

    rows: Any
    columns: Any

    @classmethod
    def between(cls, fine: tuple[int, ...], coarse: tuple[int, ...], name: str, factor: float) -> Resampling:
        """Return the reduction of shape to shape by a kernel of that name."""
        profile, reach = _profile(name, factor)
        return cls(*(_sampling(n, m, profile, reach) for n, m in zip(fine, coarse, strict=True)))

    def apply(self, scene: np.ndarray) -> np.ndarray:
        """Return (..., H, W) of a scene (..., height, width)."""
        return _along_axes(self.rows, self.columns, scene)

    def adjoint(self, picture: np.ndarray) -> np.ndarray:
        """Return (..., height, width) of a picture (..., H, W)."""
        return _along_axes(self.rows.T, self.columns.T, picture)


def _along_axes(rows: Any, columns: Any, image: np.ndarray) -> np.ndarray:
    planes = image.reshape(-1, *image.shape[-2:])
    return np.stack([rows @ (columns @ plane.T).T for plane in planes]).reshape(*image.shape[:-2], rows.shape[0], -1)


def _sampling(n: int, m: int, profile: Any, reach: float) -> Any:
    """Return the sparse matrix (m, n) that makes n pixels m."""
    centers = (np.arange(m) + 0.5) * n / m - 0.5
    half = math.ceil(reach * n / m) + 1
    columns = np.rint(centers)[:, None].astype(int) + np.arange(-half, half + 1)
    weights = profile((columns - centers[:, None]) * m / n, m / n) * ((columns >= 0) & (columns < n))
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(np.arange(m), columns.shape[1])
    return scipy.sparse.csr_matrix((weights.ravel(), (rows, columns.clip(0, n - 1).ravel())), shape=(m, n))


def _profile(name: str, factor: float) -> tuple[Any, float]:
    """Return a kernel along an axis, a function of distances and of a fine pixel's width, and how far it reaches.

    All in pixels of the picture; the width of a fine pixel counts for the mean over an area.
    """
    if name == "bicubic":
        return lambda t, width: cubic(t), 2.0
    if name == "box":
        return lambda t, width: np.clip((0.5 + width / 2 - abs(t)) / width, 0, 1), 1.0
    sigma = _gaussian_sigma(name) / factor
    return lambda t, width: np.exp(-0.5 * (t / sigma) ** 2), 4 * sigma


def _gaussian_sigma(name: str) -> float:
    kind, _, number = name.partition(":")
    try:
        sigma = float(number)
    except ValueError:
        sigma = math.nan
    if kind != "gaussian" or not 0 < sigma <= 100:
        given = "must be 'auto', 'bicubic', 'box', 'gaussian:S' with S above 0, at most 100, or an array"
        raise InputError("kernel", f"{given}, got {name!r}")
    return sigma


def _kernel(name: str, factor: int, finer: float = 1.0) -> np.ndarray:
    """Return a kernel on the grid of a whole factor, which may be finer than that of the result."""
    if name == "bicubic":
        return bicubic_kernel(factor)
    if name == "box":
        return np.ones((factor, factor))
    return gaussian_kernel(_gaussian_sigma(name) * finer, even=factor % 2 == 0)


def _mixed(factor: int, share: float) -> np.ndarray:
    """Return the kernel of bicubic reduction with a share of the mean over blocks."""
    bicubic = bicubic_kernel(factor)
    margins = [(size - factor) // 2 for size in bicubic.shape]
    box = np.pad(np.full((factor, factor), factor**-2.0), [(margin, margin) for margin in margins])
    return share * box + (1 - share) * bicubic


def estimate_reduction(image: np.ndarray, gappy: bool = False) -> float | None:
    """Tell from a picture's spectrum how it was made smaller.

    Along either axis, the power of scenes falls as ``f^-a``. Of it, a reduction with the transfer function H leaves, with
    what it folds back, ``H(f)^2 f^-a + H(1 - f)^2 (1 - f)^-a`` at f cycles to a pixel. The reduction whose model fits the
    logarithm better counts, with a Gaussian prior for a. The two differ little but near f = 1/2: of photographs that were
    reduced bicubically, an eighth is taken for means over blocks, and of these, three in eight for the other. That costs
    less than the other error would.

    Parameters
    ----------
    image : (H, W) array of float
    gappy : bool
        Pixels are missing: nothing can be told.

    Returns
    -------
    float or None
        By how much means over blocks fit better than bicubic reduction, in log-likelihood; None where nothing can be told.
    """
    image = image[tuple(slice(max((n - _SIDE) // 2, 0), (n + _SIDE) // 2) for n in image.shape)]
    if gappy or min(image.shape) < _LEAST_SIDE or not np.ptp(image) > 0:
        return None
    window = np.outer(*(np.hanning(n) for n in image.shape))
    power = abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    along = [abs(np.fft.fftfreq(n)) for n in image.shape]
    bands = []
    for low, high in pairwise(_BINS):
        inside = [(f >= low) & (f < high) for f in along]
        rows, columns = power[np.ix_(inside[0], along[1] < _ACROSS)], power[np.ix_(along[0] < _ACROSS, inside[1])]
        bands.append((rows.mean() + columns.mean()) / 2)
    if not min(bands) > 0:
        return None
    return _fit(np.log(bands), _box_transfer) - _fit(np.log(bands), _bicubic_transfer)


def _fit(bands: np.ndarray, transfer: Any) -> float:
    """Log-likelihood of a spectrum at the best exponent."""
    f = (_BINS[:-1] + _BINS[1:]) / 2
    a = _EXPONENTS[:, None]
    misfit = bands - np.log(transfer(f) ** 2 * f**-a + transfer(1 - f) ** 2 * (1 - f) ** -a)
    misfit -= misfit.mean(axis=1, keepdims=True)
    prior = ((_EXPONENTS - _USUAL_EXPONENT) / _ITS_DEVIATION) ** 2
    return float(np.max(-0.5 * (misfit**2).sum(axis=1) / _MISFIT**2 - 0.5 * prior))


def _box_transfer(f: np.ndarray) -> np.ndarray:
    return np.sinc(f)


def _bicubic_transfer(f: np.ndarray) -> np.ndarray:
    t = np.linspace(-2, 2, 801)
    return np.cos(2 * np.pi * np.multiply.outer(f, t)) @ cubic(t) * (t[1] - t[0])
