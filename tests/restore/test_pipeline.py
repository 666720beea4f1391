from dataclasses import replace

import numpy as np
import pytest

from csc_cogd import Dictionary, InputError, psnr
from csc_cogd.restore import pipeline
from csc_cogd.restore.base_layer import pilot_estimate
from csc_cogd.restore.damage import random_mask, scratch_and_text_mask
from csc_cogd.restore.pipeline import EFFORTS, Damaged, check_restoring, choose_effort, restore_channels
from csc_cogd.restore.tiles import Plan, plan_tiles
from tests.conftest import read_only

ENGINE = {"device": "cpu", "dtype": "float32", "threads": 2, "fft": None}


def hole(side):
    missing = np.zeros((1, 64, 64), bool)
    missing[:, 20 : 20 + side, 20 : 20 + side] = True
    return missing


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_more_effort_does_more(share, noise):
    fast, default, best = (choose_effort(name, random_mask((64, 64), share)[None], noise) for name in EFFORTS)
    assert fast.max_iter <= default.max_iter <= best.max_iter
    assert fast.passes <= default.passes <= best.passes
    assert fast.patches.step >= default.patches.step >= best.patches.step
    assert fast.patches.step > best.patches.step


def test_where_much_is_missing_filters_are_adapted_given_time_and_results_checked():
    for share in (0.3, 0.7, 0.9):
        efforts = [choose_effort(name, random_mask((64, 64), share)[None], 0.0) for name in EFFORTS]
        assert [effort.learn for effort in efforts] == [False, False, share > 0.5]
        assert [effort.check for effort in efforts] == [False, share > 0.8, share > 0.8]


@pytest.mark.parametrize("effort", EFFORTS)
def test_large_holes_take_larger_patches(effort):
    narrow = choose_effort(effort, random_mask((64, 64), 0.5)[None], 0.0)
    for missing in (hole(12), random_mask((64, 64), 0.85)[None], scratch_and_text_mask((96, 96), "text")[None]):
        wide = choose_effort(effort, missing, 0.0)
        assert wide.patches.size > narrow.patches.size
        assert wide.passes > narrow.passes or effort == "fast"
    assert choose_effort(effort, hole(2), 0.0) == narrow


@pytest.mark.parametrize("name", ["most", "", "Fast", None])
def test_unknown_efforts_are_named(name):
    with pytest.raises(InputError, match=f"effort: {name!r} is unknown: choose 'fast', 'default', 'best'"):
        check_restoring(name, None, None, 0.0)


def restore(observed, missing, effort, **options):
    damaged = Damaged(read_only(observed), read_only(missing), 0.0, 1.0)
    plan = Plan(plan_tiles(np.ones(missing.shape[1:], bool), 0), 1, 0)
    how = choose_effort(effort, missing, options.get("noise", 0.0))
    return restore_channels(damaged, Dictionary.default("gray"), how, plan=plan, engine=ENGINE, **options)


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_known_values_are_kept_and_the_rest_is_better_than_the_pilot(photo, effort):
    image, missing = photo[None, :64, :64] / 255, random_mask((64, 64), 0.5)[None]
    observed = np.where(missing, 0, image)
    restored, stages = restore(observed, missing, effort)
    np.testing.assert_allclose(restored[~missing], image[~missing], atol=1e-6)
    pilot = pilot_estimate(observed, missing)
    assert psnr(restored, image, data_range=1) > psnr(pilot, image, data_range=1) + 0.3
    assert stages.lmbda == 0.015
    assert stages.trust is None


def test_where_nearly_all_is_missing_the_result_is_checked_against_the_pilot():
    i, j = np.mgrid[:64, :64] / 64.0
    smooth, missing = (0.3 + 0.4 * i * j**2)[None], random_mask((64, 64), 0.9)[None]
    observed = np.where(missing, 0, smooth)
    restored, stages = restore(observed, missing, "default")
    assert 0 <= stages.trust <= 1
    pilot = pilot_estimate(observed, missing)
    assert psnr(restored, smooth, data_range=1) > psnr(pilot, smooth, data_range=1) - 0.05


def test_noise_raises_the_weight_of_the_l1_norm(photo, rng):
    image = photo[None, :48, :48] / 255
    noisy = image + 0.1 * rng.standard_normal(image.shape)
    restored, stages = restore(noisy, np.zeros(image.shape, bool), "fast", noise=0.1)
    assert stages.lmbda == pytest.approx(0.1)
    assert psnr(restored, image, data_range=1) > psnr(noisy, image, data_range=1) + 5


def test_pieces_are_on_the_scale_of_the_known_values_and_zero_where_missing():
    pixels = np.arange(24, dtype=np.uint16).reshape(1, 4, 6)
    missing = pixels % 5 == 0
    observed, gone = Damaged(pixels, missing, 4.0, 14.0).piece(slice(1, 3), slice(2, 6))
    assert gone.tolist() == missing[:, 1:3, 2:6].tolist()
    np.testing.assert_allclose(observed, np.where(gone, 0, (pixels[:, 1:3, 2:6] - 4.0) / 10))
    wild, _ = Damaged(np.array([[[0.0, 1e9]]]), np.zeros((1, 1, 2), bool), 0.0, 1.0).piece(slice(0, 1), slice(0, 2))
    assert wild.max() == 10


def test_of_large_pictures_filters_are_learned_from_pieces(photo, monkeypatch):
    monkeypatch.setattr(pipeline, "LEARNING_SIDE", 32)
    image, missing = photo[None] / 255, random_mask(photo.shape, 0.7)[None]
    missing[:, :32, :32] = True  # a piece without any known pixel
    observed = np.where(missing, 0, image)
    effort = replace(choose_effort("fast", missing, 0.0), learn=True)
    plan = Plan(plan_tiles(missing[0], 0), 1, 0)
    told = []
    restored, stages = restore_channels(
        Damaged(observed, missing, 0.0, 1.0),
        Dictionary.default("gray"),
        effort,
        plan=plan,
        engine=ENGINE,
        callback=told.append,
    )
    assert [progress.stage for progress in told].count("learning") == 10
    assert abs(stages.dictionary.filters - Dictionary.default("gray").filters).max() > 1e-3
    assert psnr(restored, image, data_range=1) > psnr(pilot_estimate(observed, missing), image, data_range=1)
