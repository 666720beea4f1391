import numpy as np
import pytest
from scipy.ndimage import median_filter

from csc_cogd import Dictionary, InputError, Prior, denoise, inpaint, psnr, upscale
from csc_cogd.restore.report import Trace
from csc_cogd.restore.synthetic_masks import random_mask
from tests.conftest import read_only

FAST = {"effort": "fast"}


@pytest.fixture
def noisy(photo, rng):
    """The photograph with noise of standard deviation 25, in floats."""
    return photo + 25 * rng.standard_normal(photo.shape)


@pytest.fixture(scope="module")
def color_photo():
    from skimage.data import astronaut

    return astronaut()[60:124, 180:244].copy()


def quality(image, truth, where=None):
    return psnr(image, truth, data_range=255, where=where)


def salt_and_pepper(image, fraction, rng):
    """The image with spoilt pixels, and which."""
    hit = rng.random(image.shape) < fraction
    return np.where(hit, rng.integers(0, 2, image.shape) * 255, image).astype(image.dtype), hit


@pytest.mark.parametrize(("effort", "gain"), [("fast", 7.5), ("default", 8)])
def test_noise_of_a_photograph_is_removed(photo, noisy, effort, gain):
    restored, report = denoise(read_only(noisy), 25, effort=effort, return_report=True)
    assert restored.dtype == np.float64
    assert quality(restored, photo) > quality(noisy, photo) + gain
    assert report.noise_sigmas == pytest.approx([25])
    assert report.missing == 0
    assert "noise 25;" in report.lines()[0]


@pytest.mark.parametrize("sigma", [5, 50])
def test_weak_and_strong_noise(photo, rng, sigma):
    noisy = photo + sigma * rng.standard_normal(photo.shape)
    assert quality(denoise(noisy, sigma, **FAST), photo) > quality(noisy, photo) + (1 if sigma == 5 else 10)


def test_noise_is_estimated_where_it_is_not_told(photo, noisy):
    restored, report = denoise(noisy, return_report=True, **FAST)
    assert report.noise_sigmas == [pytest.approx(25, rel=0.15)]
    assert quality(restored, photo) > quality(noisy, photo) + 7.5


@pytest.mark.parametrize("read_noise", [0, 0.05])
def test_poisson_noise_is_removed_with_the_gain_given_or_estimated(photo, rng, read_noise):
    """In light and dark: better than as Gaussian noise; the mean stays; NaN is filled; read noise may go below zero."""
    gain = 20.0
    truth = photo / 255
    counts = rng.poisson(gain * truth) / gain + read_noise * rng.standard_normal(photo.shape)
    counts[30, 20:24] = np.nan
    noisy = np.where(np.isnan(counts), truth, counts)
    told = {"noise": "poisson", "gain": gain, "noise_sigma": read_noise or "auto", **FAST}
    restored = denoise(read_only(counts), **told)
    assert quality(255 * restored, photo) > max(
        quality(255 * noisy, photo) + 6, quality(255 * denoise(counts, **FAST), photo) + 1
    )
    assert restored.mean() == pytest.approx(truth.mean(), rel=0.01)
    if not read_noise:
        again, report = denoise(counts, noise="poisson", return_report=True, **FAST)
        assert report.gain == pytest.approx(gain, rel=0.2)
        assert quality(255 * again, photo) > quality(255 * restored, photo) - 0.3
        np.testing.assert_array_equal(denoise(counts, **told, dry_run=True), counts)


def test_counts_in_integers_of_any_unit(rng):
    """Their inverse has no bias, not even for few counts, and a trace speaks in their units."""
    truth = np.full((64, 64), 2.0)
    truth[:, 32:] = 6
    counts = (100 * rng.poisson(truth)).astype(np.uint16)
    trace = Trace(100 * truth)
    restored, report = denoise(counts, noise="poisson", return_report=True, trace=trace, **FAST)
    assert restored.dtype == np.uint16
    assert report.gain == pytest.approx(0.01)
    assert restored[:, :28].mean() == pytest.approx(counts[:, :28].mean(), rel=0.03)
    assert trace.curve()[-1].mse < 40**2
    assert np.nanmax(trace.fit) > 400


