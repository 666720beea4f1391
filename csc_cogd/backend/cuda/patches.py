"""The kernels of `csc_cogd.backend.patches` on a GPU: see `match_patches.cu` and `estimate_patches.cu`.

All groups of a picture are handed over in one call. Sums are taken in fixed point: a call repeated gives the same bits.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from csc_cogd.backend.cuda.modules import load_function
from csc_cogd.backend.patches import GroupModel
from csc_cogd.errors import InputError

_MATCH_THREADS, _STRIP = 128, 4  # as in match_patches.cu
_STATIC = 64  # bytes of shared memory that match_patches.cu declares itself, at most
_MOST_WARPS = 8  # of a block that estimates
_RESERVED = 1 << 10  # bytes that the device keeps for itself in every block
_RESIDENT = 32  # warps of a multiprocessor that the registers suffice for, 64 a thread
_SCRATCH = 256 << 20  # bytes of global memory at most, where patches are too large for shared memory, ...
_SCRATCH_BLOCKS = 264  # ... and blocks: two for each multiprocessor
_int = np.int32


class Patches:
    """See the functions of the same names in `csc_cogd.backend.patches`.

    Parameters
    ----------
    xp : module
        CuPy.
    dtype : float32 or float64
    shared_memory : int
        Bytes that a block may have on the device.
    """

    def __init__(self, xp: ModuleType, dtype: np.dtype, shared_memory: int):
        self.xp, self.dtype, self.shared_memory = xp, dtype, shared_memory

    def match_patches(self, guide: Any, corners: Any, size: int, radius: int, matches: Any) -> None:
        """Find the patches of `guide` most like each reference patch, in a window around it.

        Parameters
        ----------
        guide : (P, H, W) array
        corners : (n, 2) int array
            Of the reference patches.
        size, radius : int
            Corners at most `radius` rows and columns away are compared, by the sum of squared differences.
        matches : (n, N, 2) int32 array without gaps, written to
            Corners of the N most similar ones, best first: the reference itself; -1 where the window holds fewer.

        Raises
        ------
        InputError
            If the windows don't fit into the device's shared memory, the picture has 2^31 values or more, or `matches`
            can't be written to by a kernel.
        """
        guide, corners = _whole(self.xp, guide), _whole(self.xp, corners, _int)
        _check_output("matches", matches, np.int32)
        (P, H, W), (n, N) = guide.shape, matches.shape[:2]
        _check_size("guide", guide)
        rows, columns = (min(2 * radius + 1, length - size + 1) for length in (H, W))
        values = P * (-(-rows // _STRIP) * _STRIP + size - 1) * (columns + size - 1)
        values += -(-rows * columns // _MATCH_THREADS) * _MATCH_THREADS + N
        needed = values * guide.dtype.itemsize + 4 * N
        if needed + _STATIC > self.shared_memory:
            wrong = (
                f"must be smaller: windows of {rows} x {columns} patches of {P} x {size} x {size} take {needed} bytes of "
                f"shared memory, of which the GPU has {self.shared_memory} per block"
            )
            raise InputError("radius", wrong, "choose a smaller radius, or the CPU")
        if not n or not N:
            return
        numbers = (_int(value) for value in (P, H, W, size, radius, rows, columns, N))
        kernel = self._function("match_patches", needed)
        kernel((n,), (_MATCH_THREADS,), (guide, corners, *numbers, matches), shared_mem=needed)

    def estimate_patches(
        self, pilot: Any, observed: Any, known: Any, matches: Any, model: GroupModel, top: int, total: Any, weight: Any
    ) -> None:
        """Estimate each patch under a Gaussian fitted to its similar patches in `pilot`, and accumulate in place.

        See :func:`csc_cogd.backend.patches.estimate_patches`; patches too large for the device's shared memory are done in
        global memory, more slowly. Pivots of a system that isn't positive definite are raised to a
        thousandth of the noise.

        Parameters
        ----------
        pilot, observed : (P, H, W) arrays
            In about [-16, 16]: estimates are summed in units of 2^-40. A pixel's sum is NaN where one of its estimates
            exceeds 2048 or isn't a number.
        known : (P, H, W) bool array
        matches : (n, N, 2) int array
            Corners of the patches of each group.
        model : GroupModel
        top : int
            The row of the image with which `total` and `weight` begin.
        total, weight : (P, rows, W) arrays of the pilot's data type without gaps, added to
            Sum and number of the estimates of every pixel.

        Raises
        ------
        InputError
            If the picture has 2^31 values or more, or an array can't be written to by a kernel.
        """
        size, n_estimated, *variances = model
        pilot, matches = _whole(self.xp, pilot), _whole(self.xp, matches, _int)
        observed, known = _whole(self.xp, observed, pilot.dtype), _whole(self.xp, known, np.bool_)
        for name, array in (("total", total), ("weight", weight)):
            _check_output(name, array, pilot.dtype)
        (P, H, W), (n, N), rows = pilot.shape, matches.shape[:2], total.shape[1]
        _check_size("pilot", pilot)
        if not n or not N or not n_estimated:
            return
        ld = -(-P * size * size // 4) * 4
        system = ld * (ld + 4) - ld // 2 * (ld - 4)
        warps, values = _layout(ld, system, N, n_estimated, pilot.dtype.itemsize, self.shared_memory)
        needed = values * pilot.dtype.itemsize
        sums, numbers = self.xp.zeros((P, H, W), np.uint64), self.xp.zeros((H, W), np.int32)
        levels = (pilot.dtype.type(value) for value in variances)
        counts = (_int(value) for value in (n, N, P, H, W, size, n_estimated, system))
        args = (pilot, observed, known, matches, *counts, *levels, sums, numbers)
        if needed <= self.shared_memory:
            kernel = self._function("estimate_patches", needed)
            kernel((n,), (32 * warps,), args, shared_mem=needed)
        else:
            blocks = min(n, _SCRATCH_BLOCKS, max(_SCRATCH // needed, 1))
            scratch = self.xp.empty(blocks * values, pilot.dtype)
            kernel = self._function("estimate_large_patches", 0)
            kernel((blocks,), (32 * warps,), (*args, scratch, np.int64(values)))
        add = self._function("add_estimates", 0)
        extent = (_int(value) for value in (P, H, W, top, rows))
        add((-(-rows * W // 256),), (256,), (sums, numbers, *extent, total, weight))

    def _function(self, name: str, shared_memory: int) -> Any:
        source = "match_patches" if name == "match_patches" else "estimate_patches"
        kernel = load_function(self.xp, source, name, self.dtype)
        if shared_memory + _STATIC > kernel.max_dynamic_shared_size_bytes:
            kernel.max_dynamic_shared_size_bytes = shared_memory
        return kernel


def _layout(ld: int, system: int, N: int, solved: int, itemsize: int, shared_memory: int) -> tuple[int, int]:
    """Return the warps of a block, and the values it keeps: as many patches at a time on a multiprocessor as fit."""

    def values(warps: int) -> int:
        return ld * (ld + 2) + max(warps * (system + 3 * ld), N * ld)

    def at_a_time(warps: int) -> float:
        blocks = min((shared_memory + _RESERVED) // (values(warps) * itemsize + _RESERVED), _RESIDENT // warps)
        return blocks * solved / -(-solved // warps)

    choices = range(1, min(_MOST_WARPS, solved) + 1)
    warps = max(choices, key=at_a_time) if at_a_time(1) else choices[-1]
    return warps, values(warps)


def _whole(xp: ModuleType, array: Any, dtype: Any = None) -> Any:
    """Return the array as a contiguous one, of a data type."""
    return xp.ascontiguousarray(xp.asarray(array, dtype))


def _check_size(name: str, planes: Any) -> None:
    if planes.size >= 2**31:
        raise InputError(name, f"has {planes.size} values, but kernels count to 2^31", "restore it in tiles")


def _check_output(name: str, array: Any, dtype: Any) -> None:
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise InputError(name, f"must be a contiguous {np.dtype(dtype)} array, for kernels write to it", "copy it")
