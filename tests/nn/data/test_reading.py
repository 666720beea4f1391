"""Sets on disk, in every form, whole and broken."""

import pickle
import shutil
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from csc_cogd import InputError
from csc_cogd.nn import load_images, measure_normalization
from csc_cogd.nn.data import folders

CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def refuses(message, path, part="train", **settings):
    """Assert that reading raises an error of one line, with this text in it."""
    with pytest.raises(InputError) as caught:
        load_images(path, part, **settings)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    return text


# CIFAR's binary version


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    """A folder in the form of CIFAR-10's binary version, of noise; images (60000, 3, 32, 32) and labels."""
    folder = tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin"
    folder.mkdir()
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (10_000, 3073), np.uint8)
    records[:, 0] %= 10
    shifted = [np.roll(records, number, axis=0) for number in range(6)]
    for name, batch in zip(
        [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"], shifted, strict=True
    ):
        batch.tofile(folder / name)
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
    return folder, records


@pytest.mark.parametrize("above", [False, True])
def test_cifar10s_binary_version_is_read_in_its_order(cifar10, above):
    folder, records = cifar10
    images = load_images(folder.parent if above else folder, "test")
    wanted = np.roll(records, 5, axis=0)
    np.testing.assert_array_equal(images.labels, wanted[:, 0])
    red, green, blue = np.split(wanted[:, 1:], 3, axis=1)
    np.testing.assert_array_equal(images.images[..., 0], red.reshape(-1, 32, 32))
    np.testing.assert_array_equal(images.images[..., 1], green.reshape(-1, 32, 32))
    np.testing.assert_array_equal(images.images[..., 2], blue.reshape(-1, 32, 32))
    assert images.class_names == tuple(CIFAR10_NAMES)


def test_cifar10s_five_batches_follow_each_other(cifar10):
    folder, records = cifar10
    images = load_images(folder, "train")
    np.testing.assert_array_equal(images.labels, np.concatenate([np.roll(records[:, 0], number) for number in range(5)]))
    np.testing.assert_array_equal(images.images[40_000, 0, :5, 0], np.roll(records, 4, axis=0)[0, 1:6])


def test_cifar100_has_its_fine_labels(tmp_path):
    records = np.zeros((10_000, 3074), np.uint8)
    records[:, 0] = np.arange(10_000) % 20
    records[:, 1] = np.arange(10_000) % 100
    records[:, 2] = np.arange(10_000) % 256
    records.tofile(tmp_path / "test.bin")
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"name{number}" for number in range(100)))
    images = load_images(tmp_path, "test")
    np.testing.assert_array_equal(images.labels, np.arange(10_000) % 100)
    np.testing.assert_array_equal(images.images[:, 0, 0, 0], np.arange(10_000) % 256)
    assert images.class_names[99] == "name99"


def test_broken_binary_versions_are_refused(cifar10, tmp_path):
    folder = tmp_path / "cifar"
    shutil.copytree(cifar10[0], folder, ignore=shutil.ignore_patterns("data_batch_*"))
    refuses("data_batch_1.bin: can't be read (No such file or directory): unpack CIFAR-10 again", folder)
    (folder / "batches.meta.txt").rename(folder / "names")
    refuses("batches.meta.txt: the names of the classes can't be read", folder, "test")
    (folder / "batches.meta.txt").write_bytes(b"\xff\xfe\xff")
    refuses("batches.meta.txt: holds no names of classes", folder, "test")
    (folder / "batches.meta.txt").write_text("cat dog")
    refuses("test_batch.bin: labels must be ", folder, "test")
    shutil.copy(folder / "names", folder / "batches.meta.txt")
    content = (folder / "test_batch.bin").read_bytes()
    (folder / "test_batch.bin").write_bytes(content[:-3073])
    refuses("test_batch.bin: must hold 30730000 bytes, got 30726927", folder, "test")
    (folder / "test_batch.bin").write_bytes(b"\xc8" + content[1:])
    refuses("test_batch.bin: labels must be from 0 to 9, one a class, got 200", folder, "test")