def test_color(color_photo, rng):
    noisy = color_photo + 25 * rng.standard_normal(color_photo.shape)
    restored = denoise(noisy, 25, channel_axis=-1, **FAST)
    assert quality(restored, color_photo) > quality(noisy, color_photo) + 8
    first = denoise(np.moveaxis(noisy, -1, 0), 25, channel_axis=0, **FAST)
    np.testing.assert_array_equal(np.moveaxis(first, 0, -1), restored)
    gray = denoise(noisy, 25, channel_axis=-1, dictionary=Dictionary.default("gray"), **FAST)
    assert quality(restored, color_photo) > quality(gray, color_photo)


def test_scale_and_offset_do_not_matter(noisy):
    image = noisy[:48, :48]
    plain = denoise(image, 25, dtype="float64", **FAST)
    for a, b in [(3e-7, -12), (1e5, 3)]:
        scaled = denoise(a * image + b, a * 25, dtype="float64", **FAST)
        np.testing.assert_allclose((scaled - b) / a, plain, atol=1e-5)


def test_types_mean_the_same(noisy):
    image = np.clip(np.rint(noisy[:48, :48]), 0, 255).astype(np.uint8)
    restored = denoise(image, 25, **FAST)
    assert restored.dtype == np.uint8
    single = denoise(image.astype(np.float32), 25, **FAST)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(restored, np.rint(single))
    wide = denoise(image.astype(np.uint16) * 257, 25 * 257, **FAST)
    assert wide.dtype == np.uint16
    np.testing.assert_allclose(wide / 257, single, atol=0.01)


def test_without_noise_the_image_itself_comes_back(photo, noisy):
    for image in (photo, photo.astype(np.uint16) * 257, noisy, noisy.astype(np.float32)):
        restored, report = denoise(image, 0, return_report=True)
        assert restored.dtype == image.dtype
        np.testing.assert_array_equal(restored, image)
        assert report.groups == []


@pytest.mark.parametrize("shape", [(1, 40), (2, 2), (7, 30)])
def test_small_and_thin_images(rng, shape):
    restored = denoise(rng.normal(100, 5, shape), 5, **FAST)
    assert restored.shape == shape
    assert 85 < restored.min() < restored.max() < 115


def test_constant_images_stay_constant():
    constant = np.full((20, 20), 7, np.uint8)
    with pytest.warns(UserWarning, match="noise_sigma was estimated to be 0, so no noise was removed"):
        np.testing.assert_array_equal(denoise(constant), 7)
    _, report = denoise(constant, return_report=True)
    assert report.noise_sigmas == [0]
    assert report.groups == report.lines() == []


def test_noise_beside_flat_parts_is_removed_and_what_was_estimated_is_said(photo, rng):
    """Half of the pixels are padding, amid a range that goes below and above it."""
    truth = photo - 100.0
    noisy = truth + rng.normal(0, 20, truth.shape)
    padded = np.pad(noisy, ((0, 0), (0, 110)))
    restored, report = denoise(padded, return_report=True, **FAST)
    assert report.noise_sigmas == [pytest.approx(20, rel=0.15)]
    assert report.warnings == []
    assert quality(restored[:, :96], truth) > quality(noisy, truth) + 6


def test_noise_that_can_not_be_estimated_is_said(rng):
    flat = np.zeros((40, 50))
    flat[10:12, 20:22] = rng.normal(0, 1, (2, 2))
    for restored in (
        lambda **more: denoise(flat, **more),
        lambda **more: denoise(np.stack([flat, flat]), stack_axis=0, **more),
    ):
        with pytest.warns(UserWarning, match="noise_sigma can't be estimated") as told:
            restored()
        assert len(told) == 1
        reports = restored(return_report=True)[1]
        for report in reports if isinstance(reports, list) else [reports]:
            assert report.noise_sigmas == [0]
            assert "can't be estimated" in str(report.warnings[0])
    counts = np.full((40, 50), 3.5) + np.linspace(0, 1, 50)
    with pytest.warns(UserWarning, match="gain can't be estimated, as no noise is seen"):
        denoise(counts, noise="poisson", **FAST)
    sky = rng.poisson(9, (64, 64)) + rng.normal(0, 2, (64, 64)) - 9
    with pytest.warns(UserWarning, match="gain can't be estimated, as .* an offset was subtracted.*add the offset back"):
        denoise(sky, 1.0, noise="poisson", **FAST)
    with pytest.warns(UserWarning, match="noise_sigma can't be estimated"):
        inpaint(flat, np.eye(40, 50), noise_sigma="auto", **FAST)


