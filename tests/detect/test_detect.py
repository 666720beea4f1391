import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from csc_cogd import InputError, detect_damage
from csc_cogd.detect.detect import detect_in_frames
from csc_cogd.restore.synthetic_masks import random_mask
from tests.conftest import read_only


def sky(rng, shape=(200, 200)):
    """Brightness rises from left to right, and so does the noise, as of photons."""
    return rng.poisson(np.broadcast_to(np.linspace(50, 500, shape[1]), shape)).astype(np.float64)


def stars(rng, fwhm, side=200):
    """Stars of all strengths on a noisy sky."""
    rows, columns = np.mgrid[:side, :side]
    light = np.full((side, side), 100.0)
    for row, column, strength in zip(*rng.random((2, 60)) * side, 10 ** rng.uniform(2, 5, 60), strict=True):
        light += strength * np.exp(-4 * np.log(2) * ((rows - row) ** 2 + (columns - column) ** 2) / fwhm**2)
    return rng.poisson(light).astype(np.float64)


@pytest.mark.parametrize(
    "kind", ["gaussian", "8 bits", "photons", "few photons", "hardly any", "gradient", "flat", "heavy tails"]
)
def test_noise_alone_is_hardly_ever_damage(rng, kind):
    shape = (600, 500)
    image = {
        "gaussian": lambda: rng.normal(0, 1, shape),
        "8 bits": lambda: np.rint(rng.normal(100, 1, shape)).astype(np.uint8),
        "photons": lambda: sky(rng, shape).astype(np.uint16),
        "few photons": lambda: rng.poisson(1.0, shape),
        "hardly any": lambda: rng.poisson(0.01, shape).astype(np.float32),
        "gradient": lambda: np.add.outer(np.arange(600), np.arange(500)) // 16,
        "flat": lambda: np.full(shape, 7, np.uint8),
        "heavy tails": lambda: rng.laplace(0, 1, shape),
    }[kind]()
    assert detect_damage(image).mask.sum() <= 3  # of 300,000


@pytest.mark.parametrize("name", ["camera", "coins", "moon", "grass", "gravel", "brick"])
def test_photographs_have_hardly_any_bad_pixel(name):
    import skimage.data

    image = getattr(skimage.data, name)()
    found = detect_damage(image, kinds=["pixels"])
    assert found.mask.sum() <= 2
    assert found.mask.sum() == len(found.hot_pixels) + len(found.dead_pixels)


@pytest.mark.parametrize("fwhm", [1.6, 2, 3, 5])
def test_stars_are_no_hot_pixels(rng, fwhm):
    image = stars(rng, fwhm)
    image[30, 40], image[150, 60] = 3000, 0
    found = detect_damage(image)
    np.testing.assert_array_equal(np.argwhere(found.mask), [[30, 40], [150, 60]])
    np.testing.assert_array_equal(found.hot_pixels, [[30, 40]])
    np.testing.assert_array_equal(found.dead_pixels, [[150, 60]])


@pytest.mark.parametrize(
    ("dtype", "scale"), [("uint8", 0.25), ("uint16", 60), ("float32", 1e-6), ("float64", 1e9), ("int32", 1e5)]
)
def test_single_pixels_in_any_type(rng, dtype, scale):
    image = sky(rng)
    bad = np.zeros(image.shape, bool)
    bad[20:190:10, 20:190:10] = True  # 0.7 %
    bad[0, 0] = bad[0, 77] = bad[199, 199] = True
    image = np.where(bad, 1000, image)
    found = detect_damage(read_only((image * scale).astype(dtype)))
    np.testing.assert_array_equal(found.mask, bad)
    assert len(found.hot_pixels) == found.mask.sum()


@hypothesis.settings(max_examples=20)
@hypothesis.given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e3), st.booleans(), st.booleans(), st.booleans())
def test_offset_scale_and_orientation_do_not_matter(offset, scale, negative, flipped, turned):
    image = sky(np.random.default_rng(1), (96, 96))
    image[40, 50], image[60, 20], image[:, 70] = 2000, 0, 900

    def changed(picture):
        picture = picture[:, ::-1] if flipped else picture
        return picture.T if turned else picture

    plain = detect_damage(image)
    other = detect_damage(changed((-scale if negative else scale) * image + offset))
    np.testing.assert_array_equal(other.mask, changed(plain.mask))
    assert plain.mask.sum() == 98
    assert len(other.rows if turned else other.columns) == 1
    assert len(other.dead_pixels if negative else other.hot_pixels) == 1


