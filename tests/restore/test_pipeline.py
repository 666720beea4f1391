import numpy as np
import pytest

from csc_cogd import Dictionary, InputError, psnr
from csc_cogd.restore.base_layer import pilot_estimate
from csc_cogd.restore.damage import random_mask, scratch_and_text_mask
from csc_cogd.restore.pipeline import EFFORTS, choose_effort, restore_channels
from tests.conftest import read_only

ENGINE = {"device": "cpu", "dtype": "float32", "threads": 2, "fft": None}


def hole(side):
    missing = np.zeros((1, 64, 64), bool)
    missing[:, 20 : 20 + side, 20 : 20 + side] = True
    return missing


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_more_effort_does_more(noise):
    fast, default, best = (choose_effort(name, random_mask((64, 64), 0.5)[None], noise) for name in EFFORTS)
    assert fast.max_iter < default.max_iter <= best.max_iter
    assert fast.passes <= default.passes <= best.passes
    assert fast.patches.step >= default.patches.step >= best.patches.step
    assert fast.patches.step > best.patches.step
    assert (fast.check, default.check, best.check) == (False, True, True)


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
        choose_effort(name, hole(3), 0.0)


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_known_values_are_kept_and_the_rest_is_better_than_the_pilot(photo, effort):
    image, missing = photo[None, :64, :64] / 255, random_mask((64, 64), 0.5)[None]
    observed = read_only(np.where(missing, 0, image))
    restored, stages = restore_channels(
        observed, read_only(missing), Dictionary.default("gray"), choose_effort(effort, missing, 0.0), engine=ENGINE
    )
    np.testing.assert_allclose(restored[~missing], image[~missing], atol=0 if effort == "default" else 1e-6)
    pilot = pilot_estimate(observed, missing)
    assert psnr(restored, image, data_range=1) > psnr(pilot, image, data_range=1) + 0.3
    assert stages.lmbda == 0.005
    assert (stages.trust is None) == (effort == "fast")


def test_noise_raises_the_weight_of_the_l1_norm(photo, rng):
    image = photo[None, :48, :48] / 255
    noisy = image + 0.1 * rng.standard_normal(image.shape)
    missing = np.zeros(image.shape, bool)
    restored, stages = restore_channels(
        noisy, missing, Dictionary.default("gray"), choose_effort("fast", missing, 0.1), noise=0.1, engine=ENGINE
    )
    assert stages.lmbda == pytest.approx(0.2)
    assert psnr(restored, image, data_range=1) > psnr(noisy, image, data_range=1) + 5
