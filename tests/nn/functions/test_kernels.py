"""The compiled kernels against the plain ones: same results to rounding, and the same bits on any number of threads."""

import numpy as np
import pytest

from csc_cogd.backend import get_backend, parallel
from csc_cogd.nn import Tensor, functions

CASES = {
    "3 x 3": ("conv2d", [(3, 5, 9, 8), (7, 5, 3, 3), (7,)], {"padding": 1}),
    "3 x 3, wide": ("conv2d", [(9, 16, 8, 16), (16, 16, 3, 3)], {"padding": 1}),
    "more weights than are multiplied at a time": ("conv2d", [(2, 50, 5, 7), (6, 50, 3, 3)], {}),
    "more pixels than are summed at a time": ("conv2d", [(2, 2, 25, 40), (5, 2, 3, 3)], {"padding": 1}),
    "more images than are padded at a time": ("conv2d", [(20, 64, 16, 16), (4, 64, 1, 1)], {"padding": 1}),
    "so many weights that threads share the channels": ("conv2d", [(3, 64, 5, 4), (130, 64, 3, 3)], {"padding": 1}),
    "groups, strides of their own": ("conv2d", [(2, 4, 11, 7), (6, 2, 3, 2)], {"groups": 2, "stride": (2, 3)}),
    "1 x 1 that passes pixels over": ("conv2d", [(5, 6, 5, 4), (5, 6, 1, 1)], {"stride": 2}),
    "stride 2": ("conv2d", [(9, 3, 8, 8), (4, 3, 3, 3)], {"stride": 2, "padding": 1}),
    "more padding than the kernel needs": ("conv2d", [(2, 3, 5, 6), (4, 3, 2, 3)], {"stride": (3, 1), "padding": 3}),
    "one pixel": ("conv2d", [(2, 3, 1, 1), (4, 3, 3, 3)], {"padding": 1}),
    "no image": ("conv2d", [(0, 3, 5, 5), (4, 3, 3, 3), (4,)], {"padding": 1}),
    "depthwise": ("conv2d", [(3, 5, 9, 8), (5, 1, 3, 3), (5,)], {"groups": 5, "padding": 1}),
    "depthwise with a stride": ("conv2d", [(3, 5, 8, 8), (5, 1, 3, 3)], {"groups": 5, "padding": 1, "stride": 2}),
    "depthwise of another kernel": (
        "conv2d", [(2, 4, 11, 7), (4, 1, 2, 3)], {"groups": 4, "padding": (3, 0), "stride": (1, 3)},
    ),
    "relu": ("relu", [(3, 4, 5, 3)], {}),
    "relu6": ("relu6", [(3, 4, 5, 3)], {}),
    "soft_mask": ("soft_mask", [(3, 4, 5, 3), (4,)], {}),
}  # fmt: skip


@pytest.fixture(params=[("float32", 2e-5), ("float64", 1e-13)], ids=lambda given: given[0])
def precision(request):
    """A dtype and the rounding to expect."""
    return request.param


def differentiate(function, arrays, rng):
    """The result, and the gradient of each array."""
    tensors = [Tensor(array, requires_grad=True) for array in arrays]
    y = function(*tensors)
    y.backward(rng.standard_normal(y.shape[::-1]).astype(y.dtype).T)  # not contiguous
    return [y.array, *(tensor.grad for tensor in tensors)]


def both(monkeypatch, function, arrays):
    """What the compiled and the plain kernels give."""
    for kernels in ("numba", "numpy"):
        monkeypatch.setenv("CSC_COGD_KERNELS", kernels)
        yield differentiate(function, arrays, np.random.default_rng(1))


def assert_agree(fast, plain, tolerance):
    for found, expected in zip(fast, plain, strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * max(1, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("name", CASES)
def test_functions_agree(name, precision, monkeypatch, rng):
    function, shapes, arguments = CASES[name]
    arrays = [(3 * rng.standard_normal(shape)).astype(precision[0]) for shape in shapes]
    fast, plain = both(monkeypatch, lambda *given: getattr(functions, function)(*given, **arguments), arrays)
    assert_agree(fast, plain, precision[1])


@pytest.mark.parametrize("mean", [0, 100])
def test_batch_norm_agrees(mean, precision, monkeypatch, rng):
    arrays = [mean + rng.standard_normal((6, 3, 5, 7)), rng.standard_normal(3), rng.standard_normal(3)]

    def function(x, gamma, beta):
        return functions.batch_norm(x, gamma, beta, functions.batch_statistics(x.array), from_batch=True)

    fast, plain = both(monkeypatch, function, [array.astype(precision[0]) for array in arrays])
    assert_agree(fast, plain, precision[1] * max(1, mean))


def test_statistics_of_a_large_mean_are_exact(rng):
    x = (1e4 + rng.standard_normal((8, 3, 32, 32))).astype(np.float32)
    found = functions.batch_statistics(x)
    np.testing.assert_allclose(found.mean, x.mean(axis=(0, 2, 3), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(found.variance, x.var(axis=(0, 2, 3), dtype=np.float64), rtol=1e-4)


@pytest.mark.parametrize("name", ["3 x 3", "depthwise", "soft_mask"])
def test_arrays_with_gaps(name, monkeypatch, rng):
    function, shapes, arguments = CASES[name]
    arrays = [rng.standard_normal(shape[::-1]).astype(np.float32).T for shape in shapes]
    fast, plain = both(monkeypatch, lambda *given: getattr(functions, function)(*given, **arguments), arrays)
    assert_agree(fast, plain, 2e-5)


@pytest.mark.parametrize("name", ["3 x 3, wide", "depthwise", "soft_mask"])
def test_bits_do_not_depend_on_the_number_of_threads(name, monkeypatch, rng):
    function, shapes, arguments = CASES[name]
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    found = []
    for number in (1, 3):
        monkeypatch.setattr(parallel, "_backend", lambda process, number=number: get_backend("cpu", threads=number))
        found.append(
            differentiate(lambda *given: getattr(functions, function)(*given, **arguments), arrays, np.random.default_rng(1))
        )
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