def test_columns_and_rows_whole_and_in_part(rng):
    image = sky(rng, (256, 256))
    image[:, 60] = 0
    image[100:, 61] = 4095
    image[:128, 150] -= 150
    image[90, :] += 100
    image[200, 30:180] = 222
    found = detect_damage(image)
    assert {line.index for line in found.columns} == {60, 61, 150}
    assert [(line.start, line.stop, line.kind) for line in found.columns] == [
        (0, 256, "stuck"), (100, 256, "stuck"), (0, 128, "dead"),
    ]  # fmt: skip
    assert {(line.index, line.start, line.stop, line.kind) for line in found.rows} == {
        (90, 0, 256, "hot"), (200, 30, 180, "stuck"),
    }  # fmt: skip
    assert found.mask[:, 60].all()
    assert np.flatnonzero(found.mask[128:, 150]).tolist() == [72]  # the bad row
    assert found.summary() == "3 columns (60, 61, 150), 2 rows (90, 200)"


def test_a_column_that_is_weaker_than_the_noise(rng):
    image = rng.normal(100, 10, (512, 300))
    image[:, 77] += 7
    found = detect_damage(image)
    assert [(line.index, line.kind) for line in found.columns] == [(77, "hot")]
    assert found.mask[:, 77].mean() > 0.95
    assert found.mask.sum() <= 512


def test_a_stuck_column_is_found_where_the_scene_has_its_value_too(rng):
    image = np.tile(np.linspace(0, 200, 256)[:, None], (1, 200)) + rng.normal(0, 3, (256, 200))
    image[:, 99] = 100
    found = detect_damage(image)
    assert [(line.index, line.kind) for line in found.columns] == [(99, "stuck")]
    assert found.mask[:, 99].all()


def test_edges_ramps_and_blurred_lines_are_no_bad_columns(rng):
    columns = np.arange(300.0)
    scene = 100.0 * (columns > 80) + np.clip(columns - 150, 0, 20) * 5 + 80 * np.exp(-(((columns - 230.3) / 1.2) ** 2))
    assert not detect_damage(np.tile(scene, (300, 1)) + rng.normal(0, 2, (300, 300))).mask.any()


def test_in_a_stack_weak_damage_is_found_and_cosmic_rays_are_not(rng):
    bad = random_mask((128, 128), 0.002, seed=4)
    frames = np.stack([rng.poisson(rng.uniform(100, 300), bad.shape) + 35 * bad for _ in range(30)]).astype(np.uint16)
    frames[:, :, 100] += 4
    for frame in frames:
        frame[random_mask(bad.shape, 0.002, seed=int(frame[0, 0]))] = 60000
    assert detect_damage(frames[0]).mask[bad].mean() < 0.5
    found = detect_damage(frames, stack_axis=0)
    assert [line.index for line in found.columns] == [100]
    pixels = found.mask.copy()
    pixels[:, 100] = False
    assert (pixels & ~bad).sum() <= 1
    assert pixels[bad].mean() > 0.85
    one_by_one = detect_in_frames(iter(frames))
    np.testing.assert_array_equal(one_by_one.mask, found.mask)
    np.testing.assert_array_equal(detect_damage(np.moveaxis(frames, 0, -1), stack_axis=-1).mask, found.mask)


def test_what_is_missing_is_neither_found_nor_in_the_way(rng):
    image = sky(rng)
    image[50, 50] = image[120, 120] = 5000
    mask = np.zeros(image.shape, bool)
    mask[49, 49] = mask[120, 120] = True
    mask[:, 80:90] = True
    holes = np.where(mask, np.nan, image)
    results = [
        detect_damage(holes), detect_damage(np.where(mask, 1e6, image), mask=mask),
        detect_damage(np.where(mask, -1e6, image), mask=~mask, mask_polarity="valid"),
        detect_damage(np.ma.array(image, mask=mask)), detect_damage([holes, image], mask=mask, stack_axis=0),
    ]  # fmt: skip
    for found in results:
        np.testing.assert_array_equal(np.argwhere(found.mask), [[50, 50]])


