"""Modules: names, modes, states."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Module, Sequential, Tensor
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Linear


@pytest.fixture
def network(rng):
    return Sequential(Conv2d(3, 4, 3, rng, bias=True), Sequential(BatchNorm2d(4)))


def test_parameters_and_buffers_have_pytorchs_names(network):
    names = ["0.weight", "0.bias", "1.0.weight", "1.0.bias", "1.0.running_mean", "1.0.running_var"]
    assert list(network.state_dict()) == names
    assert [name for name, _ in network.named_parameters()] == names[:4]
    assert [name for name, _ in network.named_modules()] == ["", "0", "1", "1.0"]
    assert len(network) == 2


def test_modes_reach_what_is_inside(network):
    inner = dict(network.named_modules())["1.0"]
    assert inner.training
    assert network.eval() is network
    assert not network.training
    assert not inner.training
    network.train()
    inner.eval()
    with network.evaluating():
        assert not network.training
    assert network.training
    assert not inner.training


def test_inference_changes_no_statistics(network, rng):
    before = network.state_dict()
    x = Tensor(rng.standard_normal((2, 3, 5, 5)).astype(np.float32))
    network.eval()(x)
    assert all((before[key] == array).all() for key, array in network.state_dict().items())
    network.train()(x)
    assert (before["1.0.running_mean"] != network.state_dict()["1.0.running_mean"]).all()


def test_states_are_copies_and_come_back(network, rng):
    state = network.state_dict()
    changed = {key: array + 1 for key, array in state.items()}
    network.load_state_dict(changed)
    changed["0.weight"][...] = 0
    assert all((network.state_dict()[key] == array + 1).all() for key, array in state.items())
    network.state_dict()["0.weight"][...] = 7
    assert (network.state_dict()["0.weight"] != 7).all()


def test_loading_keeps_dtypes_and_passes_over_counts_of_batches(network):
    state = {key: array.astype(np.float64) for key, array in network.state_dict().items()}
    network.load_state_dict({**state, "1.0.num_batches_tracked": np.array(5)})
    assert {array.dtype.name for array in network.state_dict().values()} == {"float32"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("0.bias"), "state lacks 0.bias: use complete weights of this network"),
        (lambda state: state.clear(), "state lacks 0.weight, 0.bias, 1.0.weight and 3 more"),
        (lambda state: state.update({"2.weight": 1}), "state holds 2.weight, which this network hasn't"),
        (lambda state: state.update({"1.0.bias": np.zeros(5)}), r"state must hold 1.0.bias of shape \(4,\), got \(5,\)"),
        (
            lambda state: state.update({"1.0.bias": np.zeros(4, complex)}),
            "state must hold real numbers, but 1.0.bias is complex128",
        ),
        (
            lambda state: state.update({"1.0.bias": np.array(list("abcd"))}),
            "state must hold real numbers, but 1.0.bias is <U1",
        ),
        (
            lambda state: state.update({"1.0.bias": np.array([0, 0, np.nan, 0])}),
            "state must be finite, but 1.0.bias holds NaN or infinity",
        ),
        (
            lambda state: state.update({"1.0.bias": np.array([0, 0, -np.inf, 0])}),
            "state must be finite, but 1.0.bias holds NaN or infinity",
        ),
        (
            lambda state: state.update({"1.0.bias": np.array([0, 0, 1e39, 0])}),
            "state must be finite, but 1.0.bias holds NaN or infinity",
        ),
    ],
)
def test_states_that_do_not_fit_change_nothing(network, change, message):
    before = network.state_dict()
    state = {key: array + 1 for key, array in before.items()}
    change(state)
    with pytest.raises(InputError, match=message):
        network.load_state_dict(state)
    assert all((network.state_dict()[key] == array).all() for key, array in before.items())


def test_gradients_are_forgotten(rng):
    layer = Linear(2, 1, rng)
    layer(Tensor(np.ones((1, 2), np.float32))).backward(np.ones((1, 1), np.float32))
    assert all(parameter.grad is not None for parameter in layer.parameters())
    layer.zero_grad()
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_networks_move_to_another_precision_and_device(network, cuda):
    before = network.state_dict()
    assert network.to("cpu", "float64") is network
    assert {array.dtype.name for array in network.state_dict().values()} == {"float64"}
    network.to("cuda")
    assert all(isinstance(parameter.array, cuda.ndarray) for parameter in network.parameters())
    network.load_state_dict(before)
    assert all(isinstance(parameter.array, cuda.ndarray) for parameter in network.parameters())
    assert all((array == before[key]).all() for key, array in network.state_dict().items())


def test_a_module_says_what_it_computes():
    class Silent(Module):
        pass

    with pytest.raises(TypeError, match=r"abstract.*\bforward\b"):
        Silent()
