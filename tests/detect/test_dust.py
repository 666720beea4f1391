import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd import InputError, find_dust
from csc_cogd.detect.shapes import kind_of


@pytest.fixture
def scene(rng):
    """A smooth gray picture with a little grain and an edge across it, (160, 200) in [0, 255]."""
    smooth = gaussian_filter(rng.normal(0, 1, (160, 200)), 20)
    picture = 120 + 60 * smooth / abs(smooth).max() + rng.normal(0, 1.5, (160, 200))
    picture[:, 120:] += 40
    return picture


def disk(row, column, radius, shape=(160, 200)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def spoilt(scene, tone):
    """The picture with three specks, and where they are."""
    specks = disk(40, 50, 3) | disk(100, 70, 5) | disk(120, 160, 2)
    return np.where(specks, tone, scene), specks


@pytest.mark.parametrize(("tone", "polarity"), [(15, "dark"), (250, "light")])
def test_specks_are_found_with_their_outline(scene, tone, polarity):
    picture, specks = spoilt(scene, tone)
    found = find_dust(picture)
    assert found.counts() == {"speck": 3, "hair": 0, "scratch": 0}
    assert found.mask[specks].mean() > 0.95
    assert (found.mask & ~specks).sum() < 0.8 * specks.sum()  # a rim of a pixel
    assert {part.polarity for part in found.components} == {polarity}
    assert find_dust(picture, polarity=polarity).summary() == found.summary()
    other = {"dark": "light", "light": "dark"}[polarity]
    assert not find_dust(picture, polarity=other).mask[specks].any()


def test_components_describe_the_labels_worst_first(scene):
    picture, _ = spoilt(scene, 15)
    found = find_dust(picture)
    np.testing.assert_array_equal(found.labels > 0, found.mask)
    assert [part.label for part in found.components] == [1, 2, 3]
    assert found.components[0].area == max(part.area for part in found.components)
    for part in found.components:
        top, left, bottom, right = part.box
        inside = found.labels == part.label
        assert inside.sum() == part.area == inside[top:bottom, left:right].sum()
        assert inside[top].any()
        assert inside[bottom - 1].any()
        assert 0.5 < part.confidence <= 1
    assert found.transmission is None
    assert repr(found) == f"DustDetection(3 specks, {found.mask.mean():.2%} of the area)"


def test_edges_gradients_and_grain_are_left_alone(scene, rng):
    assert find_dust(scene).summary() == "nothing"
    assert find_dust(np.full((50, 60), 7, np.uint8)).summary() == "nothing"
    assert find_dust(np.add.outer(np.arange(90), np.arange(80))).summary() == "nothing"
    for noise in (rng.normal(0, 1, (300, 300)), rng.poisson(100, (300, 300))):
        assert find_dust(noise).mask.mean() < 5e-4


def test_the_scale_the_type_and_the_layout_of_a_picture_do_not_matter(scene):
    picture, _ = spoilt(scene, 15)
    whole = np.rint(picture).astype(np.uint8)
    mask = find_dust(whole).mask
    for same in (whole.astype(np.uint16) * 257, whole / 255.0, whole.astype(np.float32) * 1e6 - 3e4):
        np.testing.assert_array_equal(find_dust(same).mask, mask)
    for axis in (0, -1):
        np.testing.assert_array_equal(find_dust(np.stack([whole] * 3, axis), channel_axis=axis).mask, mask)


def test_a_negative_has_the_same_dust_in_the_other_polarity(scene):
    picture, specks = spoilt(scene, 15)
    found = find_dust(255 - picture, polarity="light")
    assert found.mask[specks].mean() > 0.95
    assert {part.polarity for part in found.components} == {"light"}


def test_hairs_and_scratches_are_told_from_specks(scene):
    rows, opacity = np.arange(20, 140), np.zeros(scene.shape)
    for offset in (0, 1):
        opacity[rows, 30 + offset] = 1
        opacity[rows, np.rint(80 + 15 * np.sin(rows / 20)).astype(int) + offset] = 1
    soft = gaussian_filter(opacity, 0.6)
    found = find_dust((1 - soft) * scene + soft * 40, sensitivity=1)
    assert found.counts()["scratch"] == 1
    assert found.counts()["hair"] == 1


def test_a_form_has_a_kind():
    assert kind_of(disk(20, 20, 6, (41, 41))) == "speck"
    assert kind_of(np.ones((4, 12), bool)) == "speck"
    assert kind_of(np.ones((1, 60), bool)) == "scratch"
    assert kind_of(np.eye(60, dtype=bool)) == "scratch"
    ring = disk(20, 20, 18, (41, 41)) & ~disk(20, 20, 16, (41, 41))
    assert kind_of(ring) == "hair"


def test_what_is_missing_is_not_looked_at(scene):
    picture, specks = spoilt(scene, 15)
    left = picture.copy()
    left[30:50, 40:60] = np.nan
    for given in (left, np.ma.array(picture, mask=np.isnan(left))):
        found = find_dust(given)
        assert found.counts()["speck"] == 2
        assert not found.mask[30:50, 40:60].any()
        assert found.mask[specks & ~np.isnan(left)].mean() > 0.95


def test_a_higher_sensitivity_finds_more(scene):
    picture = np.where(disk(40, 50, 3) | disk(100, 70, 4), scene - 8, scene)
    masks = [find_dust(picture, sensitivity=each).mask for each in (0, 0.5, 1)]
    assert masks[0].sum() <= masks[1].sum() < masks[2].sum()
    assert not (masks[0] & ~masks[2]).any()


def test_tiles_and_threads_leave_no_trace(scene, monkeypatch):
    picture, _ = spoilt(scene, 15)
    whole = find_dust(picture, threads=1)
    monkeypatch.setattr("csc_cogd.detect.dust.TILE", 64)
    reports = []
    tiled = find_dust(picture, threads=2, callback=reports.append)
    np.testing.assert_array_equal(find_dust(picture, threads=1).labels, tiled.labels)
    assert [report.done for report in reports] == list(range(13))
    assert reports[-1].total == 12
    assert [part.kind for part in tiled.components] == [part.kind for part in whole.components]
    assert (tiled.mask != whole.mask).sum() < 0.2 * whole.mask.sum()  # levels are measured within a tile's surroundings


def test_a_callback_ends_the_search(scene, monkeypatch):
    picture, _ = spoilt(scene, 15)
    monkeypatch.setattr("csc_cogd.detect.dust.TILE", 80)
    found = find_dust(picture, callback=lambda report: report.done == 1)
    assert [part.label for part in found.components] == [1]
    assert found.mask[40, 50]


def test_one_pixel_is_a_picture():
    assert find_dust(np.ones((1, 1))).summary() == "nothing"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"polarity": "grey"}, "polarity must be 'both', 'dark' or 'light', got 'grey'"),
        ({"sensitivity": 1.5}, "sensitivity must be a number from 0 to 1, got 1.5"),
        ({"sensitivity": float("nan")}, "sensitivity must be a number from 0 to 1, got nan"),
        ({"sensitivity": True}, "sensitivity must be a number from 0 to 1, got True"),
        ({"channel_axis": -1}, "image must have three axes"),
    ],
)
def test_what_is_wrong_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        find_dust(np.ones((20, 20)), **options)


def test_images_that_can_not_be_looked_at_are_refused():
    with pytest.raises(InputError, match="image must not be bilevel"):
        find_dust(np.ones((20, 20), bool))
    with pytest.raises(InputError, match="image has infinite values"):
        find_dust(np.full((20, 20), np.inf))