def test_in_frames_of_one_scene_its_texture_does_not_hide_damage(photo, rng):
    frames = [np.clip(photo + rng.normal(0, 2, photo.shape), 0, 255) for _ in range(12)]
    single = detect_damage(frames[0]).mask.sum()
    for frame in frames:
        frame[20, 20], frame[70, 30] = 255, 0
    frames[4][50, 50] = frames[7][60, 50] = 1e5
    found = detect_in_frames(frames)
    assert found.mask[20, 20]
    assert found.mask[70, 30]
    assert not found.mask[50:61, 50].any()
    assert found.mask.sum() <= single + 3


def test_holes_in_frames_of_other_brightness_are_no_damage(rng):
    frames = [np.full((64, 64), level) + rng.normal(0, 2, (64, 64)) for level in (100, 200, 300, 400)]
    for number, frame in enumerate(frames[:2]):
        frame[random_mask(frame.shape, 0.1, seed=number)] = np.nan
    assert not detect_in_frames(frames).mask.any()


def test_channels_are_looked_at_apart(rng):
    image = np.stack([sky(rng), sky(rng), sky(rng)], axis=-1)
    image[50, 60, 1] = image[70, 80, 0] = image[70, 80, 2] = 5000
    image[:, 30, 2] = 0
    found = detect_damage(image, channel_axis=-1)
    assert found.mask.shape == image.shape
    expected = np.zeros(image.shape, bool)
    expected[50, 60, 1] = expected[70, 80, 0] = expected[70, 80, 2] = expected[:, 30, 2] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert [(line.index, line.channel) for line in found.columns] == [(30, 2)]
    assert found.summary() == "2 hot pixels, 1 column (30)"
    stack = np.stack([image, image], axis=2)
    np.testing.assert_array_equal(detect_damage(stack, stack_axis=2, channel_axis=3).mask, found.mask)


def test_only_the_kinds_that_are_asked_for(rng):
    image = sky(rng)
    image[50, 60], image[:, 20], image[30] = 5000, 0, 4000
    assert detect_damage(image, kinds=["columns"]).summary() == "1 column (20)"
    assert detect_damage(image, kinds=["rows"]).summary() == "1 row (30)"
    assert detect_damage(image, kinds=["pixels"]).summary() == "1 hot pixel"


@pytest.mark.parametrize("sign", [1, -1])
def test_defects_of_up_to_four_pixels_together_are_found(rng, sign):
    """Alone in a picture and, weaker, in a stack; side by side, across a corner, three and four of a square."""
    groups = [(50, 50), (50, 51), (20, 20), (21, 21), (70, 5), (70, 6), (71, 5), (71, 6), (30, 70), (31, 70), (31, 71)]
    planted = np.zeros((80, 90), bool)
    planted[tuple(np.transpose(groups))] = True
    frames = np.stack([rng.normal(100 + 10 * k, 3, planted.shape) for k in range(5)])
    found = detect_damage(frames[0] + sign * 4000 * planted)
    np.testing.assert_array_equal(found.mask, planted)
    found = detect_damage(frames + sign * 100 * planted, stack_axis=0)
    np.testing.assert_array_equal(found.mask, planted)


def test_a_stack_shows_faint_neighbors_of_hot_pixels(rng):
    """At a fifth of the hot pixel and four standard deviations of a frame's noise, beside it or across a corner."""
    hot, faint = (np.zeros((120, 120), bool) for _ in range(2))
    hot[10:110:12, 10:110:12] = True
    faint[10:110:12, 11:110:24] = faint[11:110:12, 23:110:24] = True
    frames = np.stack([rng.normal(100 + 10 * k, 5, hot.shape) + 100 * hot + 20 * faint for k in range(10)])
    found = detect_damage(frames, stack_axis=0).mask
    assert found[hot].all()
    assert found[faint].mean() > 0.9
    assert not found[~hot & ~faint].any()
    assert detect_damage(100 - frames, stack_axis=0).mask[faint].mean() > 0.9


