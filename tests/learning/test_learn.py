import numpy as np
import pytest

from csc_cogd import CogradientRule, InputError, learn_dictionary, learn_dictionary_online, learn_from_images
from csc_cogd.learning.base_detail import decompose


@pytest.fixture
def pictures(photo):
    return [photo[:36, :40], photo[40:76, 50:90]]


def test_learns_together_what_is_of_one_size(pictures):
    records = []
    learned = learn_from_images(pictures, (3, 4), (4, 6), max_iter=3, callback=records.append)
    assert learned.dictionary.shapes.tolist() == [[4, 4]] * 3 + [[6, 6]] * 4
    assert learned.codes.shape[:2] == (2, 7)
    assert learned.summary().startswith("3 rounds, objective")
    assert [record.done for record in records] == [1, 2, 3]
    assert records[0].total == 3


def test_learns_online_from_different_sizes_or_little_memory(pictures, photo):
    learned = learn_from_images([*pictures, photo[:50, :44]], 4, 5, max_iter=2, batch_size=3, crop=20)
    assert learned.codes is None
    assert learned.summary() == "online, 2 batches of 3 crops"
    learned = learn_from_images(pictures, 4, 5, max_iter=1, max_memory=1e5)
    assert learned.summary().startswith("online")
    learned = learn_from_images(pictures, 4, 5, max_iter=1)
    assert learned.summary().startswith("1 rounds")


def test_learns_from_the_detail_whatever_the_brightness(pictures):
    bright = [picture.astype(np.float64) * 30 + 100 for picture in pictures]
    one, same = (learn_from_images(images, 4, 5, max_iter=3, dtype="float64").dictionary for images in (pictures, bright))
    np.testing.assert_allclose(one.filters, same.filters, atol=1e-6)


def test_missing_pixels_do_not_count(pictures):
    damaged = [picture.astype(float) for picture in pictures]
    damaged[0][5:9, 5:9] = np.nan
    dictionary = learn_from_images(damaged, 4, 5, max_iter=2).dictionary
    assert dictionary.provenance["masked"] is True
    assert not decompose(damaged, None)[0].known.all()


def test_color_and_a_start(pictures):
    color = [np.stack([picture, picture // 2, picture], axis=-1) for picture in pictures]
    first = learn_from_images(color, 4, 5, channel_axis=-1, max_iter=2).dictionary
    assert first.filters.shape == (4, 3, 5, 5)
    more = learn_from_images(color, 4, 5, channel_axis=-1, max_iter=2, start=first).dictionary
    assert 0 < abs(more.filters - first.filters).max() < 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"online": True, "cogd": CogradientRule()}, "cogd needs .* online learning doesn't keep: leave out cogd or online"),
        ({"max_memory": 10, "cogd": CogradientRule()}, "cogd needs .* raise max_memory"),
        ({"images": [np.eye(20), np.eye(21)], "online": False}, "online must not be False for images of different sizes"),
        ({"filter_shape": 50}, "filter_shape must not be larger than the images"),
        ({"images": []}, "images must be one or more"),
        ({"max_iter": 0}, "max_iter must be .* got 0"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"images": [np.eye(20)], "n_filters": 2, "filter_shape": 3, "max_iter": 1} | change
    with pytest.raises(InputError, match=message):
        learn_from_images(arguments.pop("images"), arguments.pop("n_filters"), arguments.pop("filter_shape"), **arguments)


def test_the_seed_decides(pictures):
    one, same, other = (learn_from_images(pictures, 4, 5, max_iter=2, seed=seed).dictionary.filters for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("online", "rounds"), [(False, 30), (True, 200)])
def test_how_long_it_learns_unless_told(pictures, online, rounds):
    records = []

    def stop(progress):
        records.append(progress)
        return True

    learn_from_images(pictures, 4, 5, online=online, crop=20, callback=stop)
    assert [(record.done, record.total) for record in records] == [(1, rounds)]


@pytest.mark.parametrize("online", [False, True])
def test_missing_pixels_are_left_out_of_the_objective(pictures, online):
    damaged = [picture.astype(float) for picture in pictures]
    damaged[0][8:24, 8:30] = np.nan
    layers = decompose(damaged, None)
    details, known = ([getattr(layer, name)[0] for layer in layers] for name in ("detail", "known"))
    learned = learn_from_images(damaged, 4, 5, max_iter=3, online=online, crop=20)
    settings = {"lmbda": 0.02, "max_iter": 3, "seed": 0}
    if online:
        alone = learn_dictionary_online(details, 4, 5, weights=known, crop=20, batch_size=4, **settings)
    else:
        alone = learn_dictionary(np.array(details), 4, 5, weights=np.array(known), **settings)
    np.testing.assert_allclose(learned.dictionary.filters, alone.dictionary.filters, atol=1e-5)


@pytest.mark.parametrize("online", [False, True])
def test_an_interrupted_run_goes_on_from_its_checkpoint_to_the_same_filters(pictures, tmp_path, online):
    settings = {"max_iter": 14, "online": online, "crop": 20, "fft": "scipy"}

    def interrupt(progress):
        if progress.done == 12:
            raise KeyboardInterrupt

    whole = learn_from_images(pictures, 4, 5, **settings)
    with pytest.raises(KeyboardInterrupt):
        learn_from_images(pictures, 4, 5, **settings, checkpoint=tmp_path / "run.npz", callback=interrupt)
    records = []
    resumed = learn_from_images(pictures, 4, 5, **settings, checkpoint=tmp_path / "run.npz", callback=records.append)
    assert [record.done for record in records] == [11, 12, 13, 14]
    np.testing.assert_array_equal(resumed.dictionary.filters, whole.dictionary.filters)
