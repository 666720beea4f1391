from dataclasses import replace

import numpy as np
import pytest

from csc_cogd import Dictionary, Engine, InputError, Solve, Tiling, psnr
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore import restore as module
from csc_cogd.restore.noise import Gaussian
from csc_cogd.restore.observation import Observation, ScaledPlanes
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import Reporter
from csc_cogd.restore.settings import EFFORTS, STILL, choose_effort
from csc_cogd.restore.stages import adaptation
from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask
from tests.conftest import read_only

ENGINE = Engine(device="cpu", threads=2)


def hole(side):
    missing = np.zeros((1, 64, 64), bool)
    missing[:, 20 : 20 + side, 20 : 20 + side] = True
    return missing


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_more_effort_does_more(share, noise):
    fast, default, best = (choose_effort(Solve(name), random_mask((64, 64), share)[None], noise) for name in EFFORTS)
    assert fast.max_iter <= default.max_iter <= best.max_iter
    assert fast.passes <= default.passes <= best.passes
    assert fast.patches.step >= default.patches.step >= best.patches.step
    assert fast.patches.step > best.patches.step


def test_where_much_is_missing_filters_are_adapted_given_time_and_results_checked():
    for share in (0.3, 0.7, 0.9):
        efforts = [choose_effort(Solve(name), random_mask((64, 64), share)[None], 0.0) for name in EFFORTS]
        assert [effort.learn for effort in efforts] == [False, False, share > 0.5]
        assert [effort.check for effort in efforts] == [False, share > 0.8, share > 0.8]


@pytest.mark.parametrize("effort", EFFORTS)
def test_large_holes_take_larger_patches(effort):
    narrow = choose_effort(Solve(effort), random_mask((64, 64), 0.3)[None], 0.0)
    for missing in (hole(12), random_mask((64, 64), 0.85)[None], scratch_and_text_mask((96, 96), "text")[None]):
        wide = choose_effort(Solve(effort), missing, 0.0)
        assert wide.patches.size > narrow.patches.size
        assert wide.passes > narrow.passes or effort == "fast"
    assert choose_effort(Solve(effort), hole(2), 0.0) == narrow


def test_a_code_is_made_where_values_are_missing_one_by_one_and_most_are_or_where_it_is_asked_for():
    def coded(missing, solve=None, **options):
        return choose_effort(solve or Solve(), missing, 0.0, **options).pilot == "code"

    few, half, most = (random_mask((64, 64), share)[None] for share in (0.1, 0.5, 0.7))
    assert not any(coded(missing) for missing in (few, hole(2), hole(20), scratch_and_text_mask((96, 96), "text")[None]))
    assert coded(half)
    assert not coded(np.repeat(half, 3, axis=0))
    assert coded(np.repeat(most, 3, axis=0))
    for solve in (Solve(lmbda=0.02), Solve(max_iter=2), Solve(tol=1e-3), Solve(learn=True)):
        assert coded(few, solve)
    assert coded(few, own_dictionary=True)


def test_a_prior_takes_the_place_of_a_code_that_nobody_asked_for_or_is_used_wherever_it_is_asked_for_itself():
    def pilot(missing, prior, **options):
        return choose_effort(Solve(**options), missing, 0.0, prior=prior).pilot

    few, most, nearly_all = (random_mask((64, 64), share)[None] for share in (0.1, 0.6, 0.8))
    apart = np.concatenate([most, most[:, ::-1], most[:, :, ::-1]])
    assert [pilot(missing, "default") for missing in (few, most, nearly_all, apart)] == [
        "biharmonic",
        "prior",
        *["code"] * 2,
    ]
    assert [pilot(missing, "own") for missing in (few, most, apart)] == ["prior"] * 3
    assert pilot(most, "default", lmbda=0.1) == "code"


@pytest.mark.parametrize("name", ["most", "", "Fast", None])
def test_unknown_efforts_are_named(name):
    with pytest.raises(InputError, match=f"effort must be one of 'fast', 'default', 'best', got {name!r}"):
        Solve(name)


def restore(image, missing, effort, noise_sigma=None, **options):
    """An image (1, H, W) in about [0, 1], restored over the shipped dictionary, and the report of its group."""
    observation = Observation(read_only(image), read_only(missing))
    problem = Problem(observation, noise=Gaussian(noise_sigma), keep_known=noise_sigma is None)
    restored, report = module.restore(problem, Solve(effort), Tiling(0), ENGINE, **options)
    return restored, report.groups[0]


