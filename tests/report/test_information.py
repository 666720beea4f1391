import numpy as np
import pytest
from scipy.stats import entropy

from csc_cogd import InputError
from csc_cogd.report.information import code_bits


def test_by_hand():
    codes = np.array([[[0, 0, 0.5, 0], [0, 0, -0.5, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]])
    where = 8 * (0.25 * np.log2(4) + 0.75 * np.log2(4 / 3))  # two of eight places in use, and none
    assert code_bits(codes, 0.5) == pytest.approx(where + 2)  # and a sign for each


def test_agrees_with_scipy(rng):
    codes = np.where(rng.random((3, 20, 20)) < 0.2, rng.standard_normal((3, 20, 20)), 0)
    levels = np.rint(codes / 0.1)
    expected = sum(400 * entropy([np.mean(m != 0), np.mean(m == 0)], base=2) for m in levels)
    counts = np.unique(levels[levels != 0], return_counts=True)[1]
    assert code_bits(codes, 0.1) == pytest.approx(expected + counts.sum() * entropy(counts, base=2))


def test_nothing_and_everything_the_same_take_no_bits():
    assert code_bits(np.zeros((2, 5, 5)), 0.1) == 0
    assert code_bits(np.ones((2, 5, 5)), 0.1) == 0


def test_coarser_amplitudes_take_fewer_bits(rng):
    codes = rng.standard_normal((2, 30, 30))
    assert code_bits(codes, 0.5) < code_bits(codes, 0.05)


@pytest.mark.parametrize(
    ("shape", "step", "message"),
    [
        ((3, 3), 0.1, r"codes must be of shape \(K, H, W\)"),
        ((0, 3, 3), 0.1, "codes must be"),
        ((1, 3, 3), 0, "step must be a positive number, got 0"),
    ],
)
def test_what_is_no_code_or_step_is_named(shape, step, message):
    with pytest.raises(InputError, match=message):
        code_bits(np.ones(shape), step)


def test_amplitudes_go_to_the_nearest_step_and_those_that_vanish_are_free():
    assert code_bits(np.array([[[0.04, -0.04, 0, 0]]]), 0.1) == 0
    assert code_bits(np.array([[[0.06, 0.14, 0, 0]]]), 0.1) == pytest.approx(4)  # one amplitude, at two of four places
    assert code_bits(np.array([[[0.06, 0.16, 0, 0]]]), 0.1) == pytest.approx(4 + 2)
