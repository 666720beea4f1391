"""Grain that is put back: as strong, as correlated and as colored as what is around, and the same every time."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd.restore.grain import Grain


def grainy(sigma: float, blur: float, channels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth scene and the same with grain, both (C, 256, 320), the latter in 8 bits."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.linspace(90, 140, 256), np.linspace(-20, 30, 320))
    scene = np.stack([ramp + 10 * c for c in range(channels)])
    noise = rng.standard_normal(scene.shape) * 0.6 + rng.standard_normal(ramp.shape)
    noise = gaussian_filter(noise, (0, blur, blur)) if blur else noise
    return scene, np.clip(np.rint(scene + sigma * noise / noise.std()), 0, 255).astype(np.uint8)


def holes() -> np.ndarray:
    mask = np.zeros((256, 320), bool)
    for y in range(12, 240, 24):
        for x in range(12, 300, 24):
            mask[y : y + 10, x : x + 8] = True
    return mask


def correlation(deviation: np.ndarray, where: np.ndarray) -> float:
    """Return that of neighbors in a row."""
    both = where[:, 1:] & where[:, :-1]
    return float((deviation[:, 1:] * deviation[:, :-1])[both].mean() / (deviation[where] ** 2).mean())


@pytest.mark.parametrize(("sigma", "blur"), [(4, 0.0), (6, 0.6), (20, 0.8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_fills_get_the_deviation_and_correlation_of_what_is_around(sigma, blur, channels):
    scene, picture = grainy(sigma, blur, channels)
    mask = holes()
    grain = Grain.of(picture)
    assert grain is not None
    filled = grain.add_to(np.where(mask, np.rint(scene), picture), mask)
    for before, after, truth in zip(picture, filled, scene, strict=True):
        given, made = before - truth, after - truth
        assert made[mask].std() == pytest.approx(given[~mask].std(), rel=0.15)
        assert correlation(made, mask) == pytest.approx(
            correlation(given, ~mask), abs=0.15 * max(correlation(given, ~mask), 0.3)
        )


def test_grain_that_a_fill_has_already_isnt_added_again():
    _, picture = grainy(8, 0.6, 1)
    mask = holes()
    grain = Grain.of(picture)
    assert grain is not None
    added = grain.add_to(picture, mask) - picture.astype(float)
    assert added[:, mask].std() < 4


def test_color_of_grain_is_kept():
    scene, picture = grainy(8, 0.5, 3)
    mask = holes()
    grain = Grain.of(picture)
    assert grain is not None
    filled = grain.add_to(np.where(mask, np.rint(scene), picture), mask)
    before, after = (np.corrcoef((one - scene)[:, where])[0, 1] for one, where in ((picture, ~mask), (filled, mask)))
    assert after == pytest.approx(before, abs=0.1)


def test_grain_is_the_same_every_time_and_another_by_seed():
    scene, picture = grainy(8, 0.5, 1)
    mask = holes()
    grain = Grain.of(picture)
    assert grain is not None
    first, again, other = (grain.add_to(np.where(mask, scene, picture), mask, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:, mask], other[:, mask])
    assert np.array_equal(first[:, ~mask], picture[:, ~mask])


def test_sixteen_bits_are_as_grainy():
    scene, picture = grainy(8, 0.5, 1)
    mask = holes()
    grain = Grain.of(picture.astype(np.uint16) * 257)
    assert grain is not None
    filled = grain.add_to(np.where(mask, scene, picture) * 257, mask) / 257
    assert (filled - scene)[:, mask].std() == pytest.approx((picture - scene)[:, ~mask].std(), rel=0.15)


def test_floats_small_pictures_and_clean_ones_have_none():
    _, picture = grainy(8, 0.5, 1)
    assert Grain.of(picture.astype(np.float32)) is None
    assert Grain.of(picture[:, :40, :40]) is None
    assert Grain.of(np.full((1, 128, 128), 90, np.uint8)) is None
