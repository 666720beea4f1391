"""The linear solve of ADMM, frequency by frequency."""

from __future__ import annotations

from typing import Any

from csc_cogd.backend import Backend
from csc_cogd.csc.problem import gram, laplacian_symbol

MATRIX_VALUES = 2**24  # of the matrices that are inverted at a time: bounded memory beside them


class FrequencySolve:
    """The u that minimizes ``rho0/2 ||A u - T||^2 + rho/2 ||u - w||^2 + mu/2 ||grad u||^2``, as sums of convolutions.

    With the gradient's symbol g and h = rho / (rho + mu g) it is, by Sherman-Morrison, or Woodbury for R > 1,

        q = (I / rho0 + (h / rho) A A^H)^-1 (T - h A w)          R x R
        u = h (w + A^H q / rho),    A u = T - q / rho0

    Parameters
    ----------
    backend : Backend
    shape : (H, W)
        Of the maps.
    gradient_penalty : float
        mu.

    Attributes
    ----------
    response : (H, W // 2 + 1) array, or None
        h; None where it is 1.
    scaled_response : (H, W // 2 + 1) array
        ``h / (H W)``.
    """

    def __init__(self, backend: Backend, shape: tuple[int, int], gradient_penalty: float):
        self.backend, self.shape, self.gradient_penalty = backend, shape, gradient_penalty
        self.response: Any = None

    def set_operator(self, operator: Any) -> None:
        """Exchange the operator (K, R, H, W // 2 + 1); :meth:`set_penalties` has to follow."""
        self._gram = gram(operator, self.backend.xp)

    def set_penalties(self, rho: float, rho_data: float) -> None:
        """Exchange the penalties, and recompute the R x R matrices."""
        self.rho, self.rho_data = rho, rho_data
        if self.gradient_penalty:
            response = rho / (rho + self.gradient_penalty * laplacian_symbol(*self.shape))
            self.response = self.backend.asarray(response)
            self.scaled_response = self.backend.asarray(response / (self.shape[0] * self.shape[1]))
        self._inverse = self._invert()

    def solve(self, T: Any, Av: Any, Ap: Any, relaxation: float, q: Any) -> None:
        """Turn T into A u, both as spectra, and update A p1; `q` becomes that of the maps, for :meth:`Synthesis.adjoint`.

        `A u` comes divided by the number of pixels, and so does ``q / rho`` without a gradient penalty, where the inverse
        FFT follows at once.
        """
        pixels = self.shape[0] * self.shape[1]
        q_scale = 1 / (self.rho * pixels if self.response is None else self.rho)
        self.backend.kernels.solve_frequencies(
            T, Av, Ap, self._inverse, self.response, 1 / self.rho_data, relaxation, 1 / pixels, q_scale, q
        )

    def _invert(self) -> Any:
        """Return (I / rho0 + (h / rho) A A^H)^-1, as (R, R, H, W // 2 + 1)."""
        xp, real = self.backend.xp, self.backend.dtype.type
        R, _, H, W = self._gram.shape
        h = real(1 / self.rho) if self.response is None else real(1 / self.rho) * self.response
        if R == 1:
            return 1 / (self._gram * h + real(1 / self.rho_data))
        inverses = xp.empty_like(self._gram)
        identity = xp.eye(R, dtype=self.backend.dtype) * real(1 / self.rho_data)
        rows = max(MATRIX_VALUES // (W * R * R), 1)
        for first in range(0, H, rows):
            part = slice(first, first + rows)
            scaled = self._gram[:, :, part] * (h if self.response is None else h[part])
            inverses[:, :, part] = xp.linalg.inv(scaled.transpose(2, 3, 0, 1) + identity).transpose(2, 3, 0, 1)
        return inverses
