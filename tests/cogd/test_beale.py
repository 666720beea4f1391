"""Beale's problem: the objective and its gradient, the descents, and what the rule and its safeguard do there."""

import numpy as np
import pytest

from csc_cogd.cogd.beale import OPTIMIZERS, STARTS, SparseBeale, beale_rule, compare, descend
from csc_cogd.cogd.optimizers import SGD
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.errors import InputError

OBJECTIVE = SparseBeale()


@pytest.fixture(scope="module")
def descents():
    return compare(OBJECTIVE)


def test_known_values_without_and_with_penalties():
    plain = SparseBeale(l1=0, l2=0)
    assert plain(np.array([3.0, 0.5])) == 0
    assert plain(np.array([1.0, 0.0])) == pytest.approx(0.5**2 + 1.25**2 + 1.625**2)
    np.testing.assert_array_equal(plain.gradient(np.array([3.0, 0.5])), [0, 0])
    assert SparseBeale(l1=2, l2=0.5)(np.array([3.0, 0.5])) == pytest.approx(2 * 0.5 + 0.5 * 9)
    assert SparseBeale(l1=5, l2=0).gradient(np.array([0.0, 0.0]))[1] == 0  # on the kink


def test_gradient_agrees_with_finite_differences(rng):
    h, points = 1e-6, rng.uniform(-2, 4, (50, 2))
    for axis in range(2):
        step = h * np.eye(2)[axis]
        slope = (OBJECTIVE(points + step) - OBJECTIVE(points - step)) / (2 * h)
        np.testing.assert_allclose(OBJECTIVE.gradient(points)[:, axis], slope, rtol=1e-6, atol=1e-4)


def test_minimum_is_the_known_one_or_stationary_and_lower_than_around():
    np.testing.assert_allclose(SparseBeale(0, 0).minimum(), [3, 0.5], atol=1e-6)
    minimum = OBJECTIVE.minimum()
    np.testing.assert_allclose(OBJECTIVE.gradient(minimum), 0, atol=1e-6)
    around = minimum + 0.1 * np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 6, 50)])
    assert OBJECTIVE(around).min() > OBJECTIVE(minimum)


def test_every_method_falls_from_every_start_and_records_its_path(descents):
    assert len(descents) == 6
    for runs in descents.values():
        for start, run in zip(STARTS, runs, strict=True):
            np.testing.assert_array_equal(run.path[0], start)
            assert run.path.shape == (201, 2)
            np.testing.assert_allclose(run.objectives, OBJECTIVE(run.path), rtol=1e-12)
            assert run.objectives[-1] < run.objectives[0]


def test_momentum_and_adam_arrive_with_and_without_the_rule(descents):
    minimum = OBJECTIVE.minimum()
    for method, runs in descents.items():
        if "SGD" not in method:
            assert all(run.distances(minimum)[-1] < 0.1 for run in runs)


def test_the_rule_acts_only_where_the_variables_are_out_of_step(descents):
    for run in descents["SGD + CoGD"]:
        assert 0 < run.accepted <= run.backtracked <= 200
    assert all(run.backtracked == run.accepted == 0 for run in descents["SGD"])
    in_step = descend(OBJECTIVE, (1.0, 1.5), SGD(0.001), beale_rule(SGD(0.001)), iterations=3)  # x2 is large
    assert in_step.backtracked == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_eta_zero_is_the_plain_path_bit_for_bit_and_runs_repeat(name):
    optimizer, start = OPTIMIZERS[name], (1.0, 0.25)
    plain = descend(OBJECTIVE, start, optimizer)
    off = descend(OBJECTIVE, start, optimizer, beale_rule(optimizer, eta=0.0))
    assert off.path.tobytes() == plain.path.tobytes()
    assert off.backtracked == 0
    first, again = (descend(OBJECTIVE, start, optimizer, beale_rule(optimizer)) for _ in range(2))
    assert first.path.tobytes() == again.path.tobytes() != plain.path.tobytes()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("degree", "sign"), [(1, -1), (1, 1), (2, 1), (3, -1)])
def test_no_use_of_the_rule_ends_above_the_plain_step(name, degree, sign):
    """A strong rule; each of its steps is set against the optimiser's own from the same point with the same memory."""
    optimizer = OPTIMIZERS[name]
    run = descend(OBJECTIVE, (1.0, 0.25), optimizer, beale_rule(optimizer, degree, eta=30.0, sign=sign), iterations=60)
    state, kept = None, 0
    for x, new, value in zip(run.path, run.path[1:], run.objectives[1:], strict=False):
        plain, state = optimizer.step(x, OBJECTIVE.gradient(x), state)
        assert value <= OBJECTIVE(plain)
        assert new[0] == plain[0]  # only the sparse variable is touched
        kept += new[1] != plain[1]
    assert kept == run.accepted


def test_one_step_by_hand():
    """x = (2, 0.25), no penalties: SGD and then eq. 14, with dx1/dx2 as the ratio of the two partial gradients."""
    objective, rate, x = SparseBeale(0, 0), 1e-4, np.array([2.0, 0.25])
    in_x1, in_x2 = objective.gradient(x)
    rule = CogradientRule(eta=0.01, max_beta=10, alpha_sparse=0.5, alpha_partner=1.0)
    run = descend(objective, x, SGD(rate), rule, iterations=1)
    assert run.accepted == 1
    expected = x - rate * np.array([in_x1, in_x2]) - [0, 0.01 * in_x1 * (in_x1 / in_x2)]
    np.testing.assert_allclose(run.path[1], expected, rtol=1e-9)


def test_a_start_on_the_axis_has_nothing_to_pull_back_to():
    run = descend(OBJECTIVE, (2.0, 0.0), SGD(0.001), beale_rule(SGD(0.001)), iterations=1)
    assert run.backtracked == 0


def test_length_distance_and_arrival():
    run = descend(SparseBeale(0, 0), (3.0, 0.5), SGD(0.001), iterations=4)  # stands on the minimum
    assert run.length == 0
    assert run.iterations_to(np.array([3.0, 0.5]), 0.1) == 0
    assert run.iterations_to(np.array([3.0, 0.7]), 0.1) is None
    assert run.distances(np.array([0.0, 4.5]))[-1] == pytest.approx(5)


def test_a_path_that_diverges_is_nan_from_there_on():
    run = descend(OBJECTIVE, (9.0, 9.0), SGD(0.001), beale_rule(SGD(0.001)))
    assert np.isnan(run.objectives[-1])
    assert np.isnan(run.path[-1]).all()
    assert np.isfinite(run.path[:2]).all()


@pytest.mark.parametrize("start", [(1.0,), (float("nan"), 0.0), (1.0, 2.0, 3.0)])
def test_starts_that_are_no_points_are_refused(start):
    with pytest.raises(InputError, match="start"):
        descend(OBJECTIVE, start, SGD(0.001))
