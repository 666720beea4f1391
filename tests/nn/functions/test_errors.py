"""Arguments that don't fit are refused at the door, by their names."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Tensor, functions
from csc_cogd.nn.layers import BatchNorm2d


def zeros(*shape, dtype=np.float32):
    return Tensor(np.zeros(shape, dtype))


X = zeros(2, 4, 6, 6)
STATISTICS = functions.BatchStats(np.zeros(4, np.float32), np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functions.conv2d(zeros(4, 6, 6), zeros(3, 4, 3, 3)), r"x must be of shape \(N, 4, H, W\), got \(4, 6, 6\)"),
        (lambda: functions.conv2d(X, zeros(3, 5, 3, 3)), r"x must be of shape \(N, 5, H, W\), got \(2, 4, 6, 6\)"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3)), r"w must be of shape \(O, C/groups, I, J\), got \(3, 4, 3\)"),
        (lambda: functions.conv2d(X, zeros(0, 4, 3, 3)), r"w must not be empty, got shape \(0, 4, 3, 3\)"),
        (lambda: functions.conv2d(X, zeros(3, 2, 3, 3), groups=2), "groups must divide the 3 output channels, got 2"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3, 3), zeros(4)), r"bias must be of shape \(3,\), got \(4,\)"),
        (lambda: functions.conv2d(X, zeros(3, 4, 7, 7)), r"x must be \(7, 7\) pixels or more, .* got \(6, 6\)"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3, 3), stride=0), "stride must be 1 or more, got 0"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3, 3), padding=-1), "padding must be 0 or more, got -1"),
        (
            lambda: functions.conv2d(X, zeros(3, 4, 3, 3, dtype=np.float64)),
            "tensors must be of one dtype, got float32 and float64",
        ),
        (lambda: functions.conv2d(X.array, zeros(3, 4, 3, 3)), "tensors must be Tensors, got ndarray"),
        (lambda: functions.linear(X, zeros(3, 4)), r"x must be of shape \(N, 4\), got \(2, 4, 6, 6\)"),
        (lambda: functions.linear(zeros(2, 4), zeros(3, 4), zeros(2)), r"bias must be of shape \(3,\), got \(2,\)"),
        (lambda: functions.soft_mask(X, zeros(3)), r"mask must be of shape \(4,\), got \(3,\)"),
        (
            lambda: functions.batch_norm(X, zeros(4), zeros(3), STATISTICS, from_batch=False),
            r"beta must be of shape \(4,\), got \(3,\)",
        ),
        (
            lambda: functions.batch_norm(zeros(2, 5, 6, 6), zeros(5), zeros(5), STATISTICS, from_batch=False),
            r"mean must be of shape \(5,\)",
        ),
        (lambda: BatchNorm2d(4)(zeros(1, 4, 1, 1)), "two or more values a channel, .*: train with a larger batch"),
        (lambda: functions.max_pool2d(X, 2, padding=2), "padding must be at most half of the window 2, got 2"),
        (lambda: functions.max_pool2d(X, 2, stride=0), "stride must be 1 or more, got 0"),
        (lambda: functions.subsample_and_pad(X, 6, stride=0), "stride must be 1 or more, got 0"),
        (lambda: functions.avg_pool2d(X, 7), r"x must be \(7, 7\) pixels or more"),
        (lambda: functions.subsample_and_pad(X, 5), "channels must be 4 plus an even number, .* got 5"),
        (lambda: functions.subsample_and_pad(X, 2), "channels must be 4 plus an even number, .* got 2"),
        (lambda: functions.subsample_and_pad(X, 2, sources=np.arange(3)), r"sources must be of shape \(2,\), got \(3,\)"),
        (
            lambda: functions.subsample_and_pad(X, 2, sources=np.array([0, 4])),
            r"sources must be integers from -1 to 3, .*\[0, 4\]",
        ),
        (
            lambda: functions.subsample_and_pad(X, 2, sources=np.array([0, -2])),
            r"sources must be integers from -1 .*\[0, -2\]",
        ),
        (
            lambda: functions.subsample_and_pad(X, 2, sources=np.array([1, 1])),
            r"sources must be .*none but -1 twice, got \[1, 1\]",
        ),
        (lambda: functions.subsample_and_pad(X, 1, sources=np.array([1.0])), r"sources must be integers .*\[1.0\]"),
        (lambda: functions.subsample_and_pad(X, 0, sources=np.zeros(0, int)), r"sources must be integers .*\[\]"),
        (lambda: functions.cross_entropy(zeros(2, 3), np.array([0, 3])), "labels must be from 0 to 2, got 0 to 3"),
        (lambda: functions.cross_entropy(zeros(2, 3), np.array([-1, 0])), "labels must be from 0 to 2, got -1 to 0"),
        (lambda: functions.cross_entropy(zeros(2, 3), np.zeros(2)), "labels must be one or more integers, got 2 of float64"),
        (
            lambda: functions.cross_entropy(zeros(0, 3), np.zeros(0, int)),
            "labels must be one or more integers, got 0 of int64",
        ),
        (lambda: functions.cross_entropy(zeros(2, 3), np.array([0])), r"labels must be of shape \(2,\), got \(1,\)"),
        (
            lambda: functions.cross_entropy(zeros(1, 3), np.array([0]), label_smoothing=1),
            r"label_smoothing must be in \[0, 1\), got 1",
        ),
        (lambda: functions.mse(zeros(2, 3), zeros(3)), r"target must be of shape \(2, 3\) and not empty, got \(3,\)"),
        (
            lambda: functions.binary_cross_entropy_with_logits(zeros(2, 1), np.ones(2)),
            r"targets must be of shape \(2, 1\) .*got \(2,\)",
        ),
        (
            lambda: functions.distillation(zeros(2, 3), np.zeros((2, 4), np.float32), 4),
            r"teacher_logits must be of shape \(2, 3\)",
        ),
        (
            lambda: functions.distillation(zeros(1, 3), np.zeros((1, 3), np.float32), 0),
            "temperature must be a finite number above 0, got 0",
        ),
    ],
)
def test_arguments_that_do_not_fit(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_devices_do_not_mix(cuda):
    with pytest.raises(InputError, match="tensors must be on one device"):
        functions.relu(X) + Tensor(cuda.asarray(X.array))
