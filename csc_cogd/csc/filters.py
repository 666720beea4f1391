"""The filter solve: filters of given codes, under the norm and support constraints."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import Backend
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.csc.iteration import iterate
from csc_cogd.csc.problem import Domain, check_images, check_weights, map_spectra, observed_data
from csc_cogd.csc.prox import Anchor, FilterProjection, MaskedLeastSquares
from csc_cogd.csc.settings import check_codes, check_settings
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import InputError

RHO = 15.0  # in units of the codes' mean energy per filter
RHO_DATA = 0.3


def solve_filters(
    images: Any,
    codes: Any,
    start: Dictionary,
    *,
    weights: Any = None,
    max_iter: int = 200,
    tol: float = 1e-4,
    relaxation: float = 1.8,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
) -> Dictionary:
    """Find the best filters for given codes.

    Minimizes over the filters d, for fixed codes x [FFCSC, eq. 7],

        sum_n 1/2 ||W_n (sum_k d_k * x_nk - b_n)||^2    subject to ||d_k|| <= 1 and d_k zero outside its support.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) array
    codes : (N, K, H + h - 1, W + w - 1) array
    start : Dictionary
        Initial filters; their shapes are kept.
    weights : array that broadcasts against `images`, optional
        1 where observed, 0 where missing.
    max_iter : int
        See :func:`csc_cogd.sparse_code`, also for the parameters that follow.
    tol : float
        Stop where the relative primal and dual residuals are both below.
    relaxation : float
    dtype : {"float32", "float64"}
    device : str
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.

    Returns
    -------
    Dictionary

    Raises
    ------
    InputError
        If the codes or the initial filters don't fit the images.

    Examples
    --------
    >>> import numpy as np
    >>> codes = np.zeros((1, 1, 10, 10)); codes[0, 0, 4, 4] = 2
    >>> image = np.zeros((1, 8, 8)); image[0, 2:5, 2:5] = 0.2
    >>> d = solve_filters(image, codes, Dictionary(np.eye(3)[None]), tol=1e-6)
    >>> bool(np.allclose(d.filters, 0.1, atol=1e-3))
    True
    """
    images, gray = check_images(images), np.ndim(images) == 3
    check_dictionary(start, "start")
    check_settings(0.0, max_iter, tol, relaxation)
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    backend = engine.beside(images).backend
    domain = Domain((images.shape[2], images.shape[3]), start.filter_shape)
    codes = check_codes(codes, (len(images), start.n_filters, *domain.codes_shape))
    if start.n_channels != images.shape[1]:
        raise InputError("start", f"must have filters of {images.shape[1]} channels, as the images, got {start.n_channels}")
    data = observed_data(backend, domain, images, check_weights(weights, images))
    maps = backend.asarray(codes.swapaxes(0, 1))
    spectra = map_spectra(backend, domain, maps)
    energy = float((maps**2).sum(dtype=np.float64))
    filters = backend.asarray(start.with_channels())
    solver = filter_solver(backend, spectra, data, start.shapes, filters, energy, relaxation)
    iterate(solver, max_iter, tol)
    found = backend.to_host(current_filters(solver, filters.shape[2:]))
    return Dictionary(found[:, 0] if gray else found, start.shapes)


def filter_solver(
    backend: Backend, spectra: Any, data: MaskedLeastSquares, shapes: np.ndarray, filters: Any, energy: float,
    relaxation: float, zero_mean: bool = False, anchor: Anchor | None = None,
) -> ConvolutionalADMM:  # fmt: skip
    """Return ADMM for the filters (K, C, h, w), with the codes' `spectra` (K, N, ..) as operator."""
    squared_weights = np.broadcast_to(data.squared_weights, data.images.shape)
    swapped = MaskedLeastSquares(data.images.swapaxes(0, 1), squared_weights.swapaxes(0, 1), squared=True)
    least = 1e-6 * data.max_abs() ** 2 or 1e-6  # where codes are (nearly) zero; scales with the images, as the energy does
    rho = max(RHO * energy / len(spectra), least)
    return ConvolutionalADMM(
        backend, spectra, swapped, FilterProjection(backend, shapes, zero_mean, anchor), rho=rho, rho_data=RHO_DATA,
        relaxation=relaxation, start=filters.swapaxes(0, 1),
    )  # fmt: skip


def current_filters(solver: ConvolutionalADMM, size: tuple[int, int]) -> Any:
    """Return the feasible filters (K, C, h, w) of a running filter solver."""
    p = solver.p.copy()
    solver.prox.prox_inplace(p, (slice(None), slice(0, p.shape[1])))
    return solver.backend.xp.ascontiguousarray(p[:, :, : size[0], : size[1]].swapaxes(0, 1))
