"""The rule by hand-computed cases, and eqs. 7-14 against finite differences on a small dense bilinear problem."""

import numpy as np
import pytest

from csc_cogd.cogd.rule import CogradientRule, Quantile
from csc_cogd.errors import InputError
from tests.conftest import read_only

EVERYWHERE = np.array(True)


class DenseBilinear:
    """G(x) = ||b - A(x) x||^2, where column j of A depends on x_j alone: A_ij = p_ij + q_ij sin(r_ij x_j)."""

    def __init__(self, rng, rows=7, columns=5):
        self.b = rng.normal(size=rows)
        self.p, self.q, self.r = rng.normal(size=(3, rows, columns))

    def partner(self, x):
        return self.p + self.q * np.sin(self.r * x)

    def partner_slope(self, x):
        return self.q * self.r * np.cos(self.r * x)

    def residual(self, x):
        return self.partner(x) @ x - self.b

    def objective(self, x):
        return (self.residual(x) ** 2).sum()

    def partial_gradient(self, x):
        """As if A were a constant."""
        return 2 * self.residual(x) @ self.partner(x)

    def full_gradient(self, x, h=1e-6):
        return np.array([(self.objective(x + step) - self.objective(x - step)) / (2 * h) for step in h * np.eye(x.size)])


@pytest.fixture
def problem(rng):
    return DenseBilinear(rng)


@pytest.fixture
def x(rng):
    return read_only(rng.normal(size=5))


def test_the_trace_is_a_hadamard_product_with_x(problem, x):
    inner = problem.residual(x) @ problem.partner_slope(x)
    coupled = problem.partial_gradient(x) + 2 * x * inner
    np.testing.assert_allclose(coupled, problem.full_gradient(x), rtol=1e-6, atol=1e-7)


def test_the_linear_kernel_turns_a_partial_step_into_one_down_the_full_gradient(problem, x):
    eta = 1e-3
    partial_step = x - eta * problem.partial_gradient(x)
    inner = problem.residual(x) @ problem.partner_slope(x)
    x_hat, _ = CogradientRule(degree=1, eta=2 * eta, max_beta=10.0).backtrack(partial_step, x, inner, EVERYWHERE)
    np.testing.assert_allclose(x_hat, x - eta * problem.full_gradient(x), rtol=0, atol=1e-8)


def test_the_difference_ratio_of_a_small_step_is_the_derivative(problem, x, rng):
    step = 1e-5 * rng.choice([-1, 1], 5) * rng.uniform(0.5, 2, 5)
    ratio = CogradientRule(zero_tol=0).difference_ratio(problem.partner(x + step) - problem.partner(x), step)
    np.testing.assert_allclose(ratio, problem.partner_slope(x), rtol=0, atol=1e-3)
    inner = problem.residual(x) @ ratio
    coupled = problem.partial_gradient(x) + 2 * x * inner
    np.testing.assert_allclose(coupled, problem.full_gradient(x), rtol=0, atol=1e-2)


def test_difference_ratio_is_one_where_either_side_stands_still():
    ratio = CogradientRule(zero_tol=1e-3).difference_ratio
    np.testing.assert_allclose(
        ratio(read_only(np.array([6.0, 0.0, 6.0, 0.005, 0.007])), read_only(np.array([2.0, 2.0, 0.001, 2.0, 2.0]))),
        [3.0, 1.0, 1.0, 1.0, 0.0035],
    )
    np.testing.assert_array_equal(ratio(np.zeros(3), np.zeros(3)), np.ones(3))
    assert ratio(np.array([5e-9]), np.array([-1e-9])) == pytest.approx(-5)  # small, but all there is


def test_difference_ratio_broadcasts_the_sparse_variable_over_its_partner():
    ratio = CogradientRule().difference_ratio(np.array([[2.0, 9.0], [4.0, 0.0]]), np.array([2.0, -3.0]))
    np.testing.assert_array_equal(ratio, [[1, -3], [2, 1]])


@pytest.mark.parametrize(
    ("degree", "sign", "expected"),
    [
        (1, None, [-0.2, 0.3]), (2, None, [0.4, 0.9]), (3, None, [-0.8, 2.7]),
        (1, 1, [0.2, -0.3]), (2, -1, [-0.4, -0.9]), (3, 1, [0.8, -2.7]),
    ],
)  # fmt: skip
def test_kernel_degrees_and_signs(degree, sign, expected):
    rule = CogradientRule(degree=degree, eta=0.1, sign=sign, max_beta=100)
    np.testing.assert_allclose(rule.beta(np.array([2.0, -3.0])), expected)


