"""Cogradient descent in learning: codes backtracked against filters."""

from itertools import pairwise

import numpy as np
import pytest

from csc_cogd import learn_dictionary
from csc_cogd.cogd.rule import CogradientRule, Quantile
from csc_cogd.csc.alternation import Alternation, Model
from csc_cogd.csc.backtracking import CogradientAlternation
from csc_cogd.csc.problem import check_images, check_weights


@pytest.fixture
def images(rng):
    return rng.standard_normal((3, 18, 21))


SETTINGS = {"n_filters": 5, "filter_shape": 4, "lmbda": 0.4, "tol": 0, "max_iter": 5}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_with_beta_zero_learning_is_plain_alternation_to_the_last_bit(images, dtype):
    plain = learn_dictionary(images, **SETTINGS, dtype=dtype)
    idle = learn_dictionary(images, **SETTINGS, dtype=dtype, cogd=CogradientRule(eta=0))
    np.testing.assert_array_equal(idle.codes, plain.codes)
    np.testing.assert_array_equal(idle.dictionary.filters, plain.dictionary.filters)
    assert [record.objective for record in idle.history] == [record.objective for record in plain.history]
    assert idle.history[-1].backtracking.backtracked == 0
    assert plain.history[-1].backtracking is None


def test_where_no_map_is_out_of_step_nothing_changes(images):
    plain = learn_dictionary(images, **SETTINGS)
    rule = CogradientRule(alpha_sparse=0.0)  # every code map is large
    np.testing.assert_array_equal(learn_dictionary(images, **SETTINGS, cogd=rule).codes, plain.codes)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("sign", [-1, 1])
def test_an_accepted_round_descends(images, degree, sign):
    rule = CogradientRule(degree=degree, eta=1.0, sign=sign, max_beta=2.0)
    history = learn_dictionary(images, **SETTINGS | {"max_iter": 10}, cogd=rule).history
    assert any(record.backtracking and record.backtracking.backtracked for record in history)
    for before, record in pairwise(history):
        if record.backtracking and record.backtracking.accepted:
            assert record.backtracking.mean_beta <= 2
            assert record.objective <= before.objective


def test_a_harmful_rule_is_taken_back_and_the_round_is_the_plain_one(images):
    harmful = CogradientRule(degree=2, eta=1e9, sign=1, max_beta=30.0, alpha_sparse=np.inf, alpha_partner=0.0)
    plain = learn_dictionary(images, **SETTINGS, dtype="float64")
    guarded = learn_dictionary(images, **SETTINGS, dtype="float64", cogd=harmful)
    used = [record.backtracking for record in guarded.history if record.backtracking and record.backtracking.backtracked]
    assert used
    assert not any(statistics.accepted for statistics in used)
    np.testing.assert_array_equal(guarded.codes, plain.codes)


def test_masked_color_images_of_mixed_filter_sizes(rng):
    images = rng.standard_normal((2, 3, 16, 15))
    weights = rng.random(images.shape) < 0.7
    learned = learn_dictionary(
        np.where(weights, images, np.nan), (2, 2), (3, 5), lmbda=0.3, weights=weights, max_iter=5, tol=0,
        cogd=CogradientRule(eta=0.01, alpha_partner=Quantile(0.25)),
    )  # fmt: skip
    assert learned.history[-1].backtracking.backtracked > 0
    assert learned.history[-1].objective < learned.history[0].objective
    assert not learned.dictionary.filters[:2, :, 3:].any()


@pytest.mark.parametrize("degree", [1, 2])
def test_agrees_with_the_dense_dictionary_matrix(backend, rng, degree):
    """Eq. 15 written out: columns of the matrix of all shifted filters, and their difference ratios."""
    H, W, h, w, K = 5, 6, 2, 3, 2
    images, weights = rng.standard_normal((1, 1, H, W)), rng.random((1, 1, H, W)) < 0.8
    model = Model(np.array([[h, w]] * K), 0.05, None, 0.0, False, 1.0, 1.0, 1.8)
    filters = rng.standard_normal((K, 1, h, w))
    rule = CogradientRule(degree=degree, eta=1e-3, zero_tol=0.2, max_beta=1e3, alpha_sparse=np.inf, alpha_partner=0.0)
    learning = CogradientAlternation(rule, backend, model, filters, check_images(images), check_weights(weights, images))
    learning.round(6, 6)
    crop = learning.domain.crop_codes
    to_host = backend.to_host
    codes, old_filters = crop(to_host(learning.codes()))[0], to_host(learning.filters).copy()
    Alternation.round(learning, 6, 6)
    new_codes, new_filters = crop(to_host(learning.codes()))[0], to_host(learning.filters).copy()

    def matrix(d):
        """(H, W, K, H + h - 1, W + w - 1): how code x_k(i) shows in pixel (a, b)."""
        A = np.zeros((H, W, *new_codes.shape))
        for a, b, k, i, j in np.ndindex(A.shape):
            if 0 <= a + h - 1 - i < h and 0 <= b + w - 1 - j < w:
                A[a, b, k, i, j] = d[k, 0, a + h - 1 - i, b + w - 1 - j]
        return A

    reach = matrix(np.ones_like(filters)) != 0
    g = weights[0, 0] * (np.tensordot(matrix(new_filters), new_codes, 3) - images[0, 0])
    delta_d, delta_x = matrix(new_filters - old_filters), new_codes - codes
    ratio = np.where(reach, rule.difference_ratio(delta_d, delta_x), 0)
    inner = np.tensordot(g, ratio, 2)
    expected = np.where(codes != 0, new_codes + rule.beta(inner) * codes, new_codes)
    learning.backtrack(backend.asarray(_padded(learning, codes)), backend.asarray(old_filters))
    np.testing.assert_allclose(crop(to_host(learning.codes()))[0], expected, rtol=1e-7, atol=1e-10)
    assert not np.allclose(expected, new_codes)


def _padded(learning, codes):
    maps = np.zeros(learning.code_solver.shape)
    learning.domain.crop_codes(maps)[0] = codes
    return maps
