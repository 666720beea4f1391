"""Every function's gradients against central differences, in float64; and what functions promise besides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csc_cogd import InputError
from csc_cogd.backend import to_numpy
from csc_cogd.nn import Tensor, functions
from tests.nn.gradients import check_gradients

few = settings(max_examples=40)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def convolutions(draw):
    """Shapes and settings of a convolution that fits."""
    groups = draw(st.integers(1, 3))
    in_channels, out_channels = (groups * draw(st.integers(1, 2)) for _ in range(2))
    kernel, stride = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = [draw(st.integers(max(1, k - 2 * p), 6)) for k, p in zip(kernel, padding, strict=True)]
    x = (draw(st.integers(1, 3)), in_channels, *size)
    w = (out_channels, in_channels // groups, *kernel)
    return x, w, {"stride": stride, "padding": padding, "groups": groups}


def direct_convolution(x, w, stride, padding, groups):
    """By the formula, one output value at a time."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    (I, J), (C, per_group) = w.shape[2:], (w.shape[1], len(w) // groups)  # noqa: E741
    P, Q = ((n - k) // s + 1 for n, k, s in zip(x.shape[2:], (I, J), stride, strict=True))
    y = np.empty((len(x), len(w), P, Q))
    for n, o, p, q in np.ndindex(*y.shape):
        first = o // per_group * C
        top, left = p * stride[0], q * stride[1]
        y[n, o, p, q] = (x[n, first : first + C, top : top + I, left : left + J] * w[o]).sum()
    return y


@few
@given(convolutions(), st.booleans(), seeds)
def test_conv2d(convolution, biased, seed):
    x, w, arguments = convolution
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape) for shape in (x, w, *[w[:1]] * biased)]
    y = functions.conv2d(*map(Tensor, arrays), **arguments).array
    expected = direct_convolution(*arrays[:2], **arguments) + (arrays[2][:, None, None] if biased else 0)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)
    check_gradients(lambda *tensors: functions.conv2d(*tensors, **arguments), arrays, seed=seed)


def test_conv2d_of_many_images_is_that_of_each(rng):
    """They are convolved in pieces, whose gradients are added up."""
    x, w = rng.standard_normal((5, 16, 32, 32)), rng.standard_normal((4, 16, 3, 3))
    y = functions.conv2d(Tensor(x), Tensor(w), padding=1, stride=2).array
    each = [functions.conv2d(Tensor(x[n : n + 1]), Tensor(w), padding=1, stride=2).array[0] for n in range(5)]
    np.testing.assert_allclose(y, each, rtol=1e-12, atol=1e-12)
    check_gradients(lambda *tensors: functions.conv2d(*tensors, padding=1, stride=2), [x, w])


@few
@given(st.tuples(*[st.integers(2, 4)] * 4), st.booleans(), seeds)
def test_batch_norm(shape, from_batch, seed):
    rng = np.random.default_rng(seed)
    channels = shape[1]
    running = functions.BatchStats(rng.standard_normal(channels), rng.random(channels) + 0.5)

    def normalized(x, gamma, beta):
        statistics = functions.batch_statistics(x.array) if from_batch else running
        return functions.batch_norm(x, gamma, beta, statistics, from_batch=from_batch)

    arrays = [rng.standard_normal(shape) * 2 + 1, rng.standard_normal(channels), rng.standard_normal(channels)]
    check_gradients(normalized, arrays, seed=seed)


@pytest.mark.parametrize("sources", [[2, -1, 0], [-1, 1], [3, 2, 1, 0, -1, -1], [-1]])
def test_shortcuts_take_each_channel_from_its_source(sources, rng):
    x, channels = rng.standard_normal((2, 4, 5, 6)), len(sources)
    y = functions.subsample_and_pad(Tensor(x), channels, 2, np.array(sources)).array
    for channel, source in enumerate(sources):
        np.testing.assert_array_equal(y[:, channel], x[:, source, ::2, ::2] if source >= 0 else np.zeros((2, 3, 3)))
    check_gradients(lambda x: functions.subsample_and_pad(x, channels, 2, np.array(sources)), [x])


@few
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.tuples(st.integers(3, 7), st.integers(3, 7)), seeds)
def test_pooling(kernel, stride, padding, size, seed):
    x = np.random.default_rng(seed).standard_normal((2, 2, *size))
    padding = min(padding, kernel // 2)
    check_gradients(lambda x: functions.max_pool2d(x, kernel, stride=stride, padding=padding), [x], seed=seed)
    check_gradients(lambda x: functions.avg_pool2d(x, kernel, stride=stride), [x], seed=seed)
    check_gradients(functions.global_avg_pool2d, [x], seed=seed)


@few
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), seeds)
def test_matrices(N, C, K, seed):
    rng = np.random.default_rng(seed)
    x, w, bias = rng.standard_normal((N, C)), rng.standard_normal((K, C)), rng.standard_normal(K)
    check_gradients(functions.linear, [x, w], seed=seed)
    check_gradients(functions.linear, [x, w, bias], seed=seed)