def test_options_of_other_forms_are_refused(cifar10):
    refuses("image_size is for folders of classes", cifar10[0], image_size=32)
    refuses("holdout can't be used with ", cifar10[0], holdout=0.1)


@pytest.mark.parametrize("name", ["data_batch_1", "cifar-10-batches-py/batches.meta", "cifar-100-python/train"])
def test_pickles_are_refused_unread(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({"data": 1}))
    refuses("get the binary version, https://www.cs.toronto.edu", tmp_path)


# CIFAR-10, packed


def pack(path, images, labels, changes=None):
    strips = []
    for strip in np.split(images, 2):
        file = BytesIO()
        Image.fromarray(strip.reshape(-1, 32, 3)).save(file, "WEBP", lossless=True)
        strips.append(file.getvalue())
    arrays = {
        "webp": np.frombuffer(b"".join(strips), np.uint8),
        "offsets": np.cumsum([0, *map(len, strips)]),
        "labels": labels,
    }
    np.savez(path, **{name: array for name, array in {**arrays, **(changes or {})}.items() if array is not None})


def test_packed_cifar10_is_read_in_its_order(rng, tmp_path):
    batches = rng.integers(0, 256, (5, 6, 32, 32, 3)).astype(np.uint8)
    labels = rng.integers(0, 10, (5, 6)).astype(np.uint8)
    for number in range(5):
        pack(tmp_path / f"cifar10_data_batch_{number + 1}.npz", batches[number], labels[number])
    images = load_images(tmp_path, "train")
    np.testing.assert_array_equal(images.images, batches.reshape(-1, 32, 32, 3))
    np.testing.assert_array_equal(images.labels, labels.ravel())
    refuses("cifar10_test_batch.npz: no such packed CIFAR-10 file", tmp_path, "test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "as it has no labels"),
        ({"labels": np.zeros(5, int)}, "labels must be 6 integers, one an image, got int64 of shape (5,)"),
        ({"labels": np.full(6, 10)}, "labels must be from 0 to 9, one a class, got 10"),
        ({"webp": np.zeros(99, np.uint8)}, "its images can't be unpacked"),
        ({"offsets": np.array([0.5, 7])}, "its images can't be unpacked"),
        ({"offsets": np.array([0])}, "its images can't be unpacked"),
    ],
)
def test_damaged_packed_files_are_refused(changes, message, tmp_path):
    pack(tmp_path / "cifar10_test_batch.npz", np.zeros((6, 32, 32, 3), np.uint8), np.zeros(6, int), changes)
    assert "cifar10_test_batch.npz: " in refuses(message, tmp_path, "test")


def test_the_real_test_batch_is_that_of_the_binary_version(research_data, tmp_path):
    packed = load_images(research_data / "cifar10", "test")
    assert (np.bincount(packed.labels) == 1000).all()
    np.testing.assert_array_equal(packed.labels[:10], [3, 8, 8, 0, 6, 6, 1, 6, 3, 1])  # cat, ship, ship, airplane, ...
    records = np.concatenate([packed.labels[:, None], packed.images.transpose(0, 3, 1, 2).reshape(10_000, -1)], axis=1)
    records.astype(np.uint8).tofile(tmp_path / "test_batch.bin")
    (tmp_path / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES))
    binary = load_images(tmp_path, "test")
    np.testing.assert_array_equal(binary.images, packed.images)
    np.testing.assert_array_equal(binary.labels, packed.labels)
    assert binary.class_names == packed.class_names


def test_the_real_training_part_has_the_mean_and_deviation_that_everybody_uses(research_data):
    images = load_images(research_data / "cifar10", "train")
    assert (np.bincount(images.labels) == 5000).all()
    measured = measure_normalization(images)
    np.testing.assert_allclose(measured.mean, [0.4914, 0.4822, 0.4465], atol=6e-5)
    np.testing.assert_allclose(measured.std, [0.2470, 0.2435, 0.2616], atol=6e-5)


# Folders of classes


def draw(path, level, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 0, 0)).save(path)