@pytest.mark.parametrize("read_noise", [0, 2, 5])
def test_the_gain_is_estimated_beside_read_noise(rng, read_noise):
    truth = np.linspace(10, 60, 256)[None].repeat(256, axis=0)
    values = rng.poisson(2.1 * truth) / 2.1 + rng.normal(0, 1, truth.shape) * read_noise
    _, report = denoise(values, read_noise or "auto", noise="poisson", return_report=True, **FAST)
    assert report.gain == pytest.approx(2.1, rel=0.1)


def test_missing_pixels_are_filled_and_known_ones_denoised(photo, noisy):
    mask = random_mask(photo.shape, 0.3)
    holes = np.where(mask, np.nan, noisy)
    restored, report = denoise(holes, 25, return_report=True, **FAST)
    assert report.missing == pytest.approx(mask.mean())
    assert quality(restored, photo, ~mask) > quality(noisy, photo, ~mask) + 6
    assert quality(restored, photo, mask) > quality(inpaint(holes, **FAST), photo, mask) + 1
    for same in (
        denoise(np.where(mask, -999, noisy), 25, mask=mask, **FAST),
        denoise(np.where(mask, -999, noisy), 25, mask=~mask, mask_polarity="valid", **FAST),
        denoise(np.ma.array(noisy, mask=mask), 25, **FAST),
        inpaint(holes, noise_sigma=25, **FAST),
    ):
        np.testing.assert_array_equal(np.asarray(same), restored)
    kept = inpaint(holes, noise_sigma=25, keep_known=True, **FAST)
    np.testing.assert_array_equal(kept[~mask], noisy[~mask])
    np.testing.assert_array_equal(kept[mask], restored[mask])


def test_inpainting_estimates_the_noise_on_request(photo, noisy):
    mask = random_mask(photo.shape, 0.1)
    restored, report = inpaint(noisy, mask, noise_sigma="auto", return_report=True, **FAST)
    assert report.noise_sigmas == [pytest.approx(25, rel=0.15)]
    assert (restored != noisy)[~mask].mean() > 0.99
    assert quality(restored, photo) > quality(noisy, photo) + 6


def test_without_noise_known_pixels_are_the_same_to_rounding(noisy):
    mask = random_mask((40, 40), 0.3)
    restored = denoise(noisy[:40, :40], 0, mask=mask, **FAST)
    np.testing.assert_allclose(restored[~mask], noisy[:40, :40][~mask], atol=1e-4)
    np.testing.assert_array_equal(restored[mask], inpaint(noisy[:40, :40], mask, **FAST)[mask])


@pytest.mark.parametrize(("row", "column", "least"), [(100, 200, 36), (300, 300, 32)])
def test_salt_and_pepper(rng, row, column, least):
    from skimage.data import camera

    truth = camera()[row : row + 96, column : column + 96]
    spoilt, hit = salt_and_pepper(truth, 0.2, rng)
    restored, report = denoise(read_only(spoilt), noise="impulse", return_report=True, **FAST)
    assert restored.dtype == np.uint8
    assert quality(restored, truth) > least
    assert quality(restored, truth) > quality(median_filter(spoilt, 3), truth) + 6
    assert (restored == truth)[~hit].mean() > 0.98
    assert report.missing == pytest.approx(hit.mean(), abs=0.01)
    large = abs(truth.astype(int) - spoilt) > 60
    assert (restored != spoilt)[large].mean() > 0.98


