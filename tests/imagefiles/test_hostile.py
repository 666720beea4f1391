"""Files that were made to do harm, or that change while they are read: they cost nothing but themselves."""

import io
import os
import struct
import zipfile
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from csc_cogd import InputError
from csc_cogd.batch import restore_batch
from csc_cogd.imagefiles import MaskRules, open_images, read_image
from tests.imagefiles.making import (
    claiming,
    missing_pixels,
    npy,
    npz,
    peak_of,
    pillow,
    pixels_of,
    png,
    raw_png,
    rewritten,
    tiff,
    unpacking_to_more,
)

PIXELS = pixels_of(np.random.default_rng(12), (40, 48, 3))
STACK = pixels_of(np.random.default_rng(13), (4, 60, 50))


# -- files that are cut short while they are read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "axes"),
    [
        (npy(STACK), "NYX"), (npy(np.moveaxis(STACK, 0, -1)), "YXN"), (npy(np.asfortranarray(STACK)), "NYX"),
        (tiff(STACK, photometric="minisblack"), None), (npz(a=STACK), "NYX"),
    ],
    ids=["pages", "scattered", "Fortran's order", "TIFF", "npz"],
)  # fmt: skip
def test_a_file_that_is_cut_short_meanwhile_is_an_error_of_its_own(tmp_path, content, axes):
    path = tmp_path / "a"
    path.write_bytes(content)
    with open_images(path, axes=axes) as reader:
        if axes:
            os.truncate(path, 200)
        else:
            reader.read(0)
            os.truncate(path, len(content) // 2)
        with pytest.raises(InputError, match=r"a: damaged .*(ends too early|end of|[Tt]runcated|Bad magic)"):
            reader.read(3)


def test_a_mask_that_is_cut_short_meanwhile_is_an_error_of_its_own(tmp_path):
    np.save(tmp_path / "image.npy", STACK)
    np.save(tmp_path / "mask.npy", STACK > 200)
    rules = MaskRules(tmp_path / "mask.npy")
    with (
        open_images(tmp_path / "image.npy", axes="NYX") as images,
        open_images(tmp_path / "mask.npy", template=images.peek()) as masks,
    ):
        missing_pixels(images.read(0), rules, n_pages=4, masks=masks)
        os.truncate(tmp_path / "mask.npy", 200)
        with pytest.raises(InputError, match=r"mask\.npy: damaged .*ends too early"):
            missing_pixels(images.read(1), rules, page=1, n_pages=4, masks=masks)


def test_in_a_batch_it_costs_only_its_own_result(tmp_path):
    pixels = np.where(STACK > 250, np.nan, STACK.astype(np.float32))
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, pixels)

    def cut(progress):
        if (tmp_path / "a.npy").stat().st_size > 200:
            os.truncate(tmp_path / "a.npy", 200)

    options = {"axes": "NYX", "effort": "fast", "max_iter": 1, "device": "cpu", "callback": cut}
    a, b = restore_batch(tmp_path, tmp_path / "out", **options)
    assert (a.status, b.status) == ("failed", "done")
    assert "a.npy: damaged or unsupported NPY: the file ends too early" in a.error
    assert [path.name for path in (tmp_path / "out").iterdir() if not path.is_dir()] == ["b.npy"]


@pytest.mark.parametrize(
    ("shape", "axes", "order"),
    [
        ((700, 3, 9000), "YNX", "C"), ((3, 700, 9000), "NYX", "C"), ((700, 9000, 3), "YXN", "C"),
        ((700, 3, 9000), "YNX", "F"), ((3, 700, 9000), "NYX", "F"),
    ],
)  # fmt: skip
def test_large_arrays_are_read_and_written_in_pieces(tmp_path, rng, shape, axes, order):
    array = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape, order=order)
    np.save(tmp_path / "a.npy", array)
    rewritten(tmp_path / "a.npy", tmp_path / "b.npy", axes)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


# -- PNG -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("large_last", [False, True])
def test_a_png_has_one_header(tmp_path, interlaced, large_last):
    headers = [struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, interlaced) for side in (8, 50_000)]
    headers = headers if large_last else headers[::-1]
    data = zlib.compress(bytes(2**24))
    path = tmp_path / "a.png"
    path.write_bytes(raw_png((b"IHDR", headers[0]), (b"IHDR", headers[1]), (b"IDAT", data), (b"IEND", b"")))
    said, peak = peak_of(path)
    assert "a.png: damaged or unsupported PNG: it doesn't begin with one header" in said
    assert peak < 2**24