@pytest.fixture
def classes(tmp_path):
    """Two classes to train on, with five images each, whose red tells them apart, and two to test with."""
    for label, name in enumerate(["ant", "bee"]):
        for number in range(5):
            draw(tmp_path / "train" / name / f"{number}.png", 10 * label + number)
        draw(tmp_path / "test" / name / "0.PNG", 100 + label)
    return tmp_path


def reds(images):
    return images.fetch(np.arange(len(images)))[:, 0, 0, 0].tolist()


def test_folders_of_classes_are_read_in_the_order_of_their_names(classes):
    images = load_images(classes, "train")
    assert images.in_memory
    assert images.image_shape == (3, 4, 6)
    assert images.class_names == ("ant", "bee")
    assert images.labels.tolist() == [0] * 5 + [1] * 5
    assert reds(images) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert reds(load_images(classes, "test")) == [100, 101]


def test_other_files_and_hidden_ones_are_left_out_and_inner_folders_are_not(classes):
    (classes / "train" / "ant" / "notes.txt").write_text("six legs")
    (classes / "train" / "ant" / "._0.png").write_text("of another system")
    (classes / "train" / ".cache").mkdir()
    draw(classes / "train" / "ant" / "young" / "5.png", 5)
    assert reds(load_images(classes, "train")) == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14]


def test_classes_are_those_to_train_on_whatever_there_is_to_test_with(classes):
    shutil.rmtree(classes / "test" / "ant")
    images = load_images(classes, "test")
    assert images.labels.tolist() == [1]
    draw(classes / "test" / "cow" / "0.png", 1)
    refuses("cow: isn't a class of the training images", classes, "test")


def test_images_to_validate_with_stand_in_for_unsorted_ones_to_test_with(classes):
    (classes / "test").rename(classes / "val")
    draw(classes / "test" / "unsorted.png", 1)
    assert reds(load_images(classes, "test")) == [100, 101]


def test_images_of_several_sizes_are_read_when_they_are_fetched(classes):
    draw(classes / "train" / "bee" / "5.jpg", 0, size=(50, 30))
    refuses("5.jpg: has 50 x 30 pixels, but 0.png 6 x 4: add image_size", classes)
    images = load_images(classes, "train", image_size=8)
    assert not images.in_memory
    assert images.image_shape == (3, 8, 8)
    assert images.fetch([0, 10]).shape == (2, 8, 8, 3)
    assert reds(images.take([7, 1])) == [12, 1]
    draw(classes / "train" / "ant" / "1.png", 77)
    assert reds(images.take([7, 1])) == [12, 77]


def test_many_images_of_one_size_are_too(classes, monkeypatch):
    monkeypatch.setattr(folders, "MEMORY", 100)
    images = load_images(classes, "train")
    assert not images.in_memory
    assert images.image_shape == (3, 4, 6)
    assert reds(images) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


def test_size_keeps_images_of_that_size_as_they_are(tmp_path, rng):
    pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    (tmp_path / "train" / "ant").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "train" / "ant" / "0.png")
    images = load_images(tmp_path, "train", image_size=8)
    assert images.in_memory
    np.testing.assert_array_equal(images.images, [pixels])


@pytest.mark.parametrize("base", ["", "train"])
def test_without_parts_a_share_is_held_out(classes, base):
    shutil.rmtree(classes / "test")
    folder = classes if base else classes / "train"
    refuses("has no images to test with: add holdout, such as 0.1", folder, "test")
    train, test = (load_images(folder, part, holdout=0.4) for part in ("train", "test"))
    assert np.bincount(train.labels).tolist() == [3, 3]
    assert np.bincount(test.labels).tolist() == [2, 2]
    assert sorted(reds(train) + reds(test)) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert reds(load_images(folder, "test", holdout=0.4)) == reds(test)


def test_with_parts_none_is(classes):
    refuses("holdout can't be used with ", classes, holdout=0.1)


