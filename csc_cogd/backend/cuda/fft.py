"""Batched real two-dimensional FFTs by cuFFT, between buffers of our own; unnormalized, as `csc_cogd.backend.fft`'s."""

from __future__ import annotations

import threading
from collections import OrderedDict
from types import ModuleType
from typing import Any

import numpy as np

_ALLOCATION_FAILED = 2  # of cufftResult
MOST_PLANS = 16
"""Plans that are kept: each has a work area of about its batch's size."""


class Transforms:
    """Plans of one precision, made once and kept while they are used.

    Parameters
    ----------
    xp : module
        CuPy.
    dtype : float32 or float64
    """

    def __init__(self, xp: ModuleType, dtype: np.dtype):
        self.xp, self.dtype = xp, dtype
        single = dtype == np.float32
        cufft = xp.cuda.cufft
        self._kinds = (cufft.CUFFT_R2C, cufft.CUFFT_C2R) if single else (cufft.CUFFT_D2Z, cufft.CUFFT_Z2D)
        self.directions = cufft.CUFFT_FORWARD, cufft.CUFFT_INVERSE
        self._lock = threading.Lock()
        self._plans: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def forget(self) -> None:
        """Drop all plans with their work areas."""
        self._plans.clear()

    def plan(self, inverse: int, shape: tuple[int, ...]) -> Any:
        """Return a plan for (n, H, W) maps and their spectra (n, H, W // 2 + 1), without gaps: forward, or `inverse`."""
        key = (threading.get_ident(), inverse, *shape)  # a plan's work area serves one thread at a time
        with self._lock:
            if key not in self._plans:
                self._plans[key] = self._make_plan(inverse, *shape)
                if len(self._plans) > MOST_PLANS:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            return self._plans[key]

    def _make_plan(self, inverse: int, n: int, H: int, W: int) -> Any:
        cufft, half = self.xp.cuda.cufft, W // 2 + 1
        layouts = [((H, W), 1, H * W), ((H, half), 1, H * half)]
        source, target = reversed(layouts) if inverse else layouts
        try:
            return cufft.PlanNd((H, W), *source, *target, self._kinds[inverse], n, "C", 1, None)
        except cufft.CuFFTError as error:
            if error.result == _ALLOCATION_FAILED:
                raise MemoryError(f"no memory for an FFT of {n} maps of {H} x {W}") from error
            raise


class Workspace:
    """Scratch memory of a visit: `real` (M, B, H, W) and `spectrum` (M, B, H, W // 2 + 1), and the FFT between them.

    Both directions may destroy their source. ``inverse`` after ``forward`` multiplies by H * W. It keeps the plans that it
    has used, as recorded work continues to use their work areas.
    """

    def __init__(self, shape: tuple[int, ...], transforms: Transforms, memory: tuple[Any, Any] | None = None):
        xp, (M, B, H, W) = transforms.xp, shape
        if memory is None:
            memory = (
                xp.empty((M * B, H, W), transforms.dtype),
                xp.empty((M * B, H, W // 2 + 1), np.result_type(transforms.dtype, np.complex64)),
            )
        self._transforms = transforms
        self._real, self._spectrum = memory
        self.real = self._real.reshape(M, B, H, W)
        self.spectrum = self._spectrum.reshape(M, B, H, W // 2 + 1)
        self._parts = {(M, B): self}
        self._plans: dict[int, Any] = {}

    def forward(self) -> None:
        """Return spectra of the maps, by cuFFT; unnormalized."""
        self._transform(0, self._real, self._spectrum)

    def inverse(self) -> None:
        """Return maps times H * W of the spectra, which are destroyed."""
        self._transform(1, self._spectrum, self._real)

    def _transform(self, inverse: int, source: Any, target: Any) -> None:
        if inverse not in self._plans:
            self._plans[inverse] = self._transforms.plan(inverse, self._real.shape)
        self._plans[inverse].fft(source, target, self._transforms.directions[inverse])

    def part(self, problems: slice, maps: slice) -> Workspace:
        """Return the workspace of a visit to fewer maps, in the same memory."""
        M, B = problems.stop - problems.start, maps.stop - maps.start
        if (M, B) not in self._parts:
            memory = self._real[: M * B], self._spectrum[: M * B]
            self._parts[M, B] = Workspace((M, B, *self.real.shape[2:]), self._transforms, memory)
        return self._parts[M, B]
