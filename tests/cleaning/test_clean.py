"""Scans cleaned: dust gone, all else as it was, grain kept, light used where it came through."""

import numpy as np
import pytest

from csc_cogd import clean
from csc_cogd.cleaning.settings import Cleaning
from csc_cogd.cleaning.transmission import divide
from csc_cogd.detect.detection import DustDetection
from csc_cogd.errors import InputError
from tests.detect.film import scan


def rms(restored, truth, where):
    return float(np.sqrt(np.mean((restored.astype(float) - truth)[where] ** 2)))


@pytest.fixture(scope="module")
def made():
    return scan(160, 200, specks=14)


@pytest.fixture(scope="module")
def cleaned(made):
    return clean(made.dusty, infrared=made.infrared, channel_axis=-1, effort="fast", return_report=True)


def test_dust_goes_and_all_else_stays_bit_for_bit(made, cleaned):
    restored, report = cleaned
    assert restored.dtype == np.uint8
    assert rms(restored, made.clean, made.dust) < 0.3 * rms(made.dusty, made.clean, made.dust)
    assert np.array_equal(restored[~report.detection.mask], made.dusty[~report.detection.mask])
    assert "by infrared" in report.summary()


def test_without_infrared_the_picture_is_searched(made):
    restored, report = clean(made.dusty, channel_axis=-1, effort="fast", return_report=True)
    assert report.detection.transmission is None
    assert rms(restored, made.clean, made.dust) < 0.9 * rms(made.dusty, made.clean, made.dust)


def test_the_same_comes_out_every_time(made, cleaned):
    again = clean(made.dusty, infrared=made.infrared, channel_axis=-1, effort="fast")
    assert np.array_equal(again, cleaned[0])
    other = clean(made.dusty, infrared=made.infrared, channel_axis=-1, effort="fast", seed=5)
    assert not np.array_equal(other, again)


def test_science_gets_no_grain(made):
    _, report = clean(
        made.dusty.astype(np.float32), infrared=made.infrared, channel_axis=-1, effort="fast", return_report=True
    )
    assert report.grain is None
    _, report = clean(made.dusty, infrared=made.infrared, channel_axis=-1, effort="fast", grain="off", return_report=True)
    assert report.grain is None


def test_sixteen_bits_and_channels_first(made):
    restored = clean(
        np.moveaxis(made.dusty, 2, 0).astype(np.uint16) * 257, infrared=made.infrared, channel_axis=0, effort="fast"
    )
    assert restored.shape == (3, 160, 200)
    assert restored.dtype == np.uint16
    assert rms(np.moveaxis(restored, 0, 2) / 257, made.clean, made.dust) < 0.3 * rms(made.dusty, made.clean, made.dust)


def test_kodachrome_is_told_and_searched_without_infrared():
    seen = scan(160, 200, specks=14, sees=0.8)
    with pytest.warns(UserWarning, match="Kodachrome"):
        restored = clean(seen.dusty, infrared=seen.infrared, channel_axis=-1, effort="fast")
    assert rms(restored, seen.clean, seen.dust) < rms(seen.dusty, seen.clean, seen.dust)


def test_nan_stays():
    image = np.random.default_rng(0).normal(120, 2, (96, 96))
    image[40:45, 50:54] = 10
    image[10:20, 10:20] = np.nan
    restored = clean(image, effort="fast")
    assert np.array_equal(np.isnan(restored), np.isnan(image))
    assert restored[42, 52] > 100


def test_where_nothing_is_found_the_picture_comes_back():
    image = np.random.default_rng(0).normal(120, 2, (96, 96)).astype(np.uint8)
    restored, report = clean(image, return_report=True)
    assert np.array_equal(restored, image)
    assert report.summary() == "nothing"


def test_faint_dust_is_divided_out_and_its_noise_isn_t_invented():
    rng = np.random.default_rng(0)
    scene = np.clip(rng.normal(150, 4, (1, 80, 80)), 1, 255)
    mask = np.zeros((80, 80), bool)
    mask[30:45, 20:50] = True
    profile = np.where(mask, 0.9 + 0.06 * np.sin(np.arange(80) / 3), 1.0)
    dusty = np.rint(scene * profile**2).astype(np.uint8)
    detection = DustDetection(mask, mask.astype(np.int32), (object(),), np.where(mask, profile, 1).astype(np.float32))  # type: ignore[arg-type]
    restored, divided = divide(dusty, detection)
    assert divided[mask].all()
    assert not divided[~mask].any()
    assert abs(restored.astype(float) - scene)[:, mask].mean() < 3


def test_what_the_transmission_doesnt_explain_is_left_to_be_filled():
    rng = np.random.default_rng(0)
    scene = np.clip(rng.normal(150, 3, (1, 80, 80)), 1, 255)
    mask = np.zeros((80, 80), bool)
    mask[30:45, 20:50] = True
    dusty = np.where(mask & (np.arange(80) % 2 == 0), 20, scene).astype(np.uint8)
    light = np.where(mask, rng.uniform(0.6, 0.95, (80, 80)), 1).astype(np.float32)
    _, divided = divide(dusty, DustDetection(mask, mask.astype(np.int32), (object(),), light))  # type: ignore[arg-type]
    assert not divided.any()


@pytest.mark.parametrize(
    ("setting", "value"), [("sensitivity", 2), ("sensitivity", True), ("polarity", "blue"), ("grain", "on"), ("seed", -1)]
)
def test_settings_that_cant_be_are_refused(setting, value):
    with pytest.raises(InputError, match=f"{setting} must be"):
        Cleaning(**{setting: value})


def test_stacks_are_refused():
    with pytest.raises(InputError, match="frames whose scene stands still"):
        clean(np.zeros((4, 32, 32)))


def test_the_search_is_told_of_tile_by_tile(rng):
    image, seen = rng.normal(120, 2, (64, 1100)), []
    clean(image, callback=seen.append)
    assert [each[1:3] for each in seen if each.stage == "looking for dust"] == [(0, 2), (1, 2), (2, 2)]
