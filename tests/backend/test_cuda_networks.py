"""Networks' kernels for CUDA, against the plain functions: for tensor cores on operands that are rounded to TF32."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csc_cogd import InputError
from csc_cogd.backend import as_channels_last, computing_in, kernels_for, to_numpy
from csc_cogd.backend.cuda import convolution, layout
from csc_cogd.nn import SGD, Parameter, Tensor, functions
from csc_cogd.nn.functions.convolution import Grid, conv2d_backward, conv2d_forward
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Linear
from csc_cogd.nn.module import Module, Sequential
from csc_cogd.nn.networks.mobilenet import InvertedResidual
from csc_cogd.nn.networks.resnet import BasicBlock, padded_shortcut
from tests.nn.functions.test_gradients import convolutions

CONVOLUTIONS = {  # images, kernels, stride, padding, groups
    "whole fours of channels": ((3, 8, 9, 8), (20, 8, 3, 3), (1, 1), (1, 1), 1),
    "odd channels": ((2, 5, 7, 6), (7, 5, 3, 3), (1, 1), (1, 1), 1),
    "a first layer": ((2, 3, 8, 8), (16, 3, 3, 3), (1, 1), (1, 1), 1),
    "many channels": ((1, 36, 5, 4), (33, 36, 3, 3), (1, 1), (1, 1), 1),
    "stride 2": ((3, 8, 8, 7), (12, 8, 3, 3), (2, 2), (1, 1), 1),
    "1 x 1": ((2, 12, 5, 5), (6, 12, 1, 1), (1, 1), (0, 0), 1),
    "1 x 1 that passes pixels over": ((2, 6, 5, 4), (8, 6, 1, 1), (2, 2), (0, 0), 1),
    "groups, strides and padding of their own": ((2, 8, 11, 7), (12, 4, 3, 2), (2, 3), (0, 2), 2),
    "groups of odd channels": ((2, 9, 4, 5), (6, 3, 2, 3), (1, 1), (1, 1), 3),
    "one pixel": ((1, 4, 1, 1), (4, 4, 3, 3), (1, 1), (1, 1), 1),
    "no image": ((0, 4, 5, 5), (4, 4, 3, 3), (1, 1), (1, 1), 1),
    "depthwise": ((3, 8, 9, 8), (8, 1, 3, 3), (1, 1), (1, 1), 8),
    "depthwise with a stride": ((2, 5, 8, 9), (5, 1, 3, 3), (2, 2), (1, 1), 5),
    "depthwise of another kernel": ((2, 12, 11, 7), (12, 1, 2, 7), (1, 3), (3, 1), 12),
    "depthwise of many channels": ((1, 144, 3, 5), (144, 1, 3, 3), (1, 1), (0, 0), 144),
}
PRECISIONS = {"float32": ("float32", 1e-5), "float64": ("float64", 1e-12), "mixed": ("float32", 1e-5)}


@pytest.fixture(params=PRECISIONS)
def precision(request):
    return request.param


def rounded(array):
    """The nearest numbers of 10 bits behind the point, ties away from zero."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def plain(monkeypatch):
    monkeypatch.setenv("CSC_COGD_KERNELS", "numpy")


def convolve(cuda, arrays, arguments, precision="float32"):
    """Result and gradients on the device, as arrays of NumPy; `arrays` are images, kernels, bias and gradient."""
    x, w, bias, dy = (cuda.asarray(array) for array in arrays)
    with computing_in("mixed" if precision == "mixed" else "float32", x):
        w, grid = as_channels_last(w), Grid(*arguments)
        y = conv2d_forward(x, w, bias, grid)
        return [to_numpy(array) for array in (y, *conv2d_backward(dy, x, w, grid))]


def expected_of(arrays, arguments, precision):
    """By plain functions in double precision, of operands that tensor cores take."""
    depthwise = arguments[2] > 1 and arrays[1].shape[1] == 1
    taken = rounded if precision == "mixed" and not depthwise else np.float64
    x, w, bias, dy = (array if array is None else np.float64(array) for array in arrays)
    x, w, dy = (np.float64(taken(array)) for array in (x, w, dy))
    grid = Grid(*arguments)
    return conv2d_forward(x, w, bias, grid), *conv2d_backward(dy, x, w, grid)