@pytest.mark.parametrize("function", [functions.relu, functions.relu6])
def test_activations(function, rng, xp):
    check_gradients(function, [4 * rng.standard_normal((2, 3, 4, 5))], xp)


def test_soft_mask(rng, xp):
    check_gradients(functions.soft_mask, [rng.standard_normal((2, 3, 4, 5)), rng.standard_normal(3)], xp)


@pytest.mark.parametrize("size", [(4, 4), (5, 4), (1, 3)])
@pytest.mark.parametrize("channels", [3, 5, 9])
def test_subsample_and_pad(size, channels, rng, xp):
    check_gradients(lambda x: functions.subsample_and_pad(x, channels), [rng.standard_normal((2, 3, *size))], xp)


@few
@given(st.integers(1, 5), st.integers(2, 5), st.sampled_from([0.0, 0.1, 0.5]), st.floats(0.5, 10), seeds)
def test_losses(N, K, smoothing, temperature, seed):
    rng = np.random.default_rng(seed)
    z, other, labels = 3 * rng.standard_normal((N, K)), rng.standard_normal((N, K)), rng.integers(0, K, N)
    check_gradients(lambda x: functions.cross_entropy(x, labels, label_smoothing=smoothing), [z], seed=seed)
    check_gradients(functions.mse, [z, other], seed=seed)
    check_gradients(lambda x: functions.distillation(x, other, temperature), [z], seed=seed)
    for targets in (rng.random((N, K)), 1, 0.0):
        check_gradients(lambda x, t=targets: functions.binary_cross_entropy_with_logits(x, t), [z], seed=seed)


