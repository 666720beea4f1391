"""Sets of labeled images in memory."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import ImageSet, PruningRecipe, batches, build_network, evaluate, measure_normalization, prune, train
from tests.nn.training.small import HALF, RECIPE, SmallNetwork, small_images

PIXELS = np.arange(6 * 4 * 5 * 3, dtype=np.uint16).reshape(6, 4, 5, 3).astype(np.uint8)
LABELS = np.array([2, 0, 1, 0, 2, 0], np.uint8)


@pytest.fixture
def images():
    return ImageSet(PIXELS, LABELS, ("ant", "bee", "cat"))


def test_a_set_knows_its_size_and_gives_labels_as_int64(images):
    assert len(images) == 6
    assert images.image_shape == (3, 4, 5)
    assert images.in_memory
    assert images.labels.dtype == np.int64


def test_fetched_pixels_are_a_copy(images):
    pixels = images.fetch([4, 1])
    np.testing.assert_array_equal(pixels, PIXELS[[4, 1]])
    pixels[:] = 0
    np.testing.assert_array_equal(images.fetch([4, 1]), PIXELS[[4, 1]])


@pytest.mark.parametrize("indices", [[5, 0], np.array([True, False, False, False, False, True])])
def test_taking_keeps_images_labels_and_names_together(images, indices):
    taken = images.take(indices)
    np.testing.assert_array_equal(taken.images, PIXELS[indices])
    np.testing.assert_array_equal(taken.labels, LABELS[indices])
    assert taken.class_names == images.class_names


def test_the_first_are_all_if_there_are_fewer(images):
    np.testing.assert_array_equal(images.first(2).labels, [2, 0])
    assert len(images.first(100)) == 6


def test_a_split_holds_out_a_share_of_each_class():
    labels = np.repeat([0, 1, 2, 3], [40, 20, 3, 1])
    pixels = np.arange(64, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    most, held_out = ImageSet(pixels, labels, tuple("abcd")).split(0.1)
    np.testing.assert_array_equal(np.bincount(held_out.labels, minlength=4), [4, 2, 1, 0])
    numbers = np.concatenate([most.images[:, 0, 0, 0], held_out.images[:, 0, 0, 0]])
    np.testing.assert_array_equal(np.sort(numbers), np.arange(64))
    assert (np.diff(most.images[:, 0, 0, 0].astype(int)) > 0).all()
    np.testing.assert_array_equal(most.labels, labels[most.images[:, 0, 0, 0]])


def test_the_seed_decides_a_split():
    images = ImageSet(np.arange(300, dtype=np.uint16).reshape(100, 1, 1, 3).astype(np.uint8), np.zeros(100, int), ("a",))
    first, again, other = (images.split(0.3, seed=seed)[1].images for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_split_refuses_what_is_no_share(images, share):
    with pytest.raises(InputError, match="holdout must be between 0 and 1"):
        images.split(share)


def test_a_split_refuses_classes_of_one_image(images):
    with pytest.raises(InputError, match="holdout needs a class of two or more images"):
        images.take([0, 1, 2]).split(0.5)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS.astype(float), LABELS, r"images must be uint8 .*got float64"),
        (PIXELS[..., 0], LABELS, r"images must be uint8 of shape .*got uint8 of .6, 4, 5."),
        (PIXELS[..., :2], LABELS, "images must be uint8 of shape"),
        (PIXELS[:0], LABELS[:0], "images must not be empty"),
        (PIXELS, LABELS[:5], "labels must be 6 integers, .*got uint8 of shape .5,."),
        (PIXELS, LABELS.astype(float), "labels must be 6 integers, .*got float64"),
        (PIXELS, LABELS.astype(int) - 1, "labels must be from 0 to 2, .*got -1"),
        (PIXELS, LABELS + 1, "labels must be from 0 to 2, .*got 3"),
    ],
)
def test_wrong_images_and_labels_are_refused(pixels, labels, message):
    with pytest.raises(InputError, match=message):
        ImageSet(pixels, labels, ("ant", "bee", "cat"))


@pytest.mark.parametrize(
    "use",
    [
        lambda images: evaluate(SmallNetwork(), images, normalization=HALF),
        lambda images: train(SmallNetwork(), images, RECIPE, normalization=HALF),
        lambda images: train(SmallNetwork(), small_images(), RECIPE, normalization=HALF, test=images),
        lambda images: prune(build_network("resnet20", 2), images, PruningRecipe(budget=0.5), normalization=HALF),
        lambda images: batches(images, 2, normalization=HALF),
        lambda images: measure_normalization(images),
    ],
)
def test_pixels_alone_are_refused_where_labels_are_needed(use):
    with pytest.raises(InputError, match="images must be an ImageSet of pixels, labels and class names, got ndarray"):
        use(small_images().images)
