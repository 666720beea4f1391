"""The estimator, by scikit-learn's own tools."""

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
    for method in (learner.transform, learner.inverse_transform):
        with pytest.raises(InputError, match="there is no dictionary yet: call fit with images first"):
            method(images)
    with pytest.raises(InputError, match="n_atoms: no argument of a ConvolutionalDictionaryLearner: choose from n_filters"):
        learner.set_params(n_atoms=3)
    with pytest.raises(InputError, match="lmbda"):
        learner.set_params(lmbda=-1).fit(images)
