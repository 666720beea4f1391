"""Proximal operators of the engine, as small objects that the one algorithm in `admm` is handed.

A *data* object is the prox of the data term on sums of convolutions (M, R, H, W); a *map* object is the prox on the
unknown maps (M, K, H, W), and visits a few of them at a time. All take the state ``p = v + u`` (split variable plus
scaled dual), of which ``v = prox(p)`` and ``u = p - v``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import Backend

Index = tuple[slice, slice]
"""Which problems and which of their maps a visit covers."""


def one_map(problem: int, number: int) -> Index:
    """The visit that covers a single map."""
    return slice(problem, problem + 1), slice(number, number + 1)


class MaskedLeastSquares:
    """``f(v) = 1/2 ||W (v - b)||^2`` with weights W >= 0: observed where positive, missing where zero [FFCSC, eq. 6].

    Parameters
    ----------
    images : (M, R, H, W) array, b
    weights : array that broadcasts against `images`, W, or with `squared` W^2
    """

    def __init__(self, images: Any, weights: Any, squared: bool = False):
        self.images = images
        self.squared_weights = weights if squared else weights**2

    def prox(self, p: Any, rho: float) -> Any:
        """``argmin_v f(v) + rho/2 ||v - p||^2``."""
        return (self.squared_weights * self.images + rho * p) / (self.squared_weights + rho)

    def gradient(self, v: Any) -> Any:
        return self.squared_weights * (v - self.images)

    def value(self, v: Any) -> float:
        return 0.5 * float((self.squared_weights * (v - self.images) ** 2).sum(dtype=np.float64))

    def dual_state(self, v: Any, rho: float) -> Any:
        """The state p whose prox is `v`: ``p = v + grad f(v) / rho``."""
        return v + self.gradient(v) / rho


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
        return self.kernels.shrink(p, x, self._threshold(index, p), self.nonnegative, relaxation, offset)

    def to_point(self, p: Any, index: Index) -> None:
        """``p = prox(p)`` in place."""
        self.kernels.threshold_maps(p, self._threshold(index, p), self.nonnegative)

    def penalty(self, statistics: np.ndarray) -> float:
        """g at the current split variable, from the sums of :meth:`step`."""
        return self.rho * float(statistics[2])

    def value(self, v: Any, index: Index) -> float:
        """g at the maps of a visit."""
        return self.rho * float((self._threshold(index, v) * abs(v)).sum(dtype=np.float64))

    def to_state(self, v: Any, downhill: Any, index: Index) -> None:
        """Turn `v` in place into a state whose prox it is, given the negative gradient of the rest of the objective.

        The scaled dual is ``threshold * sign(v)``; where v = 0, it is the gradient's, cut off at the threshold.
        """
        if self.nonnegative:
            v[v < 0] = 0
        threshold = self._threshold(index, v)
        lower = -np.inf if self.nonnegative else -threshold
        v += np.where(v != 0, threshold * np.sign(v), np.clip(downhill / self.rho, lower, threshold))

    def move_to(self, p: Any, v: Any, index: Index) -> None:
        """Make `v` the prox of the state `p` in place; where it is already, the state stays bit for bit.

        Where v = 0 the scaled dual stays, elsewhere it becomes ``threshold * sign(v)``, the only one that fits.
        """
        threshold = self._threshold(index, p)
        u = np.clip(p, -threshold, threshold)
        moved = p - u != v
        p[moved] = (v + np.where(v != 0, threshold * np.sign(v), u))[moved]

    def _threshold(self, index: Index, p: Any) -> Any:
        shape = (*p.shape[:2], *self.threshold.shape[2:])
        if self.threshold.shape == shape == (1, 1, 1, 1):
            return self.threshold
        rows = tuple(part if size > 1 else slice(0, 1) for part, size in zip(index, self.threshold.shape[:2], strict=True))
        part = self.threshold[rows]
        return part if part.shape == shape else np.broadcast_to(part, shape).copy()


class Anchor(NamedTuple):
    """Earlier filters (K, C, h, w), and how strongly each pulls: ``pull_k/2 ||d_k - filters_k||^2``, (K,)."""

    filters: Any
    pull: np.ndarray


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
        Add a pull towards earlier filters; the prox is then the projection of a weighted mean.
    """

    def __init__(self, shapes: np.ndarray, zero_mean: bool = False, anchor: Anchor | None = None):
        self.shapes, self.zero_mean, self.anchor = shapes, zero_mean, anchor
        self.set_rho(1.0)

    def set_rho(self, rho: float) -> None:
        self.rho = rho

    def step(self, p: Any, x: Any, index: Index, relaxation: float, offset: bool) -> np.ndarray:
        v_old = self._project(p, index)
        if offset:
            x += 2 * v_old - p
        p += relaxation * (x - v_old)
        v = self._project(p, index)
        u = p - v
        statistics = [((x - v) ** 2).sum(), ((v - v_old) ** 2).sum(), 0.0, (v != 0).sum()]
        statistics += [(a**2).sum() for a in (x, v, u)]
        x[...] = v - u
        return np.array([float(s) for s in statistics])

    def to_point(self, p: Any, index: Index) -> None:
        p[...] = self._project(p, index)

    def penalty(self, statistics: np.ndarray) -> float:
        return 0.0

    def value(self, v: Any, index: Index) -> float:
        return 0.0

    def to_state(self, v: Any, downhill: Any, index: Index) -> None:
        """A filter is a state of its own, with dual zero."""

    def _project(self, p: Any, index: Index) -> Any:
        v = np.zeros_like(p)
        for b, (height, width) in enumerate(self.shapes[index[1]]):
            support = p[:, b, :height, :width]
            if self.anchor is not None:
                k = index[1].start + b
                pull = float(self.anchor.pull[k] / (self.anchor.pull[k] + self.rho))
                support = support + pull * (self.anchor.filters[k, :, :height, :width] - support)
            if self.zero_mean:
                support = support - support.mean(axis=(1, 2), keepdims=True)
            norm = float(np.sqrt((support**2).sum(dtype=np.float64)))
            v[:, b, :height, :width] = support / max(norm, 1.0)
        return v
