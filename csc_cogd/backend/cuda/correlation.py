"""Code maps of small filters, visited in one pass over the state: see `correlate.cu`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from csc_cogd.backend.cuda.kernels import MOST_BLOCKS, Kernels, check_grid, outer_strides, plane
from csc_cogd.backend.cuda.modules import THREADS, blocks, load_function
from csc_cogd.backend.kernels import STATISTICS

ROWS, GROUP = 8, 4  # as in correlate.cu
SHARED_MEMORY = 48 * 1024  # bytes of a block, on any device
MOST_TAPS = 600  # of a filter: beyond, FFTs are faster
ENOUGH_BLOCKS = 1500
FIXED_POINT = 44  # bits behind the point, for values of the size of the images'
_int, _long = np.int32, np.int64


class Correlation:
    """Visits all code maps x_mk of small filters, with no spectra of them.

    Parameters
    ----------
    xp : module
        CuPy.
    dtype : float32 or float64
    filters : (K, C, h, w) array
    shape : tuple
        That of the codes, (M, K, H, W).
    largest : float
        Largest absolute value of the images: atoms are summed in units of 2^-44 of that.
    """

    def __init__(self, xp: ModuleType, dtype: np.dtype, filters: Any, shape: tuple[int, ...], largest: float):
        self.xp, self.shape, self.channels = xp, shape, filters.shape[1]
        self._real, self._kernels = dtype.type, Kernels(xp, dtype)
        self._warps = _warps(filters.shape, dtype)
        _, C, h, w = filters.shape
        macros = (("CHANNELS", C), ("HEIGHT", h), ("WIDTH", w), ("WARPS", self._warps))
        self._correlate, self._take = (load_function(xp, "correlate", n, dtype, macros) for n in ("correlate", "take_sum"))
        self._canvas = xp.zeros((shape[0], C, *shape[2:]), np.uint64)
        self._scale = np.float64(2.0 ** (FIXED_POINT - np.ceil(np.log2(max(largest, 1e-30)))))
        self.set_filters(filters)

    @staticmethod
    def supports(filters_shape: tuple[int, ...], dtype: np.dtype) -> bool:
        """Return whether filters (K, C, h, w) are small enough."""
        return int(np.prod(filters_shape[1:])) <= MOST_TAPS and _warps(filters_shape, dtype) > 0

    def set_filters(self, filters: Any) -> None:
        """Exchange the filters, (K, C, h, w): kept as (groups, C, w, h, 4)."""
        K, C, h, w = filters.shape
        groups = -(-K // GROUP)
        filled = self.xp.zeros((groups * GROUP, C, h, w), filters.dtype)
        filled[:K] = filters
        self._filters = self.xp.ascontiguousarray(filled.reshape(groups, GROUP, C, h, w).transpose(0, 2, 4, 3, 1))

    def shrink(
        self, q: Any, p: Any, threshold: Any, nonnegative: bool, relaxation: float, *, first: int = 0, out: Any = None
    ) -> Any:
        """Do ``kernels.shrink`` on every map, with the offset ``x = A^H q``; return the statistics, on the device.

        Parameters
        ----------
        q : (M, C, H, W) array
        p : (M, K, H, W) array, updated
        threshold : array that broadcasts against `p`
        first : int
            The first map that is visited, a multiple of 4; with `out` only.
        out : (M, n, H, W) array, optional
            The new codes of n maps are written here. Default: all maps are visited, and their atoms added for
            :meth:`take_sum`.
        """
        M, K, H, W = p.shape
        n_maps = K if out is None else out.shape[1]
        across = -(-W // 32), -(-H // (ROWS * self._warps))
        groups = -(-n_maps // GROUP)
        check_grid(M)
        chunks = min(-(-ENOUGH_BLOCKS // (across[0] * across[1] * M)), groups, MOST_BLOCKS // M)
        chunk = -(-groups // chunks)
        chunks = -(-groups // chunk)
        partial = self.xp.empty((across[0] * across[1] * M * chunks, STATISTICS), np.float64)
        self._correlate(
            (*across, M * chunks), (32 * self._warps,),
            (
                q, self._filters, p, threshold, *outer_strides(threshold), _int(plane(threshold) > 1),
                _int(nonnegative), self._real(relaxation), _int(K), _int(H), _int(W), _int(first), _int(n_maps),
                _int(chunks), _int(chunk), out, self._canvas, self._scale, partial,
            ),
        )  # fmt: skip
        return self._kernels.add_partial_sums(partial)

    def take_sum(self, images: Any) -> None:
        """Write the sum of the atoms since the last call to `images` (M, C, H, W)."""
        self._take((blocks(images.size),), (THREADS,), (self._canvas, self._scale, images, _long(images.size)))


def _warps(filters_shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Return as many warps of a block as its shared memory allows; 0 if none."""
    _, C, h, w = filters_shape
    for warps in (8, 4, 2, 1):
        tile = C * (ROWS * warps + h - 1) * (32 + w - 1) * dtype.itemsize
        if tile + warps * (32 * ROWS * (dtype.itemsize + 2) + 8 * STATISTICS) <= SHARED_MEMORY:
            return warps
    return 0