def test_pixels_not_found_spoilt_come_back_bit_for_bit(rng):
    i, j = np.mgrid[:64, :64]
    truth = 100 + 50 * np.sin(i / 9) * np.cos(j / 11)
    spoilt, hit = truth.copy(), rng.random(truth.shape) < 0.1
    spoilt[hit] += rng.choice([-90.0, 90.0], hit.sum())
    restored, report = denoise(spoilt, noise="impulse", return_report=True, **FAST)
    assert report.missing == hit.mean()
    assert restored[~hit].tobytes() == truth[~hit].tobytes()
    np.testing.assert_allclose(restored[hit], truth[hit], atol=1)
    holes = np.where(np.arange(64) % 16 == 3, np.nan, spoilt)
    filled = denoise(holes, noise="impulse", **FAST)
    np.testing.assert_allclose(filled, truth, atol=3)


def test_hot_pixels_of_one_channel(color_photo):
    spoilt = color_photo.astype(np.float32)
    spoilt[20, 30, 1] = spoilt[40:42, 11, 2] = 1e4
    restored = denoise(spoilt, noise="impulse", channel_axis=-1, **FAST)
    assert restored.max() <= 255
    assert abs(restored - color_photo)[20, 30, 1] < 30
    assert (restored == color_photo).mean() > 0.95


@pytest.mark.parametrize("name", ["camera", "grass", "bricks"])
def test_pictures_without_impulses_stay_as_they_are(name):
    from skimage import data

    picture = {"camera": data.camera, "grass": data.grass, "bricks": data.brick}[name]()[200:360, 60:220]
    restored, _ = denoise(picture, noise="impulse", return_report=True, **FAST)
    assert (restored != picture).mean() < 0.005


def test_a_mosaic_of_colors_is_texture_and_that_is_said():
    from skimage.data import astronaut

    colors, mosaic = astronaut()[100:300, 100:300], np.empty((200, 200), np.uint8)
    for (i, j), channel in {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}.items():
        mosaic[i::2, j::2] = colors[i::2, j::2, channel]
    restored, report = denoise(mosaic, noise="impulse", return_report=True, **FAST)
    np.testing.assert_array_equal(restored, mosaic)
    assert "lie together as texture does" in str(report.warnings[0])


@pytest.mark.parametrize("width", [1.6, 3.0])
def test_stars_keep_their_light_while_hot_pixels_go(rng, width):
    rows, columns = np.mgrid[:120, :120]
    light = np.full((120, 120), 50.0)
    places = [(r + rng.uniform(-2, 2), c + rng.uniform(-2, 2)) for r in range(15, 110, 20) for c in range(15, 110, 20)]
    for row, column in places:
        distance = (rows - row) ** 2 + (columns - column) ** 2
        light += 10 ** rng.uniform(3, 4.5) * np.exp(-4 * np.log(2) * distance / width**2)
    picture = rng.poisson(light).astype(np.float64)
    hot = np.zeros(picture.shape, bool)
    hot[tuple(rng.integers(1, 12, (2, 6)) * 10)] = True  # between the stars
    spoilt = np.where(hot, 3e4, picture)
    restored = denoise(spoilt, noise="impulse", **FAST)
    assert abs(restored - light)[hot].max() < 100
    for row, column in places:
        window = np.s_[int(row) - 4 : int(row) + 6, int(column) - 4 : int(column) + 6]
        assert (restored - 50)[window].sum() > 0.95 * (picture - 50)[window].sum()


def test_random_values_are_taken_out_of_a_picture_and_its_edges_stay(photo, rng):
    hit = rng.random(photo.shape) < 0.1
    spoilt = np.where(hit, rng.integers(0, 256, photo.shape), photo).astype(np.uint8)
    restored = denoise(spoilt, noise="impulse", **FAST)
    assert quality(restored, photo) > max(quality(median_filter(spoilt, side), photo) for side in (3, 5)) + 1
    assert (restored == photo)[~hit].mean() > 0.96


