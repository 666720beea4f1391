"""Infrared channels are found where scanners put them, and opacity isn't taken for one."""

import numpy as np
import pytest
import tifffile

from csc_cogd.errors import InputError
from csc_cogd.imagefiles import open_images, read_image
from csc_cogd.imagefiles.infrared import (
    infrared_file,
    infrared_of_page,
    read_infrared,
    split_infrared,
    with_cleaned,
)

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 60000, (24, 32, 3)).astype(np.uint16)
INFRARED = RNG.integers(30000, 50000, (24, 32)).astype(np.uint16)


@pytest.mark.parametrize("kind", [0, 2])
def test_a_fourth_channel_unspecified_or_unassociated(tmp_path, kind):
    tifffile.imwrite(tmp_path / "scan.tif", np.dstack([COLORS, INFRARED]), photometric="rgb", extrasamples=[kind])
    image = read_image(tmp_path / "scan.tif")
    colors, infrared = split_infrared(image)
    assert np.array_equal(colors, COLORS)
    assert np.array_equal(infrared, INFRARED)
    changed = with_cleaned(image, 60000 - COLORS)
    assert np.array_equal(changed.pixels, np.dstack([60000 - COLORS, INFRARED]))


@pytest.mark.parametrize("kind", [0, 2])
def test_opacity_isnt_infrared(tmp_path, kind):
    opacity = np.full_like(INFRARED, 65535)
    opacity[:5] = 0
    tifffile.imwrite(tmp_path / "picture.tif", np.dstack([COLORS, opacity]), photometric="rgb", extrasamples=[kind])
    colors, infrared = split_infrared(read_image(tmp_path / "picture.tif"))
    assert infrared is None
    assert np.array_equal(colors, COLORS)


def test_a_gray_page_behind_one_in_color(tmp_path):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as file:
        file.write(COLORS, photometric="rgb")
        file.write(INFRARED, photometric="minisblack")
        file.write(COLORS, photometric="rgb")
        file.write(INFRARED[:-1], photometric="minisblack")
    with open_images(tmp_path / "scan.tif") as pages:
        assert np.array_equal(infrared_of_page(pages, 0), INFRARED)
        assert infrared_of_page(pages, 1) is None
        assert infrared_of_page(pages, 2) is None  # of another size
        assert infrared_of_page(pages, 3) is None


def test_a_file_beside_or_one_that_is_named_or_one_in_a_folder(tmp_path):
    scan = tmp_path / "scan.png"
    assert infrared_file(scan, None) is None
    tifffile.imwrite(tmp_path / "scan_IR.tif", INFRARED)
    assert infrared_file(scan, None) == tmp_path / "scan_IR.tif"
    assert infrared_file(tmp_path / "scan_IR.tif", None) is None
    assert infrared_file(scan, tmp_path / "other.tif") == tmp_path / "other.tif"
    folder = tmp_path / "infrared"
    folder.mkdir()
    with pytest.raises(InputError, match=r"name it scan_IR\.tif"):
        infrared_file(scan, folder)
    tifffile.imwrite(folder / "scan.tif", INFRARED)
    assert infrared_file(scan, folder) == folder / "scan.tif"
    assert np.array_equal(read_infrared(folder / "scan.tif", 0, 1), INFRARED)


def test_a_file_with_another_number_of_pages_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "ir.tif", np.stack([INFRARED] * 3), photometric="minisblack")
    with pytest.raises(InputError, match="one for each page"):
        read_infrared(tmp_path / "ir.tif", 0, 2)
    assert read_infrared(tmp_path / "ir.tif", 1, 3).shape == INFRARED.shape
