import numpy as np
import pytest

from csc_cogd import (
    Dictionary,
    InputError,
    learn_dictionary,
    learn_dictionary_consensus,
    learn_dictionary_online,
    reconstruct_images,
    sparse_code,
)


@pytest.fixture
def images(photo):
    from scipy.ndimage import gaussian_filter

    pieces = np.array([photo[:40, :40], photo[50:90, 50:90]]) / 255
    return pieces - gaussian_filter(pieces, (0, 3, 3))


def test_objective_falls_and_is_that_of_the_result(images):
    learned = learn_dictionary(images, 8, 5, lmbda=0.02, max_iter=12, tol=0, dtype="float64")
    objectives = [record.objective for record in learned.history]
    assert objectives[-1] < 0.8 * objectives[0]
    fit = reconstruct_images(learned.codes, learned.dictionary)
    expected = 0.5 * np.sum((fit - images) ** 2) + 0.02 * abs(learned.codes).sum()
    assert learned.objective == pytest.approx(expected, rel=1e-6)
    assert learned.history[-1].nonzeros == np.count_nonzero(learned.codes)


def test_learned_filters_code_better_than_random_ones(images, rng):
    learned = learn_dictionary(images[:1], 8, 5, lmbda=0.02, max_iter=15)
    random = rng.standard_normal((8, 5, 5))
    random /= np.linalg.norm(random, axis=(1, 2))[:, None, None]
    run = {"lmbda": 0.02, "max_iter": 100}
    ours = sparse_code(images[1:], learned.dictionary, **run).objective
    assert ours < 0.9 * sparse_code(images[1:], Dictionary(random), **run).objective


def test_mixed_sizes_in_color_from_incomplete_images(images, rng):
    color = np.stack([images, 0.7 * images, images[:, ::-1]], axis=1)
    weights = rng.random(color.shape) < 0.7
    color = np.where(weights, color, np.nan)
    learned = learn_dictionary(color, (3, 4), (4, (6, 5)), lmbda=0.02, weights=weights, max_iter=4)
    assert learned.dictionary.filters.shape == (7, 3, 6, 5)
    assert learned.dictionary.shapes.tolist() == [[4, 4]] * 3 + [[6, 5]] * 4
    assert np.all(np.linalg.norm(learned.dictionary.filters.reshape(7, -1), axis=1) <= 1 + 1e-5)
    assert learned.history[-1].objective < learned.history[0].objective
    assert learned.dictionary.provenance["masked"] is True
    assert learned.dictionary.provenance["settings"]["lmbda"] == 0.02


def test_zero_mean_filters(images):
    learned = learn_dictionary(images, (2, 2), (4, 6), lmbda=0.02, max_iter=3, zero_mean=True, dtype="float64")
    np.testing.assert_allclose(learned.dictionary.filters.sum(axis=(1, 2)), 0, atol=1e-12)


def test_scaling_images_and_lmbda_together_scales_the_objective(images):
    def objectives(scale):
        run = {"filter_shape": 5, "n_filters": 4, "lmbda": 0.02 * scale, "max_iter": 3, "dtype": "float64"}
        small = images * scale
        learned = (
            learn_dictionary(small, **run),
            learn_dictionary_online(small, **run, crop=30),
            learn_dictionary_consensus([small[:1], small[1:]], **run),
        )
        return [each.objective / scale**2 for each in learned]

    np.testing.assert_allclose(objectives(1e-9), objectives(1), rtol=1e-5)


def test_is_deterministic_and_depends_on_the_seed(images):
    run = {"lmbda": 0.02, "max_iter": 2}
    one, same, other = (learn_dictionary(images, 4, 5, seed=seed, **run) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.dictionary.filters, same.dictionary.filters)
    assert not np.allclose(one.dictionary.filters, other.dictionary.filters)


def test_is_told_in_a_line(images):
    learned = learn_dictionary(images, (2, 1), (4, 6), lmbda=0.02, max_iter=1)
    assert repr(learned).startswith("LearnedDictionary(Dictionary(2 of 4 x 4, 1 of 6 x 6), 1 rounds, objective ")


def test_starts_from_a_dictionary_and_stops_when_asked(images):
    first = learn_dictionary(images, 6, 5, lmbda=0.02, max_iter=10)
    more = learn_dictionary(images, 6, 5, lmbda=0.02, start=first.dictionary, callback=lambda record: record.iteration == 2)
    assert len(more.history) == 2
    assert more.objective < first.history[2].objective
    settled = learn_dictionary(images, 6, 5, lmbda=0.02, max_iter=50, tol=0.05)
    assert len(settled.history) < 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_filters": 0}, "n_filters must be an integer >= 1, got 0"),
        ({"n_filters": (2, 3)}, "filter_shape must have one size for each of the 2"),
        ({"filter_shape": (3, 3, 3)}, "filter_shape must be a size or"),
        ({"filter_shape": 0}, "filter_shape must be integers >= 1, got 0"),
        ({"filter_shape": 2.5}, "filter_shape must be integers >= 1, got 2.5"),
        ({"code_iterations": 0}, "code_iterations"),
        ({"start": Dictionary(np.ones((2, 3, 3)))}, "start must have filters of the number"),
        ({"lmbda": -1}, "lmbda"),
        ({"images": np.zeros((5, 5))}, r"images\[None\]"),
        ({"images": [np.zeros((9, 9)), np.zeros((9, 8))]}, "learn_dictionary_online"),
        ({"cogd": True}, r"cogd must be .*CogradientRule\(\)"),
    ],
)
def test_what_does_not_fit_is_named(images, change, message):
    arguments = {"images": images, "n_filters": 4, "filter_shape": 5, "lmbda": 0.1} | change
    with pytest.raises(InputError, match=message):
        learn_dictionary(arguments.pop("images"), arguments.pop("n_filters"), arguments.pop("filter_shape"), **arguments)


def test_signals_are_told_how_to_be_given(rng):
    signals = np.cumsum(rng.standard_normal((3, 200)), axis=1)
    with pytest.raises(InputError, match=r"images must be .* got \(3, 200\): .*of signals \(N, T\), images\[:, None\]"):
        learn_dictionary(signals, 2, 16, lmbda=0.1)
    learned = learn_dictionary(signals[:, None], 2, (1, 16), lmbda=0.1, max_iter=2)
    assert learned.codes.shape == (3, 2, 1, 215)
