"""Pictures in files: decoded, turned upright, resized and cropped."""

import os

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from csc_cogd import InputError
from csc_cogd.nn.data.files import ImageFiles


def save(path, pixels, **options):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return str(path)


@pytest.fixture
def photograph(rng):
    """Smooth and colored, (512, 640, 3)."""
    coarse = Image.fromarray(rng.integers(0, 256, (9, 11, 3)).astype(np.uint8))
    return np.array(coarse.resize((640, 512), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("turned", [False, True])
def test_the_center_is_that_of_the_picture_resized_to_256_and_cropped_to_224(photograph, turned, tmp_path):
    if turned:
        photograph = photograph.transpose(1, 0, 2)
    path = save(tmp_path / "photograph.png", photograph)
    small = Image.fromarray(photograph).resize((256, 320) if turned else (320, 256), Image.Resampling.BILINEAR)
    top, left = (48, 16) if turned else (16, 48)
    wanted = np.array(small)[top : top + 224, left : left + 224]
    np.testing.assert_allclose(ImageFiles((path,), (224, 224)).read([0])[0].astype(int), wanted, atol=1)


def test_pictures_of_the_size_are_taken_as_they_are(rng, tmp_path):
    pixels = rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)
    files = ImageFiles((save(tmp_path / "a.png", pixels),), (24, 32))
    np.testing.assert_array_equal(files.read([0, 0]), [pixels, pixels])


def test_a_piece_is_cut_from_the_whole_picture(photograph, tmp_path):
    files = ImageFiles((save(tmp_path / "photograph.png", photograph),), (64, 64))
    quarter = [64 * 64 / (512 * 640), 1.0, 0.5, 1.0]
    np.testing.assert_array_equal(files.read([0], np.array([quarter]))[0], photograph[224:288, 576:640])
    wide = [0.5, 4 / 5 * 2, 0.0, 0.0]  # half of the area, and twice as wide as the picture is in proportion
    width, height = (0.5 * 512 * 640 * 1.6) ** 0.5, (0.5 * 512 * 640 / 1.6) ** 0.5
    wanted = Image.fromarray(photograph).resize((64, 64), Image.Resampling.BILINEAR, (0, 0, width, height))
    np.testing.assert_array_equal(files.read([0], np.array([wide]))[0], np.array(wanted))


def test_sides_longer_than_the_picture_are_cut_to_it(photograph, tmp_path):
    files = ImageFiles((save(tmp_path / "strip.png", photograph[:16]),), (16, 16))
    found = files.read([0], np.array([[1.0, 0.75, 0.3, 0.0]]))[0]
    width = (16 * 640 * 0.75) ** 0.5
    wanted = Image.fromarray(photograph[:16]).resize((16, 16), Image.Resampling.BILINEAR, (0, 0, width, 16))
    np.testing.assert_array_equal(found, np.array(wanted))


def test_files_are_read_in_the_order_asked_for(tmp_path):
    paths = tuple(save(tmp_path / f"{level}.png", np.full((4, 4, 3), level)) for level in range(40))
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_array_equal(ImageFiles(paths, (4, 4)).read(order)[:, 0, 0, 0], order)
    assert ImageFiles(paths, (4, 4)).take([3, 1]).paths == (paths[3], paths[1])


@pytest.mark.parametrize(
    ("mode", "color", "wanted"),
    [
        ("L", 70, (70, 70, 70)),
        ("1", 1, (255, 255, 255)),
        ("LA", (70, 9), (70, 70, 70)),
        ("RGBA", (10, 20, 30, 40), (10, 20, 30)),
        ("P", (10, 20, 30), (10, 20, 30)),
    ],
)
def test_all_modes_become_rgb(mode, color, wanted, tmp_path):
    picture = Image.new("RGB", (5, 4), color).quantize() if mode == "P" else Image.new(mode, (5, 4), color)
    options = {"transparency": 0} if mode == "P" else {}
    picture.save(tmp_path / "a.png", **options)
    np.testing.assert_array_equal(ImageFiles((str(tmp_path / "a.png"),), (4, 5)).read([0])[0, 1, 1], wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation, tmp_path):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8] = 255
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(ImageFiles((path,), (16, 24)).read([0])[0], upright)


def test_pictures_deeper_than_8_bits_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png: has more than 8 bits a channel"):
        ImageFiles((str(tmp_path / "deep.png"),), (4, 4)).read([0])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow warns of damaged TIFF, and raises
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tif", "a.ppm"])
def test_damaged_files_are_named(name, photograph, tmp_path):
    path = save(tmp_path / name, photograph[:64, :64])
    ImageFiles((path,), (32, 32)).read([0])
    content = (tmp_path / name).read_bytes()
    for damaged in (content[: len(content) // 2], content[:9], b"", bytes(len(content))):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match=rf"{name}: can't be read as an image") as caught:
            ImageFiles((path,), (32, 32)).read([0])
        assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.png: no such file"):
        ImageFiles((os.path.join(tmp_path, "nowhere.png"),), (4, 4)).read([0])


@pytest.mark.parametrize("turned", [1, 6])
@pytest.mark.parametrize("crop", [None, (0.1, 1.2, 0.1, 0.8)])
def test_large_jpegs_are_decoded_in_part_and_look_the_same(turned, crop, tmp_path, rng, monkeypatch):
    smooth = np.asarray(
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).resize((900, 720), Image.Resampling.BICUBIC)
    )
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95, exif=exif.tobytes())
    sizes, draft = [], JpegImageFile.draft

    def watched(picture, mode, size):
        draft(picture, mode, size)
        sizes.append(picture.size)

    monkeypatch.setattr(JpegImageFile, "draft", watched)
    files = ImageFiles((str(tmp_path / "a.jpg"),), (40, 56))
    crops = None if crop is None else np.array([crop])
    found = files.read([0], crops)[0].astype(float)
    assert sizes[-1] == ((450, 360) if crop else (225, 180))
    monkeypatch.setattr(JpegImageFile, "draft", lambda picture, mode, size: None)
    whole = files.read([0], crops)[0].astype(float)
    assert abs(found - whole).mean() < 1
    assert abs(found - whole).max() < 16