GREY_ROWS = b"".join(b"\0" + bytes(range(8)) for _ in range(8))
GRAY = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
INDEXED = struct.pack(">IIBBBBB", 8, 8, 8, 3, 0, 0, 0)
RGBA = struct.pack(">IIBBBBB", 2, 8, 8, 6, 0, 0, 0)
MORE = "what is behind the pixels in the PNG's data isn't carried over"
WRONG = "the checksum of the PNG's pixels is wrong: some of them may be damaged"
CLEAR = "the damaged PNG chunk tRNS isn't carried over"


@pytest.mark.parametrize(
    ("chunks", "notes"),
    [
        ([(b"IHDR", GRAY), (b"IDAT", zlib.compress(GREY_ROWS + b"more"))], [MORE]),
        ([(b"IHDR", GRAY), (b"IDAT", zlib.compress(GREY_ROWS) + b"more")], [MORE]),
        ([(b"IHDR", GRAY), (b"IDAT", zlib.compress(GREY_ROWS)), (b"IDAT", b"more")], [MORE]),
        ([(b"IHDR", GRAY), (b"IDAT", zlib.compress(GREY_ROWS)[:-4] + b"abcd")], [WRONG]),
        ([(b"IHDR", GRAY), (b"IDAT", zlib.compress(GREY_ROWS)[:-4]), (b"IDAT", b"ab"), (b"IDAT", b"cd")], [WRONG]),
        ([(b"IHDR", GRAY), (b"PLTE", bytes(9)), (b"IDAT", zlib.compress(GREY_ROWS))], []),
        ([(b"IHDR", GRAY), (b"tRNS", bytes(5)), (b"IDAT", zlib.compress(GREY_ROWS))], [CLEAR]),
        ([(b"IHDR", RGBA), (b"tRNS", bytes(6)), (b"IDAT", zlib.compress(GREY_ROWS))], [CLEAR]),
        ([(b"IHDR", INDEXED), (b"PLTE", bytes(24)), (b"tRNS", bytes(9)), (b"IDAT", zlib.compress(GREY_ROWS))], [CLEAR]),
        ([(b"IHDR", INDEXED), (b"tRNS", bytes(2)), (b"PLTE", bytes(24)), (b"IDAT", zlib.compress(GREY_ROWS))], []),
    ],
    ids=[
        "data",
        "compressed data",
        "chunk",
        "sum",
        "sum in pieces",
        "palette",
        "opacity",
        "two opacities",
        "long opacity",
        "opacity first",
    ],
)
def test_what_libpng_would_warn_of_is_a_note_and_not_printed(tmp_path, capfd, chunks, notes):
    (tmp_path / "a.png").write_bytes(raw_png(*chunks, (b"IEND", b"")))
    image = read_image(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")
    assert list(image.notes) == notes
    shown = image.pixels if image.pixels.ndim == 2 else image.pixels.reshape(8, -1)
    if chunks[0] == (b"IHDR", INDEXED):
        assert not image.colors.any()
    else:
        np.testing.assert_array_equal(shown, np.tile(np.arange(8, dtype=np.uint8), (8, 1)))


@pytest.mark.parametrize("change", [{0: 0}, {0: 2**31 - 1}, {2: 3}, {2: 32}, {3: 1}, {3: 9}, {4: 1}, {5: 1}, {6: 2}])
def test_headers_that_libpng_would_warn_of_are_refused_in_words(tmp_path, capfd, change):
    values = [change.get(place, value) for place, value in enumerate((8, 8, 8, 0, 0, 0, 0))]
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", *values)), (b"IDAT", zlib.compress(GREY_ROWS)), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(raw_png(*chunks))
    with pytest.raises(
        InputError, match=r"a\.png: damaged .*(pixels of an unknown kind|can't be read: 1 to 1000000 a side)"
    ):
        read_image(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")


def test_metadata_of_a_png_inflate_to_so_much_together(tmp_path):
    text = zlib.compress(b"\nexif\n  9\n" + bytes(10 * 2**20))
    chunks = [(b"zTXt", b"Raw profile type exif\0\0" + text), (b"iCCP", b"name\0\0" + text)]
    (tmp_path / "a.png").write_bytes(png(PIXELS, *chunks))
    image = read_image(tmp_path / "a.png")
    assert image.icc_profile is None
    assert set(image.notes) == {f"the damaged PNG chunk {kind} isn't carried over" for kind in ("zTXt", "iCCP")}
    np.testing.assert_array_equal(image.pixels, PIXELS)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(), (2,), (3,), (4,)])
