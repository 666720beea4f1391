"""ADMM for convolutional sparse coding as in the paper: the plain counterpart of :mod:`csc_cogd.csc.admm`.

It documents the algorithm, and is an oracle for tests: every system is solved densely, every map transformed whole.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import fft2, ifft2


def reference_admm(
    images: np.ndarray,
    weights: np.ndarray,
    filters: np.ndarray,
    *,
    lmbda: float,
    rho: float,
    rho_data: float,
    relaxation: float = 1.8,
    gradient_penalty: float = 0.0,
    n_iterations: int = 50,
) -> np.ndarray:
    """Minimize ``1/2 ||W (sum_k d_k * x_k - b)||^2 + lmbda ||x||_1 + mu/2 ||grad x||^2``, images periodic [FFCSC, eq. 8].

    With the splits v0 = A u, A u = sum_k d_k * u_k, and v1 = u, and scaled duals in p = v + y, an iteration is

        v0  = prox of the data term at p0,    v1 = S(p1, lmbda / rho)
        u   = argmin rho0/2 ||A u - (2 v0 - p0)||^2 + rho/2 ||u - (2 v1 - p1)||^2 + mu/2 ||grad u||^2
        p0 += relaxation * (A u - v0),        p1 += relaxation * (u - v1)

    Parameters
    ----------
    images, weights : (N, C, H, W) arrays
        b and W.
    filters : (K, C, h, w) array
    lmbda, rho, rho_data, relaxation, gradient_penalty : float
        `rho_data` is rho0, `gradient_penalty` is mu.
    n_iterations : int

    Returns
    -------
    (N, K, H, W) array
        The codes v1.
    """
    (N, _, H, W), K = images.shape, len(filters)
    A = fft2(filters, (H, W)).transpose(2, 3, 1, 0)  # (H, W, C, K): a matrix a frequency
    symbol = (2 - 2 * np.cos(2 * np.pi * np.arange(H) / H))[:, None] + 2 - 2 * np.cos(2 * np.pi * np.arange(W) / W)
    identity = (rho + gradient_penalty * symbol)[..., None, None] * np.eye(K)
    system = rho_data * A.conj().swapaxes(2, 3) @ A + identity
    p0, p1 = np.zeros(images.shape), np.zeros((N, K, H, W))
    for _ in range(n_iterations):
        v0 = (weights**2 * images + rho_data * p0) / (weights**2 + rho_data)
        v1 = soft_threshold(p1, lmbda / rho)
        target, w = (fft2(2 * v - p).transpose(2, 3, 1, 0) for v, p in ((v0, p0), (v1, p1)))
        u = np.linalg.solve(system, rho_data * A.conj().swapaxes(2, 3) @ target + rho * w)
        Au, u = (ifft2(spectra.transpose(3, 2, 0, 1)).real for spectra in (A @ u, u))
        p0 += relaxation * (Au - v0)
        p1 += relaxation * (u - v1)
    return soft_threshold(p1, lmbda / rho)


def soft_threshold(x: np.ndarray, threshold: float) -> np.ndarray:
    """Return S(x, t) = sign(x) max(|x| - t, 0), the proximal map of ``t ||x||_1``."""
    return np.sign(x) * np.maximum(abs(x) - threshold, 0)
