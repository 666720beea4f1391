"""Files that can't be read: one line, soon, and in little memory."""

import io
import os
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from csc_cogd import InputError
from csc_cogd.imagefiles import open_images, read_image
from tests.imagefiles.making import exif, npy, npz, pillow, pixels_of, png, tiff

PIXELS = pixels_of(np.random.default_rng(8), (40, 48, 3))
WHOLE = {
    "png": png(PIXELS.astype("u2"), (b"tEXt", b"Title\0x"), (b"eXIf", exif())),
    "palette": pillow(Image.fromarray(PIXELS).quantize(16), "PNG", transparency=3),
    "jpeg": pillow(Image.fromarray(PIXELS), "JPEG", comment=b"hello"),
    "tiff": tiff(PIXELS, photometric="rgb", tile=(16, 16), compression="zlib", extratags=[(65000, 5, 1, (1, 2), False)]),
    "strips": tiff(PIXELS, photometric="rgb", rowsperstrip=4),
    "webp": pillow(Image.fromarray(PIXELS), "WEBP", lossless=True, exif=exif()),
    "lossy webp": pillow(Image.fromarray(PIXELS), "WEBP"),
    "bmp": pillow(Image.fromarray(PIXELS), "BMP"),
    "npy": npy(PIXELS),
    "npz": npz(a=PIXELS, b=np.arange(4)),
}


def pages_of(path):
    with open_images(path) as reader:
        return list(reader)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "a"


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_file_that_is_cut_off_is_refused(place, content):
    for length in (0, 1, 3, 9, len(content) // 3, len(content) // 2, len(content) - 40):
        place.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"^[^\n]*$"):
            pages_of(place)


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
@given(data=st.data())
def test_damage_is_survived_or_named(place, content, data):
    damaged = bytearray(content)
    for position in data.draw(st.lists(st.integers(0, min(len(content), 400) - 1), min_size=1, max_size=4)):
        damaged[position] = data.draw(st.sampled_from([0, 1, 127, 255]))
    place.write_bytes(damaged)
    try:
        assert all(image.pixels.size for image in pages_of(place))
    except InputError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


def huge_png():
    content = bytearray(png(PIXELS))
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def huge_jpeg():
    content = bytearray(WHOLE["jpeg"])
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 60000, 60000)
    return bytes(content)


def huge_tiff():
    content = bytearray(tiff(PIXELS, photometric="rgb", compression="zlib"))
    for code in (256, 257, 278):
        content[(start := content.index(struct.pack("<HHI", code, 4, 1))) : start + 12] = struct.pack(
            "<HHII", code, 4, 1, 60000
        )
    return bytes(content)


def huge_npz(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w", zipfile.ZIP_DEFLATED) as file, file.open("a.npy", "w") as member:
        header = {"descr": "|u1", "fortran_order": False, "shape": (60000, 60000)}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(10**6))
    return (tmp_path / "z").read_bytes()


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "npz"])
def test_a_small_file_that_claims_to_be_huge_is_refused(tmp_path, kind):
    content = {"png": huge_png, "jpeg": huge_jpeg, "tiff": huge_tiff, "npz": lambda: huge_npz(tmp_path)}[kind]()
    (tmp_path / "a").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"claims 60000 x 60000 pixels, .* GB, in a file of .* bytes"):
        read_image(tmp_path / "a")
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_metadata_that_inflate_without_end_are_left_out(tmp_path):
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2**25))
    (tmp_path / "a.png").write_bytes(png(PIXELS, (b"iTXt", body)))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert (image.xmp, image.notes) == (None, ("the damaged PNG chunk iTXt isn't carried over",))


def test_a_chain_of_pages_that_goes_in_a_circle_is_refused(tmp_path):
    content = bytearray(tiff(np.zeros((3, 8, 8), np.uint8), photometric="minisblack"))
    with tifffile.TiffFile(io.BytesIO(content)) as opened:
        last, first = opened.pages[-1].offset, opened.pages[0].offset
    n_tags = struct.unpack_from("<H", content, last)[0]
    struct.pack_into("<I", content, last + 2 + 12 * n_tags, first)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match="goes in a circle"):
        open_images(tmp_path / "a.tif")


def test_a_tiff_that_lacks_strips_is_refused(tmp_path):
    content = bytearray(WHOLE["strips"])
    start = content.index(struct.pack("<HHI", 257, 4, 1))
    struct.pack_into("<I", content, start + 8, 4000)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match="it has 10 of 1000 strips or tiles"):
        read_image(tmp_path / "a.tif")


ANIMATION = pillow(
    Image.fromarray(PIXELS), "PNG", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])], default_image=False
)
REFUSED = {
    "CMYK": (tiff(np.zeros((8, 9, 4), "u1"), photometric="separated"), "CMYK"),
    "YCbCr": (tiff(PIXELS, photometric="ycbcr"), "YCBCR aren't supported"),
    "complex": (tiff(np.zeros((8, 9), "c8")), "pixels of type complex64 aren't supported: .*imaginary"),
    "signed": (tiff(np.zeros((8, 9), "i2"), photometric="miniswhite"), "MINISWHITE isn't supported for int16"),
    "hidden stack": (tiff(PIXELS, photometric="minisblack", truncate=True, metadata={}), "it hides a stack behind 1 page"),
    "camera's raw file": (tiff(PIXELS, photometric="rgb", extratags=[(50706, 1, 4, b"\1\4\0\0", False)]), "DNG"),
    "animation": (ANIMATION, "animations aren't supported: save their pictures"),
    "zip": (b"PK\5\6" + bytes(18), "no array in it is an image"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_supported_is_named(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a")


def test_things_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    for name, message in {
        "pipe.png": "isn't a regular file", "loop.png": "can't be read: Too many levels", "dangling.png": "no such file",
        "x" * 300: "can't be read: File name too long", "a\0b": "can't be read",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=message):
            open_images(tmp_path / name)
    with pytest.raises(InputError, match="isn't a regular file"):
        open_images("/dev/null")


@pytest.mark.parametrize(("kind", "name"), [("GIF", "GIF"), ("JPEG2000", "JPEG 2000")])
def test_formats_that_are_not_read_are_named(tmp_path, kind, name):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", kind)
    with pytest.raises(InputError, match=rf"a\.png: {name} can't be read: convert it to PNG or TIFF"):
        read_image(tmp_path / "a.png")
