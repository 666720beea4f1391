"""The tape."""

import threading

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.backend import to_numpy
from csc_cogd.nn import Tensor, no_grad
from csc_cogd.nn.functions import relu
from tests.nn.gradients import check_gradients


def scalar(value):
    return Tensor(np.array(value, np.float64), requires_grad=True)


def test_sums_and_multiples(rng, xp):
    check_gradients(lambda a, b: a + 3 * b + a * -0.5, [rng.standard_normal((2, 3)), rng.standard_normal((2, 3))], xp)


def test_gradients_of_all_ways_to_a_tensor_are_added():
    """A ladder: 2^12 ways, each node visited once."""
    x = scalar(1)
    y = x
    for _ in range(12):
        y = y + y
    y.backward()
    assert x.grad == 2.0**12


def test_a_deep_network_does_not_exceed_a_limit():
    x = scalar(1)
    y = x
    for _ in range(5000):
        y = y * 1.0
    y.backward()
    assert x.grad == 1


def test_gradients_accumulate_until_they_are_forgotten():
    x = scalar(2)
    for expected in (3, 6):
        (x * 3).backward()
        assert x.grad == expected
    x.grad = None
    (x * 3).backward()
    assert x.grad == 3


def test_only_leaves_keep_gradients():
    x, constant = scalar(2), Tensor(np.array(1.0))
    y = x * 3
    (y + constant).backward()
    assert (y.grad, constant.grad) == (None, None)


def test_gradients_of_two_leaves_are_their_own():
    a, b = scalar(1), scalar(1)
    (a + b).backward()
    (a * 5).backward()
    assert (a.grad, b.grad) == (6, 1)


def test_nothing_is_recorded_without_gradients():
    x = scalar(2)
    with no_grad():
        y = x * 3
        with no_grad():
            pass
        z = x * 3
    assert not y.requires_grad
    assert not z.requires_grad
    assert y.parents == ()
    assert (x * 3).requires_grad
    with pytest.raises(InputError, match="computed from none that requires a gradient"):
        y.backward()


def test_recording_goes_on_after_an_error():
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = 1 / 0
    assert (scalar(1) * 2).requires_grad


def test_no_grad_is_of_one_thread():
    found = []
    with no_grad():
        thread = threading.Thread(target=lambda: found.append((scalar(1) * 2).requires_grad))
        thread.start()
        thread.join()
    assert found == [True]


def test_dtypes_stay(xp):
    for dtype in (np.float32, np.float64):
        x = Tensor(xp.asarray(np.ones(3, dtype)), requires_grad=True)
        y = relu(x * 0.1 + x)
        y.backward(xp.asarray(np.ones(3, dtype)))
        assert y.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.complex64, bool])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match=r"array must be float32 or float64, got .*: use array.astype\('float32'\)"):
        Tensor(np.zeros(3, dtype))


def test_backward_wants_a_scalar_or_a_gradient_of_the_same_kind():
    x = Tensor(np.zeros(3), requires_grad=True)
    for gradient in (None, np.ones(2), 1.0, np.ones(3, np.float32)):
        with pytest.raises(InputError, match=r"gradient must be an array of shape \(3,\) and float64"):
            (x * 2).backward(gradient)


def test_nothing_is_broadcast():
    with pytest.raises(InputError, match=r"other must be of shape \(3,\) .*got \(1,\)"):
        Tensor(np.zeros(3)) + Tensor(np.zeros(1))


def test_tensors_show_what_they_are():
    assert repr(Tensor(np.array([1.0]))) == "Tensor(array([1.]), requires_grad=False)"
    assert float(scalar(2.5)) == 2.5
    assert to_numpy(scalar(2.5).array) == 2.5


def test_a_tensor_says_what_made_it():
    x = scalar(2)
    y = 3 * x
    assert (y.made_by.name, dict(y.made_by.settings), y.parents) == ("multiply", {"factor": 3.0}, (x,))
    assert (x.made_by.name, dict(x.made_by.settings), x.parents) == ("", {}, ())
