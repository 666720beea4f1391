"""The estimator, by scikit-learn's own tools."""

import subprocess
import sys

import numpy as np
import pytest

from csc_cogd import ConvolutionalDictionaryLearner, InputError, learn_dictionary, reconstruct_images, sparse_code

SETTINGS = {"lmbda": 0.1, "boundary": "circular", "gradient_penalty": 0.01, "device": "cpu", "threads": 1}


@pytest.fixture
def images(photo, rng):
    pieces = np.stack([photo[i : i + 24, i : i + 24] / 255 for i in (0, 30, 60)])
    return pieces - pieces.mean(axis=(1, 2), keepdims=True)


def test_it_learns_codes_and_rebuilds_as_the_functions_do(images, rng):
    weights = (rng.random(images.shape) < 0.8).astype(float)
    seen = []
    learner = ConvolutionalDictionaryLearner(4, 5, max_iter=3, transform_max_iter=20, **SETTINGS)
    assert learner.fit(images, weights=weights, callback=seen.append) is learner
    learned = learn_dictionary(images, 4, 5, max_iter=3, weights=weights, **SETTINGS)
    np.testing.assert_array_equal(learner.dictionary_.filters, learned.dictionary.filters)
    assert (learner.objective_, learner.n_iter_, len(seen)) == (learned.objective, 3, 3)
    codes = learner.transform(images, weights=weights)
    expected = sparse_code(images, learned.dictionary, weights=weights, max_iter=20, **SETTINGS).codes
    np.testing.assert_array_equal(codes, expected)
    again = learner.inverse_transform(codes)
    np.testing.assert_array_equal(again, reconstruct_images(codes, learned.dictionary, boundary="circular"))
    np.testing.assert_array_equal(learner.fit_transform(images, weights=weights), codes)


def test_scikit_learn_clones_searches_and_chains_it(images):
    base = pytest.importorskip("sklearn.base")
    from sklearn.exceptions import NotFittedError
    from sklearn.model_selection import ParameterGrid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils.validation import check_is_fitted

    learner = ConvolutionalDictionaryLearner(3, filter_shape=(4, 5), max_iter=2, transform_max_iter=5, **SETTINGS)
    twin = base.clone(learner)
    assert twin is not learner
    assert twin.get_params() == learner.get_params()
    with pytest.raises(NotFittedError):
        check_is_fitted(twin)
    pipeline = make_pipeline(FunctionTransformer(lambda images: 2 * images, lambda images: images / 2), learner)
    codes = pipeline.fit_transform(images)
    assert codes.shape == (3, 3, 24, 24)
    np.testing.assert_array_equal(pipeline.inverse_transform(codes), learner.inverse_transform(codes) / 2)
    check_is_fitted(learner)
    for change in ParameterGrid({"n_filters": [1, 2], "lmbda": [0.5]}):
        assert base.clone(twin).set_params(**change).fit(images).dictionary_.n_filters == change["n_filters"]


def test_it_says_what_it_is_and_what_it_lacks(images):
    learner = ConvolutionalDictionaryLearner(n_filters=3, max_iter=2)
    assert repr(learner) == "ConvolutionalDictionaryLearner(n_filters=3, max_iter=2)"
    exceptions = pytest.importorskip("sklearn.exceptions")
    for method in (learner.transform, learner.inverse_transform, learner.score):
        with pytest.raises(exceptions.NotFittedError, match="there is no dictionary yet: call fit with images first"):
            method(images)
    with pytest.raises(ValueError, match="Invalid parameter 'n_atoms'"):
        learner.set_params(n_atoms=3)
    with pytest.raises(InputError, match="lmbda"):
        learner.set_params(lmbda=-1).fit(images)


def test_the_score_is_the_share_of_the_variance_that_is_explained(images, rng):
    learner = ConvolutionalDictionaryLearner(6, 5, max_iter=3, lmbda=0.02, device="cpu").fit(images)
    found = learner.inverse_transform(learner.transform(images))
    assert learner.score(images) == pytest.approx(1 - ((images - found) ** 2).sum() / images.var() / images.size, abs=1e-5)
    assert learner.score(images) > ConvolutionalDictionaryLearner(6, 5, max_iter=3, lmbda=0.5).fit(images).score(images)
    spoilt, weights = images.copy(), np.ones(images.shape)
    spoilt[:, 5, 5], weights[:, 5, 5] = 1e3, 0
    assert learner.score(spoilt, weights=weights) == pytest.approx(learner.score(images), abs=0.02)


def test_codes_are_no_table(images):
    pipeline = pytest.importorskip("sklearn.pipeline")
    learner = ConvolutionalDictionaryLearner(3, 4, max_iter=1)
    assert pipeline.make_pipeline(learner).set_output(transform="default").fit_transform(images).ndim == 4
    with pytest.raises(InputError, match="transform must be 'default', as codes fit into no table, got 'pandas'"):
        learner.set_output(transform="pandas")


def test_what_scikit_learn_asks_of_every_transformer():
    """By an adapter that codes the rows of a table as signals; what it can't do is listed, with the reason."""
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    from tests.csc.row_coder import RowCoder

    reasons = {"check_fit2d_1feature": "a signal of one value is shorter than the filters"}
    checks.check_estimator(RowCoder(), expected_failed_checks=reasons, on_skip=None)


def test_it_works_without_scikit_learn():
    program = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from csc_cogd import ConvolutionalDictionaryLearner, InputError
learner = ConvolutionalDictionaryLearner(2, 3, max_iter=1)
assert learner.get_params()["n_filters"] == 2
assert learner.set_params(n_filters=3).fit_transform(np.ones((1, 8, 8))).shape == (1, 3, 10, 10)
for wrong in (lambda: learner.set_params(n_atoms=3), lambda: ConvolutionalDictionaryLearner().transform(np.ones((1, 8, 8)))):
    try:
        wrong()
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("n_atoms is no argument: choose from n_filters, filter_shape")
    assert second == "there is no dictionary yet: call fit with images first"
