"""Real two-dimensional FFTs of one map at a time, by pyFFTW or by scipy.fft.

One map with a plan that is made once and used for every map stays in the processor's cache; a batched transform
over many maps does not. Both transforms are unnormalized: ``inverse(forward(x)) = H * W * x``. Callers fold the factor
into something they multiply by anyway.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np

from csc_cogd.backend.cuda_cache import prepare_cache
from csc_cogd.locks import SharedLock, importing, kept_across_forks

prepare_cache()  # before CuPy is imported, here or later
try:
    import pyfftw
except ImportError:  # pyFFTW is optional at run time: scipy.fft is the drop-in
    pyfftw = None
HAS_PYFFTW = pyfftw is not None

_planning = kept_across_forks(threading.RLock())  # FFTW makes and destroys plans in one thread at a time; it executes in all
_discarded: deque[Any] = deque()  # plans that nobody needs any more
_in_scipy = kept_across_forks(SharedLock())  # it locks its cache of plans


def fast_length(length: int) -> int:
    """Return the smallest multiple of 8 without prime factors above 7 that is at least `length`.

    Multiples of 8 keep every row aligned for vector instructions: 280 is faster than 270, and 560 as fast as 540.
    """
    candidate = -(-length // 8) * 8
    while True:
        rest = candidate
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return candidate
        candidate += 8


class PyfftwTransforms:
    """Forward and inverse real FFT between fixed buffers, planned once."""

    def __init__(self, real: np.ndarray, spectrum: np.ndarray, effort: str):
        flags = (effort, "FFTW_DESTROY_INPUT")
        pairs = list(zip(_planes(real), _planes(spectrum), strict=True))
        with _planning:
            self._forward = [pyfftw.FFTW(r, s, axes=(0, 1), flags=flags).execute for r, s in pairs]
            self._inverse = [
                pyfftw.FFTW(s, r, axes=(0, 1), direction="FFTW_BACKWARD", flags=flags).execute for r, s in pairs
            ]
            _discarded.clear()

    def forward(self) -> None:
        for execute in self._forward:
            execute()

    def inverse(self) -> None:
        for execute in self._inverse:
            execute()

    def __del__(self, planning: Any = _planning, discarded: Any = _discarded) -> None:
        discarded.append(vars(self).copy())
        if planning.acquire(blocking=False):  # it may be anywhere that memory is tidied up: not a place to wait
            vars(self).clear()
            discarded.clear()
            planning.release()


class ScipyTransforms:
    """The same by scipy.fft, for installations without pyFFTW."""

    def __init__(self, real: np.ndarray, spectrum: np.ndarray):
        with importing:
            import scipy.fft

        self._fft, self._real, self._spectrum = scipy.fft, real, spectrum

    def forward(self) -> None:
        with _in_scipy:
            self._spectrum[...] = self._fft.rfft2(self._real)

    def inverse(self) -> None:
        with _in_scipy:
            self._real[...] = self._fft.irfft2(self._spectrum, s=self._real.shape[-2:], norm="forward")


def plan(real: np.ndarray, spectrum: np.ndarray, provider: str) -> PyfftwTransforms | ScipyTransforms:
    """Return the transforms between two buffers by a provider that was chosen."""
    if provider == "scipy":
        return ScipyTransforms(real, spectrum)
    return PyfftwTransforms(real, spectrum, "FFTW_MEASURE" if provider == "pyfftw" else "FFTW_ESTIMATE")


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialized array, aligned for vector instructions if pyFFTW is installed."""
    return np.empty(shape, dtype) if pyfftw is None else pyfftw.empty_aligned(shape, dtype)


def _planes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *array.shape[-2:])
