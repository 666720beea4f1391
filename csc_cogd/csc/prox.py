"""Proximal operators of the engine, as small objects for the solvers.

A *data* object is the prox of the data term on sums of convolutions (M, R, H, W); a *map* object is the prox on the
unknown maps (M, K, H, W), and visits a few of them at a time. All take the state ``p = v + u`` (split variable plus
scaled dual), of which ``v = prox(p)`` and ``u = p - v``.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from csc_cogd.backend import Backend, Index


class DataTerm(Protocol):
    """A convex f of sums of convolutions v, (M, R, H, W), a sum over their values, by which they are held to images."""

    images: Any

    def prox(self, p: Any, rho: float) -> Any:
        """Return ``argmin_v f(v) + rho/2 ||v - p||^2``."""

    def gradient(self, v: Any) -> Any:
        """Return ``grad f(v)``, or the smallest subgradient."""

    def value(self, v: Any) -> float:
        """Return ``f(v)``."""

    def conjugate(self, y: Any) -> float:
        """Return ``f*(y) = sup_v <y, v> - f(v)`` at a y where it is finite: a multiple, 0 to 1, of a subgradient of f."""

    def sum_squares(self) -> float:
        """Return the sum of squares of the data."""

    def max_abs(self) -> float:
        """Return the largest absolute value of the data."""

    def dual_state(self, v: Any, rho: float) -> Any:
        """Return a state p whose prox is `v`: ``p = v + grad f(v) / rho``."""
        return v + self.gradient(v) / rho

    def step(self, kernels: Any, p: Any, v: Any, x: Any, rho: float, relaxation: float, measure: bool) -> Any:
        """Do dual update and prox in place, ``p += relaxation * (x - v)``, ``v = prox(p)``.

        Return the sums that ``kernels.least_squares_step`` returns; None where they cost time, unless to `measure`.
        """
        p += relaxation * (x - v)
        new = self.prox(p, rho)
        terms = (x - new, new - v, x, new, p - new) if measure else ()
        v[...] = new
        return np.array([float((a**2).sum(dtype=np.float64)) for a in terms] + [self.value(x)]) if measure else None


class MaskedLeastSquares(DataTerm):
    """``f(v) = 1/2 ||W (v - b)||^2`` with weights W >= 0: observed where positive, missing where zero [FFCSC, eq. 6].

    Parameters
    ----------
    images : (M, R, H, W) array
        b.
    weights : array that broadcasts against `images`
        W, or with `squared` W^2.
    squared : bool
    """

    def __init__(self, images: Any, weights: Any, squared: bool = False):
        self.images = images
        self.squared_weights = weights if squared else weights**2

    def prox(self, p: Any, rho: float) -> Any:
        """Return ``argmin_v f(v) + rho/2 ||v - p||^2``."""
        return (self.squared_weights * self.images + rho * p) / (self.squared_weights + rho)

    def gradient(self, v: Any) -> Any:
        return self.squared_weights * (v - self.images)

    def value(self, v: Any) -> float:
        return 0.5 * float((self.squared_weights * (v - self.images) ** 2).sum(dtype=np.float64))

    def conjugate(self, y: Any) -> float:
        observed = self.squared_weights > 0
        curved = np.where(observed, y * y / np.where(observed, self.squared_weights, 1), 0)
        return float((y * self.images + curved / 2).sum(dtype=np.float64))

    def step(self, kernels: Any, p: Any, v: Any, x: Any, rho: float, relaxation: float, measure: bool) -> Any:
        """See :meth:`DataTerm.step`; by a fused kernel."""
        return kernels.least_squares_step(p, v, x, self.images, self.squared_weights, rho, relaxation)

    def sum_squares(self) -> float:
        return 2 * self.value(np.zeros_like(self.images))

    def max_abs(self) -> float:
        return _max_abs(self.images, self.squared_weights)


class MaskedAbsoluteDeviation(DataTerm):
    """``f(v) = sum W |v - b|`` with weights W >= 0: for impulse noise, which replaces some pixels only.

    Parameters
    ----------
    images : (M, R, H, W) array
        b.
    weights : array that broadcasts against `images`
        W.
    """

    def __init__(self, images: Any, weights: Any):
        self.images, self.weights = images, weights

    def prox(self, p: Any, rho: float) -> Any:
        """Return ``argmin_v f(v) + rho/2 ||v - p||^2``: soft threshold of the distance from b."""
        limit = self.weights / rho
        return p - np.clip(p - self.images, -limit, limit)

    def gradient(self, v: Any) -> Any:
        """Return ``W sign(v - b)``: of the subgradients where v = b, zero."""
        return self.weights * np.sign(v - self.images)

    def value(self, v: Any) -> float:
        return float((self.weights * abs(v - self.images)).sum(dtype=np.float64))

    def conjugate(self, y: Any) -> float:
        return float((y * self.images).sum(dtype=np.float64))

    def sum_squares(self) -> float:
        return float((self.images[_observed(self.images, self.weights)] ** 2).sum(dtype=np.float64))

    def max_abs(self) -> float:
        return _max_abs(self.images, self.weights)


class MaskedPoissonLikelihood(DataTerm):
    """``f(v) = sum W (s - b + b log(b / s))``, s = v + background >= 0 where W > 0: for counts of events b >= 0.

    Up to a constant, this is the negative logarithm of their Poisson likelihood if s is their expectation and W = 1. Where b
    is in other units, as counts / gain, W = gain. The background is the part of the picture that isn't coded.

    Parameters
    ----------
    images : (M, R, H, W) array
        b.
    weights : array that broadcasts against `images`
        W >= 0.
    background : array that broadcasts against `images`
        What is added to v.
    """

    def __init__(self, images: Any, weights: Any, background: Any):
        self.images, self.weights, self.background = images, weights, background
        self._known = _observed(images, weights)

    def prox(self, p: Any, rho: float) -> Any:
        """Return ``argmin_v f(v) + rho/2 ||v - p||^2``: s is the root >= 0 of ``s^2 - z s - W b / rho``.

        There, ``z = p + background - W / rho``.
        """
        z = p + self.background - self.weights / rho
        product = self.weights * self.images / rho
        root = np.sqrt(z * z + 4 * product)
        far = np.maximum(root - z, np.finfo(z.dtype).tiny)  # the same root, without cancellation where z < 0
        s = np.where(z > 0, (z + root) / 2, 2 * product / far)
        return np.where(self._known, s - self.background, p)

    def gradient(self, v: Any) -> Any:
        """Return ``W (1 - b / s)``, with s held as in :meth:`value`."""
        s = self._expectation(v)
        return self.weights * (1 - np.where(s > 0, self.images / np.where(s > 0, s, 1), 0))

    def value(self, v: Any) -> float:
        """Return f(v); it is infinite at s < 0, and at s = 0 < b: where a solver comes near, s is held at b / 10^6."""
        s, b = self._expectation(v), self.images
        counted = (s > 0) & (b > 0)
        ratio = np.where(counted, b / np.where(counted, s, 1), 1)
        return float((self.weights * (s - b + b * np.log(ratio))).sum(dtype=np.float64))

    def conjugate(self, y: Any) -> float:
        counted = self._known & (self.images > 0)
        ratio = np.where(counted, 1 - y / np.where(self._known, self.weights, 1), 1)  # b / s where the gradient is y
        return -float((self.weights * self.images * np.log(ratio) + y * self.background).sum(dtype=np.float64))

    def sum_squares(self) -> float:
        return float(((self.images - self.background)[self._known] ** 2).sum(dtype=np.float64))

    def max_abs(self) -> float:
        return _max_abs(self.images - self.background, self.weights)

    def _expectation(self, v: Any) -> Any:
        return np.where(self._known, np.maximum(v + self.background, self.images * v.dtype.type(1e-6)), 0)


def _observed(images: Any, weights: Any) -> Any:
    return np.broadcast_to(weights > 0, images.shape)


def _max_abs(images: Any, weights: Any) -> float:
    return float(abs(images[_observed(images, weights)]).max())


class SoftThreshold:
    """``g(v) = lmbda sum_j w_j |v_j|``, optionally with v >= 0: prox by soft threshold [FFCSC, eq. 6].

    Parameters
    ----------
    weights : array (M or 1, K or 1, H, W) or (.., 1, 1)
        ``lmbda * w``, in the units of the data.
    nonnegative : bool
        Add the constraint v >= 0.
    """

    def __init__(self, backend: Backend, weights: Any, nonnegative: bool = False):
        self.kernels = backend.kernels
        self.weights = backend.asarray(weights)
        self.nonnegative = nonnegative
        self.set_rho(1.0)

    def set_rho(self, rho: float) -> None:
        self.rho = rho
        self.threshold = self.weights / self.weights.dtype.type(rho)

    def step(self, p: Any, x: Any, index: Index, relaxation: float, offset: bool) -> np.ndarray:
        """Update the state of a visit in place; see ``kernels.shrink``."""
        return self.kernels.shrink(p, x, self.threshold_of(index), self.nonnegative, relaxation, offset)

    def prox_inplace(self, p: Any, index: Index) -> None:
        """Set ``p = prox(p)`` in place."""
        self.kernels.threshold_maps(p, self.threshold_of(index), self.nonnegative)

    def penalty(self, statistics: np.ndarray) -> float:
        """Return g at the current split variable, from the sums of :meth:`step`."""
        return self.rho * float(statistics[2])

    def value(self, v: Any, index: Index) -> Any:
        """Return g at the maps of a visit; a number on the backend's device."""
        return self.rho * (self.threshold_of(index) * abs(v)).sum(dtype=np.float64)

    def max_gradient_ratio(self, p: Any, index: Index) -> Any:
        """Return the largest ratio of a visit's states to their thresholds, which are positive; up to 1, all of v is zero.

        A number on the backend's device.
        """
        return ((p if self.nonnegative else abs(p)) / self.threshold_of(index)).max()

    def state_from_point(self, v: Any, downhill: Any, index: Index) -> None:
        """Turn `v` in place into a state whose prox it is, given the negative gradient of the rest of the objective.

        The scaled dual is ``threshold * sign(v)``; where v = 0, it is the gradient's, cut off at the threshold.
        """
        if self.nonnegative:
            np.maximum(v, 0, out=v)
        threshold = self.threshold_of(index)
        lower = -np.inf if self.nonnegative else -threshold
        v += np.where(v != 0, threshold * np.sign(v), _clip(downhill / self.rho, lower, threshold))

    def set_point(self, p: Any, v: Any, index: Index) -> None:
        """Make `v` the prox of the state `p` in place; where it is already, the state stays bit for bit.

        Where v = 0 the scaled dual stays, elsewhere it becomes ``threshold * sign(v)``, the only one that fits.
        """
        threshold = self.threshold_of(index)
        u = _clip(p, -threshold, threshold)
        p[...] = np.where(p - u != v, v + np.where(v != 0, threshold * np.sign(v), u), p)

    def threshold_of(self, index: Index) -> Any:
        """Return the thresholds of a visit, which broadcast against its maps."""
        if self.threshold.size == 1:
            return self.threshold
        rows = tuple(part if size > 1 else slice(0, 1) for part, size in zip(index, self.threshold.shape[:2], strict=True))
        return self.threshold[rows]


