"""The code solve: sparse codes of images over a given dictionary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, as_array, on_gpu
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.csc.duality import admm_duality_gap
from csc_cogd.csc.iteration import Iteration, iterate
from csc_cogd.csc.problem import Domain, check_images, check_weights, convolve, data_term, filter_spectra, observed_data
from csc_cogd.csc.prox import DataTerm, MaskedLeastSquares
from csc_cogd.csc.settings import check_boundary, check_choice, check_codes, check_l1_weights, check_settings
from csc_cogd.csc.solvers import SOLVERS, CodingProblem, make_solver
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import InputError


@dataclass(frozen=True, eq=False)
class SparseCodes:
    """Result of :func:`sparse_code`.

    Attributes
    ----------
    codes : (N, K, H + h - 1, W + w - 1) array
        Sparse code maps, exact zeros where nothing is coded; (N, K, H, W) for the circular boundary.
    reconstruction : array, shape of the images
        ``sum_k d_k * x_k``, missing pixels filled in.
    objective : float
        The minimized function at these codes.
    history : list of Iteration
    lmbda : float
        The absolute weight that was used.
    """

    codes: np.ndarray
    reconstruction: np.ndarray
    objective: float
    history: list[Iteration]
    lmbda: float


def sparse_code(
    images: Any,
    dictionary: Dictionary,
    *,
    lmbda: float,
    weights: Any = None,
    fidelity: str = "least squares",
    background: Any = None,
    max_iter: int = 200,
    tol: float = 1e-3,
    lmbda_relative: bool = False,
    l1_weights: Any = None,
    nonnegative: bool = False,
    gradient_penalty: float = 0.0,
    boundary: str = "free",
    rho: float | None = None,
    rho_data: float | None = None,
    relaxation: float = 1.8,
    solver: str = "auto",
    start: Any = None,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[Iteration], Any] | None = None,
) -> SparseCodes:
    """Code images sparsely over a dictionary.

    Minimizes, over the codes x of each image b [FFCSC, eq. 1; CoGD, eq. 21 with the filters fixed],

        1/2 ||W (sum_k d_k * x_k - b)||^2 + lmbda sum_k w_k |x_k| + mu/2 sum_k ||grad x_k||^2

    by one of three solvers. Coordinate descent on the few codes that aren't zero is the fastest one for sparse codes, but
    supports only the squared data term and the l1 term. ADMM splits off the data term and the l1 term, with one linear solve
    in the frequency domain between them. FISTA, accelerated gradient descent, is the usual baseline.
    Another data term comes with `fidelity`.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) array of real numbers
        Gray images, or images with the dictionary's C channels. (N, P, T) and (Z, H, W) are read as N and Z images of one
        channel: give signals of P sensors as (N, P, 1, T). NaN is allowed where the weight is zero. For an array of
        CuPy, the solve runs where it is, and the results are arrays of CuPy too.
    dictionary : Dictionary
        Its filters have as many channels as the images.
    lmbda : float
        Weight of the l1 term, in the units of the images (0.005 suits images in [0, 1]).
    weights : array that broadcasts against `images`, optional
        W >= 0: 1 where observed, 0 where missing, anything between and above for confidence. (N, H, W) weights hold for
        all channels.
    fidelity : {"least squares", "absolute deviation", "poisson"}
        The data term, with v = sum_k d_k * x_k. ``"absolute deviation"``: sum W |v - b|, for impulse noise. ``"poisson"``:
        sum W (s - b + b log(b / s)) with s = v + background >= 0, for counts b >= 0; for counts / gain, W = gain. `lmbda` is
        in other units then.
    background : array that broadcasts against `images`, optional
        Part of the expected counts that isn't coded, with ``fidelity="poisson"``; default: 0.
    max_iter : int
        Iterations at most.
    tol : float
        Stop where the objective is known to be at most this fraction of itself above the optimum: by the duality gap, which
        is usually ten times larger than the distance itself. Where some codes aren't penalized, the gap isn't known: then
        where the relative primal and dual residuals are both below.
    lmbda_relative : bool
        `lmbda` is a fraction of :func:`lambda_max`, above which all codes are zero.
    l1_weights : array, optional
        w > 0 (or 0: not penalized): (K,) one weight for each filter, or anything that broadcasts against the codes.
    nonnegative : bool
        Ask for codes >= 0.
    gradient_penalty : float
        mu >= 0: draws neighboring codes together. It is circular on the padded domain of the transforms, whatever the
        boundary.
    boundary : {"free", "circular"}
        ``"free"`` imposes nothing beyond the image; ``"circular"`` takes the image as one period.
    rho : float, optional
        ADMM's penalty of the l1 split; default: from `lmbda` and the images' range, then adapted. A given `rho` is kept.
    rho_data : float, optional
        ADMM's penalty of the data split; default: `rho`.
    relaxation : float
        ADMM's over-relaxation, between 0 and 2.
    solver : {"auto", "admm", "coordinate descent", "fista"}
        ``"auto"`` takes coordinate descent where it can be used and `lmbda` isn't tiny, else ADMM.
    start : array of the codes' shape, optional
        Warm start.
    dtype : {"float32", "float64"}
        Precision of the computation and of the result.
    device : str
        See :func:`csc_cogd.backend.get_backend`, also for `threads` and `fft`.
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.
    callback : callable, optional
        Called after every iteration with an :class:`Iteration`; a true return value stops the solver.

    Returns
    -------
    SparseCodes

    Raises
    ------
    InputError
        If an argument's shape, type or value doesn't fit; the message says which.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((1, 16, 16))
    >>> image[0, 4:7, 4:7] = 1
    >>> result = sparse_code(image, Dictionary(np.full((1, 3, 3), 1 / 3)), lmbda=0.01, tol=1e-4)
    >>> result.codes.shape, int(np.count_nonzero(result.codes[0, 0] > 1))
    ((1, 1, 18, 18), 1)
    """
    images, gray = check_images(images), np.ndim(images) == 3
    check_settings(lmbda, max_iter, tol, relaxation, gradient_penalty, boundary)
    check_choice("solver", solver, SOLVERS)
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    if engine.device == "auto" and solver == "coordinate descent":
        engine = replace(engine, device="cpu")
    backend = engine.beside(images).backend
    domain = domain_of(images, dictionary, boundary, gray)
    data = data_term(backend, domain, images, check_weights(weights, images), fidelity, background)
    problem = _problem(backend, domain, data, dictionary, l1_weights)
    if lmbda_relative and not isinstance(data, MaskedLeastSquares):
        raise InputError("lmbda_relative", f"works with least squares only, not with {fidelity!r}", "give {lmbda} itself")
    lmbda *= problem.lambda_max() if lmbda_relative else 1
    problem = replace(problem, lmbda=lmbda, nonnegative=nonnegative, gradient_penalty=gradient_penalty)
    start = None if start is None else check_codes(start, problem.codes_shape, "start")

    chosen = make_solver(problem, solver, tol=tol, start=start, rho=rho, rho_data=rho_data, relaxation=relaxation)
    if isinstance(chosen, ConvolutionalADMM):
        scale_penalties = None if rho else chosen.scale_penalties
        history = iterate(chosen, max_iter, tol, callback, scale_penalties, partial(admm_duality_gap, chosen))
    else:
        history = iterate(chosen, max_iter, tol, callback)
    maps, fit, objective = chosen.finish()
    if not np.isfinite(objective):
        raise InputError("images", "have values or weights too large to compute with", "scale them to about [0, 1]")

    reconstruction = domain.crop(fit)
    reconstruction = backend.xp.ascontiguousarray(reconstruction[:, 0] if gray else reconstruction)
    if not on_gpu(images):
        maps, reconstruction = backend.to_host(maps), backend.to_host(reconstruction)
    return SparseCodes(domain.crop_codes(maps), reconstruction, objective, history, float(lmbda))


def reconstruct_images(
    codes: Any,
    dictionary: Dictionary,
    *,
    boundary: str = "free",
    dtype: Any = None,
    device: str = "auto",
    threads: int | None = None,
) -> Any:
    """Return the images that codes stand for: the valid part of ``sum_k d_k * x_k``.

    An image doesn't depend, not even in its last bit, on the others or on the process, as FFT plans aren't measured.

    Parameters
    ----------
    codes : (N, K, H + h - 1, W + w - 1) array
        Of NumPy, or of CuPy, and so is the result.
    dictionary : Dictionary
        What the codes were found with.
    boundary : {"free", "circular"}
        As in :func:`sparse_code`.
    dtype : str or dtype, optional
        Precision of the computation and of the result; default: that of the codes.
    device : str
        See :func:`csc_cogd.backend.get_backend`.
    threads : int, optional

    Returns
    -------
    (N, H, W) array, or (N, C, H, W) for a dictionary with channels.

    Raises
    ------
    InputError
        If the codes aren't real numbers, or of another number of filters.

    Examples
    --------
    >>> import numpy as np
    >>> codes = np.zeros((1, 1, 6, 6))
    >>> codes[0, 0, 3, 3] = 2
    >>> image = reconstruct_images(codes, Dictionary(np.eye(2)[None] / 2))[0]
    >>> image.shape, abs(image).round(3)[2:4, 2:4].tolist()
    ((5, 5), [[1.0, 0.0], [0.0, 1.0]])
    """
    codes = as_array(codes, "codes")
    check_dictionary(dictionary)
    check_boundary(boundary)
    least = (1, 1) if boundary == "circular" else dictionary.filter_shape
    if codes.ndim != 4 or codes.shape[1] != dictionary.n_filters or any(np.less(codes.shape[2:], least)):
        expected = f"(N, {dictionary.n_filters}, >= {least[0]}, >= {least[1]})"
        raise InputError("codes", f"must be of shape {expected} for this dictionary, got {codes.shape}")
    if codes.dtype.kind not in "fiu":
        raise InputError("codes", f"must be real numbers, got {codes.dtype}")
    dtype = dtype or (codes.dtype if codes.dtype == np.float64 else np.float32)
    backend = Engine(dtype, device, threads, "estimated").beside(codes, "codes").backend
    images = convolve(codes, dictionary.with_channels(), boundary=boundary, backend=backend)
    if not on_gpu(codes):
        images = backend.to_host(images)
    return images[:, 0] if dictionary.filters.ndim == 3 else images


def lambda_max(
    images: Any, dictionary: Dictionary, *, weights: Any = None, l1_weights: Any = None, boundary: str = "free",
    device: str = "auto", threads: int | None = None, fft: str | None = None,
) -> float:  # fmt: skip
    """Return the smallest `lmbda` at which all codes are zero: ``max |d_k correlated with W^2 b| / w_k``.

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) array
        See :func:`sparse_code`, also for the parameters that follow.
    dictionary : Dictionary
    weights : array that broadcasts against `images`, optional
    l1_weights : array, optional
    boundary : {"free", "circular"}
    device : str
    threads : int, optional
    fft : str, optional

    Returns
    -------
    float

    Raises
    ------
    InputError
        If an argument's shape, type or value doesn't fit; the message says which.

    Examples
    --------
    >>> import numpy as np
    >>> round(lambda_max(np.full((1, 8, 8), 0.5), Dictionary(np.full((1, 3, 3), 1 / 3))), 6)  # 9 * 0.5 / 3
    1.5
    """
    images, gray = check_images(images), np.ndim(images) == 3
    check_boundary(boundary)
    domain = domain_of(images, dictionary, boundary, gray)
    backend = Engine("float64", device, threads, fft).beside(images).backend
    data = observed_data(backend, domain, images, check_weights(weights, images))
    return _problem(backend, domain, data, dictionary, l1_weights).lambda_max()


def domain_of(images: Any, dictionary: Dictionary, boundary: str, gray: bool) -> Domain:
    """Return the domain of images (N, C, H, W), after checking that the dictionary fits them."""
    check_dictionary(dictionary)
    if images.shape[1] != dictionary.n_channels:
        what = "gray" if gray else f"of {images.shape[1]} channels"
        raise InputError(
            "images", f"are {what}, but the filters have {dictionary.n_channels} channels",
            "use another {dictionary}, or code the channels one by one",
        )  # fmt: skip
    domain = Domain((images.shape[2], images.shape[3]), dictionary.filter_shape, boundary)
    if boundary == "circular" and any(np.greater(domain.filter_shape, domain.image_shape)):
        raise InputError(
            "images", f"must not be smaller than the filters, {domain.filter_shape}, got {domain.image_shape}",
            "use smaller filters, or {boundary} 'free'",
        )  # fmt: skip
    return domain


def _problem(backend: Backend, domain: Domain, data: DataTerm, dictionary: Dictionary, l1_weights: Any) -> CodingProblem:
    """Return the problem without its penalties."""
    w = check_l1_weights(l1_weights, (len(data.images), dictionary.n_filters, *domain.codes_shape))
    operator = filter_spectra(backend, domain, dictionary)
    return CodingProblem(backend, domain, data, dictionary.with_channels(), operator, w)
