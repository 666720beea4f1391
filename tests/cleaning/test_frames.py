"""Frames of a film whose scene stands still: what the neighbors lack is dust, and they show what is below."""

import numpy as np
import pytest
from skimage import data

from csc_cogd import InputError, clean, find_dust

NOISE = 2.0


@pytest.fixture(scope="module")
def film():
    """Four frames (4, H, W, 3) uint8 whose exposure flickers, with specks in each; without these; and where they are."""
    rng = np.random.default_rng(0)
    scene = data.astronaut()[40:168, 150:310].astype(float)
    scene[60:64, 20:90] = 240  # a thing of the scene that looks like a scratch
    frames = [scene * gain + NOISE * rng.standard_normal(scene.shape) for gain in (0.9, 0.94, 0.91, 0.95)]
    whole = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    dusty, dust = whole.copy(), np.zeros(whole.shape[:3], bool)
    for number in range(len(whole)):
        for _ in range(8):
            top, left = 30 * number + rng.integers(4, 26), rng.integers(5, 145)  # no two frames in one place
            place = (number, slice(top, top + rng.integers(2, 6)), slice(left, left + rng.integers(2, 12)))
            dust[place] = True
        dusty[number][dust[number]] = 10 if number % 2 else 250
    visible = dust & (abs(dusty.astype(float) - whole).mean(axis=3) > 25)
    return dusty, whole, visible


def test_dust_of_every_frame_goes_and_the_scene_stays(film):
    dusty, whole, dust = film
    cleaned, reports = clean(dusty, channel_axis=-1, stack_axis=0, return_report=True)
    found = np.stack([report.detection.mask for report in reports])
    assert found[dust].mean() > 0.95
    assert found[:, 58:66, 18:92].mean() < 0.1
    assert found.mean() < 3 * dust.mean()
    np.testing.assert_array_equal(cleaned[~found], dusty[~found])
    error = cleaned[dust].astype(float) - whole[dust]
    assert error.std() < 1.3 * np.sqrt(2) * NOISE  # the noise of two frames
    assert abs(error.mean()) < NOISE
    assert "taken from the frame beside it" in reports[1].summary()


def test_axes_and_types(film):
    dusty, _, _ = film
    expected = clean(dusty, channel_axis=-1, stack_axis=0)
    turned = clean(dusty.transpose(3, 1, 2, 0).astype(np.uint16) * 257, channel_axis=0, stack_axis=-1)
    assert turned.dtype == np.uint16
    assert abs(turned.transpose(3, 1, 2, 0) / 257 - expected).max() <= 1
    gray = clean(dusty[..., 1].astype(np.float32), stack_axis=0)
    assert gray.dtype == np.float32
    assert (gray != dusty[..., 1]).any()


def test_what_moves_and_what_stays_on_is_no_dust():
    rng = np.random.default_rng(1)
    frames = np.full((5, 96, 96), 100.0) + rng.normal(0, 2, (5, 96, 96))
    for number, frame in enumerate(frames):
        frame[30:50, 20 + 6 * number : 44 + 6 * number] += 60  # more than it moves
        frame[70:73, 70:73] = 10
    cleaned = clean(frames, stack_axis=0)
    assert (cleaned[1:-1] != frames[1:-1]).mean() < 1e-3


def test_polarity_and_sensitivity(film):
    dusty, _, _ = film
    reports = {
        options: clean(dusty, channel_axis=-1, stack_axis=0, return_report=True, **dict([options]))[1]
        for options in (("polarity", "dark"), ("sensitivity", 0.0), ("sensitivity", 1.0))
    }
    dark = [part.polarity for report in reports["polarity", "dark"] for part in report.detection.components]
    assert dark
    assert set(dark) == {"dark"}
    least, most = (
        sum(report.detection.mask.sum() for report in reports["sensitivity", each]) for each in (0.0, 1.0)
    )  # fmt: skip
    assert least < most


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (np.ones((2, 40, 40)), {}, "frames must be 3 or more"),
        (np.full((3, 40, 40), np.nan), {}, "frames must not miss pixels"),
        (np.ones((3, 40, 40)), {"infrared": np.ones((40, 40))}, "infrared isn't used for frames"),
        (np.ones((3, 40, 40)), {"stack_axis": 5}, "stack_axis must be an axis"),
    ],
)
def test_what_can_not_be_cleaned_is_refused(frames, options, message):
    with pytest.raises(InputError, match=message):
        clean(frames, **{"stack_axis": 0} | options)


def test_a_callback_ends_it(film):
    dusty, _, _ = film
    cleaned, reports = clean(
        dusty, channel_axis=-1, stack_axis=0, return_report=True, callback=lambda report: report.done == 2
    )
    assert len(reports) == 2
    np.testing.assert_array_equal(cleaned[2:], dusty[2:])


def test_find_dust_finds_in_stacks_what_clean_does(film):
    dusty, _, _ = film
    _, reports = clean(dusty, channel_axis=-1, stack_axis=0, return_report=True)
    seen = []
    found = find_dust(np.moveaxis(dusty, 0, 2), channel_axis=-1, stack_axis=2, callback=seen.append)
    assert [each.stage for each in seen] == ["frames"] * len(dusty)
    for each, report in zip(found, reports, strict=True):
        np.testing.assert_array_equal(each.mask, report.detection.mask)
        assert each.components == report.detection.components
    dark = find_dust(dusty, channel_axis=-1, stack_axis=0, polarity="dark")
    assert {part.polarity for each in dark for part in each.components} == {"dark"}


def test_find_dust_says_how_it_takes_stacks(film):
    dusty, _, _ = film
    with pytest.raises(InputError, match="stack_axis"):
        find_dust(dusty, channel_axis=-1)
    with pytest.raises(InputError, match="frames must be 3 or more of one scene, got 2"):
        find_dust(dusty[:2], channel_axis=-1, stack_axis=0)
    with pytest.raises(InputError, match="frames of one picture each"):
        find_dust(dusty, stack_axis=0)
    with pytest.raises(InputError, match="infrared isn't used for frames"):
        find_dust(dusty, channel_axis=-1, stack_axis=0, infrared=dusty[0, ..., 0])
