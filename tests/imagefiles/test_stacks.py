import os
import resource
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
import tifffile

from csc_cogd import InputError
from csc_cogd.imagefiles import ImageFile, create_images, open_images, read_image, write_image
from tests.imagefiles.making import npy, npz, pixels_of, rewritten, tiff

CUBE = pixels_of(np.random.default_rng(6), (4, 9, 7), "uint16")


@pytest.mark.parametrize(
    ("shape", "axes", "n_pages", "page"),
    [
        ((4, 9, 7), "NYX", 4, lambda array, n: array[n]),
        ((4, 9, 7), "CYX", 1, lambda array, n: np.moveaxis(array, 0, -1)),
        ((4, 9, 7), "YXC", 1, lambda array, n: array),
        ((4, 9, 7), "YXZ", 7, lambda array, n: array[..., n]),
        ((4, 9, 7), "XNY", 9, lambda array, n: array[:, n].T),
        ((2, 4, 9, 7), "TZYX", 8, lambda array, n: array[n // 4, n % 4]),
        ((2, 4, 9, 7), "TCYX", 2, lambda array, n: np.moveaxis(array[n], 0, -1)),
        ((5, 9, 7, 3), "NYXC", 5, lambda array, n: array[n]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_axes_by_letters(tmp_path, rng, shape, axes, n_pages, page, kind):
    array = pixels_of(rng, shape, "float32")
    source, target = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    source.write_bytes(npy(array) if kind == "npy" else npz(it=array))
    pages, notes = rewritten(source, target, axes)
    assert (len(pages), notes) == (n_pages, [])
    for number, image in enumerate(pages):
        np.testing.assert_array_equal(image.pixels, page(array, number))
    again = np.load(target)
    np.testing.assert_array_equal(again if kind == "npy" else again["it"], array)


@pytest.mark.parametrize(
    ("content", "axes", "message"),
    [
        (npy(CUBE), None, r"shape \(4, 9, 7\) are ambiguous: name them by axes, such as NYX"),
        (npy(CUBE[None]), None, "name them by axes, such as NYXC"),
        (npy(CUBE[0, 0]), None, "isn't .H, W."),
        (npy(CUBE), "NYXC", "axes must name 3 axes for an array of shape .4, 9, 7., got 'NYXC'"),
        (npy(CUBE), "NYY", "axes must have Y, X"),
        (npy(CUBE), "CZY", "axes must have Y, X"),
        (npy(CUBE), "nyx", "capital"),
        (npz(a=CUBE), None, "name them by axes"),
        (npz(a=np.arange(5)), None, "no array in it is an image"),
        (npz(a=CUBE), "NYXC", "no array in it is an image of axes NYXC"),
        (
            tiff(CUBE, photometric="minisblack"),
            "NYX",
            "axes must be left out for TIFF, or 'CYX' if its pages are channels, got 'NYX'",
        ),
    ],
)
def test_axes_that_do_not_fit_are_named(tmp_path, content, axes, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_images(tmp_path / "a", axes=axes)


def test_axes_of_a_png_are_known(tmp_path, photo):
    write_image(ImageFile(photo, tmp_path / "a.png", "png"), tmp_path / "a.png")
    with pytest.raises(InputError, match="axes must not be given for PNG, whose axes are known"):
        read_image(tmp_path / "a.png", axes="YX")


def test_an_upscaled_stack_keeps_its_axes(tmp_path):
    np.save(tmp_path / "a.npy", CUBE)
    with open_images(tmp_path / "a.npy", axes="ZYX") as reader, create_images(tmp_path / "b.npy", reader) as writer:
        for page in reader:
            writer.write(page.with_pixels(page.pixels.repeat(2, 0).repeat(2, 1)))
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), CUBE.repeat(2, 1).repeat(2, 2))


def test_pages_of_a_tiff_can_be_the_channels_of_one_image(tmp_path):
    tags = [(65000, 2, 0, "kept", False)]
    (tmp_path / "a.tif").write_bytes(tiff(CUBE, photometric="minisblack", compression="lzw", extratags=tags))
    (image,), notes = rewritten(tmp_path / "a.tif", tmp_path / "b.tif", "CYX")
    np.testing.assert_array_equal(image.pixels, np.moveaxis(CUBE, 0, -1))
    assert notes == []
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), CUBE)
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert [page.tags[65000].value for page in opened.pages] == ["kept"] * 4


def test_a_description_beside_that_of_tifffile_is_kept(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", CUBE, photometric="minisblack", description="exposure=3")
    rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert [tag.value for tag in opened.pages[0].tags if tag.code == 270] == ["exposure=3", '{"shape": [4, 9, 7]}']


def test_pages_of_a_tiff_may_differ(tmp_path, rng):
    pages = [pixels_of(rng, (9, 7)), pixels_of(rng, (5, 6, 3), "float32"), pixels_of(rng, (1, 1), "int16")]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number, page in enumerate(pages):
            color = "rgb" if page.ndim == 3 else "minisblack"
            writer.write(page, photometric=color, description=f"page {number}", metadata=None)
    rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    rewritten(tmp_path / "a.tif", tmp_path / "b.npz")
    with tifffile.TiffFile(tmp_path / "b.tif") as opened, np.load(tmp_path / "b.npz") as arrays:
        assert [page.description for page in opened.pages] == ["page 0", "page 1", "page 2"]
        for page, stored, array in zip(pages, opened.pages, arrays.values(), strict=True):
            np.testing.assert_array_equal(stored.asarray(), page)
            np.testing.assert_array_equal(array, page)
    with pytest.raises(InputError, match="the images differ in shape or type"):
        rewritten(tmp_path / "a.tif", tmp_path / "b.npy")
    assert not (tmp_path / "b.npy").exists()
    with pytest.raises(InputError, match="has 3 pages, but one image is needed"):
        read_image(tmp_path / "a.tif")


def test_other_arrays_of_an_npz_are_carried_over_and_never_unpickled(tmp_path, rng):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    image, table = pixels_of(rng, (9, 7, 3), "float32"), np.arange(5)
    np.savez_compressed(tmp_path / "a.npz", image=image, table=table, words=np.array("two words"), trap=np.array([Trap()]))
    rewritten(tmp_path / "a.npz", tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz") as before, np.load(tmp_path / "b.npz") as after:
        assert sorted(before.files) == sorted(after.files)
        np.testing.assert_array_equal(after["image"], image)
        np.testing.assert_array_equal(after["table"], table)
        assert after["words"] == "two words"
        assert before.zip.read("trap.npy") == after.zip.read("trap.npy")
    _, notes = rewritten(tmp_path / "a.npz", tmp_path / "b.tif")
    assert notes == ["array table, array words, array trap aren't carried over from NPZ to TIFF"]
    assert not (tmp_path / "sprung").exists()


def test_every_image_of_an_npz_is_a_page(tmp_path, rng):
    arrays = {"first": pixels_of(rng, (3, 9, 7)), "second": pixels_of(rng, (2, 5, 6), "float64"), "third": np.eye(3)}
    (tmp_path / "a.npz").write_bytes(npz(**arrays))
    pages, _ = rewritten(tmp_path / "a.npz", tmp_path / "b.npz", "NYX")
    assert [page.pixels.shape for page in pages] == [(9, 7)] * 3 + [(5, 6)] * 2
    with np.load(tmp_path / "b.npz") as again:
        for name, array in arrays.items():
            np.testing.assert_array_equal(again[name], array)


@pytest.mark.parametrize("kind", ["tif", "npy"])
def test_a_stack_is_never_held_as_a_whole(tmp_path, kind):
    page_size, n_pages = 256 * 1024, 64
    stack = np.arange(n_pages, dtype=np.uint8)[:, None, None] + np.zeros((512, 512), np.uint8)
    source = tmp_path / f"a.{kind}"
    source.write_bytes(npy(stack) if kind == "npy" else tiff(stack, photometric="minisblack", compression="zlib"))
    rewritten(source, tmp_path / f"b.{kind}", "NYX" if kind == "npy" else None)  # once, so that imports don't count
    del stack
    tracemalloc.start()
    with (
        open_images(source, axes="NYX" if kind == "npy" else None) as reader,
        create_images(tmp_path / f"b.{kind}", reader, overwrite=True) as writer,
    ):
        for page in reader:
            writer.write(page)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * page_size
    assert np.array_equal((tifffile.imread if kind == "tif" else np.load)(tmp_path / f"b.{kind}")[:, 3, 5], range(n_pages))


def test_what_is_wrong_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(CUBE))
    with open_images(tmp_path / "a.npy", axes="NYX") as reader:
        for name in ("b.npy", "b.npz", "b.tif"):
            with (
                pytest.raises(InputError, match="1 of 4 pages were given"),
                create_images(tmp_path / name, reader) as writer,
            ):
                writer.write(reader.read(0))
            with suppress(KeyboardInterrupt), create_images(tmp_path / name, reader) as writer:
                writer.write(reader.read(0))
                raise KeyboardInterrupt
        with pytest.raises(InputError, match="page must be from 0 to 3, got 4"):
            reader.read(4)
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "npy", "npz"])
def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, rng, kind):
    image = ImageFile(pixels_of(rng, (99, 99)), tmp_path / "source.png", "png")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        with pytest.raises(InputError, match=f"b.{kind}: can't be written: File too large"):
            write_image(image, tmp_path / f"b.{kind}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_before_is_called_with_the_finished_file(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(CUBE, photometric="minisblack"))
    seen = []

    def look(temporary):
        assert not (tmp_path / "b.tif").exists()
        seen.append(tifffile.imread(temporary))

    with open_images(tmp_path / "a.tif") as reader, create_images(tmp_path / "b.tif", reader, before=look) as writer:
        for page in reader:
            writer.write(page)
    np.testing.assert_array_equal(seen, [CUBE])