@pytest.mark.parametrize("arguments", [{"groups": 2, "padding": 1}, {"groups": 4}, {"groups": 1, "stride": 2}])
def test_convolution_on_a_gpu(arguments, rng, xp):
    arrays = [rng.standard_normal((2, 4, 6, 5)), rng.standard_normal((4, 4 // arguments["groups"], 3, 3))]
    check_gradients(lambda *tensors: functions.conv2d(*tensors, **arguments), arrays, xp)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_losses_do_not_overflow(size, xp):
    logits = Tensor(xp.asarray(np.array([[size, 0, -size]], np.float32)), requires_grad=True)
    losses = [
        functions.cross_entropy(logits, xp.asarray(np.array([1]))),
        functions.binary_cross_entropy_with_logits(logits, 1),
        functions.distillation(logits, xp.asarray(np.zeros((1, 3), np.float32)), 2.0),
    ]
    for loss in losses:
        loss.backward()
        assert np.isfinite(float(loss))
    assert np.isfinite(to_numpy(logits.grad)).all()


def test_a_nan_is_passed_on():
    """Where training has gone wrong, it must show."""
    x = np.ones((1, 1, 4, 4))
    x[0, 0, 1, 2] = np.nan
    for y in (
        functions.relu(Tensor(x)), functions.relu6(Tensor(x)), functions.max_pool2d(Tensor(x), 2),
        functions.avg_pool2d(Tensor(x), 2), functions.max_pool2d(Tensor(x), 3, stride=2, padding=1),
    ):  # fmt: skip
        assert np.isnan(y.array).any()


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equals():
    x = Tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    functions.max_pool2d(x, 2).backward(np.full((1, 1, 1, 1), 5.0))
    assert x.grad.tolist() == [[[[5, 0], [0, 0]]]]


def test_gradients_that_nobody_wants_are_not_computed(rng):
    x, w = rng.standard_normal((1, 2, 4, 4)), Tensor(rng.standard_normal((3, 2, 3, 3)), requires_grad=True)
    images = Tensor(x)
    functions.conv2d(images, w).backward(np.ones((1, 3, 2, 2)))
    assert images.grad is None
    assert w.grad is not None


@pytest.mark.parametrize(
    ("function", "shapes", "arguments", "expected"),
    [
        ("clip", [(2, 3)], {"low": -0.5, "high": 0.7}, lambda x: np.clip(x, -0.5, 0.7)),
        ("sigmoid", [(2, 3, 2, 2)], {}, lambda x: 1 / (1 + np.exp(-x))),
        ("hard_sigmoid", [(4, 5)], {"slope": 0.3, "middle": 0.4}, lambda x: np.clip(0.3 * x + 0.4, 0, 1)),
        ("hard_swish", [(4, 5)], {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
        ("product", [(2, 3, 4, 2), (2, 3, 4, 2)], {}, lambda x, y: x * y),
        ("product", [(2, 3, 4, 2), (2, 3, 1, 1)], {}, lambda x, y: x * y),
        ("product", [(2, 3), (2, 3)], {}, lambda x, y: x * y),
        ("concatenate", [(2, 3, 2, 2), (2, 1, 2, 2), (2, 2, 2, 2)], {}, lambda *x: np.concatenate(x, axis=1)),
        ("flatten", [(2, 3, 2, 4)], {}, lambda x: x.reshape(2, 24)),
        ("pad2d", [(2, 3, 2, 4)], {"sides": (1, 0, 2, 3), "value": 0.5},
         lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 3)), constant_values=0.5)),
        ("select", [(2, 3, 5, 4)], {"rows": (0, None, 2), "columns": (1, -1, 1)}, lambda x: x[:, :, ::2, 1:-1]),
        ("select", [(2, 3, 2, 4)], {"channels": [2, 0], "rows": (-1, None, 1)}, lambda x: x[:, [2, 0], 1:]),
        ("select", [(2, 3, 2, 4)], {"channels": [1, -1, 1, -1, 0]},
         lambda x: np.stack([x[:, 1], 0 * x[:, 0], x[:, 1], 0 * x[:, 0], x[:, 0]], axis=1)),
        ("upsample", [(2, 3, 2, 4)], {"factor": 3}, lambda x: np.kron(x, np.ones((3, 3)))),
        ("global_avg_pool2d", [(2, 3, 2, 4)], {"keep": True}, lambda x: x.mean(axis=(2, 3))[..., None, None]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_functions_of_other_programs_networks(function, shapes, arguments, expected, rng):
    arrays = [2 * rng.standard_normal(shape) for shape in shapes]
    y = getattr(functions, function)(*map(Tensor, arrays), **arguments).array
    np.testing.assert_allclose(y, expected(*arrays), rtol=1e-12)
    check_gradients(lambda *tensors: getattr(functions, function)(*tensors, **arguments), arrays)


@pytest.mark.parametrize(
    ("function", "shapes", "arguments", "message"),
    [
        ("clip", [(2, 3)], {"low": 1, "high": 1}, "high must be above 1, got 1"),
        ("product", [(2, 3, 4, 4), (2, 3)], {}, "factors must be of shape"),
        ("concatenate", [(2, 3, 4, 4), (2, 3, 4, 5)], {}, "tensors must be of shape"),
        ("pad2d", [(2, 3, 4, 4)], {"sides": (0, 0, -1, 0)}, "sides must be 0 or more"),
        ("select", [(2, 3, 4, 4)], {"rows": (0, None, 0)}, "rows' step must be 1 or more, got 0"),
        ("select", [(2, 3, 4, 4)], {"channels": [0, 3]}, r"channels must be integers from -1 to 2, got \[0, 3\]"),
        ("select", [(2, 3, 4, 4)], {"columns": (4, None, 1)}, "x must have something that is selected"),
        ("fake_quantize", [(2, 3)], {"scale": 0.0}, "scale must be above 0, got 0"),
        ("upsample", [(2, 3, 4, 4)], {"factor": 0}, "factor must be 1 or more, got 0"),
    ],
)
def test_what_they_can_not_take_is_refused(function, shapes, arguments, message):
    with pytest.raises(InputError, match=message):
        getattr(functions, function)(*(Tensor(np.zeros(shape)) for shape in shapes), **arguments)


def test_what_integers_leave_of_values_has_the_gradient_of_clipping(rng):
    x = rng.uniform(-3, 3, (50, 4))
    settings = {"scale": 0.02, "zero_point": 7, "low": -128, "high": 127}
    y = functions.fake_quantize(Tensor(x), **settings)
    integers = np.clip(np.round(x / 0.02) + 7, -128, 127)
    np.testing.assert_allclose(y.array, (integers - 7) * 0.02, rtol=1e-12)
    inside = (x > -134.9 * 0.02) & (x < 119.9 * 0.02)  # where no value is at an end, or is rounded to it
    assert 0.6 < inside.mean() < 0.95
    image = Tensor(x, requires_grad=True)
    functions.fake_quantize(image, **settings).backward(np.ones(x.shape))
    wide = 1.0  # many steps, over which rounding is no more than its mean
    slope = (
        functions.fake_quantize(Tensor(x + wide / 2), **settings).array
        - functions.fake_quantize(Tensor(x - wide / 2), **settings).array
    ) / wide
    well_inside = abs(x) < 1.8
    np.testing.assert_allclose(image.grad[well_inside], slope[well_inside], atol=0.03)
    outside = (x > 121 * 0.02) | (x < -136 * 0.02)
    assert not image.grad[outside].any()
    assert image.grad[inside].all()
