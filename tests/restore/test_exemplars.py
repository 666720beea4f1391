"""Large holes filled with what the picture shows elsewhere."""

import numpy as np
import pytest

from csc_cogd import InputError, Solve, inpaint
from csc_cogd.restore.exemplars import synthesize

SHAPE = (150, 170)
HOLE = (slice(55, 95), slice(60, 102))


@pytest.fixture(scope="module")
def pebbles():
    """Texture that doesn't repeat: noise between two scales, uint8."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(3).standard_normal(SHAPE)
    texture = gaussian_filter(noise, 1.0) - gaussian_filter(noise, 3.0)
    return np.rint(np.clip(128 + 35 * texture / texture.std(), 0, 255)).astype(np.uint8)


@pytest.fixture
def mask():
    missing = np.zeros(SHAPE, bool)
    missing[HOLE] = True
    return missing


def filled(image, mask, **options):
    marked = mask if image.ndim == 2 else mask[..., None]
    axis = None if image.ndim == 2 else -1
    return inpaint(
        np.where(marked, 0, image).astype(image.dtype), mask, channel_axis=axis, effort="fast", return_report=True, **options
    )


def contrast(image):
    return float(image[62:88, 67:95].std())


def test_a_photograph_s_large_hole_gets_texture_and_the_report_says_so(pebbles, mask):
    textured, report = filled(pebbles, mask)
    smooth, plain = filled(pebbles, mask, fill="smooth")
    assert contrast(smooth) < 0.5 * contrast(pebbles)
    assert 0.6 * contrast(pebbles) < contrast(textured) < 1.3 * contrast(pebbles)
    assert report.invented == pytest.approx(mask.mean())
    assert "invented" in repr(report)
    assert plain.invented == 0
    assert "invented" not in repr(plain)
    np.testing.assert_array_equal(textured, filled(pebbles, mask, threads=1)[0])  # seeded


def test_nothing_is_invented_in_data_of_science_unless_it_is_asked_for(pebbles, mask):
    for image in (pebbles / 255.0, pebbles.astype(np.int32), np.stack([pebbles] * 2, axis=-1)):
        assert filled(image, mask)[1].invented == 0
    _, reports = inpaint(pebbles[None], mask, stack_axis=0, effort="fast", return_report=True)
    assert reports[0].invented == 0
    assert filled(pebbles / 255.0, mask, fill="texture")[1].invented == pytest.approx(mask.mean())


def test_smooth_surroundings_get_no_texture(mask):
    i, j = np.mgrid[: SHAPE[0], : SHAPE[1]]
    slope = (60 + 0.4 * i + 0.3 * j).astype(np.uint8)
    restored, report = filled(slope, mask)
    assert report.invented == 0
    assert abs(restored.astype(int) - slope)[mask].max() < 8


def test_all_channels_get_the_same_places(pebbles, mask):
    """Gray in color stays gray."""
    restored, _ = filled(np.stack([pebbles] * 3, axis=-1), mask)
    assert np.ptp(restored.astype(int), axis=-1).max() <= 2


def test_a_fill_is_refused_by_its_name(pebbles, mask):
    with pytest.raises(InputError, match="fill must be one of 'auto', 'smooth', 'texture', got 'much'"):
        filled(pebbles, mask, fill="much")
    assert Solve(fill="texture").of_science().fill == "texture"


def test_a_regular_texture_is_gone_on_with():
    i, j = np.mgrid[:120, :120]
    tiles = ((i // 6 + j // 6) % 2).astype(float)[None]
    missing = np.zeros((120, 120), bool)
    missing[45:75, 40:70] = True
    result = synthesize(np.where(missing, 0, tiles), missing, np.full_like(tiles, 0.5))
    assert (abs(result - tiles)[:, missing] < 0.25).mean() > 0.9


def test_where_no_patch_is_known_there_is_none():
    missing = np.ones((20, 20), bool)
    missing[::5] = False
    assert synthesize(np.zeros((1, 20, 20)), missing, np.zeros((1, 20, 20))) is None
