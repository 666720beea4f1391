"""Debiasing: least squares on the support that a sparse code has found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, on_gpu
from csc_cogd.csc.codes import domain_of
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.problem import Domain, check_images, check_weights, filter_spectra, observed_data
from csc_cogd.csc.settings import check_boundary, check_codes, check_settings
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import InputError

TOLERANCE = 1e-6  # of the gradient, relative to its largest value at zero codes


def debias(
    images: Any,
    codes: Any,
    dictionary: Dictionary,
    *,
    weights: Any = None,
    max_iter: int = 20,
    boundary: str = "free",
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
) -> np.ndarray:
    """Refit sparse codes without the l1 term, keeping their zeros.

    The l1 term finds the support, but draws every code on it towards zero. This minimizes, from the given codes on,

        1/2 ||W (sum_k d_k * x_k - b)||^2    subject to x = 0 where the given codes are zero

    by conjugate gradients for least squares [Hestenes, Stiefel 1952], stopped early, because the columns of neighboring
    codes are nearly the same.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) array
    codes : (N, K, H + h - 1, W + w - 1) array, or (N, K, H, W) for the circular boundary
    dictionary : Dictionary
    weights : array that broadcasts against `images`, optional
        1 where observed, 0 where missing.
    max_iter : int
        Iterations of conjugate gradients for each image.
    boundary : {"free", "circular"}
        With which the codes were found; see :func:`csc_cogd.sparse_code`.
    dtype : {"float32", "float64"}
        See :func:`csc_cogd.sparse_code`, also for the parameters that follow.
    device : str
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.

    Returns
    -------
    array of the codes' shape

    Raises
    ------
    InputError
        If codes, images, weights and dictionary don't fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> image, dictionary = np.zeros((1, 6, 6)), Dictionary(np.eye(2)[None] / 2)
    >>> codes = np.zeros((1, 1, 7, 7))
    >>> image[0, 2, 2] = image[0, 3, 3] = 1.5
    >>> codes[0, 0, 3, 3] = 2.5  # of 3, for the sake of sparsity
    >>> float(debias(image, codes, dictionary)[0, 0, 3, 3].round(4))
    3.0
    """
    images, gray = check_images(images), np.ndim(images) == 3
    check_boundary(boundary)
    domain = domain_of(images, dictionary, boundary, gray)
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    backend = engine.beside(images).backend
    other = replace(domain, boundary="free" if boundary == "circular" else "circular")
    if domain.codes_shape != other.codes_shape == np.shape(codes)[-2:]:
        raise InputError("codes", f"are those of the {other.boundary} boundary", f"use {{boundary}} {other.boundary!r}")
    codes = check_codes(codes, (len(images), dictionary.n_filters, *domain.codes_shape))
    check_settings(0.0, max_iter, 0.0)
    data = observed_data(backend, domain, images, check_weights(weights, images))
    shares = np.broadcast_to(np.sqrt(data.squared_weights), data.images.shape)
    spectra = filter_spectra(backend, domain, dictionary)
    refitted = backend.xp.zeros(codes.shape, backend.dtype)
    for n, code in enumerate(backend.asarray(codes)):
        if code.any():
            refitted[n] = _Support(backend, domain, spectra, code, shares[n]).refit(data.images[n], max_iter)
    return refitted if on_gpu(images) else backend.to_host(refitted)


class _Support:
    """The columns of the dictionary matrix that a code (K, ..) uses, as a linear operator onto weighted pixels (C, H, W)."""

    def __init__(self, backend: Backend, domain: Domain, spectra: Any, code: Any, shares: Any):
        self.backend, self.spectra, self.code, self.shares = backend, spectra, code, shares
        self.places = [x.nonzero() for x in code]
        self.cuts = np.cumsum([0, *(len(rows) for rows, _ in self.places)])
        self.map = backend.workspace((1, 1, *domain.shape))
        self.pixels = backend.workspace((1, *shares.shape))
        self.n_values = domain.shape[0] * domain.shape[1]

    def refit(self, image: Any, max_iter: int) -> Any:
        """Return the codes (K, ..) that reconstruct the image best, as far as `max_iter` iterations get."""
        x = self.code[self.code != 0].astype(np.float64)
        residual = self.shares * image - self.synthesize(x)
        gradient = self.correlate(residual)
        direction, energy = gradient, float((gradient**2).sum())
        least = (TOLERANCE * float(abs(self.correlate(self.shares * image)).max())) ** 2
        for _ in range(max_iter):
            if energy <= least:
                break
            image_of_direction = self.synthesize(direction)
            step = energy / float((image_of_direction**2).sum())
            x = x + step * direction
            residual = residual - step * image_of_direction
            gradient = self.correlate(residual)
            last, energy = energy, float((gradient**2).sum())
            direction = gradient + energy / last * direction
        refitted = self.backend.xp.zeros(self.code.shape, self.backend.dtype)
        refitted[self.code != 0] = x.astype(self.backend.dtype)
        return refitted

    def synthesize(self, values: Any) -> Any:
        """Return ``W sum_k d_k * x_k``, (C, H, W) in double precision."""
        total = self.pixels.spectrum
        total[...] = 0
        for k in self._used():
            self.map.real[...] = 0
            self.map.real[0, 0][self.places[k]] = values[self.cuts[k] : self.cuts[k + 1]].astype(self.backend.dtype)
            self.map.forward()
            self.backend.kernels.accumulate_forward(self.spectra[k : k + 1], self.map.spectrum, total, True)
        self.pixels.inverse()
        return (self.shares * self.pixels.real[0]).astype(np.float64) / self.n_values

    def correlate(self, pixels: Any) -> Any:
        """Apply the adjoint of :meth:`synthesize`."""
        values = self.backend.xp.empty(int(self.cuts[-1]))
        self.pixels.real[0] = self.shares * pixels
        self.pixels.forward()
        for k in self._used():
            self.backend.kernels.apply_adjoint(self.spectra[k : k + 1], self.pixels.spectrum, self.map.spectrum)
            self.map.inverse()
            values[self.cuts[k] : self.cuts[k + 1]] = self.map.real[0, 0][self.places[k]]
        return values / self.n_values

    def _used(self) -> np.ndarray:
        return np.flatnonzero(np.diff(self.cuts))
