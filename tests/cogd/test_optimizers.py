"""The optimisers against sequences worked out by hand or by a loop written from the source."""

import numpy as np
import pytest

from csc_cogd.cogd.optimizers import SGD, Adam, Momentum, Optimizer
from csc_cogd.errors import InputError
from tests.conftest import read_only

EACH = [SGD(0.1), Momentum(0.1, 0.5), Adam(0.1)]


def positions(optimizer, start, gradients):
    x, state, found = start, None, []
    for gradient in gradients:
        x, state = optimizer.step(x, gradient, state)
        found.append(x)
    return found


def test_sgd_sequence():
    assert positions(SGD(0.5), 1.0, [2.0, -1.0, 4.0]) == [0.0, 0.5, -1.5]


def test_momentum_sequence():
    # velocities 2, 0.5 * 2 - 1 = 0, 4, 2
    assert positions(Momentum(0.5, momentum=0.5), 1.0, [2.0, -1.0, 4.0, 0.0]) == [0.0, 0.0, -2.0, -3.0]


def test_momentum_of_zero_is_plain_descent():
    gradients = [3.0, -2.0, 0.5]
    assert positions(Momentum(0.1, momentum=0.0), 1.0, gradients) == positions(SGD(0.1), 1.0, gradients)


def test_adam_sequence_by_fractions():
    # beta1 = beta2 = 1/2, gradients 2 and 0: m_hat = 2, then (1/2) / (3/4) = 2/3; v_hat = 4, then 1 / (3/4) = 4/3
    found = positions(Adam(0.1, beta1=0.5, beta2=0.5, epsilon=0.0), 1.0, [2.0, 0.0])
    np.testing.assert_allclose(found, [0.9, 0.9 - 0.1 * (2 / 3) / (4 / 3) ** 0.5], rtol=1e-14)


def test_adam_agrees_with_its_weighted_averages(rng):
    # the running moments written out: averages of the gradients so far with geometric weights
    gradients = rng.normal(size=(20, 3, 2))
    x = np.zeros((3, 2))
    expected = []
    for t in range(1, 21):
        m, v = (
            np.average(gradients[:t] ** power, axis=0, weights=decay ** np.arange(t)[::-1])
            for power, decay in ((1, 0.9), (2, 0.999))
        )
        x = x - 0.01 * m / (np.sqrt(v) + 1e-8)
        expected.append(x)
    np.testing.assert_allclose(positions(Adam(0.01), np.zeros((3, 2)), gradients), expected, rtol=1e-10)


def test_first_step_of_adam_has_the_length_of_the_learning_rate():
    found, _ = Adam(0.1).step(np.zeros(3), np.array([1e-4, -5.0, 1e6]))
    np.testing.assert_allclose(found, [-0.1, 0.1, -0.1], rtol=1e-3)


@pytest.mark.parametrize("optimizer", EACH, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 2)])
def test_arrays_of_any_shape_step_entry_by_entry_and_stay_as_they_are(optimizer, shape, rng):
    start, gradients = read_only(rng.normal(size=shape)), [read_only(rng.normal(size=shape)) for _ in range(3)]
    found = positions(optimizer, start, gradients)[-1]
    for index in np.ndindex(shape):
        alone = positions(optimizer, start[index], [gradient[index] for gradient in gradients])[-1]
        assert found[index] == pytest.approx(alone, rel=1e-14)


@pytest.mark.parametrize("optimizer", EACH, ids=lambda optimizer: type(optimizer).__name__)
def test_float32_stays_float32(optimizer):
    x = np.ones(3, np.float32)
    assert positions(optimizer, x, [x, x])[-1].dtype == np.float32


def test_an_optimizer_says_how_it_steps():
    with pytest.raises(TypeError, match=r"abstract.*\bstep\b"):
        Optimizer(0.1)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: SGD(0.0), "learning_rate"), (lambda: Adam(float("nan")), "learning_rate"),
        (lambda: Momentum(0.1, 1.0), "momentum"), (lambda: Adam(0.1, beta1=-0.1), "beta1"),
        (lambda: Adam(0.1, beta2=1.0), "beta2"), (lambda: Adam(0.1, epsilon=-1.0), "epsilon"),
    ],
)  # fmt: skip
def test_settings_outside_of_their_range_are_refused_by_name(make, name):
    with pytest.raises(InputError, match=name):
        make()
