"""Memory of the GPU: what is bounded, and what is told where it doesn't suffice."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.backend import get_backend
from csc_cogd.backend.cuda import fft


def test_plans_are_kept_but_not_without_end(cuda, monkeypatch):
    backend = get_backend("cuda", dtype="float64")
    made = []
    plan = cuda.cuda.cufft.PlanNd
    monkeypatch.setattr(cuda.cuda.cufft, "PlanNd", lambda *arguments: made.append(arguments) or plan(*arguments))
    for _ in range(2):
        backend.workspace((1, 1, 8, 8)).forward()
    first = len(made)
    assert first <= 1
    for width in range(9, 9 + fft.MOST_PLANS):
        backend.workspace((1, 1, 8, width)).forward()
    backend.workspace((1, 1, 8, 8)).forward()
    assert len(made) == first + fft.MOST_PLANS + 1


def test_more_maps_than_a_grid_has_blocks_are_refused(cuda):
    kernels = get_backend("cuda", dtype="float64").kernels
    maps, operator = cuda.zeros((33000, 2, 1, 1), np.complex128), cuda.zeros((2, 1, 1, 1), np.complex128)
    with pytest.raises(InputError, match="images must have 65535 channels in all at most on a GPU, got 66000"):
        kernels.apply_adjoint(operator, maps[:, :1], maps)


def test_an_fft_without_memory_is_a_memory_error(cuda, monkeypatch):
    if not hasattr(cuda, "transfers"):
        pytest.skip("only the double of CuPy can be made to fail")

    def fail(*arguments):
        raise cuda.CuFFTError(result)

    monkeypatch.setattr(cuda.cuda.cufft, "PlanNd", fail)
    backend = get_backend("cuda", dtype=np.float32)
    for result, error in ((2, MemoryError), (8, cuda.CuFFTError)):
        with pytest.raises(error):
            backend.workspace((1, 1, 30 + result, 8)).forward()
