"""The optimiser: PyTorch's recorded steps, see record_pytorch.py; its state; what it refuses."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.backend import to_numpy
from csc_cogd.nn import SGD, Parameter
from tests.conftest import read_only
from tests.nn.training.cases import RATES, RECORD, SETTINGS, SHAPES, WITHOUT_BIAS


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORD) as file:
        return {name: file[name] for name in file.files}


def parameters_at_start(recorded, xp=np):
    return {name: Parameter(xp.asarray(recorded[f"start/{name}"].copy())) for name in SHAPES}


def take_step(optimizer, recorded, step, xp=np):
    optimizer.learning_rate = RATES[step]
    for name, parameter in optimizer.parameters.items():
        gradient = recorded[f"{step}/d{name}"]
        parameter.grad = xp.asarray(gradient if xp is not np else read_only(gradient))
    if step == WITHOUT_BIAS:
        optimizer.parameters["bias"].grad = None
    optimizer.step()


@pytest.mark.parametrize("case", SETTINGS)
def test_steps_are_those_of_pytorch(case, recorded, xp):
    optimizer = SGD(parameters_at_start(recorded, xp), RATES[0], **SETTINGS[case])
    for step in range(len(RATES)):
        take_step(optimizer, recorded, step, xp)
        for name, parameter in optimizer.parameters.items():
            assert parameter.dtype == np.float32
            np.testing.assert_allclose(to_numpy(parameter.array), recorded[f"{case}/{step}/{name}"], rtol=1e-6, atol=1e-6)


def test_it_goes_on_from_its_state_to_the_last_bit(recorded, xp):
    whole = SGD(parameters_at_start(recorded, xp), RATES[0], **SETTINGS["nesterov"])
    for step in range(2):
        take_step(whole, recorded, step, xp)
    state = whole.state_dict()
    copies = {name: Parameter(parameter.array.copy()) for name, parameter in whole.parameters.items()}
    resumed = SGD(copies, RATES[0], **SETTINGS["nesterov"])
    resumed.load_state_dict(state)
    for step in range(2, len(RATES)):
        take_step(whole, recorded, step, xp)
        take_step(resumed, recorded, step, xp)
    for name, parameter in whole.parameters.items():
        np.testing.assert_array_equal(to_numpy(parameter.array), to_numpy(copies[name].array))
    assert any((state[name] != velocity).any() for name, velocity in resumed.state_dict().items())


def test_vectors_may_be_left_out_of_the_decay(recorded):
    parameters = parameters_at_start(recorded)
    optimizer = SGD(parameters, 0.5, momentum=0, weight_decay=0.1, decay_vectors=False)
    for parameter in parameters.values():
        parameter.grad = np.zeros_like(parameter.array)
    optimizer.step()
    np.testing.assert_allclose(parameters["weight"].array, 0.95 * recorded["start/weight"], rtol=1e-6)
    np.testing.assert_array_equal(parameters["bias"].array, recorded["start/bias"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": -1}, "learning_rate must be a finite number >= 0, got -1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number >= 0, got nan"),
        ({"weight_decay": float("inf")}, "weight_decay must be a finite number >= 0, got inf"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1.0"),
        ({"momentum": 0, "nesterov": True}, "nesterov needs a momentum above 0, along which it looks ahead"),
    ],
)
def test_settings_outside_of_their_ranges_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SGD({"w": Parameter(np.ones(2))}, **{"learning_rate": 0.1, **settings})


def test_nothing_to_train_and_states_of_others_are_refused():
    with pytest.raises(InputError, match="parameters must not be empty"):
        SGD({}, 0.1)
    parameter = Parameter(np.ones(2))
    optimizer = SGD({"w": parameter}, 0.1)
    with pytest.raises(InputError, match="state of the optimizer holds v, which isn't a parameter: use a state of the same"):
        optimizer.load_state_dict({"v": np.ones(2)})
    with pytest.raises(InputError, match=r"state of the optimizer holds w, of shape \(3,\) instead of \(2,\)"):
        optimizer.load_state_dict({"w": np.ones(3)})
    parameter.grad = np.ones(2)
    optimizer.step()
    parameter.array, parameter.grad = np.ones(1), np.ones(1)
    with pytest.raises(InputError, match=r"parameters must keep their shapes, but w changed from \(2,\) to \(1,\)"):
        optimizer.step()
