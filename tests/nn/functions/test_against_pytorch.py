"""Functions and layers give PyTorch's recorded outputs and gradients: see record_pytorch.py."""

import numpy as np
import pytest

from csc_cogd.backend import to_numpy
from csc_cogd.nn import Tensor, functions
from csc_cogd.nn.layers import BatchNorm2d
from tests.nn.cases import CASES


def assert_as_recorded(array, recorded):
    np.testing.assert_allclose(to_numpy(array), recorded, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_functions(name, pytorch, xp):
    function, shapes, settings = CASES[name]
    tensors = {key: Tensor(xp.asarray(pytorch[f"{name}/{key}"]), requires_grad=True) for key in shapes}
    others = {key: xp.asarray(value) if isinstance(value, np.ndarray) else value for key, value in settings.items()}

    y = getattr(functions, function)(*tensors.values(), **others)
    y.backward(xp.asarray(pytorch[f"{name}/dy"]))

    assert_as_recorded(y.array, pytorch[f"{name}/y"])
    for key, tensor in tensors.items():
        assert tensor.grad.dtype == np.float32
        assert_as_recorded(tensor.grad, pytorch[f"{name}/d{key}"])


def test_batch_norm_trains_twice_and_infers(pytorch, xp):
    recorded = {key.removeprefix("batch_norm/"): value for key, value in pytorch.items() if key.startswith("batch_norm/")}
    layer = BatchNorm2d(4)
    layer.load_state_dict({key: value for key, value in recorded.items() if "/" not in key})
    if xp is not np:
        layer.to("cuda")
    for step, training in enumerate((True, True, False)):
        layer.train(training).zero_grad()
        x = Tensor(xp.asarray(recorded[f"{step}/x"]), requires_grad=True)
        y = layer(x)
        y.backward(xp.asarray(recorded[f"{step}/dy"]))
        found = {
            "y": y.array, "dx": x.grad, "dweight": layer.weight.grad, "dbias": layer.bias.grad,
            "mean": layer.running_mean, "var": layer.running_var,
        }  # fmt: skip
        for key, array in found.items():
            assert array.dtype == np.float32
            assert_as_recorded(array, recorded[f"{step}/{key}"])