def made_up(case, dtype, rng):
    shape, kernels, stride, padding, groups = CONVOLUTIONS[case]
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape[2:], kernels[2:], stride, padding, strict=True)]
    shapes = (shape, kernels, (kernels[0],), (shape[0], kernels[0], *size))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes], (stride, padding, groups)


def assert_close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max(initial=0)))


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_are_the_plain_ones(case, precision, cuda, rng, monkeypatch):
    plain(monkeypatch)
    dtype, tolerance = PRECISIONS[precision]
    arrays, arguments = made_up(case, dtype, rng)
    found = convolve(cuda, arrays, arguments, precision)
    assert all(array.dtype == dtype for array in found)
    assert_close(found, expected_of(arrays, arguments, precision), tolerance)


@pytest.fixture
def largest_tile(monkeypatch):
    """Chosen, though so small images would get a smaller one."""
    launches = (convolution._forward, convolution._backward, convolution._weights)
    for cached in launches:
        cached.cache_clear()
    monkeypatch.setattr(convolution, "choose_tile", lambda *given, **more: convolution.TILES[-1])
    yield
    for cached in launches:
        cached.cache_clear()


@pytest.mark.usefixtures("largest_tile")
def test_a_larger_tile_gives_the_same(cuda, rng, monkeypatch):
    plain(monkeypatch)
    for case in ("whole fours of channels", "many channels", "groups, strides and padding of their own"):
        arrays, arguments = made_up(case, "float32", rng)
        assert_close(convolve(cuda, arrays, arguments, "mixed"), expected_of(arrays, arguments, "mixed"), 1e-5)


