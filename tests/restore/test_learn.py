import numpy as np
import pytest

from csc_cogd import CogradientRule, InputError, learn_from_pictures
from csc_cogd.restore.layers import split_layers


@pytest.fixture
def pictures(photo):
    return [photo[:36, :40], photo[40:76, 50:90]]


def test_learns_together_what_is_of_one_size(pictures):
    records = []
    dictionary, how = learn_from_pictures(pictures, (3, 4), (4, 6), max_iter=3, callback=records.append)
    assert dictionary.shapes.tolist() == [[4, 4]] * 3 + [[6, 6]] * 4
    assert how.startswith("3 rounds, objective")
    assert [record.done for record in records] == [1, 2, 3]
    assert records[0].total == 3


def test_learns_online_from_different_sizes_or_little_memory(pictures, photo):
    _, how = learn_from_pictures([*pictures, photo[:50, :44]], 4, 5, max_iter=2, batch_size=3, crop=20)
    assert how == "online, 2 batches of 3 crops"
    _, how = learn_from_pictures(pictures, 4, 5, max_iter=1, max_memory=1e5)
    assert how.startswith("online")
    _, how = learn_from_pictures(pictures, 4, 5, max_iter=1)
    assert how.startswith("1 rounds")


def test_learns_from_the_detail_whatever_the_brightness(pictures):
    bright = [picture.astype(np.float64) * 30 + 100 for picture in pictures]
    one, same = (learn_from_pictures(images, 4, 5, max_iter=3, dtype="float64")[0] for images in (pictures, bright))
    np.testing.assert_allclose(one.filters, same.filters, atol=1e-6)


def test_missing_pixels_do_not_count(pictures):
    damaged = [picture.astype(float) for picture in pictures]
    damaged[0][5:9, 5:9] = np.nan
    dictionary, _ = learn_from_pictures(damaged, 4, 5, max_iter=2)
    assert dictionary.provenance["masked"] is True
    assert not split_layers(damaged, None)[0].known.all()


def test_colour_and_a_start(pictures):
    colour = [np.stack([picture, picture // 2, picture], axis=-1) for picture in pictures]
    first, _ = learn_from_pictures(colour, 4, 5, channel_axis=-1, max_iter=2)
    assert first.filters.shape == (4, 3, 5, 5)
    more, _ = learn_from_pictures(colour, 4, 5, channel_axis=-1, max_iter=2, start=first)
    assert 0 < abs(more.filters - first.filters).max() < 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"online": True, "cogd": CogradientRule()}, "cogd: .* online learning doesn't keep"),
        ({"max_memory": 10, "cogd": CogradientRule()}, "cogd: .* raise max_memory"),
        ({"images": [np.eye(20), np.eye(21)], "online": False}, "online: pictures of different sizes"),
        ({"filter_shape": 50}, "larger than the images"),
        ({"images": []}, "there are none"),
        ({"max_iter": 0}, "max_iter: 0"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"images": [np.eye(20)], "n_filters": 2, "filter_shape": 3, "max_iter": 1} | change
    with pytest.raises(InputError, match=message):
        learn_from_pictures(arguments.pop("images"), arguments.pop("n_filters"), arguments.pop("filter_shape"), **arguments)
