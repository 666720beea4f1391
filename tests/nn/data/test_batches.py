"""Batches, and the normalisation of their pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from csc_cogd import InputError
from csc_cogd.nn import Augmentation, ImageSet, Normalization, batches, load_images, measure_normalization

HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
EVERYTHING = Augmentation(crop=2, flip=True, cutout=3, area=0.5)


@pytest.fixture
def images(rng):
    """In memory, each of one color that tells its number."""
    pixels = rng.integers(0, 256, (23, 8, 6, 3)).astype(np.uint8)
    pixels[..., 0] = np.arange(23)[:, None, None]
    return ImageSet(pixels, np.arange(23) % 4, tuple("abcd"))


@pytest.fixture
def files(images, tmp_path):
    """The same kind of set, in files of several sizes."""
    for number, pixels in enumerate(images.images):
        folder = tmp_path / "train" / "abcd"[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.repeat(2 + number % 2, axis=0).repeat(3, axis=1)).save(folder / f"{number:02}.png")
    return load_images(tmp_path, "train", image_size=8)


def test_without_a_generator_images_come_in_order(images):
    found = list(batches(images, 10, normalization=HALF))
    assert [len(x) for x, _ in found] == [10, 10, 3]
    x = np.concatenate([x for x, _ in found])
    np.testing.assert_allclose(x, images.images.transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), images.labels)
    assert all(x.flags.c_contiguous and x.dtype == np.float32 and labels.dtype == np.int64 for x, labels in found)


def test_with_one_they_are_shuffled_and_keep_their_labels(images):
    found = list(batches(images, 10, normalization=HALF, rng=np.random.default_rng(0)))
    numbers = np.concatenate([np.rint(127.5 * (x[:, 0, 0, 0] + 1)).astype(int) for x, _ in found])
    assert (numbers != np.arange(23)).any()
    np.testing.assert_array_equal(np.sort(numbers), np.arange(23))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), images.labels[numbers])


@pytest.mark.parametrize("kind", ["images", "files"])
@pytest.mark.parametrize(
    ("batch_size", "at_least", "sizes"),
    [(11, 1, [11, 11, 1]), (11, 2, [11, 12]), (10, 3, [10, 10, 3]), (10, 4, [10, 13]), (23, 2, [23]), (99, 99, [23]),
     (1, 2, [1] * 23)],
)  # fmt: skip
def test_too_few_images_for_a_last_batch_join_the_one_before(kind, batch_size, at_least, sizes, request):
    chosen = request.getfixturevalue(kind)
    found = list(batches(chosen, batch_size, normalization=HALF, at_least=at_least))
    assert [len(x) for x, _ in found] == sizes
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), chosen.labels)


@pytest.mark.parametrize("kind", ["images", "files"])
def test_the_generator_decides_order_and_content(kind, request):
    chosen = request.getfixturevalue(kind)

    def epoch(*seed):
        rng = np.random.default_rng(seed)
        found = list(batches(chosen, 6, normalization=HALF, rng=rng, augmentation=EVERYTHING))
        return np.concatenate([x for x, _ in found]), np.concatenate([labels for _, labels in found])

    first, again, other = epoch(0, 3), epoch(0, 3), epoch(0, 4)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()
    np.testing.assert_array_equal(np.bincount(first[1]), np.bincount(chosen.labels))


@pytest.mark.parametrize("kind", ["images", "files"])
def test_a_generator_is_left_the_same_however_many_batches_are_taken(kind, request):
    chosen = request.getfixturevalue(kind)
    after = []
    for n_taken in (0, 1, 4):
        rng = np.random.default_rng(5)
        found = batches(chosen, 6, normalization=HALF, rng=rng, augmentation=EVERYTHING)
        for _ in range(n_taken):
            next(found)
        after.append(rng.random())
    assert after[0] == after[1] == after[2]


def test_images_in_files_come_as_they_are_fetched(files):
    assert not files.in_memory
    x = np.concatenate([x for x, _ in batches(files, 5, normalization=HALF)])
    np.testing.assert_allclose(x, files.fetch(np.arange(23)).transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)


def test_a_file_that_vanished_is_named(files):
    found = batches(files, 5, normalization=HALF)
    next(found)
    for path in files.images.paths[15:]:
        Path(path).unlink()
    with pytest.raises(InputError, match=r"\.png: no such file"):
        list(found)


def test_squares_are_zero_once_normalized(rng):
    pixels = np.full((64, 8, 8, 3), 255, np.uint8)
    images = ImageSet(pixels, np.zeros(64, int), ("a",))
    normalization = Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    x, _ = next(batches(images, 64, normalization=normalization, rng=rng, augmentation=Augmentation(cutout=4)))
    cut = x < 1
    assert 0.1 < cut.mean() < 0.25
    assert abs(x[cut]).max() < 0.5 / 255 / 0.2435 + 1e-6


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_pixels_are_normalized_by_channel(dtype, rng):
    pixels = rng.integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    mean, std = np.array([0.1, 0.5, 0.7]), np.array([0.2, 0.3, 1.5])
    x = Normalization(mean, std)(pixels, dtype)
    assert x.dtype == dtype
    wanted = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(x, wanted, atol=2 * np.finfo(dtype).eps, rtol=2 * np.finfo(dtype).eps)


def test_measured_mean_and_deviation_are_numpys(rng):
    pixels = (rng.random((300, 5, 4, 3)) * [256, 99, 3]).astype(np.uint8)
    measured = measure_normalization(ImageSet(pixels, np.zeros(300, int), ("a",)))
    np.testing.assert_allclose(measured.mean, (pixels / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(measured.std, (pixels / 255).std(axis=(0, 1, 2)), rtol=1e-12)


def test_a_set_without_contrast_is_not_measured():
    with pytest.raises(InputError, match="images must have different pixels in each channel"):
        measure_normalization(ImageSet(np.ones((2, 4, 4, 3), np.uint8), np.zeros(2, int), ("a",)))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5,), (1, 1, 1), "mean must be three numbers, one a channel"),
        ((0.5, np.nan, 0), (1, 1, 1), "mean must be three numbers, one a channel"),
        ((0, 0, 0), (1, 0, 1), "std must be three positive numbers, one a channel"),
        ("0.5, 0.5, 0.5", (1, 1, 1), "mean must be three numbers, .*got 0.5, 0.5, 0.5"),
        ((0, 0, 0), {"a": 1}, "std must be three positive numbers, one a channel"),
        (["x", 1, 2], (1, 1, 1), "mean must be three numbers, one a channel"),
        (None, (1, 1, 1), "mean must be three numbers, .*got None"),
        ((10**400, 0, 0), (1, 1, 1), "mean must be three numbers, one a channel"),
        (((1, 2), 3, 4), (1, 1, 1), "mean must be three numbers, one a channel"),
    ],
)
def test_a_normalization_of_other_numbers_is_refused(mean, std, message):
    with pytest.raises(InputError, match=message):
        Normalization(mean, std)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"augmentation": EVERYTHING}, "augmentation needs a random generator: add rng"),
        ({"dtype": "int32"}, "dtype must be a floating-point type, got int32"),
    ],
)
def test_arguments_are_checked_before_the_first_batch(images, setting, message):
    with pytest.raises(InputError, match=message):
        batches(images, **{"batch_size": 4, "normalization": HALF, **setting})
