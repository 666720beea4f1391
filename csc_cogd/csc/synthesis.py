"""The operator A of the solvers, A u = sum_k a_k * u_k, applied to maps as they are written, while they are in cache."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, Index, Task, Workspace

COST_OF_ATOM, COST_OF_TRANSFORM = 80, 12  # of an atom besides its values, of a map's pixel; unit: a value added


class Synthesis:
    """Sums of convolutions over K maps of M problems, and the visits to these maps.

    A visit is one map on a CPU, many on a GPU. The sum is taken over spectra, or, where `filters` are given and the maps
    are sparse enough, over the maps' few atoms.

    Parameters
    ----------
    backend : Backend
    shape : (M, K, H, W)
        Of the maps.
    n_channels : int
        R: of the sums, (M, R, H, W).
    coupled : int
        Problems that are always visited together.

    Attributes
    ----------
    operator : (K, R, H, W // 2 + 1) complex array
        Spectra of a_kr.
    images : Workspace
        For arrays of the sums' shape.
    """

    def __init__(self, backend: Backend, shape: tuple[int, int, int, int], n_channels: int, coupled: int = 1):
        self.backend, self.shape = backend, shape
        M, _, H, W = shape
        self.images = backend.workspace((M, n_channels, H, W))
        self._tasks, self._width = backend.tasks(shape, coupled)
        self._workspaces = backend.workspaces((*backend.visit_shape(shape, coupled), H, W))
        groups = 1 + max(task.group for task in self._tasks)
        self._partial = backend.xp.empty((groups, M, n_channels, H, W // 2 + 1), backend.complex_dtype)

    def set_operator(self, operator: Any, filters: Any = None) -> None:
        """Exchange the operator, and the filters (K, R, h, w) where they are small."""
        self.operator: Any = operator
        self.filters: Any = None
        if filters is None or self.backend.atoms is None:
            return
        self.filters = self.backend.atoms.padded(self.backend.asarray(filters))
        self._overhang = filters.shape[2] - 1, filters.shape[3] - 1
        (groups, M, R, H, _), W = self._partial.shape, self.shape[3]
        lanes = self.filters.shape[3]
        self._canvas = self.backend.xp.empty((groups, M, R, H + self._overhang[0], W + lanes - 1), self.backend.dtype)

    def sweep(
        self, write: Callable[[Workspace, Index], Any], sparse: bool = False, kept: Any = None
    ) -> tuple[Any, list[list[Any]]]:
        """Let `write` fill every map, and apply A to what it wrote.

        Parameters
        ----------
        write : callable
            Called with the workspace and the index of each visit.
        sparse : bool
            Add atoms instead of transforming the maps.
        kept : (M, K, H, W // 2 + 1) complex array, optional
            Where to keep the maps' spectra.

        Returns
        -------
        sums : (M, R, H, W // 2 + 1) complex array
        results : list of lists
            What `write` returned, by task.
        """
        kernels = self.backend.kernels

        def work(workspace: Workspace, task: Task) -> list[Any]:
            problems, maps, group = task
            results = []
            if sparse:
                self._canvas[group, problems] = 0
            for index in task.visits(self._width):
                part = workspace.part(*index)
                results.append(write(part, index))
                if sparse:
                    first = index[1].start
                    self.backend.atoms.add_map(part.real[0, 0], self.filters[first], self._canvas[group, problems.start])
                    continue
                part.forward()
                if kept is not None:
                    kept[index] = part.spectrum
                share, add = self._partial[group, problems], index[1].start > maps.start
                kernels.accumulate_forward(self.operator[index[1]], part.spectrum, share, add)
            return results

        results = self.backend.run(work, self._tasks, self._workspaces)
        return self._spectra_of_canvas() if sparse else self._partial.sum(axis=0), results

    def for_visits(self, function: Callable[[Workspace, Index], Any]) -> list[Any]:
        """Return ``function(workspace, index)`` of every visit."""

        def work(workspace: Workspace, task: Task) -> list[Any]:
            return [function(workspace.part(*index), index) for index in task.visits(self._width)]

        return list(itertools.chain.from_iterable(self.backend.run(work, self._tasks, self._workspaces)))

    def adjoint(self, spectra: Any, workspace: Workspace, index: Index) -> None:
        """Write the spectra of A^H of images, of the maps of a visit, given the images' spectra."""
        problems, maps = index
        self.backend.kernels.apply_adjoint(self.operator[maps], spectra[problems], workspace.spectrum)

    def to_images(self, spectra: Any) -> Any:
        """Return the images (M, R, H, W) of the spectra of sums, in memory that will be reused."""
        np.multiply(spectra, 1 / (self.shape[-2] * self.shape[-1]), out=self.images.spectrum)
        self.images.inverse()
        return self.images.real

    def _spectra_of_canvas(self) -> Any:
        """Wrap what extends beyond the period of the canvases (M, R, H + h - 1, ..) around, and transform."""
        (H, W), (h, w) = self.shape[-2:], self._overhang
        canvas = self._canvas.sum(axis=0)
        canvas[..., :h, :] += canvas[..., H : H + h, :]
        canvas[..., :w] += canvas[..., W : W + w]
        self.images.real[...] = canvas[..., :H, :W]
        self.images.forward()
        return self.images.spectrum


def atoms_are_cheaper(nonzeros: int, taps: int, n_values: int) -> bool:
    """Return whether adding atoms, `taps` values for each of `nonzeros` codes, is faster than transforming all maps."""
    return bool(nonzeros * taps + COST_OF_ATOM * nonzeros < COST_OF_TRANSFORM * n_values)
