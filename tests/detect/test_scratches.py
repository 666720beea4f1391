import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd import find_dust
from csc_cogd.detect.scratches import _radon, faint_scratches


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_a_scratch_of_little_more_than_the_noise_is_found_along_its_length(rng, turn, slope):
    picture = rng.normal(100, 5, (500, 420))
    rows = np.arange(40, 470)
    columns = np.rint(150 + slope * rows).astype(int)
    picture[rows, columns] -= 1.3 * 5
    found = find_dust(np.rot90(picture, turn))
    mask = np.rot90(found.mask, -turn)
    assert mask[rows, columns].mean() > 0.85
    near = np.zeros(mask.shape, bool)
    for offset in range(-3, 4):
        near[rows, columns + offset] = True
    assert (mask & ~near).sum() < 200  # it is followed a little beyond its ends
    assert found.components[0].kind == "scratch"
    assert found.components[0].polarity == "dark"


def test_edges_bands_and_noise_are_no_scratches(rng):
    noise = rng.normal(0.5, 0.02, (400, 400)).astype(np.float32)
    edge = noise + 0.03 * (np.arange(400) > 200).astype(np.float32)
    bands = noise + 0.03 * np.sin(np.arange(400) / 2).astype(np.float32)
    wide = noise - 0.03 * gaussian_filter((np.arange(400) // 20 == 10).astype(np.float32), 5)
    for picture in (noise, edge, bands, wide):
        for sign in (1, -1):
            assert faint_scratches(picture, sign).max() < 0.7


@pytest.mark.parametrize(("waves", "is_scratch"), [(0.0, True), (0.35, False), (2.0, True)])
def test_a_scratch_crosses_what_varies_or_nothing(rng, waves, is_scratch):
    """Waves are the standard deviation of what is around along the line, to its height."""
    height, rows = 0.02, np.arange(400)[:, None]
    picture = rng.normal(0.5, 0.015, (400, 400)) + np.sqrt(2) * waves * height * np.sin(rows / 11)
    picture[:, 200] -= height
    found = faint_scratches(picture.astype(np.float32), 1)
    assert (found[:, 200] > 0.7).mean() > 0.8 if is_scratch else found.max() < 0.3


def test_sums_of_the_radon_transform_are_those_along_lines(rng):
    plane = rng.normal(0, 1, (256, 300)).astype(np.float32)
    for length, sums in _radon(plane):
        rows = np.arange(length)
        for slope in (0, length - 1):  # where digital lines leave no choice
            columns = 20 + rows * slope // (length - 1)
            assert sums[0, slope, 20] == pytest.approx(plane[rows, columns].sum(), rel=1e-4, abs=1e-3)