@pytest.mark.parametrize("case", ["whole fours of channels", "depthwise"])
def test_gradients_of_weights_are_summed_in_pieces(case, cuda, rng, monkeypatch):
    plain(monkeypatch)
    arrays, arguments = made_up(case, "float32", rng)
    more = [np.concatenate([array] * 9) if array.ndim == 4 and array is not arrays[1] else array for array in arrays]
    x, w, _, dy = (cuda.asarray(array) for array in more)
    if case == "depthwise":
        monkeypatch.setattr("csc_cogd.backend.cuda.depthwise._ROWS", 1)
    found = [to_numpy(conv2d_backward(dy, x, w, Grid(*arguments), need_dx=False)[1]) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    expected = 9 * expected_of(arrays, arguments, "float32")[2]
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_any_convolution(cuda, convolution, seed):
    (shape, kernels, arguments), rng = convolution, np.random.default_rng(seed)
    given = arguments["stride"], arguments["padding"], arguments["groups"]
    x, w = rng.standard_normal(shape), rng.standard_normal(kernels)
    grid = Grid(*given)
    y = conv2d_forward(x, w, None, grid)
    dy = rng.standard_normal(y.shape)
    found = convolve(cuda, (x, w, np.zeros(len(w)), dy), given)
    assert_close(found, (y, *conv2d_backward(dy, x, w, grid)), 1e-12)


@pytest.mark.parametrize("shape", [(5, 8), (4, 7), (1, 1)])
def test_linear_layers_are_the_plain_ones(shape, precision, cuda, rng, monkeypatch):
    plain(monkeypatch)
    dtype, tolerance = PRECISIONS[precision]
    (N, C), taken = shape, rounded if precision == "mixed" else np.float64
    x, w, bias, dy = (rng.standard_normal(shape).astype(dtype) for shape in ((N, C), (10, C), (10,), (N, 10)))
    tensors = [Tensor(cuda.asarray(array), requires_grad=True) for array in (x, w, bias)]
    with computing_in("mixed" if precision == "mixed" else "float32", tensors[0].array):
        y = functions.linear(*tensors)
        y.backward(cuda.asarray(dy))
    x, w, rounded_dy = (np.float64(taken(array)) for array in (x, w, dy))
    expected = (x @ w.T + bias, rounded_dy @ w, rounded_dy.T @ x, np.float64(dy).sum(axis=0))
    assert_close([to_numpy(array) for array in (y.array, *(tensor.grad for tensor in tensors))], expected, tolerance)


@pytest.mark.parametrize("shape", [(3, 8, 5, 4), (3, 7, 10, 9), (1, 140, 2, 2), (5, 36, 16, 16)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_channels_are_treated_as_plainly(shape, dtype, cuda, rng, monkeypatch):
    plain(monkeypatch)
    C = shape[1]
    x, dy, other = (7 * (rng.standard_normal(shape) + 1).astype(dtype) for _ in range(3))
    gamma, beta, mean, scale = (rng.standard_normal(C).astype(dtype) for _ in range(4))
    variance = (rng.random(C) + 0.5).astype(dtype)
    on = {id(array): cuda.asarray(array) for array in (x, dy, other, gamma, beta, mean, scale, variance)}
    kernels, tolerance = kernels_for("channels", on[id(x)]), {"float32": 2e-5, "float64": 1e-12}[dtype]

    def check(found, *expected):
        found = found if isinstance(found, tuple) else (found,)
        assert_close([to_numpy(array) for array in found], [np.asarray(array) for array in expected], tolerance)

    def at(vector):
        return vector[:, None, None]

    def of(*arrays):
        return [on[id(array)] for array in arrays]

    axes, inverse = (0, 2, 3), 1 / np.sqrt(variance + 1e-5)
    check(kernels.moments(*of(x)), x.mean(axis=axes, dtype=float), x.var(axis=axes, dtype=float))
    product = (dy * (x - at(mean))).sum(axis=axes, dtype=float)
    check(kernels.products(*of(dy, x, mean)), np.stack([dy.sum(axis=axes, dtype=float), product]))
    check(kernels.affine(*of(x, gamma, beta)), x * at(gamma) + at(beta))
    combined = dy * at(gamma) + (x - at(mean)) * at(scale) + at(beta)
    check(kernels.combine(*of(dy, x, gamma, scale, mean, beta)), combined)
    check(kernels.normalize(*of(x, gamma, beta, mean, variance), 1e-5), at(gamma * inverse) * (x - at(mean)) + at(beta))
    for from_batch in (True, False):
        scaled = dy * at(gamma * inverse)
        if from_batch:
            centered = (x - at(mean)) * at(inverse**2 * product) + at(dy.sum(axis=axes))
            scaled = scaled - at(gamma * inverse) * centered / (x.size // C)
        found = kernels.normalize_gradient(*of(dy, x, gamma, mean, variance), 1e-5, from_batch)
        check(found, scaled, product * inverse, dy.sum(axis=axes, dtype=float))
    check(kernels.add(*of(x, other)), x + other)
    for top in (np.inf, 6):
        check(kernels.clip(*of(x), top), np.clip(x, 0, top))
        check(kernels.clip_gradient(*of(dy, x), top), dy * ((x > 0) & (x < top)))


def test_a_large_mean_does_not_cancel_the_variance(cuda, rng):
    x = (1e4 + rng.standard_normal((8, 3, 32, 32))).astype(np.float32)
    mean, variance = map(to_numpy, functions.batch_statistics(cuda.asarray(x)))
    np.testing.assert_allclose(mean, x.mean(axis=(0, 2, 3), dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(variance, x.var(axis=(0, 2, 3), dtype=np.float64), rtol=1e-4)


def test_a_nan_is_passed_on(cuda):
    x = np.ones((1, 4, 2, 2), np.float32)
    x[0, 1, 1, 0] = np.nan
    for function in (functions.relu, functions.relu6):
        found = to_numpy(function(Tensor(cuda.asarray(x))).array)
        np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (1, 40, 3, 12), (3, 1, 4, 4), (2, 6, 1, 1)])
def test_images_are_brought_into_order(shape, cuda, rng):
    x = rng.standard_normal(shape).astype(np.float32)
    array = cuda.asarray(x)
    turned = layout.channels_last(array)
    np.testing.assert_array_equal(to_numpy(turned), x.transpose(0, 2, 3, 1))
    again = layout.channels_last(layout.channels_first(turned))
    assert again.data.ptr == turned.data.ptr  # nothing is copied
    np.testing.assert_array_equal(to_numpy(layout.channels_last(array[:, ::-1])), x[:, ::-1].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(to_numpy(layout.channels_last(array[:1])), x[:1].transpose(0, 2, 3, 1))


def test_arrays_that_kernels_can_not_count_are_refused(cuda):
    with pytest.raises(InputError, match=r"2147483648 values.*smaller batches"):
        layout.channels_last(cuda.broadcast_to(cuda.zeros(1, np.float32), (2**16, 2**15, 1, 1)))


class Pair(Module):
    """A stem, a residual block and an inverted residual, narrow."""

    def __init__(self, masked):
        rng = np.random.default_rng(3)
        self.stem = Conv2d(3, 4, 3, rng, padding=1, bias=True)
        self.bn = BatchNorm2d(4)
        self.blocks = Sequential(
            BasicBlock(4, 8, 2, padded_shortcut(4, 8, 2, rng), rng, masked), InvertedResidual(8, 6, 2, 1, rng, masked),
            InvertedResidual(6, 5, 3, 2, rng, masked),
        )  # fmt: skip
        self.linear = Linear(5, 3, rng)

    def forward(self, x):
        return self.linear(functions.global_avg_pool2d(self.blocks(functions.relu6(self.bn(self.stem(x))))))


def two_steps(network, x, labels, precision="float32"):
    """Weights, buffers and losses of two steps."""
    optimizer, losses = SGD(dict(network.named_parameters()), 0.05, nesterov=True, weight_decay=0.1), []
    with computing_in(precision, x):
        for _ in range(2):
            network.zero_grad()
            loss = functions.cross_entropy(network(Tensor(x)), labels)
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    return network.state_dict(), losses


@pytest.mark.parametrize("masked", [False, True])
def test_training_is_that_of_the_cpu(masked, cuda, rng):
    x, labels = rng.standard_normal((4, 3, 8, 8)).astype(np.float32), np.array([0, 2, 1, 1])
    expected, losses = two_steps(Pair(masked), x, labels)
    given = cuda.asarray(x), cuda.asarray(labels)
    state, found = two_steps(Pair(masked).to("cuda"), *given)
    assert found == pytest.approx(losses, rel=1e-4)
    for name, array in expected.items():
        np.testing.assert_allclose(state[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    mixed, found = two_steps(Pair(masked).to("cuda"), *given, precision="mixed")
    assert found == pytest.approx(losses, rel=1e-2)
    assert (mixed["stem.weight"] != state["stem.weight"]).any()


def test_steps_do_not_depend_on_how_arrays_lie(cuda, rng):
    start, gradient, velocity = (rng.standard_normal((3, 4, 2, 5)) for _ in range(3))
    expected, found = Parameter(start.copy()), []
    for array in (start, cuda.asarray(start), as_channels_last(cuda.asarray(start)), cuda.asarray(np.array(start.T))):
        parameter = expected if array is start else Parameter(array if array.shape == start.shape else array.T)
        optimizer = SGD({"w": parameter}, 0.3, momentum=0.5, weight_decay=0.2)
        optimizer.load_state_dict({"w": velocity})
        for _ in range(2):
            parameter.grad = cuda.asarray(gradient) if array is not start else gradient
            optimizer.step()
        found.append(to_numpy(parameter.array))
    for one in found:
        np.testing.assert_allclose(one, expected.array, rtol=1e-12)
    with_gaps = Parameter(cuda.asarray(start))
    optimizer = SGD({"w": with_gaps}, 0.3, momentum=0.5, weight_decay=0.2)
    optimizer.load_state_dict({"w": velocity})
    with_gaps.array = as_channels_last(with_gaps.array)  # as somebody else may: the velocity lies otherwise now
    for _ in range(2):
        with_gaps.grad = cuda.asarray(gradient)
        optimizer.step()
    np.testing.assert_allclose(to_numpy(with_gaps.array), expected.array, rtol=1e-12)


def test_mixed_precision_is_refused_where_it_can_not_be_had(cuda, monkeypatch):
    array = cuda.asarray(np.zeros(1, np.float32))
    with pytest.raises(InputError, match="precision must be 'float32' or 'mixed', got 'half'"), computing_in("half", array):
        pass
    with pytest.raises(InputError, match="precision 'mixed' needs a GPU, but this network is on the CPU"):
        two_steps(Pair(False), np.zeros((2, 3, 4, 4), np.float32), np.array([0, 1]), "mixed")
    with pytest.raises(InputError, match="but this one is float64"), computing_in("mixed", array.astype(np.float64)):
        pass
    if hasattr(cuda, "transfers"):  # the double's capability can be chosen
        old = type("Device", (), {"compute_capability": "75"})
        monkeypatch.setattr(cuda.cuda, "Device", old)
        with pytest.raises(InputError, match="capability 80 or higher, but this one has 75"), computing_in("mixed", array):
            pass