def test_narrow_png_come_back(tmp_path, rng, width, shape):
    for dtype in ("uint8", "uint16"):
        pixels = pixels_of(rng, (2000, width, *shape), dtype)
        np.save(tmp_path / "a.npy", pixels)
        rewritten(tmp_path / "a.npy", tmp_path / "b.png", "YXC" if shape else "YX")
        np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "b.png").read_bytes()), pixels)


# -- JPEG ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stray", [b"stray", b"\0", b"\xff\0", b"a\xff\xff\xff", b"\xff\xd0", b"\xff\x01b"])
def test_bytes_between_the_segments_of_a_jpeg_do_not_matter(tmp_path, stray):
    content = pillow(Image.fromarray(PIXELS), "JPEG", comment=b"hello")
    shown = np.asarray(Image.open(io.BytesIO(content)))
    for marker in (b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"):
        (tmp_path / "a.jpg").write_bytes(content.replace(marker, stray + marker, 1))
        image = read_image(tmp_path / "a.jpg")
        np.testing.assert_array_equal(image.pixels, shown)
        rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg")
        with Image.open(tmp_path / "b.jpg") as picture:
            assert picture.info["comment"] == b"hello"


def test_a_jpeg_of_endless_scans_is_refused(tmp_path):
    content = pillow(Image.fromarray(PIXELS[..., 0]), "JPEG", progressive=True)
    empty = b"\xff\xda\0\x08\x01\x01\0\x01\x3f\x10"
    (tmp_path / "a.jpg").write_bytes(content[:-2] + 1000 * empty + content[-2:])
    with pytest.raises(InputError, match=r"its pixels are in 10\d\d scans"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(content + 1000 * empty)  # behind its end, nobody decodes them
    assert read_image(tmp_path / "a.jpg").pixels.shape == (40, 48)


# -- NPY and NPZ ---------------------------------------------------------------------------------------------------------


def test_other_arrays_of_an_npz_may_not_unpack_to_gigabytes(tmp_path):
    (tmp_path / "a.npz").write_bytes(claiming(2**30 + 2**24, image=PIXELS))
    with pytest.raises(InputError, match=r"a\.npz: claims arrays of 1\.1 GB, in a file of \d+ bytes"):
        open_images(tmp_path / "a.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_members_do_not_unpack_to_more_than_they_claim(tmp_path, method):
    (tmp_path / "a.npz").write_bytes(unpacking_to_more(2**26, method, image=PIXELS))
    said, peak = peak_of(tmp_path / "a.npz")
    assert peak < 2**24
    assert ("isn't compressed as by NumPy: save it by np.savez_compressed" in said) == (method != zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (10**9, 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 1000000000000)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 0)}",
        f"{'(' * 5000}{')' * 5000}",
        f"{'-' * 9000}1",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775808, 4, 4)}",
        "{'descr': '|S0', 'fortran_order': False, 'shape': (9223372036854775808, 4, 4)}",
        "{'descr': 'what', 'fortran_order': False, 'shape': (4, 4)}",
        "{'descr': '|S9999999', 'fortran_order': False, 'shape': (4, 4)}",
        "1l",
        "[",
    ],
    ids=[
        "negative",
        "computed",
        "huge",
        "empty",
        "brackets",
        "signs",
        "endless",
        "of nothing",
        "type",
        "texts",
        "Python 2",
        "half",
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_headers_of_nonsense_are_refused(tmp_path, header, kind):
    text = header.encode() + b"\n"
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(64)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content)
    if kind == "npz":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("image.npy", content)
    for axes in (None, "NYX"):
        with pytest.raises(InputError, match=rf"^\S+a\.{kind}: [^\n]+$"):
            read_image(path, axes=axes)
