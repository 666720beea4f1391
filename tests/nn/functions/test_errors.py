"""Arguments that don't fit are refused at the door, by their names."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Tensor, functions
from csc_cogd.nn.layers import BatchNorm2d


def zeros(*shape, dtype=np.float32):
    return Tensor(np.zeros(shape, dtype))


X = zeros(2, 4, 6, 6)
STATISTICS = functions.Statistics(np.zeros(4, np.float32), np.ones(4, np.float32))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functions.conv2d(zeros(4, 6, 6), zeros(3, 4, 3, 3)), r"x: its shape is \(4, 6, 6\): \(N, 4, H, W\) is"),
        (lambda: functions.conv2d(X, zeros(3, 5, 3, 3)), r"x: its shape is \(2, 4, 6, 6\): \(N, 5, H, W\) is needed"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3)), r"w: its shape is \(3, 4, 3\): \(O, C/groups, I, J\)"),
        (lambda: functions.conv2d(X, zeros(0, 4, 3, 3)), r"w: its shape is \(0, 4, 3, 3\): kernels"),
        (lambda: functions.conv2d(X, zeros(3, 2, 3, 3), groups=2), "groups: 2 doesn't divide the 3"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3, 3), zeros(4)), r"bias: its shape is \(4,\): \(3,\) is needed"),
        (lambda: functions.conv2d(X, zeros(3, 4, 7, 7)), r"conv2d: a window of \(7, 7\) doesn't fit into images"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3, 3), stride=0), "stride: 0 is too small: use 1 or more"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3, 3), padding=-1), "padding: -1 is too small: use 0 or more"),
        (lambda: functions.conv2d(X, zeros(3, 4, 3, 3, dtype=np.float64)), "dtypes float32 and float64 meet"),
        (lambda: functions.conv2d(X.array, zeros(3, 4, 3, 3)), "ndarray is given: make a Tensor of it"),
        (lambda: functions.linear(X, zeros(3, 4)), r"x: its shape is \(2, 4, 6, 6\): \(N, 4\) is needed"),
        (lambda: functions.linear(zeros(2, 4), zeros(3, 4), zeros(2)), r"bias: its shape is \(2,\): \(3,\) is needed"),
        (lambda: functions.soft_mask(X, zeros(3)), r"mask: its shape is \(3,\): \(4,\) is needed"),
        (lambda: functions.batch_norm(X, zeros(4), zeros(3), STATISTICS, from_batch=False), r"beta: its shape is \(3,\)"),
        (lambda: functions.batch_norm(zeros(2, 5, 6, 6), zeros(5), zeros(5), STATISTICS, from_batch=False), "mean: "),
        (lambda: BatchNorm2d(4)(zeros(1, 4, 1, 1)), "at most one value a channel: training needs a larger batch"),
        (lambda: functions.max_pool2d(X, 2, padding=2), "padding: 2 is more than half of the window 2"),
        (lambda: functions.max_pool2d(X, 2, stride=0), "stride: 0 is too small"),
        (lambda: functions.subsample_and_pad(X, 6, stride=0), "stride: 0 is too small"),
        (lambda: functions.avg_pool2d(X, 7), r"avg_pool2d: a window of \(7, 7\) doesn't fit"),
        (lambda: functions.subsample_and_pad(X, 5), "channels: 5 isn't 4 plus an even number"),
        (lambda: functions.subsample_and_pad(X, 2), "channels: 2 isn't 4 plus an even number"),
        (lambda: functions.subsample_and_pad(X, 2, sources=np.arange(3)), r"sources: its shape is \(3,\): \(2,\) is needed"),
        (lambda: functions.subsample_and_pad(X, 2, sources=np.array([0, 4])), r"sources: \[0, 4\]: integers from -1 to 3"),
        (lambda: functions.subsample_and_pad(X, 2, sources=np.array([0, -2])), r"sources: \[0, -2\]: integers from -1"),
        (lambda: functions.subsample_and_pad(X, 2, sources=np.array([1, 1])), r"sources: \[1, 1\]: .*none but -1 twice"),
        (lambda: functions.subsample_and_pad(X, 1, sources=np.array([1.0])), r"sources: \[1.0\]: integers"),
        (lambda: functions.subsample_and_pad(X, 0, sources=np.zeros(0, int)), r"sources: \[\]: integers"),
        (lambda: functions.cross_entropy(zeros(2, 3), np.array([0, 3])), "labels: from 0 to 3: 3 classes count from 0"),
        (lambda: functions.cross_entropy(zeros(2, 3), np.array([-1, 0])), "labels: from -1 to 0: 3 classes count from 0"),
        (lambda: functions.cross_entropy(zeros(2, 3), np.zeros(2)), "labels: 2 of float64: at least one, and integers"),
        (lambda: functions.cross_entropy(zeros(0, 3), np.zeros(0, int)), "labels: 0 of int64: at least one"),
        (lambda: functions.cross_entropy(zeros(2, 3), np.array([0])), r"labels: its shape is \(1,\): \(2,\) is needed"),
        (lambda: functions.cross_entropy(zeros(1, 3), np.array([0]), label_smoothing=1), "label_smoothing: 1 is outside"),
        (lambda: functions.mse(zeros(2, 3), zeros(3)), r"target: its shape is \(3,\): \(2, 3\), and not empty"),
        (lambda: functions.binary_cross_entropy_with_logits(zeros(2, 1), np.ones(2)), r"targets: its shape is \(2,\)"),
        (lambda: functions.distillation(zeros(2, 3), np.zeros((2, 4), np.float32), 4), "teacher_logits: its shape is"),
        (lambda: functions.distillation(zeros(1, 3), np.zeros((1, 3), np.float32), 0), "temperature: 0 isn't a finite"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_devices_do_not_mix(cuda):
    with pytest.raises(InputError, match="one is on a GPU and another isn't"):
        functions.relu(X) + Tensor(cuda.asarray(X.array))