class Anchor(NamedTuple):
    """Earlier filters (K, C, h, w) and the penalties (K,) of moving away: ``rho_k/2 ||d_k - filters_k||^2``."""

    filters: Any
    rho: np.ndarray


class FilterProjection:
    """Indicator of the filters: zero outside their support, norm over all channels at most one [CoGD, eq. 23].

    The maps are filters on the domain of the codes, (C, K, H, W): the C problems are coupled by the norm.

    Parameters
    ----------
    shapes : (K, 2) int array
        Height and width of each filter; its support starts at the origin.
    zero_mean : bool
        Also ask for mean zero in each channel.
    anchor : Anchor, optional
        Penalize the distance from earlier filters; the prox is then the projection of a weighted mean.
    """

    def __init__(self, backend: Backend, shapes: np.ndarray, zero_mean: bool = False, anchor: Anchor | None = None):
        self.zero_mean, self.anchor = zero_mean, anchor
        self.size = tuple(int(length) for length in shapes.max(axis=0))
        rows, columns = np.ogrid[: self.size[0], : self.size[1]]
        inside = (rows < shapes[:, :1, None]) & (columns < shapes[:, 1:, None])
        self._support = backend.asarray(inside)  # (K, h, w)
        self._areas = backend.asarray(inside.sum(axis=(1, 2), keepdims=True))
        self._anchor_rho: Any = None if anchor is None else backend.asarray(anchor.rho)[:, None, None]
        self.set_rho(1.0)

    def set_rho(self, rho: float) -> None:
        self.rho = rho

    def step(self, p: Any, x: Any, index: Index, relaxation: float, offset: bool) -> Any:
        v_old = self._project(p, index)
        if offset:
            x += 2 * v_old - p
        p += relaxation * (x - v_old)
        v = self._project(p, index)
        u = p - v
        moments = [((x - v) ** 2).sum(), ((v - v_old) ** 2).sum(), (v != 0).sum(), *((a**2).sum() for a in (x, v, u))]
        moments.insert(2, 0 * moments[0])  # no l1 term
        x[...] = v if offset else v - u
        return np.stack(moments)

    def prox_inplace(self, p: Any, index: Index) -> None:
        p[...] = self._project(p, index)

    def penalty(self, statistics: np.ndarray) -> float:
        return 0.0

    def value(self, v: Any, index: Index) -> float:
        return 0.0

    def state_from_point(self, v: Any, downhill: Any, index: Index) -> None:
        """Leave `v` as it is: a feasible filter is its own state, with dual zero."""

    def _project(self, p: Any, index: Index) -> Any:
        (h, w), maps = self.size, index[1]
        inside = p[..., :h, :w]
        if self.anchor is not None:
            share = self._anchor_rho[maps] / (self._anchor_rho[maps] + self.rho)
            inside = inside + share * (self.anchor.filters[maps].swapaxes(0, 1) - inside)
        inside = inside * self._support[maps]
        if self.zero_mean:
            means = inside.sum(axis=(2, 3), keepdims=True) / self._areas[maps]
            inside = (inside - means) * self._support[maps]
        norms = np.sqrt((inside**2).sum(axis=(0, 2, 3), keepdims=True, dtype=np.float64))
        v = np.zeros_like(p)
        v[..., :h, :w] = inside / np.maximum(norms, 1).astype(p.dtype)
        return v


def _clip(array: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(array, low), high)
