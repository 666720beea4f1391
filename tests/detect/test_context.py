"""What candidates say of each other."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from csc_cogd.detect.candidates import find_candidates
from csc_cogd.detect.context import COUNT, NONE, UNLIKELY, Suspects, in_context
from csc_cogd.detect.features import LEAST_BLOCKINESS, RADII, RADIUS, UNTOLD, Scene, quality_told

N_FEATURES, STEEPNESS = 50, 47
ABOVE_2, NEAR_SUM, NEAR_COUNT, NEAR_MEAN, OTHER_SIZE, ALIKE_MEAN = 3, 8, 9, 10, 11, 12


def suspects(places, logit, *, signs=None, radius=None):
    n = len(places)
    features = np.zeros((n, N_FEATURES), np.float32)
    features[:, RADIUS] = RADII[0] if radius is None else radius
    signs = np.ones(n, int) if signs is None else np.array(signs)
    return Suspects(features, np.array(logit, float), np.array(places, float).reshape(n, 2), signs)


def context(of, megapixels=1.0):
    both = in_context(of, megapixels)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[:, :N_FEATURES], of.features)
    assert both.shape == (len(of.logit), N_FEATURES + COUNT)
    return both[:, N_FEATURES:]


def test_those_of_a_polarity_are_counted_by_area():
    of = suspects([(0, 0), (200, 0), (0, 200), (200, 200)], [3, 3, 1, 3], signs=[1, 1, 1, -1])
    np.testing.assert_allclose(context(of, 2.0)[:, ABOVE_2], np.log(np.array([2.5, 2.5, 2.5, 1.5]) / 2), rtol=1e-6)
    assert context(of, 2.0)[0, ABOVE_2] > context(of, 4.0)[0, ABOVE_2]


def test_neighbors_are_near_and_another_thing():
    of = suspects([(100, 100), (104, 100), (130, 100), (400, 100)], [0, 5, 2, 3])
    found = context(of)
    assert found[0, NEAR_COUNT] == 1  # but itself, the same thing, and what is far
    assert found[0, NEAR_SUM] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found[0, NEAR_MEAN] == 2
    assert found[3, NEAR_COUNT] == 0
    assert found[3, NEAR_MEAN] == UNLIKELY


def test_the_same_thing_at_another_size_tells():
    of = suspects([(100, 100), (102, 101), (103, 99)], [0, 5, 7], radius=[2, 5, 2], signs=[1, 1, 1])
    np.testing.assert_array_equal(context(of)[:, OTHER_SIZE], [5, 7, 5])
    alone = suspects([(100, 100), (102, 101)], [0, 5], radius=[2, 5], signs=[1, -1])
    assert (context(alone)[:, OTHER_SIZE] == NONE).all()


def test_what_looks_alike_elsewhere_tells():
    places = [(0, 0), (0, 300), (0, 600), (300, 0)]
    of = suspects(places, [4, -3, -2, 6], radius=[2, 2, 2, 12])
    found = context(of)
    assert found[0, ALIKE_MEAN] == pytest.approx(-2.5)
    assert found[3, ALIKE_MEAN] == UNLIKELY  # nothing else is of its size


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few(n):
    assert np.isfinite(context(suspects([(5, 5 * k) for k in range(n)], [1.0] * n))).all()


def line(length, going_on):
    """A dark line with a gap behind either end, beyond which it goes on or not, seen by its candidate."""
    plane = np.full((60, 120), 0.8, np.float32)
    plane[30:32, 50 : 50 + length] = 0.2
    if going_on:
        plane[30:32, :48] = plane[30:32, 52 + length :] = 0.2
    scene = Scene.of(plane[None])
    (_, candidates, features), *_ = scene.candidates()
    return features[candidates.labels[30, 50 + length // 2] - 1]


def test_what_goes_on_beyond_its_ends_is_told():
    alone, part = line(20, going_on=False), line(20, going_on=True)
    assert part[44] > 0.7 > 0.2 > alone[44]
    assert part[45] > 0.7 > 0.2 > alone[45]


def test_blocks_of_jpeg_are_told(rng):
    smooth = rng.normal(0.5, 0.01, (64, 96)).astype(np.float32)
    blocks = smooth + 0.05 * rng.normal(0, 1, (8, 12)).repeat(8, 0).repeat(8, 1).astype(np.float32)
    assert Scene.of(smooth[None]).blockiness == LEAST_BLOCKINESS
    assert Scene.of(blocks[None]).blockiness > 2
    assert Scene.of(smooth[None, :5, :5]).blockiness == LEAST_BLOCKINESS


@pytest.mark.parametrize("quality", [80, 92])
def test_the_quality_of_a_jpeg_is_told_by_its_middle(rng, quality):
    picture = gaussian_filter(rng.normal(0, 1, (605, 723, 3)), (1.5, 1.5, 0)) * 120 + 120
    whole = np.clip(picture, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(whole).save(stream, "JPEG", quality=quality)
    compressed = np.asarray(Image.open(stream))
    assert quality_told(np.moveaxis(compressed, 2, 0)) == quality
    assert quality_told(np.moveaxis(whole, 2, 0)) == UNTOLD
    assert quality_told(np.moveaxis(compressed, 2, 0)[:2]) == UNTOLD
    scene = Scene.of(np.moveaxis(compressed[:96, :96] / np.float32(255), 2, 0), quality)
    for _, candidates, features in scene.candidates():
        np.testing.assert_array_equal(features[:, -1], np.full(candidates.count, quality))


def test_a_line_beside_an_edge_is_told_from_one_with_two_like_sides():
    plane = np.full((80, 120), 0.6, np.float32)
    plane[:, 40:42], plane[:, 82:] = 0.3, 0.4
    plane[:, 80:82] = 0.3
    scene = Scene.of(plane[None])
    _, candidates, features = next(scene.candidates())
    like, edge = (features[candidates.labels[40, column] - 1, STEEPNESS] for column in (41, 81))
    assert edge > 5 * like


def test_grain_does_not_hide_a_wide_dark_thing(rng):
    plane = rng.normal(0.5, 0.08, (200, 200)).astype(np.float32)
    rows, columns = np.ogrid[:200, :200]
    thing = (rows - 100) ** 2 + (columns - 100) ** 2 < 9**2
    plane[thing] = 0.05
    found = find_candidates(plane, RADII[-1]).labels
    assert (found[thing] > 0).mean() > 0.9
    assert len(np.unique(found[thing])) <= 2
