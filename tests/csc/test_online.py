"""Online learning: crops of many images in bounded memory."""

import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd import Dictionary, InputError, learn_dictionary, learn_dictionary_online, sparse_code


@pytest.fixture(scope="module")
def pieces():
    from skimage.data import camera

    smooth = camera() / 255 - gaussian_filter(camera() / 255, 3)
    return [smooth[:130, :150], smooth[200:300, 180:320], smooth[300:420, 300:420]]


def objective(image, dictionary, lmbda):
    return sparse_code(image[None], dictionary, lmbda=lmbda, max_iter=60).objective


def test_learns_about_as_well_as_from_all_images_at_once(pieces):
    held_out, run = pieces[2], {"lmbda": 0.02, "seed": 1}
    online = learn_dictionary_online(pieces[:2], 16, 7, max_iter=40, batch_size=2, crop=48, **run)
    whole = learn_dictionary(np.array([piece[:100, :140] for piece in pieces[:2]]), 16, 7, max_iter=20, **run)
    random = learn_dictionary_online(pieces[:2], 16, 7, max_iter=1, batch_size=1, crop=8, **run)
    reached = [objective(held_out, learned.dictionary, 0.02) for learned in (online, whole, random)]
    assert reached[0] < 1.05 * reached[1]
    assert reached[0] < 0.9 * reached[2]


def test_masked_color_images_of_different_sizes(rng):
    images = [rng.standard_normal((3, 30, 24)), rng.standard_normal((3, 22, 40))]
    weights = [rng.random((3, 30, 24)) < 0.7, rng.random((22, 40)) < 0.7]
    damaged = [np.where(weight, image, np.nan) for image, weight in zip(images, weights, strict=True)]
    learned = learn_dictionary_online(damaged, (2, 3), (3, 5), lmbda=0.3, weights=weights, max_iter=3, batch_size=3, crop=64)
    assert learned.dictionary.filters.shape == (5, 3, 5, 5)
    assert np.linalg.norm(learned.dictionary.filters.reshape(5, -1), axis=1).max() <= 1 + 1e-5
    assert [record.iteration for record in learned.history] == [1, 2, 3]
    assert learned.dictionary.provenance["masked"] is True


def test_memory_depends_on_the_batch_and_not_on_the_images(tmp_path):
    path = tmp_path / "images.npy"
    stack = np.lib.format.open_memmap(path, "w+", np.float32, (40, 256, 256))  # 10 MB
    stack[:] = np.random.default_rng(0).standard_normal((256, 256))
    images = np.load(path, mmap_mode="r")
    learn_dictionary_online(images, 8, 5, lmbda=1, max_iter=1, batch_size=2, crop=32)
    tracemalloc.start()
    learn_dictionary_online(images, 8, 5, lmbda=1, max_iter=2, batch_size=2, crop=32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_what_diverges_is_told_of_at_once(pieces):
    told = []
    with pytest.raises(InputError, match="learning diverged in round 1: use dtype 'float64', or a larger lmbda"):
        learn_dictionary_online([1e25 * piece for piece in pieces], 4, 5, lmbda=1e20, max_iter=3, callback=told.append)
    assert told == []


def test_is_deterministic_and_stops_when_asked(pieces):
    run = {"lmbda": 0.02, "max_iter": 5, "crop": 32, "callback": lambda record: record.iteration == 2}
    one, same = (learn_dictionary_online(pieces, 4, 5, **run) for _ in range(2))
    np.testing.assert_array_equal(one.dictionary.filters, same.dictionary.filters)
    assert len(one.history) == 2
    more = learn_dictionary_online(pieces, 4, 5, **run, start=one.dictionary)
    assert not np.array_equal(more.dictionary.filters, one.dictionary.filters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "images must be a sequence of one"),
        ({"images": [np.zeros((9, 9)), np.zeros((3, 9, 9))]}, "images must be all of shape"),
        (
            {"images": [np.zeros((9, 9)), np.zeros((4, 9))]},
            r"images\[1\] must not be smaller than the filters, \(5, 5\), got \(4, 9\)",
        ),
        ({"images": [np.full((9, 9), np.nan)]}, "NaN"),
        ({"crop": 4}, "crop must not be smaller than the filters"),
        ({"batch_size": 0}, "batch_size must be .* got 0"),
        ({"forgetting": 0}, "forgetting"),
        ({"filter_iterations": 0}, "filter_iterations must be .* got 0"),
        ({"weights": [np.ones((9, 9))] * 2}, "weights must be as many as the images, 1, got 2"),
        ({"start": Dictionary(np.ones((1, 3, 3)))}, "start must"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"images": [np.ones((9, 9))], "n_filters": 2, "filter_shape": 5, "lmbda": 0.1, "max_iter": 1} | change
    with pytest.raises(InputError, match=message):
        learn_dictionary_online(
            arguments.pop("images"), arguments.pop("n_filters"), arguments.pop("filter_shape"), **arguments
        )