def test_patches_wait_only_beside_thin_damage_of_gray_pictures():
    thin, thick = np.zeros((2, 1, 64, 64), bool)
    thin[0, :, 30:33] = thick[0, 20:40, 20:40] = True
    assert choose_effort(Solve(), thin, 0.0).patches.still == STILL > 0
    for solve, missing, prior in (
        (Solve(), thick, "none"), (Solve(), np.repeat(thin, 3, axis=0), "none"), (Solve("fast"), thin, "none"),
        (Solve("best"), thin, "none"), (Solve(lmbda=0.1), thin, "none"), (Solve(), thin, "own"),
    ):  # fmt: skip
        assert choose_effort(solve, missing, 0.0, prior=prior).patches.still == 0


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_known_values_are_kept_and_the_rest_is_better_than_the_pilot(photo, effort):
    image, missing = photo[None, :64, :64] / 255, random_mask((64, 64), 0.5)[None]
    observed = np.where(missing, 0, image)
    restored, group = restore(observed, missing, effort)
    np.testing.assert_array_equal(restored[~missing], image[~missing])
    pilot = fill_biharmonic(observed, missing)
    assert psnr(restored, image, data_range=1) > psnr(pilot, image, data_range=1) + 0.3
    assert group.lmbda == 0.015
    assert group.blend_weight is None


def test_where_nearly_all_is_missing_the_result_is_checked_against_the_pilot():
    i, j = np.mgrid[:64, :64] / 64.0
    smooth, missing = (0.3 + 0.4 * i * j**2)[None], random_mask((64, 64), 0.9)[None]
    observed = np.where(missing, 0, smooth)
    restored, group = restore(observed, missing, "default")
    assert 0 <= group.blend_weight <= 1
    pilot = fill_biharmonic(observed, missing)
    assert psnr(restored, smooth, data_range=1) > psnr(pilot, smooth, data_range=1) - 0.05


def test_noise_raises_the_weight_of_the_l1_norm(photo, rng):
    image = photo[None, :48, :48] / 255
    noisy = image + 0.1 * rng.standard_normal(image.shape)
    restored, group = restore(noisy, np.zeros(image.shape, bool), "fast", noise_sigma=0.1)
    scale = np.subtract(*np.quantile(noisy, (0.999, 0.001)))
    assert group.lmbda == pytest.approx(0.1 / scale)
    assert psnr(restored, image, data_range=1) > psnr(noisy, image, data_range=1) + 5


def test_pieces_are_on_the_scale_of_the_known_values_and_zero_where_missing():
    pixels = np.arange(24, dtype=np.uint16).reshape(1, 4, 6)
    missing = pixels % 5 == 0
    observed, gone = ScaledPlanes(pixels, missing, 4.0, 14.0).crop(slice(1, 3), slice(2, 6))
    assert gone.tolist() == missing[:, 1:3, 2:6].tolist()
    np.testing.assert_allclose(observed, np.where(gone, 0, (pixels[:, 1:3, 2:6] - 4.0) / 10))
    wild, _ = ScaledPlanes(np.array([[[0.0, 1e9]]]), np.zeros((1, 1, 2), bool), 0.0, 1.0).crop(slice(0, 1), slice(0, 2))
    assert wild.max() == 10


def test_of_large_pictures_filters_are_learned_from_pieces(photo, monkeypatch):
    monkeypatch.setattr(adaptation, "SIDE", 32)
    image, missing = photo[None] / 255, random_mask(photo.shape, 0.7)[None]
    missing[:, :32, :32] = True  # a piece without any known pixel
    observed, told = np.where(missing, 0, image), []
    problem = Problem(Observation(observed, missing), keep_known=True)
    solve = replace(Solve("fast"), learn=True)
    restored, report = module.restore(problem, solve, Tiling(0), ENGINE, reporter=Reporter(told.append))
    assert [progress.stage for progress in told].count("learning") == 10
    assert abs(report.groups[0].dictionary.filters - Dictionary.default("gray").filters).max() > 1e-3
    assert psnr(restored, image, data_range=1) > psnr(fill_biharmonic(observed, missing), image, data_range=1)
