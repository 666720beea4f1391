"""Time to come within 0.1 % of the optimum, against every peer: ``python benchmarks/convergence.py``.

Same problem, same filters, float32, the same number of threads, one run. The peers are SPORCO's ADMM (automatic penalty;
for masks its mask-decoupled one), SPORCO's FISTA, and FISTA with restarts written by hand in PyTorch, if that is installed
(``pip install torch``); both FISTAs get the exact Lipschitz constant. The optimum is the lowest objective that anybody
reached, among them a long run of ours. The objective is computed by one function for all, in double precision, outside of
the time that is counted. SPORCO solves the circular problem, so all do.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from code_solve import CASES, LMBDA, limit_threads, pieces, problem

CHECK_EVERY = 5
GOAL = 1.001


def color_problem(n_filters: int, size: int, pixels: int, masked: bool):
    """Filters (K, C, h, w), a color photograph (C, H, W) without its local mean, and weights (1, H, W)."""
    from scipy.ndimage import gaussian_filter
    from skimage.data import astronaut, camera

    generator = np.random.default_rng(0)
    image = np.moveaxis(astronaut(), -1, 0) / 255
    image = (image - gaussian_filter(image, (0, 4, 4))).astype(np.float32)
    tinted = (camera() / 255)[None] * np.array([1, 0.9, 0.8])[:, None, None] + 0.05 * generator.standard_normal((3, 1, 1))
    filters = pieces((tinted - gaussian_filter(tinted, (0, 4, 4))), n_filters, size, generator)
    offset = (512 - pixels) // 2
    image = np.ascontiguousarray(image[:, offset : offset + pixels, offset : offset + pixels])
    weights = (generator.random((1, pixels, pixels)) < 0.5).astype(np.float32) if masked else np.ones((1, pixels, pixels))
    return filters, image, weights.astype(np.float32)


def objective(codes, image, filters, weights) -> float:
    """In double precision; codes (K, H, W), image (C, H, W), filters (K, C, h, w)."""
    import scipy.fft

    spectrum = np.zeros((*image.shape[:2], image.shape[2] // 2 + 1), complex)
    for x, d in zip(codes, filters, strict=True):
        spectrum += scipy.fft.rfft2(x.astype(float)) * scipy.fft.rfft2(d.astype(float), image.shape[1:])
    fit = scipy.fft.irfft2(spectrum, image.shape[1:])
    return 0.5 * float(((weights * (fit - image)) ** 2).sum()) + LMBDA * float(np.abs(codes).sum(dtype=float))


def lipschitz(filters, shape) -> float:
    """The largest eigenvalue of A^H A on the periodic domain."""
    spectra = np.fft.rfft2(filters, shape)
    gram = np.einsum("krij,ksij->ijrs", spectra, spectra.conj())
    return float(np.linalg.eigvalsh(gram).max())


def ours(filters, image, weights, threads: int, solver: str) -> Iterator[tuple[float, Any]]:
    """Yields (seconds, objective) after every round, checked at the end; or (seconds, codes) of longer and longer runs."""
    from csc_cogd import Dictionary, sparse_code

    run = {"lmbda": LMBDA, "weights": weights[None], "threads": threads, "boundary": "circular", "solver": solver}
    if solver == "admm":  # its history has the data term at another point than the l1 term
        for iterations in (50, 75, 100, 150, 200, 300, 400, 600):
            result = sparse_code(image[None], Dictionary(filters), tol=0, max_iter=iterations, **run)
            yield result.history[-1].seconds, result.codes[0]
        return
    result = sparse_code(image[None], Dictionary(filters), tol=1e-3, max_iter=600, **run)
    check = objective(result.codes[0], image, filters, weights)
    if abs(check / result.objective - 1) > 1e-4:
        raise SystemExit(f"the objectives differ: {check} and {result.objective}")
    yield from ((record.seconds, record.objective) for record in result.history)


def sporcos(filters, image, weights, threads: int, algorithm: str) -> Iterator[tuple[float, Any]]:
    """Yields (seconds so far, codes) every few iterations."""
    from sporco.admm import cbpdn
    from sporco.pgm import cbpdn as pgm

    masked = bool((weights != 1).any())
    D, b = np.moveaxis(filters, (0, 1), (-1, -2)), np.moveaxis(image, 0, -1)
    W = np.moveaxis(weights, 0, -1)[..., None, None]
    if image.shape[0] == 1:
        D, b, W = D[:, :, 0], b[..., 0], W[..., 0]
    options = {"MaxMainIter": 1, "RelStopTol": 1e-12, "DataType": np.float32}
    if algorithm == "ADMM":
        kind = cbpdn.ConvBPDNMaskDcpl if masked else cbpdn.ConvBPDN
        options |= {} if masked else {"AutoRho": {"Enabled": True}}
    else:
        kind = pgm.ConvBPDNMask if masked else pgm.ConvBPDN
        options |= {"L": lipschitz(filters, image.shape[1:])}
    if masked:
        W = W.reshape(*image.shape[1:], 1, 1, 1) if image.shape[0] > 1 else weights[0]
    solver = kind(D, b, LMBDA, *((W,) if masked else ()), kind.Options(options), dimK=0)
    spent = 0.0
    while True:
        for _ in range(CHECK_EVERY):
            start = time.perf_counter()
            solver.solve()
            spent += time.perf_counter() - start
        yield spent, np.moveaxis(np.asarray(solver.getcoef()).squeeze(), -1, 0)


def torchs(filters, image, weights, threads: int, algorithm: str) -> Iterator[tuple[float, Any]]:
    """FISTA with gradient restarts [Beck, Teboulle 2009; O'Donoghue, Candes 2015], by PyTorch's FFT."""
    import torch

    torch.set_num_threads(threads)
    shape = image.shape[1:]
    d, b, w2 = torch.fft.rfft2(torch.from_numpy(filters), s=shape), torch.from_numpy(image), torch.from_numpy(weights**2)
    step = 1 / lipschitz(filters, shape)
    x = y = torch.zeros((len(filters), *shape))
    t, spent = 1.0, 0.0
    while True:
        start = time.perf_counter()
        for _ in range(CHECK_EVERY):
            fit = torch.fft.irfft2((d * torch.fft.rfft2(y)[:, None]).sum(dim=0), s=shape)
            residual = torch.fft.rfft2(w2 * (fit - b))
            gradient = torch.fft.irfft2((d.conj() * residual).sum(dim=1), s=shape)
            new = torch.nn.functional.softshrink(y - step * gradient, LMBDA * step)
            if float(((y - new) * (new - x)).sum()) > 0:
                t = 1.0
            t_new = (1 + (1 + 4 * t * t) ** 0.5) / 2
            y = new + (t - 1) / t_new * (new - x)
            x, t = new, t_new
        spent += time.perf_counter() - start
        yield spent, x.numpy()


SOLVERS: dict[str, tuple[Callable[..., Iterator[tuple[float, Any]]], str]] = {
    "csc-cogd": (ours, "auto"),
    "csc-cogd, ADMM": (ours, "admm"),
    "SPORCO ADMM": (sporcos, "ADMM"),
    "SPORCO FISTA": (sporcos, "FISTA"),
    "PyTorch FISTA": (torchs, "FISTA"),
}


def seconds_to_goal(curve: Iterator[tuple[float, Any]], value: Callable[[Any], float], best: float, patience: float):
    """(seconds until the goal or None, the last objective, seconds spent)."""
    spent, reached = 0.0, np.inf
    for spent, state in curve:
        reached = state if isinstance(state, float) else value(state)
        if reached <= GOAL * best:
            return spent, reached, spent
        if spent > patience:
            break
    return None, reached, spent


def main() -> None:
    from importlib.util import find_spec

    from csc_cogd import Dictionary, sparse_code

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="on all sides (default 1)")
    parser.add_argument(
        "--patience", type=float, default=25, help="times of ours after which a peer is given up (default 25)"
    )
    peers = list(SOLVERS)[2:]
    parser.add_argument("--peers", nargs="+", choices=peers, default=peers, help="default: all of them")
    arguments = parser.parse_args()
    left_out = {*peers} - {*arguments.peers} | ({"PyTorch FISTA"} if find_spec("torch") is None else set())
    names = [name for name in SOLVERS if name not in left_out]
    cases = [(name, "gray", case, problem) for name, case in CASES.items()]
    cases.append(("64 of 3 x 8 x 8 on 256 x 256", "color", (64, 8, 256), color_problem))
    print(f"float32, lambda {LMBDA}; seconds to 0.1 % of the optimum; how far above, where given up\n")
    print("| filters, image | | mask | threads | " + " | ".join(names) + " | best SPORCO / ours |")
    print("| --- " * (5 + len(names)) + "|")
    for name, kind, case, make in cases:
        for masked in (False, True):
            filters, image, weights = make(*case, masked)
            if kind == "gray":
                filters, image, weights = filters[:, None], image[None], weights[None]
            exact = sparse_code(
                image[None], Dictionary(filters), lmbda=LMBDA, weights=weights[None], boundary="circular", tol=2e-4,
                max_iter=400,
            )  # fmt: skip
            for threads in arguments.threads:
                limit_threads(threads)
                found = {}
                for solver in names:
                    function, algorithm = SOLVERS[solver]
                    curve = function(filters, image, weights, threads, algorithm)
                    value = lambda codes: objective(codes, image, filters, weights)  # noqa: B023, E731
                    patience = arguments.patience * found[names[0]][2] if found else np.inf
                    found[solver] = seconds_to_goal(curve, value, exact.objective, patience)
                cells = [
                    f"{seconds:.2f} s" if seconds else f"+{100 * (reached / exact.objective - 1):.2g} % after {spent:.0f} s"
                    for seconds, reached, spent in found.values()
                ]
                sporco = [(seconds, spent) for name, (seconds, _, spent) in found.items() if name.startswith("SPORCO")]
                best = min((seconds or spent for seconds, spent in sporco), default=np.nan)
                sign = "" if any(seconds == best for seconds, _ in sporco) else "> "
                ratio = f"{sign}{best / found['csc-cogd'][0]:.0f} x"
                print(
                    f"| {name} | {kind} | {'yes' if masked else 'no'} | {threads} | {' | '.join(cells)} | {ratio} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
