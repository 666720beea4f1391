"""Coordinate descent on the few atoms that a sparse code may use, for the code solve with a squared data term.

    minimize over x    1/2 ||W (A x - b)||^2 + sum_i t_i |x_i|,      A x = sum_k d_k * x_k

A code that is zero at the optimum, as 99 of 100 are, needs no iterations, only the certainty that it stays zero: its
gradient g_i = <d_i, W^2 (b - A x)> is below t_i. So all gradients are computed now and then, by FFTs, and in between a
working set is solved one code after the other, each a soft threshold that touches only the pixels of its atom.
[Friedman, Hastie, Tibshirani 2010; Moreau, Gramfort 2019, arXiv 1901.09235; Zisselman, Sulam, Elad 2019, arXiv 1811.00312]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, Workspace, borrowed
from csc_cogd.csc.iteration import Iteration, duality_gap
from csc_cogd.csc.problem import Domain
from csc_cogd.csc.prox import MaskedLeastSquares, SoftThreshold

MAX_SWEEPS = 20  # over the working set, from one check of all gradients to the next
SWEEP_TOL = 0.02  # of the largest change of a round's first sweep: a sweep that changes less is the last
FINAL_MAX_SWEEPS, FINAL_SWEEP_TOL = 100, 0.001  # near the optimum, where sweeps take less time than all gradients
ADMIT_FRACTION = 0.4  # of the largest gradient: what joins the working set, steep ones first
BAND_ROWS = 32  # rows that one task sweeps, at least

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class CoordinateDescent:
    """A :class:`csc_cogd.csc.iteration.Solver`; a step is a round of sweeps and a check of all gradients.

    The record's dual residual is by how much gradients violate the optimality conditions, relative to all gradients: by
    what is above the thresholds, and by what the last sweep changed. Its `gap` is the duality gap at the residual scaled
    until it is dual feasible. The result doesn't depend on the number of threads: rows are cut into bands, of which every
    second one may be swept at the same time, for their atoms share no pixel.

    Parameters
    ----------
    backend : Backend
    domain : Domain
    filters : (K, C, h, w) array
    operator : (K, C, H, W // 2 + 1) complex array
        Their spectra on the domain.
    data : MaskedLeastSquares
    prox : SoftThreshold
        All thresholds are above zero.
    tol : float
        An image whose gap is no larger isn't worked on any more.
    start : (N, K, ...) array of the codes' shape, optional
        Where to begin, instead of at zero.
    """

    rho = float("nan")
    measure_every = 1

    def __init__(
        self, backend: Backend, domain: Domain, filters: Any, operator: Any, data: MaskedLeastSquares, prox: SoftThreshold,
        *, tol: float, start: Any = None,
    ):  # fmt: skip
        self.backend, self.tol = backend, tol
        shared = _Shared(backend, domain, filters, operator, prox)
        squared_weights = np.broadcast_to(data.squared_weights, data.images.shape)
        self.images = [
            _Image(shared, n, image, weights, None if start is None else start[n])
            for n, (image, weights) in enumerate(zip(data.images, squared_weights, strict=True))
        ]
        self._for_all(lambda image, each: image.check_gradients(each), self.images)
        self.max_ratio = max(image.max_ratio for image in self.images)
        """Largest gradient at the start, relative to its threshold: lambda_max / lmbda, where the start is zero."""

    def step(self, measure: bool = True) -> Iteration:
        """Do one round, which is always measured; the record's iteration number and seconds are left to the caller."""
        busy = [image for image in self.images if image.gap > self.tol and image.dual_residual > 0]
        self._for_all(lambda image, each: image.round(each, thorough=image.dual_residual < self.tol), busy)
        data_term, l1 = (sum(getattr(image, name) for image in self.images) for name in ("data_term", "l1"))
        gap = sum(image.gap * image.objective for image in self.images) / max(data_term + l1, 1e-300)
        dual_residual = max(image.dual_residual for image in self.images)
        nonzeros = sum(int(np.count_nonzero(image.codes)) for image in self.images)
        return Iteration(0, 0.0, data_term + l1, data_term, l1, 0.0, dual_residual, self.rho, nonzeros, gap)

    def finish(self) -> tuple[Any, Any, float]:
        """Return the codes (N, K, ...), their sum of convolutions A x on the domain (N, C, H, W), and the objective."""
        shared = self.images[0].shared
        maps = np.zeros((len(self.images), len(shared.filters), *shared.domain.codes_shape), self.backend.dtype)
        for image, codes in zip(self.images, maps, strict=True):
            codes[tuple(image.places)] = image.codes
        fit = np.array([image.on_domain(image.fit) for image in self.images])
        return maps, fit, sum(image.objective for image in self.images)

    def _for_all(self, function: Callable[[_Image, Each], None], images: list[_Image]) -> None:
        """Call the function with every image, with threads over images if there are many, else within each."""
        if len(images) >= self.backend.threads:
            list(self.backend.each(lambda image: function(image, map), images))
        else:
            for image in images:
                function(image, self.backend.each)


class _Shared:
    """The part of the problem that all images share."""

    def __init__(self, backend: Backend, domain: Domain, filters: Any, operator: Any, prox: SoftThreshold):
        self.backend, self.domain, self.operator, self.prox = backend, domain, operator, prox
        self.width = filters.shape[3]
        self.filters = backend.atoms.padded(backend.asarray(filters))
        (H, W), (h, w) = domain.codes_shape, domain.filter_shape
        circular = domain.boundary == "circular"
        self.period = (H, W) if circular else tuple(np.maximum(domain.shape, (H + h - 1, W + w - 1)).tolist())
        self.canvas = (filters.shape[1], self.period[0], self.period[1] + self.filters.shape[3])
        bands = max(H // max(BAND_ROWS, h) // 2 * 2, 1)  # an even number, so that the last is no neighbor of the first
        self.bands = np.linspace(0, H, bands + 1).astype(int)  # the first row of each
        self.maps = backend.workspaces((1, 1, *domain.shape))
        self.blocks = backend.workspaces((1, filters.shape[1], *domain.shape))

    def keys(self, places: np.ndarray) -> np.ndarray:
        """Return the numbers by which atoms are sorted: row, column, filter. Filters first would gain a fifth less."""
        k, i, j = places.astype(np.int64)
        return (i * self.domain.codes_shape[1] + j) * len(self.filters) + k

    def thresholds(self, n: int, k: int) -> Any:
        """Return the thresholds of a map, (1, 1) or of the codes' shape."""
        weights = self.prox.weights
        weights = weights[n if len(weights) > 1 else 0, k if weights.shape[1] > 1 else 0]
        return weights if weights.size == 1 else self.domain.crop_codes(weights)

    def thresholds_at(self, n: int, places: np.ndarray) -> Any:
        index = (np.array(n), *places)
        return self.prox.weights[tuple(i if size > 1 else 0 for i, size in zip(index, self.prox.weights.shape, strict=True))]


class _Image:
    """One image's problem: its working set, `places` (3, n) and `codes` (n,), and the residual W^2 (b - A x)."""

    def __init__(self, shared: _Shared, n: int, image: Any, squared_weights: Any, start: Any):
        self.shared, self.n = shared, n
        dtype = shared.backend.dtype
        self.image, self.squared_weights, self.residual, self.fit = (np.zeros(shared.canvas, dtype) for _ in range(4))
        self.on_domain(self.image)[...] = image
        self.on_domain(self.squared_weights)[...] = squared_weights
        self.places = np.empty((3, 0), np.int32)
        self.codes, self.energies, self.thresholds = np.empty((3, 0), dtype)
        self._bands = np.zeros_like(shared.bands)
        self.candidates = self.places
        self.max_ratio, self._change = np.inf, 0.0
        if start is not None and np.any(start):
            self._extend_working_set(np.argwhere(start).T.astype(np.int32))
            self.codes = start[tuple(self.places)]

    def on_domain(self, canvas: Any) -> Any:
        H, W = self.shared.domain.shape
        return canvas[:, :H, :W]

    @property
    def objective(self) -> float:
        return self.data_term + self.l1

    def round(self, each: Each, thorough: bool) -> None:
        if not self.candidates.size and not self.codes.size:
            self.check_gradients(each)  # now that the largest ratio is known, the candidates are found
        self._extend_working_set(self.candidates)
        self._sweep(each, *((FINAL_MAX_SWEEPS, FINAL_SWEEP_TOL) if thorough else (MAX_SWEEPS, SWEEP_TOL)))
        self.check_gradients(each)

    def _extend_working_set(self, candidates: np.ndarray) -> None:
        """Take new atoms into the working set, and leave out those that have become zero."""
        shared = self.shared
        used = self.codes != 0
        places, keys = self.places[:, used], shared.keys(self.places[:, used])
        new_keys = shared.keys(candidates)
        order = np.argsort(new_keys)
        candidates, new_keys = candidates[:, order], new_keys[order]
        at = np.searchsorted(keys, new_keys)
        new = np.append(keys, -1)[at] != new_keys
        candidates, at = candidates[:, new], at[new]
        energies = shared.backend.atoms.energies(
            candidates, shared.filters, shared.width, shared.period, self.squared_weights
        )
        thresholds = shared.thresholds_at(self.n, candidates)
        self.places = np.insert(places, at, candidates, axis=1)
        self.codes = np.insert(self.codes[used], at, 0)
        self.energies = np.insert(self.energies[used], at, energies)
        self.thresholds = np.insert(self.thresholds[used], at, thresholds)
        self._bands = np.searchsorted(self.places[1], shared.bands)

    def _each_band(self, each: Each, function: Callable[[slice], Any]) -> list[Any]:
        """Return ``function(part)`` of the working set's bands, neighbors never at the same time."""
        parts = [slice(a, b) for a, b in zip(self._bands[:-1], self._bands[1:], strict=True)]
        return [result for first in (0, 1) for result in each(function, parts[first::2])]

    def _sweep(self, each: Each, sweeps: int, enough: float) -> None:
        shared = self.shared

        def descend(part: slice) -> tuple[float, float]:
            return shared.backend.atoms.descend(
                self.places[:, part], self.codes[part], self.energies[part], self.thresholds[part], shared.filters,
                shared.width, shared.period, shared.prox.nonnegative, self.squared_weights, self.residual, zeros,
            )  # fmt: skip

        first, zeros = 0.0, True
        for _ in range(sweeps):
            largest, squares = zip(*self._each_band(each, descend), strict=True)
            first, zeros = first or max(largest), False
            if max(largest) <= enough * first:
                break
        self._change = sum(squares)

    def check_gradients(self, each: Each) -> None:
        """Compute objective, gradients, gap, and the candidates by their gradients."""
        shared, backend = self.shared, self.shared.backend
        self.fit[...] = 0
        self._each_band(
            each,
            lambda part: backend.atoms.add_atoms(
                self.places[:, part], self.codes[part], shared.filters, shared.width, shared.period, self.fit
            ),
        )
        np.subtract(self.image, self.fit, out=self.residual)
        weighted = self.squared_weights * self.residual
        self.data_term = 0.5 * float(np.sum(weighted * self.residual, dtype=np.float64))
        self.l1 = float(np.sum(self.thresholds * abs(self.codes), dtype=np.float64))
        self.residual[...] = weighted
        with borrowed(shared.blocks) as block:
            np.divide(self.on_domain(self.residual), np.prod(shared.domain.shape), out=block.real[0], casting="same_kind")
            block.forward()
            surveys = list(each(lambda k: self._gradient_candidates(k, block), range(len(shared.filters))))
        found, largest, excess, total = zip(*surveys, strict=True)
        self.candidates, self.max_ratio = np.concatenate(found, axis=1), float(max(largest))
        self.dual_residual = float(np.sqrt((sum(excess) + self._change) / max(sum(total), 1e-300)))
        aligned = float(np.sum(self.residual * self.image, dtype=np.float64))
        self.gap = duality_gap(self.objective, aligned, 2 * self.data_term, self.max_ratio)

    def _gradient_candidates(self, k: int, block: Workspace) -> tuple[np.ndarray, float, float, float]:
        """Find a map's candidates by its gradients, from the residual's spectra; see ``atoms.find_atoms``."""
        shared, backend = self.shared, self.shared.backend
        cut = max(1.0, ADMIT_FRACTION * self.max_ratio)
        with borrowed(shared.maps) as workspace:
            backend.kernels.apply_adjoint(shared.operator[k : k + 1], block.spectrum, workspace.spectrum)
            workspace.inverse()
            gradient = shared.domain.crop_codes(workspace.real[0, 0])
            found, *survey = backend.atoms.find_atoms(gradient, shared.thresholds(self.n, k), shared.prox.nonnegative, cut)
        return np.concatenate([np.full((1, found.shape[1]), k, np.int32), found]), *survey