def test_broken_folders_are_refused(classes, tmp_path):
    (classes / "train" / "cow").mkdir()
    refuses("cow: holds no images", classes)
    (classes / "train" / "cow" / "0.png").write_text("no picture")
    refuses("0.png: can't be read as an image", classes)
    shutil.rmtree(classes / "train")
    refuses("has images to test with, but none to train on", classes)
    assert reds(load_images(classes, "test")) == [100, 101]
    for part in ("train", "val"):
        draw(tmp_path / "unsorted" / part / "0.png", 0)
    refuses("holds neither CIFAR nor folders of classes", tmp_path / "unsorted", holdout=0.1)
    (tmp_path / "empty").mkdir()
    refuses("holds neither CIFAR nor folders of classes", tmp_path / "empty")


# Arrays in an npz file


def test_arrays_are_read_and_grey_becomes_rgb(rng, tmp_path):
    pixels = rng.integers(0, 256, (10, 5, 4)).astype(np.uint8)
    for gray in (pixels, pixels[..., None]):
        np.savez(tmp_path / "a.npz", train_images=gray, train_labels=np.arange(10) % 2, class_names=["odd", "even"])
        images = load_images(tmp_path / "a.npz", "train")
        np.testing.assert_array_equal(images.images, np.stack([pixels] * 3, axis=-1))
        assert images.class_names == ("odd", "even")
        refuses("holds neither images nor test_images", tmp_path / "a.npz", "test")


def test_both_parts_have_the_classes_of_all_labels(tmp_path):
    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    labels = np.array([0, 1, 255], np.uint8)
    np.savez(tmp_path / "a.npz", train_images=pixels, train_labels=labels, test_images=pixels[:2], test_labels=labels[:2])
    assert load_images(tmp_path / "a.npz", "test").class_names == tuple(map(str, range(256)))
    refuses("holdout can't be used with ", tmp_path / "a.npz", holdout=0.5)


def test_arrays_without_parts_are_split(rng, tmp_path):
    labels = rng.permutation(np.repeat([0, 1, 2], [100, 41, 9]))
    numbers = np.arange(150, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=np.broadcast_to(numbers[:, None, None], (150, 8, 8)), labels=labels)
    refuses("has no images to test with: add holdout, such as 0.1", tmp_path / "a.npz")
    train, test = (load_images(tmp_path / "a.npz", part, holdout=0.2) for part in ("train", "test"))
    assert np.bincount(test.labels).tolist() == [20, 8, 2]
    assert sorted(reds(train) + reds(test)) == numbers.tolist()
    np.testing.assert_array_equal(test.labels, labels[reds(test)])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 4, 4)), "labels": np.zeros(2, int)}, "255 being white, got float64 of (2, 4, 4)"),
        (
            {"images": np.zeros((2, 3, 4, 4), np.uint8), "labels": np.zeros(2, int)},
            "images must be uint8 of shape (N, H, W)",
        ),
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "labels must be stored, an integer an image"),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array(["a", "b"])},
            "labels must be stored, an integer an image",
        ),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, 1 << 40])}, "one a class, got 1099511627776"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, -1])}, "one a class, got -1"),
        ({"images": np.zeros((0, 4, 4), np.uint8), "labels": np.zeros(0, int)}, "images must not be empty"),
        ({"images": np.array([{}]), "labels": np.zeros(1, int)}, "allow_pickle"),
        ({"x": np.zeros(3)}, "holds neither images nor train_images"),
    ],
)
def test_other_arrays_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    assert "a.npz: " in refuses(message, tmp_path / "a.npz", holdout=0.5)


def test_other_files_and_arguments_are_refused(tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"\x1f\x8b")
    refuses("unpack it first, if it is an archive", tmp_path / "cifar-10-binary.tar.gz")
    (tmp_path / "a.npz").write_bytes(b"PK, but no more")
    refuses("a.npz: not a data set file", tmp_path / "a.npz")
    refuses("nowhere: no such file or folder", tmp_path / "nowhere")
    refuses("part must be 'train', 'test' or 'whole', got 'val'", tmp_path, "val")
    refuses("image_size must be 1 or more, got 0", tmp_path, image_size=0)
