"""Large scans filled in bands."""

import numpy as np
import pytest
from skimage import data

from csc_cogd import psnr
from csc_cogd.cleaning import fill as module
from csc_cogd.cleaning.fill import fill
from csc_cogd.engine import Engine
from csc_cogd.restore.report import SILENT
from csc_cogd.restore.settings import Solve, Tiling


@pytest.fixture(scope="module")
def scan():
    """A picture (3, 240, 160) uint8, and specks on it, some of them where bands of 80 rows meet."""
    planes = np.moveaxis(data.astronaut()[20:260, 120:280], 2, 0)
    missing = np.zeros((240, 160), bool)
    for row, column in ((20, 30), (78, 60), (79, 120), (120, 40), (158, 90), (200, 130)):
        missing[row : row + 4, column : column + 5] = True
    return planes, missing


def filled(scan, **options):
    planes, missing = scan
    return fill(np.where(missing, 255, planes), missing, Solve("fast"), Tiling(), Engine(), SILENT, **options)


def test_bands_fill_as_well_as_the_whole(scan, monkeypatch):
    planes, missing = scan
    whole, of_whole = filled(scan)
    monkeypatch.setattr(module, "HALO", 48)
    in_bands, of_bands = filled(scan, most_pixels=80 * 160)
    assert in_bands.dtype == np.uint8
    np.testing.assert_array_equal(in_bands[:, ~missing], planes[:, ~missing])
    reached, usual = (psnr(each[:, missing], planes[:, missing], data_range=255) for each in (in_bands, whole))
    assert reached > usual - 0.3
    assert len(of_bands.groups) == 3 * len(of_whole.groups)
    assert of_bands.missing == of_whole.missing
    assert of_bands.n_values == of_whole.n_values


def test_bands_in_which_nothing_is_missing_are_left_alone(scan, monkeypatch):
    planes, _ = scan
    missing = np.zeros((240, 160), bool)
    missing[100:104, 50:55] = True
    monkeypatch.setattr(module, "HALO", 48)
    _, report = filled((planes, missing), most_pixels=80 * 160)
    _, of_whole = filled((planes, missing))
    assert len(report.groups) == len(of_whole.groups)
