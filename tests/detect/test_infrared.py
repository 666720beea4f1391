"""Dust found by infrared light, whatever the scanner's contrast, and the film for which that can't be."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter

from csc_cogd.detect.infrared import Sight, find_by_infrared
from csc_cogd.detect.registration import register
from csc_cogd.errors import InputError
from tests.detect.film import scan


@pytest.mark.parametrize(("core", "leakage"), [(0.6, 0.03), (0.6, 0.08), (0.92, 0.03)])
def test_dust_of_scanners_strong_and_weak_is_found(core, leakage):
    made = scan(core=core, leakage=leakage)
    found = find_by_infrared(np.moveaxis(made.dusty, 2, 0), made.infrared)
    assert found.mask[made.dust].mean() > 0.97
    assert found.mask[~binary_dilation(made.dust, iterations=4)].mean() < 5e-4
    assert not found.remarks
    assert len(found.components) > 20
    assert np.mean([component.polarity == "dark" for component in found.components]) > 0.9


def test_of_a_clean_frame_next_to_nothing_is_found():
    made = scan(specks=0, leakage=0.06)
    assert find_by_infrared(np.moveaxis(made.clean, 2, 0), made.infrared).mask.mean() < 5e-4


def test_sensitivity_finds_weaker_dust():
    made = scan(core=0.9, noise=0.03, leakage=0.03)
    areas = [
        find_by_infrared(np.moveaxis(made.dusty, 2, 0), made.infrared, sensitivity=s).mask[made.dust].mean() for s in (0, 1)
    ]
    assert areas[1] > areas[0] + 0.2


def test_transmission_is_that_of_the_dust():
    made = scan(core=0.6)
    found = find_by_infrared(np.moveaxis(made.dusty, 2, 0), made.infrared)
    assert found.transmission is not None
    assert found.transmission[made.dust].mean() == pytest.approx(0.68, abs=0.06)
    assert (found.transmission[~found.mask] == 1).all()


def test_infrared_that_sees_the_picture_is_told_and_not_used():
    made = scan(sees=0.8)
    found = find_by_infrared(np.moveaxis(made.dusty, 2, 0), made.infrared)
    assert not found.mask.any()
    assert "Kodachrome" in str(found.remarks[0])


@pytest.mark.parametrize("part_told", [True, False])
def test_a_dark_hair_is_found_whole_where_infrared_tells_a_part_of_it(rng, part_told):
    """The other part stops little more than dyes as dark would."""
    leakage, scene = 0.08, 90 + 60 * gaussian_filter(rng.standard_normal((160, 240)), 12) * 30
    hair, twig = np.zeros(scene.shape, bool), np.zeros(scene.shape, bool)
    hair[80:84, 60:180] = twig[120:124, 60:180] = True
    scene = np.where(hair | twig, 25, np.clip(scene, 60, 200)) + rng.normal(0, 1, scene.shape)
    light = leakage * np.log(scene / 255 + 0.01) + 0.004 * rng.standard_normal(scene.shape)
    light[hair] -= 0.026
    light[80:84, 60:100] -= 0.35 * part_told
    sight = Sight(np.zeros(scene.shape, np.int8), [np.flatnonzero(hair), np.flatnonzero(twig)])
    found = find_by_infrared(scene[None].astype(np.uint8), np.exp(light), seen=lambda: sight).mask
    assert found[hair].all() == part_told
    assert not found[twig].any()


def test_an_empty_channel_is_told():
    made = scan()
    found = find_by_infrared(np.moveaxis(made.dusty, 2, 0), np.full_like(made.infrared, 65535))
    assert "same everywhere" in str(found.remarks[0])


def test_the_channel_must_fit():
    made = scan()
    with pytest.raises(InputError, match="infrared must be of the picture's size"):
        find_by_infrared(np.moveaxis(made.dusty, 2, 0), made.infrared[:-1])
    with pytest.raises(InputError, match="finite"):
        find_by_infrared(np.moveaxis(made.dusty, 2, 0), np.full(made.infrared.shape, np.nan))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.7, -1.2), (-0.4, 1.9)])
def test_registration_is_exact_to_a_quarter_of_a_pixel(shift):
    made = scan(480, 440, shift=shift)
    found = register(np.log(made.dusty.mean(axis=2) + 2.0), np.log(made.infrared + 1.0))
    assert found.certain
    assert found.sign == 1
    assert np.allclose(found.shift, shift, atol=0.25)
    assert found.scale == pytest.approx(1.001, abs=0.0007)


def test_channels_without_anything_in_common_stay_where_they_are():
    rng = np.random.default_rng(0)
    found = register(rng.standard_normal((200, 200)), rng.standard_normal((200, 200)))
    assert not found.certain
    assert found.shift == (0.0, 0.0)