def test_sharp_stars_beside_each_other_are_no_groups_of_hot_pixels(rng):
    rows, columns = np.mgrid[:160, :160]
    sky_with_pairs = np.full((160, 160), 100.0)
    for row, column in zip(*rng.uniform(10, 150, (2, 40)), strict=True):
        for down, right in ((0, 0), (0.7, 0.9)):
            distance = (rows - row - down) ** 2 + (columns - column - right) ** 2
            sky_with_pairs += 20_000 * np.exp(-4 * np.log(2) * distance / 1.8**2)
    assert not detect_damage(rng.poisson(sky_with_pairs)).mask.any()


def test_impulses_are_those_that_denoising_finds(photo):
    spoilt = random_mask(photo.shape, 0.1)
    noisy = np.where(spoilt, np.where(random_mask(photo.shape, 0.5, seed=1), 0, 255), photo).astype(np.uint8)
    found = detect_damage(noisy, kinds=["impulses"])
    assert (found.mask == spoilt).mean() > 0.97
    assert found.summary() == f"{found.mask.sum()} impulses"


def test_bright_parts_at_the_end_of_the_range_are_hardly_taken_for_salt(photo):
    photo = photo.copy()
    photo[:, :20] = 255  # an overexposed sky
    spoilt = random_mask(photo.shape, 0.3)
    noisy = np.where(spoilt, np.where(random_mask(photo.shape, 0.5, seed=1), 0, 255), photo).astype(np.uint8)
    found = detect_damage(noisy, kinds=["impulses"]).mask
    sky = noisy[:, :16] == 255
    assert found[:, :16][~sky].all()
    assert found[:, :16][sky].mean() < 0.25


def test_more_sensitive_finds_more(rng):
    image = sky(rng)
    image[10:190:12, 10:190:12] += 90
    counts = [detect_damage(image, sensitivity=sensitivity).mask.sum() for sensitivity in (0.5, 1, 2)]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3, 3), (300, 2), (15, 15)])
def test_pictures_too_small_to_tell_have_nothing(rng, shape):
    assert detect_damage(rng.normal(0, 1, shape)).summary() == "nothing"


def test_what_is_wrong_is_said(rng):
    image = rng.normal(0, 1, (20, 20))
    for arguments, options, message in [
        ([image[0]], {}, r"image must be of shape \(H, W\), got \(20,\)"),
        ([image > 0], {}, "image must not be bilevel"),
        ([np.full((4, 4), np.nan)], {}, "every pixel"),
        ([np.full((4, 4), np.inf)], {}, "image has infinite values"),
        ([image], {"kinds": "pixels"}, "kinds must be some of pixels, .* got 'pixels'"),
        ([image], {"kinds": ["scratches"]}, "kinds must be some of"),
        ([image], {"kinds": []}, "kinds must be some of"),
        ([image], {"sensitivity": 0}, "sensitivity must be a positive number <= 100, got 0"),
        ([image], {"sensitivity": float("nan")}, "sensitivity must be a positive number <= 100, got nan"),
        ([image], {"stack_axis": 2}, "stack_axis must be an axis of the image, .* got 2"),
        (
            [np.stack([image, image])],
            {"stack_axis": 0, "channel_axis": -3},
            "stack_axis must not be the axis of the channels",
        ),
        (
            [np.stack([image, image])],
            {"stack_axis": 0, "kinds": ["impulses"]},
            "kinds must not have impulses for several frames",
        ),
        ([np.empty((0, 4, 4))], {"stack_axis": 0}, "stack_axis must be an axis"),
        ([image], {"mask": np.ones((3, 3))}, "mask must be of shape"),
        ([image], {"mask_polarity": "valid"}, "mask_polarity"),
    ]:
        with pytest.raises(InputError, match=message):
            detect_damage(*arguments, **options)
    with pytest.raises(InputError, match="frame 1: image differs from the first one in size"):
        detect_in_frames([image, image[1:]])
    with pytest.raises(InputError, match="image must have at least one frame"):
        detect_in_frames([])


def test_an_enlarged_picture_has_no_groups_of_hot_pixels(rng):
    image = np.kron(rng.integers(90, 130, (60, 60)), np.ones((2, 2))).astype(np.uint8)
    image[31, 40] = 250
    assert detect_damage(image, kinds=["pixels"]).summary() == "1 hot pixel"