def test_beta_is_cut_off_at_the_bound():
    beta = CogradientRule(eta=1, max_beta=0.25).beta(np.array([0.1, 50.0, -50.0]))
    np.testing.assert_allclose(beta, [-0.1, -0.25, 0.25])


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("l1", [7, 5]), ("l2", [5, 3]), ("max", [4, 2]),
        (lambda array, axis: (array != 0).sum(axis=axis), [2, 3]),
    ],
)  # fmt: skip
def test_norms_over_chosen_axes(norm, expected):
    array = read_only(np.array([[3.0, 0.0, -4.0], [1.0, 2.0, -2.0]]))
    np.testing.assert_allclose(CogradientRule(norm=norm).norms(array, axis=1), expected)
    np.testing.assert_allclose(CogradientRule(norm=norm).norms(array[:, :, None], axis=(1, 2)), expected)


@pytest.mark.parametrize(
    ("alpha_sparse", "alpha_partner", "expected"),
    [
        ("mean", "median", [1, 1, 0, 0]),  # thresholds 2.5 and 4
        ("median", "mean", [1, 0, 0, 0]),  # 1.5 and 5
        (1.0, 3.0, [0, 0, 0, 0]),  # a norm at its threshold counts as large
        (1.5, 3.0, [1, 1, 0, 0]),
        (max, min, [1, 1, 1, 0]),
        (Quantile(1.0), Quantile(0.25), [1, 1, 1, 0]),
    ],
)  # fmt: skip
def test_asynchrony_is_a_small_sparse_variable_beside_a_large_partner(alpha_sparse, alpha_partner, expected):
    sparse, partner = np.array([1.0, 1.0, 2.0, 6.0]), np.array([10.0, 4.0, 3.0, 3.0])
    rule = CogradientRule(alpha_sparse=alpha_sparse, alpha_partner=alpha_partner)
    np.testing.assert_array_equal(rule.asynchronous(sparse, partner), np.array(expected, bool))


def test_equal_partners_are_all_large_within_rounding():
    partner = np.array([1.0, 1 - 1e-7, 1 + 1e-7])
    for threshold in ("mean", "median"):
        rule = CogradientRule(alpha_sparse=1.0, alpha_partner=threshold)
        assert rule.asynchronous(np.zeros(3), partner).all()


def test_backtracking_projects_along_the_earlier_value_and_counts():
    new, old = read_only(np.array([1.0, 1.0, 1.0, 1.0])), read_only(np.array([4.0, 4.0, 0.0, -2.0]))
    inner, where = np.array([-0.5, -0.5, -0.5, 0.25]), np.array([True, False, True, True])
    x_hat, statistics = CogradientRule(eta=0.2, max_beta=1).backtrack(new, old, inner, where)
    np.testing.assert_allclose(x_hat, [1.4, 1.0, 1.0, 1.1])  # beta: 0.1 and -0.05
    assert statistics.entries == 4
    assert statistics.backtracked == 2
    assert statistics.mean_beta == pytest.approx(0.075)
    assert statistics.accepted


def test_whole_maps_are_tested_and_single_entries_moved():
    new, old = np.ones((2, 3), np.float32), np.full((2, 3), 2, np.float32)
    x_hat, statistics = CogradientRule(eta=0.25, max_beta=1).backtrack(
        new, old, np.float32(-1.0), np.array([[True], [False]])
    )
    np.testing.assert_array_equal(x_hat, [[1.5] * 3, [1.0] * 3])
    assert x_hat.dtype == np.float32
    assert statistics.backtracked == 3


@pytest.mark.parametrize("settings", [{"eta": 0.0}, {"max_beta": 0.0}])
def test_a_rule_that_is_off_changes_no_bit(settings, rng):
    new, old, inner = rng.normal(size=(3, 100))
    new[:2] = 0.0, -0.0
    x_hat, statistics = CogradientRule(**settings).backtrack(new, old, inner, EVERYWHERE)
    assert x_hat.tobytes() == new.tobytes()
    assert statistics.backtracked == 0
    assert statistics.mean_beta == 0


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"degree": 0}, "degree"), ({"degree": 1.5}, "degree"), ({"sign": 0}, "sign"), ({"sign": 2}, "sign"),
        ({"eta": -1}, "eta"), ({"eta": float("nan")}, "eta"), ({"max_beta": float("inf")}, "max_beta"),
        ({"zero_tol": "x"}, "zero_tol"),
        ({"norm": "l3"}, "norm"), ({"alpha_sparse": "mode"}, "alpha_sparse"), ({"alpha_partner": "max"}, "alpha_partner"),
    ],
)  # fmt: skip
def test_settings_outside_of_their_range_are_refused_by_name(settings, names):
    with pytest.raises(InputError, match=f"^{names} must be "):
        CogradientRule(**settings)


def test_quantiles_outside_of_their_range_are_refused():
    with pytest.raises(InputError, match=r"q must be in \[0, 1\], got 1.1"):
        Quantile(1.1)