def test_progress_is_told_and_a_callback_can_end_a_stage(noisy):
    told = []
    denoise(noisy[:40, :40], 25, callback=told.append)
    assert list(dict.fromkeys(p.stage for p in told)) == ["prior", "patches"]
    told.clear()
    denoise(noisy[:40, :40], 25, callback=told.append, prior="none", **FAST)
    assert list(dict.fromkeys(p.stage for p in told)) == ["base layer", "codes", "patches"]
    passes = [p for p in told if p.stage == "patches"]
    assert [p.done for p in passes] == list(range(1, passes[0].total + 1))
    told.clear()
    spoilt = noisy[:40, :40].copy()
    spoilt[::7, ::5] = 900
    denoise(spoilt, noise="impulse", callback=told.append)
    assert list(dict.fromkeys(p.stage for p in told)) == ["impulses", "pilot", "patches"]
    assert [p.done for p in told if p.stage == "impulses"] == list(range(1, 76))
    _, report = denoise(noisy[:40, :40], 25, callback=lambda p: p.done == 4, prior="none", return_report=True)
    assert len(report.groups[0].history) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": "purple"}, "noise must be one of 'auto', 'white', .* got 'purple'"),
        ({"gain": 2}, "gain belongs to Poisson noise"),
        ({"noise": "poisson", "gain": 0}, "gain must be a positive number, got 0"),
        ({"noise": "poisson", "noise_sigma": "auto", "image": np.eye(4) - 1}, "negative values, .*offset"),
        ({"noise_sigma": -1}, "noise_sigma must be a finite number of zero or more, or 'auto', got -1"),
        ({"noise_sigma": np.nan}, "noise_sigma must be .* got nan"),
        ({"noise_sigma": None}, "noise_sigma must be .* got None"),
        ({"noise_sigma": "10"}, "noise_sigma must be .* got 10"),
        ({"noise": "impulse", "noise_sigma": "auto", "max_memory": 1e6}, "max_memory of 0.001 GB doesn't suffice"),
        ({"noise": "impulse", "noise_sigma": 5}, "belongs to white noise"),
        ({"image": np.eye(4) > 0}, "bilevel"),
        ({"effort": "most"}, "effort must be one of 'fast', 'default', 'best', got 'most'"),
        ({"image": np.zeros((4, 4, 3))}, "channel_axis=-1"),
        ({"image": np.full((4, 4), np.nan)}, "every pixel of a channel is missing"),
        ({"image": np.full((4, 4), np.inf)}, "infinite"),
        ({"max_iter": 2.5}, "max_iter must be an integer >= 1, got 2.5"),
        ({"noise_sigma": 0, "max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
        ({"noise_sigma": 0, "lmbda": -1}, "lmbda must be a finite number >= 0, got -1"),
        ({"mask_polarity": "valid"}, "mask_polarity says how to read a mask, but there is none"),
        ({"dictionary": np.ones((2, 3, 3))}, "dictionary must be a csc_cogd.Dictionary"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"image": np.arange(16.0).reshape(4, 4), "noise_sigma": 2} | change
    if arguments.get("noise") == "impulse" and "noise_sigma" not in change:
        del arguments["noise_sigma"]
    with pytest.raises(InputError, match=message):
        denoise(arguments.pop("image"), arguments.pop("noise_sigma"), **arguments)


@pytest.mark.parametrize("bad", [{"effort": "most"}, {"max_iter": 0}, {"lmbda": -1}, {"tol": -1}])
def test_settings_are_looked_at_before_impulses_are_looked_for(photo, bad):
    told = []
    with pytest.raises(InputError, match=next(iter(bad))):
        denoise(photo, noise="impulse", callback=told.append, **bad)
    assert told == []


@pytest.mark.parametrize("kind", ["salt and pepper", "hot pixels"])
def test_impulses_are_found_tile_by_tile(rng, kind):
    from skimage.data import camera

    truth = camera()[100:212, 150:270]
    spoilt, hit = salt_and_pepper(truth, 0.15, rng)
    if kind == "hot pixels":
        hit = rng.random(truth.shape) < 0.02
        spoilt = np.where(hit, 240, truth // 2).astype(np.uint8)
    whole, report = denoise(spoilt, noise="impulse", return_report=True, tile=0, **FAST)
    told = []
    tiled, tiled_report = denoise(spoilt, noise="impulse", return_report=True, tile=48, callback=told.append, **FAST)
    assert len(tiled_report.groups[0].plan.tiles) > 4
    assert tiled_report.missing == pytest.approx(report.missing, rel=0.01)
    assert ((tiled != spoilt) == (whole != spoilt)).mean() > 0.998
    steps = [p for p in told if p.stage == "impulses"]
    assert [p.done for p in steps] == list(range(1, steps[0].total + 1))
    _, plan = denoise(spoilt, noise="impulse", return_report=True, tile=48, dry_run=True)
    assert len(plan.groups[0].plan.tiles) > 4


def test_a_large_picture_with_impulses_is_planned_in_the_memory_allowed():
    large = np.zeros((3000, 2000), np.uint8)
    large[::9, ::7] = 255
    restored, report = denoise(large, noise="impulse", dry_run=True, max_memory=1.2e9, return_report=True)
    assert report.groups[0].plan.memory <= 1.2e9
    np.testing.assert_array_equal(restored, large)


def test_a_stack_is_denoised_and_upscaled_frame_by_frame(photo):
    stack = photo[:48, :96].reshape(48, 2, 48)
    clean = denoise(stack, 10, stack_axis=1, **FAST)
    np.testing.assert_array_equal(clean[:, 1], denoise(stack[:, 1], 10, **FAST))
    assert upscale(stack, 2, stack_axis=1, max_iter=2).shape == (96, 2, 96)


def test_each_channel_may_have_noise_of_its_own(rng):
    from skimage.data import astronaut

    truth, sigmas = astronaut()[40:104, 180:244].astype(float), (5.0, 40.0, 15.0)
    noisy = truth + rng.normal(0, 1, truth.shape) * sigmas
    told, report = denoise(noisy, sigmas, channel_axis=-1, return_report=True, prior="none", **FAST)
    alike = denoise(noisy, float(np.sqrt(np.mean(np.square(sigmas)))), channel_axis=-1, prior="none", **FAST)
    assert quality(told, truth) > quality(alike, truth) + 0.5
    assert [quality(told[..., c], truth[..., c]) > quality(noisy[..., c], truth[..., c]) for c in range(3)] == [True] * 3
    assert report.noise_sigmas == pytest.approx([np.sqrt(np.mean(np.square(sigmas))), 5, 15])
    np.testing.assert_allclose(
        denoise(noisy, [15.0] * 3, channel_axis=-1, **FAST), denoise(noisy, 15, channel_axis=-1, **FAST), rtol=1e-5
    )
    for wrong, message in [
        ([1.0, 2.0], "noise_sigma has 2 standard deviations, but the image has 3 channels"),
        ([1.0, 0.0, 2.0], "noise_sigma must have positive numbers, one for each channel"),
    ]:
        with pytest.raises(InputError, match=message):
            denoise(noisy, wrong, channel_axis=-1)


def test_arrays_without_axes_are_numbers(photo):
    image = photo[:32, :32]
    np.testing.assert_array_equal(denoise(image, np.array(12.0), **FAST), denoise(image, 12.0, **FAST))
    plain = {"noise": "poisson", "gain": 2.0, "lmbda": 0.05, "max_iter": 2}
    arrays = plain | {name: np.array(plain[name]) for name in ("gain", "lmbda", "max_iter")}
    np.testing.assert_array_equal(denoise(image, **arrays), denoise(image, **plain))


@pytest.mark.parametrize("sigma", ["auto", 12])
def test_a_gray_picture_kept_in_color_is_denoised_as_a_gray_one(photo, rng, sigma):
    noisy = np.clip(photo + rng.normal(0, 12, photo.shape), 0, 255).round().astype(np.uint8)
    gray, report = denoise(noisy, sigma, return_report=True, **FAST)
    color, same = denoise(np.stack([noisy] * 3, 1), sigma, channel_axis=1, return_report=True, **FAST)
    for channel in range(3):
        np.testing.assert_array_equal(color[:, channel], gray)
    assert same.noise_sigmas == report.noise_sigmas
    given = denoise(np.stack([noisy] * 3, 1), 12, channel_axis=1, prior=Prior.default("color"), **FAST)  # which is for color
    assert given.shape == color.shape
