"""Learning: filters and codes of given images, by alternating the code solve and the filter solve."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from csc_cogd import __version__
from csc_cogd.backend import get_backend
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.codes import check_l1_weights, check_settings, penalties, place_l1_weights
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.filters import current_filters, filter_solver
from csc_cogd.csc.problem import Domain, check_images, check_weights, map_spectra, observed_data
from csc_cogd.csc.prox import SoftThreshold
from csc_cogd.errors import InputError


class Round(NamedTuple):
    """One line of the learner's history: the state after a code phase and a filter phase.

    `objective` is `data_term` plus `penalty`: the l1 term and, where there is one, the gradient penalty.
    """

    iteration: int
    seconds: float
    objective: float
    data_term: float
    penalty: float
    nonzeros: int


@dataclass(frozen=True, eq=False)
class LearnedDictionary:
    """Result of :func:`learn_dictionary`.

    Attributes
    ----------
    dictionary : Dictionary
        Filters of norm at most one.
    codes : (N, K, H + h - 1, W + w - 1) array
        Sparse codes of the images over this dictionary.
    objective : float
        The minimised function at both.
    history : list of Round
    """

    dictionary: Dictionary
    codes: np.ndarray
    objective: float
    history: list[Round]


def learn_dictionary(
    images: Any,
    n_filters: int | Sequence[int],
    filter_shape: int | Sequence[Any],
    *,
    lmbda: float,
    weights: Any = None,
    max_iter: int = 30,
    code_iterations: int = 10,
    filter_iterations: int = 10,
    tol: float = 1e-4,
    dtype: Any = "float32",
    seed: int = 0,
    start: Dictionary | None = None,
    callback: Callable[[Round], Any] | None = None,
    zero_mean: bool = False,
    l1_weights: Any = None,
    gradient_penalty: float = 0.0,
    rho: float | None = None,
    rho_data: float | None = None,
    relaxation: float = 1.8,
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
) -> LearnedDictionary:
    """Learn filters from images, complete or with missing pixels.

    Minimises over filters d and codes x [FFCSC, eq. 2; CoGD, eqs. 21-23]

        sum_n 1/2 ||W_n (sum_k d_k * x_nk - b_n)||^2 + lmbda sum |x_nk| + mu/2 sum ||grad x_nk||^2,   ||d_k|| <= 1

    by alternating a few iterations of the code solve and of the filter solve; both keep their dual variables from round to
    round. The filter solve is the code solve with the factors exchanged: per frequency an N x N system (Woodbury).

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) array
        Best without their smooth part, such as a local mean.
    n_filters, filter_shape : int and int or (h, w); or sequences of the same length, for mixed sizes
        ``n_filters=(16, 32), filter_shape=(8, 12)`` asks for 16 filters of 8 x 8 and 32 of 12 x 12.
    lmbda : float >= 0
    weights : array that broadcasts against `images`, optional
        1 where observed, 0 where missing.
    max_iter : int
        Rounds, each of `code_iterations` and `filter_iterations`.
    tol : float
        Stop when the objective falls by less than this fraction in a round.
    seed : int
        Of the initial filters, standard normal and scaled to unit norm.
    start : Dictionary, optional
        Initial filters; their number and shapes must be those asked for.
    callback : callable, optional
        Called after every round with a :class:`Round`; a true return value stops learning.
    zero_mean : bool
        Learn filters of mean zero in each channel: they can't shift the brightness.
    l1_weights, gradient_penalty, rho, rho_data, relaxation, dtype, device, threads, fft
        As in :func:`csc_cogd.sparse_code`.

    Returns
    -------
    LearnedDictionary

    Raises
    ------
    InputError
        If an argument's shape, type or value doesn't fit.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).standard_normal((2, 16, 16))
    >>> learned = learn_dictionary(images, 3, 4, lmbda=0.5, max_iter=2)
    >>> learned.dictionary.filters.shape, learned.codes.shape
    ((3, 4, 4), (2, 3, 19, 19))
    """
    images, gray = check_images(images), np.ndim(images) == 3
    check_settings(lmbda, max_iter, tol, relaxation, gradient_penalty, "free")
    if min(code_iterations, filter_iterations) < 1:
        raise InputError("code_iterations, filter_iterations: each phase needs 1 iteration or more")
    shapes = filter_shapes(n_filters, filter_shape)
    filters = _initial_filters(shapes, images.shape[1], seed, start)
    backend = get_backend(device, dtype=dtype, threads=threads, fft=fft)
    domain = Domain((images.shape[2], images.shape[3]), tuple(shapes.max(axis=0)))
    data = observed_data(backend, domain, images, check_weights(weights, images))

    started = time.perf_counter()
    w = check_l1_weights(l1_weights, (len(images), len(shapes), *domain.codes_shape))
    code_solver = ConvolutionalADMM(
        backend,
        map_spectra(backend, domain, backend.asarray(filters)),
        data,
        SoftThreshold(backend, place_l1_weights(w * lmbda, domain)),
        **penalties(lmbda, data, rho, rho_data),
        relaxation=relaxation,
        gradient_penalty=gradient_penalty,
    )
    learner = _Learner(code_solver, domain, shapes, filters, zero_mean)
    history: list[Round] = []
    for iteration in range(1, max_iter + 1):
        learner.code_phase(code_iterations)
        learner.filter_phase(filter_iterations)
        data_term, penalty, nonzeros = learner.measure()
        history.append(Round(iteration, time.perf_counter() - started, data_term + penalty, data_term, penalty, nonzeros))
        if not np.isfinite(history[-1].objective):
            raise InputError(f"learning diverged in round {iteration}: use dtype='float64' or a larger lmbda")
        settled = len(history) > 1 and abs(history[-2].objective - history[-1].objective) <= tol * history[-2].objective
        if (callback is not None and callback(history[-1])) or settled:
            break
    codes = learner.codes()
    provenance = {
        "version": __version__,
        "images": list(images.shape),
        "masked": weights is not None,
        "settings": {
            "lmbda": float(lmbda), "gradient_penalty": float(gradient_penalty), "rounds": len(history),
            "code_iterations": code_iterations, "filter_iterations": filter_iterations, "seed": seed,
        },
    }  # fmt: skip
    filters = learner.filters()
    dictionary = Dictionary(filters[:, 0] if gray else filters, shapes, provenance)
    return LearnedDictionary(dictionary, codes, history[-1].objective, history)


class _Learner:
    """Two solvers of the same kind, each the other's operator."""

    def __init__(
        self, code_solver: ConvolutionalADMM, domain: Domain, shapes: np.ndarray, filters: np.ndarray, zero_mean: bool
    ):
        self.backend, self.data = code_solver.backend, code_solver.data
        self.domain, self.shapes, self.zero_mean = domain, shapes, zero_mean
        self.code_solver = code_solver
        self.filter_solver: ConvolutionalADMM | None = None
        self._filters = self.backend.asarray(filters)

    def code_phase(self, iterations: int) -> None:
        for _ in range(iterations):
            self.code_solver.step()

    def filter_phase(self, iterations: int) -> None:
        """Filter iterations on the present codes, then hand the new filters to the code solver."""
        spectra, energy = self._code_spectra()
        if self.filter_solver is None:
            self.filter_solver = filter_solver(
                self.backend, spectra, self.data, self.shapes, self._filters, energy, self.code_solver.relaxation,
                self.zero_mean,
            )  # fmt: skip
        else:
            self.filter_solver.set_operator(spectra)
            self.filter_solver.refresh()
        for _ in range(iterations):
            self.filter_solver.step()
        self.filter_solver.operator = None  # the codes' spectra aren't needed in between
        self._filters = current_filters(self.filter_solver, self._filters.shape[2:])
        self.code_solver.set_operator(map_spectra(self.backend, self.domain, self._filters))
        self.code_solver.refresh()

    def _code_spectra(self) -> tuple[Any, float]:
        """Spectra of the sparse codes (K, N, H, W // 2 + 1), and their energy."""
        solver = self.code_solver
        N, K, H, W = solver.shape
        spectra = self.backend.xp.empty((K, N, H, W // 2 + 1), self.backend.complex_dtype)

        def transform(workspace: Any, task: tuple[int, int]) -> float:
            n, k = task
            index = (slice(n, n + 1), slice(k, k + 1))
            workspace.real[...] = solver.p[index]
            solver.prox.to_point(workspace.real, index)
            energy = float((workspace.real**2).sum(dtype=np.float64))
            workspace.forward()
            spectra[k, n] = workspace.spectrum[0, 0]
            return energy

        tasks = [(n, k) for k in range(K) for n in range(N)]
        energies = self.backend.run(transform, tasks, self.backend.workspaces((1, 1, H, W)))
        return spectra, sum(energies)

    def measure(self) -> tuple[float, float, int]:
        """Data term, penalty on the codes, and number of non-zero codes at the present filters and sparse codes."""
        solver = self.code_solver
        N, K, H, W = solver.shape

        def sums(workspace: Any, task: tuple[int, int]) -> tuple[float, int]:
            index = (slice(task[0], task[0] + 1), slice(task[1], task[1] + 1))
            x = workspace.real
            x[...] = solver.p[index]
            solver.prox.to_point(x, index)
            return solver.map_penalty(x, index), int((x != 0).sum())

        results = self.backend.run(sums, np.ndindex(N, K), self.backend.workspaces((1, 1, H, W)))
        penalty, nonzeros = (sum(column) for column in zip(*results, strict=True))
        return self.data.value(solver.apply()), penalty, int(nonzeros)

    def filters(self) -> np.ndarray:
        return self.backend.to_host(self._filters)

    def codes(self) -> np.ndarray:
        return self.domain.crop_codes(self.backend.to_host(self.code_solver.take_maps()))


def filter_shapes(n_filters: Any, filter_shape: Any) -> np.ndarray:
    """Height and width of every filter, (K, 2), from the two arguments of :func:`learn_dictionary`."""
    several = np.ndim(n_filters) == 1
    counts: list[Any] = list(n_filters) if several else [n_filters]
    shapes: list[Any] = [filter_shape]
    if several:
        shapes = list(filter_shape) if isinstance(filter_shape, Iterable) else []
    if len(counts) != len(shapes):
        raise InputError(f"filter_shape: one for each of the {len(counts)} numbers in n_filters is needed")
    if any(not isinstance(count, (int, np.integer)) or count < 1 for count in counts):
        raise InputError(f"n_filters: {n_filters} isn't a number of filters: use 1 or more")
    try:
        pairs = np.array([np.broadcast_to(shape, 2) for shape in shapes])
    except ValueError:
        raise InputError(f"filter_shape: {filter_shape} is neither a size nor (height, width)") from None
    if pairs.dtype.kind not in "iu" or (pairs < 1).any():
        raise InputError(f"filter_shape: {filter_shape} isn't a size: use whole numbers of 1 or more")
    return np.repeat(pairs, counts, axis=0)


def _initial_filters(shapes: np.ndarray, channels: int, seed: int, start: Dictionary | None) -> np.ndarray:
    if start is not None:
        if start.n_channels != channels or not np.array_equal(start.shapes, shapes):
            raise InputError("start: its filters' number, shapes and channels must be those to be learned")
        return start.with_channels()
    generator = np.random.default_rng(seed)
    filters = np.zeros((len(shapes), channels, *shapes.max(axis=0)))
    for d, (height, width) in zip(filters, shapes, strict=True):
        d[:, :height, :width] = generator.standard_normal((channels, height, width))
        d /= np.linalg.norm(d)
    return filters
