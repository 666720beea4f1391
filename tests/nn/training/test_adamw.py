"""AdamW takes PyTorch's steps."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import AdamW, Parameter

GRADIENTS = (1.0, -2.0, 0.5)
"""Factors of the gradients of three steps."""


def steps(optimizer, p, q, factors):
    for factor in factors:
        p.grad = factor * np.array([[1.0, 2.0], [3.0, -4.0]])
        q.grad = np.array([factor * factor, -factor])
        optimizer.step()


def parameters():
    return Parameter(np.array([[1.0, -2.0], [0.5, 3.0]])), Parameter(np.array([1.0, 2.0]))


def made(p, q):
    return AdamW({"p": p, "q": q}, 0.05, weight_decay=0.1, decay_vectors=False)


def test_three_steps_are_pytorchs():
    p, q = parameters()
    steps(made(p, q), p, q, GRADIENTS)
    expected = [[0.9606218089507431, -1.9946028162133413], [0.46808437123196395, 2.979677691295383]]
    np.testing.assert_allclose(p.array, expected, rtol=1e-12)  # by torch 2.13.0, of which q is a group without decay
    np.testing.assert_allclose(q.array, [0.8697284651728951, 2.0248602901630894], rtol=1e-12)


def test_it_goes_on_from_its_state():
    p, q = parameters()
    steps(made(p, q), p, q, GRADIENTS)
    first, second = parameters()
    before = made(first, second)
    steps(before, first, second, GRADIENTS[:1])
    after = made(first, second)
    after.load_state_dict(before.state_dict())
    steps(after, first, second, GRADIENTS[1:])
    np.testing.assert_array_equal(first.array, p.array)
    np.testing.assert_array_equal(second.array, q.array)


def test_states_that_do_not_fit_are_refused():
    p, q = parameters()
    with pytest.raises(InputError, match="lacks the number of steps"):
        made(p, q).load_state_dict({"first.p": np.zeros((2, 2))})
    for bad in ({"first.z": np.zeros(2)}, {"second.p": np.zeros(3)}):
        with pytest.raises(InputError, match="which fits no parameter"):
            made(p, q).load_state_dict({"steps": np.array(1)} | bad)
    with pytest.raises(InputError, match=r"state lacks second\.p"):
        made(p, q).load_state_dict({"steps": np.array(1), "first.p": np.zeros(p.shape)})
    with pytest.raises(InputError, match="parameters must not be empty"):
        AdamW({}, 0.1)
