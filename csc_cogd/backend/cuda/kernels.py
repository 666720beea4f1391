"""The kernels of `csc_cogd.backend.kernels` on a GPU: same names, same arguments, CuPy arrays.

Statistics come as arrays on the device, in double precision: reading them is what waits for it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from csc_cogd.backend.cuda.modules import THREADS, blocks, load_function
from csc_cogd.backend.kernels import STATISTICS
from csc_cogd.errors import InputError

VALUES_A_THREAD = 4  # of kernels that also sum: fewer partial sums
MOST_BLOCKS = 65535  # along the second and the third axis of a grid
_int, _long = np.int32, np.int64


class Kernels:
    """See the functions of the same names in `csc_cogd.backend.kernels`.

    Parameters
    ----------
    xp : module
        CuPy.
    dtype : float32 or float64
    """

    def __init__(self, xp: ModuleType, dtype: np.dtype):
        self.xp, self.dtype, self._real = xp, dtype, dtype.type

    def apply_adjoint(self, operator: Any, q: Any, out: Any) -> None:
        (B, R), n = operator.shape[:2], plane(out)
        self._launch("apply_adjoint", n, len(out) * B, (operator, q, out, _int(B), _int(R), _long(n)))

    def accumulate_forward(self, operator: Any, spectrum: Any, out: Any, add: bool) -> None:
        (B, R), n = operator.shape[:2], plane(out)
        self._launch("accumulate_forward", n, len(out) * R, (operator, spectrum, out, _int(B), _int(R), _long(n), _int(add)))

    def filter_spectrum(self, kept: Any, response: Any, spectrum: Any) -> None:
        (M, B), n = spectrum.shape[:2], plane(spectrum)
        self._launch("filter_spectrum", n, M * B, (kept, *outer_strides(kept), response, spectrum, _int(B), _long(n)))

    def solve_frequencies(
        self, T: Any, Av: Any, Ap: Any, inverse: Any, response: Any, data_factor: float, relaxation: float, scale: float,
        q_scale: float, q: Any,
    ) -> None:  # fmt: skip
        (M, R), n = T.shape[:2], plane(T)
        numbers = [self._real(number) for number in (data_factor, relaxation, scale, q_scale)]
        filtered = response is not None
        arrays = (T, Av, Ap, inverse.view(self.dtype), _int(inverse.dtype.kind == "c"), response, _int(filtered))
        self._launch("solve_frequencies", n, M, (*arrays, *numbers, q, _int(R), _long(n)))

    def least_squares_step(
        self, p: Any, v: Any, x: Any, images: Any, squared_weights: Any, rho: float, relaxation: float
    ) -> Any:
        (M, R), n = p.shape[:2], plane(p)
        given = (images, *outer_strides(images), squared_weights, *outer_strides(squared_weights))
        numbers = (self._real(rho), self._real(relaxation), _int(R), _long(n))
        return self._sums("least_squares_step", n, M * R, (p, v, x, *given, *numbers), 6)

    def shrink(self, p: Any, x: Any, threshold: Any, nonnegative: bool, relaxation: float, offset: bool) -> Any:
        (M, B), n = p.shape[:2], plane(p)
        settings = (_int(nonnegative), self._real(relaxation), _int(offset), _int(B), _long(n))
        arguments = (p, *outer_strides(p), x, threshold, *outer_strides(threshold), _int(plane(threshold) > 1), *settings)
        return self._sums("shrink", n, M * B, arguments, STATISTICS)

    def threshold_maps(self, p: Any, threshold: Any, nonnegative: bool) -> None:
        (M, B), n = p.shape[:2], plane(p)
        settings = (_int(plane(threshold) > 1), _int(nonnegative), _int(B), _long(n))
        self._launch("threshold_maps", n, M * B, (p, *outer_strides(p), threshold, *outer_strides(threshold), *settings))

    def add_partial_sums(self, partial: Any) -> Any:
        """Sum (n, count) partial sums over the first axis, always in the same order."""
        n, count = partial.shape
        totals = self.xp.empty(count, np.float64)
        self._function("add_partial_sums")((1,), (THREADS,), (partial, _long(n), _int(count), totals))
        return totals

    def _sums(self, name: str, n: int, maps: int, arguments: tuple[Any, ...], count: int) -> Any:
        """Launch a kernel that writes partial sums of its blocks, and add them up."""
        across = -(-blocks(n) // VALUES_A_THREAD)
        check_grid(maps)
        partial = self.xp.empty((across * maps, count), np.float64)
        self._function(name)((across, 1, maps), (THREADS,), (*arguments, partial))
        return self.add_partial_sums(partial)

    def _launch(self, name: str, n: int, maps: int, arguments: tuple[Any, ...]) -> None:
        check_grid(maps)
        self._function(name)((blocks(n), 1, maps), (THREADS,), arguments)

    def _function(self, name: str) -> Any:
        return load_function(self.xp, "maps", name, self.dtype)


def plane(array: Any) -> int:
    """Return the values of one map."""
    return int(array.shape[-2] * array.shape[-1])


def check_grid(maps: int) -> None:
    """Refuse more maps than the third axis of a grid has blocks."""
    if maps > MOST_BLOCKS:
        raise InputError(
            "images", f"must have {MOST_BLOCKS} channels in all at most on a GPU, got {maps}", "give fewer at a time"
        )


def outer_strides(array: Any) -> tuple[np.int64, np.int64]:
    """Return the strides from problem to problem and from map to map, in values; 0 if one stands for all."""
    strides = (0 if size == 1 else stride // array.itemsize for size, stride in zip(array.shape, array.strides, strict=True))
    return _long(next(strides)), _long(next(strides))
