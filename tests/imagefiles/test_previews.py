"""No preview in the metadata shows the picture before: somebody may have been painted out."""

import base64
import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cogd.imagefiles import read_image
from tests.imagefiles.making import exif, pillow, pixels_of, png, rewritten, tiff

PIXELS = pixels_of(np.random.default_rng(3), (60, 80))
PREVIEW = pillow(Image.fromarray(PIXELS[::2, ::2]), "JPEG")
NOTE = b"Maker\0\1\2" + PREVIEW + b"the note goes on"


def with_thumbnails():
    """EXIF data: a maker's note with a preview, then two directories of thumbnails, a JPEG and plain pixels."""
    tags = Image.Exif()
    tags[271] = "Maker"
    tags.get_ifd(0x8769)[0x927C] = NOTE
    data = bytearray(tags.tobytes().removeprefix(b"Exif\0\0"))
    order = "<" if data[:2] == b"II" else ">"
    end = 8 + 2 + 12 * struct.unpack_from(f"{order}H", data, 8)[0]
    data += bytes(len(data) % 2)
    second = len(data)
    third = second + 2 + 2 * 12 + 4
    at = third + 2 + 2 * 12 + 4
    struct.pack_into(f"{order}I", data, end, second)
    data += struct.pack(f"{order}HHHIIHHIII", 2, 513, 4, 1, at, 514, 4, 1, len(PREVIEW), third)
    data += struct.pack(f"{order}HHHIIHHIII", 2, 273, 4, 1, at + len(PREVIEW), 279, 4, 1, PIXELS.nbytes, 0)
    return bytes(data) + PREVIEW + PIXELS.tobytes()


def photoshop():
    body = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", 4) + b"IPTC"
    return body + b"8BIM\x04\x0c\0\0" + struct.pack(">I", len(PREVIEW)) + PREVIEW


def app(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def sources():
    xmp = b"<x><xmpGImg:image>" + base64.b64encode(PREVIEW) + b"</xmpGImg:image></x>"
    packet = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    jpeg = pillow(Image.fromarray(PIXELS), "JPEG")
    jpeg = jpeg[:2] + app(0xE1, b"Exif\0\0" + with_thumbnails()) + app(0xE1, packet) + app(0xED, photoshop()) + jpeg[2:]
    iptc = [(34377, 7, len(photoshop()), photoshop(), False), (700, 1, len(xmp), xmp, False)]
    return {
        "a.jpg": jpeg,
        "a.png": png(PIXELS, (b"eXIf", with_thumbnails()), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
        "a.tif": tiff(PIXELS, extratags=sorted(iptc)),
    }


def traces(content):
    """Pieces of the pictures before."""
    return [piece in content for piece in (PREVIEW[-300:-200], PIXELS.tobytes()[:200], base64.b64encode(PREVIEW)[-300:-200])]


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("target", ["b.jpg", "b.png", "b.tif"])
def test_previews_are_wiped_in_every_format(tmp_path, source, target):
    content = sources()[source]
    assert any(traces(content))
    (tmp_path / source).write_bytes(content)
    (image,), _ = rewritten(tmp_path / source, tmp_path / target)
    written = (tmp_path / target).read_bytes()
    assert not any(traces(written.replace(image.pixels.tobytes(), b"")))
    assert not any(traces(image.exif or b""))


def test_what_is_around_previews_stays(tmp_path):
    (tmp_path / "a.jpg").write_bytes(sources()["a.jpg"])
    rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg")
    image = read_image(tmp_path / "b.jpg")
    assert len(image.exif) == len(with_thumbnails())
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + image.exif)
    assert tags[271] == "Maker"
    assert tags.get_ifd(0x8769)[0x927C] == NOTE.replace(PREVIEW, bytes(len(PREVIEW)))
    assert image.xmp == b"<x><xmpGImg:image></xmpGImg:image></x>"
    assert photoshop().replace(PREVIEW, bytes(len(PREVIEW))) in (tmp_path / "b.jpg").read_bytes()
    with tifffile.TiffFile(io.BytesIO(sources()["a.tif"])) as opened:
        assert PREVIEW in opened.pages[0].tags[34377].value


def test_directories_behind_one_another_in_a_circle_end(tmp_path):
    data = bytearray(with_thumbnails())
    order = "<" if data[:2] == b"II" else ">"
    second = len(data) - len(PREVIEW) - PIXELS.nbytes - 2 * 30
    third = second + 30
    struct.pack_into(f"{order}I", data, third + 26, second)
    (tmp_path / "a.png").write_bytes(png(PIXELS, (b"eXIf", bytes(data))))
    assert not any(traces(read_image(tmp_path / "a.png").exif))


def test_what_only_begins_like_a_jpeg_hides_no_preview_behind_it(tmp_path):
    note = NOTE.replace(PREVIEW, b"\xff\xd8\xff\xe0 none" + PREVIEW)
    tags = Image.Exif()
    tags.get_ifd(0x8769)[0x927C] = note
    (tmp_path / "a.png").write_bytes(png(PIXELS, (b"eXIf", tags.tobytes().removeprefix(b"Exif\0\0"))))
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + read_image(tmp_path / "a.png").exif)
    assert tags.get_ifd(0x8769)[0x927C] == note.replace(PREVIEW, bytes(len(PREVIEW)))


def test_without_previews_metadata_are_left_alone(tmp_path):
    (tmp_path / "a.png").write_bytes(
        png(PIXELS, (b"eXIf", exif().replace(b"a maker's note", b"\xff\xd8\xff\xe0 no JPEG"[:14])))
    )
    image = read_image(tmp_path / "a.png")
    assert b"\xff\xd8\xff\xe0 no JPEG"[:14] in image.exif
