import inspect

import numpy as np
import pytest
from scipy.signal import convolve2d

from csc_cogd import Blur, Dictionary, InputError, deblur, psnr, restore_image, upscale
from csc_cogd.restore.noise import estimate_noise
from csc_cogd.restore.operators import Decimation, gaussian_kernel, motion_kernel, uniform_kernel
from csc_cogd.restore.restore_image import Options
from csc_cogd.restore.stages.base_layer import SCENE_SMOOTHING, smooth_scene
from tests.conftest import read_only

FAST = {"max_iter": 10}
BORDER = 12


@pytest.fixture(scope="module")
def scene():
    """A photograph, 84 x 84, with what lies around it as far as kernels reach, in [0, 255]."""
    from skimage.data import camera

    return camera()[100 - BORDER : 184 + BORDER, 200 - BORDER : 284 + BORDER].astype(float)


@pytest.fixture(scope="module")
def truth(scene):
    return scene[BORDER:-BORDER, BORDER:-BORDER]


def picture_of(scene, kernel, sigma=0.0):
    blurred = convolve2d(scene, kernel, mode="same")[BORDER:-BORDER, BORDER:-BORDER]
    return blurred + sigma * np.random.default_rng(0).standard_normal(blurred.shape)


def to_uint8(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def quality(restored, truth):
    return psnr(np.clip(restored, 0, 255), truth, data_range=255)


@pytest.mark.parametrize(
    ("kernel", "margin"), [(gaussian_kernel(1.6), 0.8), (uniform_kernel(9), 3.0), (motion_kernel(9, 20), 3.0)]
)
def test_deblurring_beats_the_best_of_wiener(scene, truth, kernel, margin):
    from skimage.restoration import wiener

    picture = to_uint8(picture_of(scene, kernel, 2.0))
    padded = np.pad(picture / 255, 16, "reflect")
    peers = [wiener(padded, kernel, balance)[16:-16, 16:-16] * 255 for balance in 10.0 ** np.arange(-4, 1, 0.5)]
    restored = deblur(picture, kernel)
    assert restored.dtype == np.uint8
    assert restored.shape == picture.shape
    assert quality(restored, truth) > max(quality(peer, truth) for peer in peers) + margin


@pytest.mark.parametrize("factor", [2, 3])
def test_upscaling_beats_bicubic_interpolation(truth, factor):
    from PIL import Image
    from skimage.transform import resize

    small = np.asarray(Image.fromarray(truth.astype(np.uint8)).resize((84 // factor,) * 2, Image.Resampling.BICUBIC))
    restored = upscale(small, factor)
    assert restored.dtype == np.uint8
    assert restored.shape == (84, 84)
    assert quality(restored, truth) > quality(resize(small / 255, (84, 84), order=3) * 255, truth) + 0.6
    assert abs(np.mean(restored) - np.mean(small)) < 1


def test_a_kernel_that_is_stated_is_better_than_a_wrong_one(truth):
    blocks = truth.reshape(42, 2, 42, 2).mean(axis=(1, 3))
    shifted = np.pad(np.ones((2, 2)), ((2, 0), (2, 0)))
    right, wrong = (upscale(blocks, 2, kernel=kernel) for kernel in (np.ones((2, 2)), shifted))
    assert quality(right, truth) > quality(wrong, truth) + 2


def test_the_noise_is_estimated_and_a_wrong_one_is_worse(scene, truth):
    picture = picture_of(scene, uniform_kernel(5), 5.0)
    restored, report = deblur(picture, uniform_kernel(5), return_report=True)
    assert report.noise_sigmas[0] == pytest.approx(5, rel=0.1)
    assert any("; noise 5" in line or "; noise 4.9" in line for line in report.lines())
    by_code = quality(deblur(picture, uniform_kernel(5), prior="none"), truth)
    for wrong in (0.5, 50.0):
        assert quality(deblur(picture, uniform_kernel(5), noise_sigma=wrong), truth) < quality(restored, truth) - 0.3
        assert quality(deblur(picture, uniform_kernel(5), noise_sigma=wrong, prior="none"), truth) < by_code - 0.5


def test_missing_pixels_are_filled_while_the_rest_is_deblurred(scene, truth, rng):
    kernel = gaussian_kernel(1.2)
    picture, mask = picture_of(scene, kernel, 1.0), rng.random(truth.shape) < 0.3
    mask[30:34, 20:60] = True
    whole = quality(deblur(picture, kernel), truth)
    assert quality(deblur(np.where(mask, 0, picture), kernel, mask=mask), truth) > whole - 1.5
    by_nan = deblur(np.where(mask, np.nan, picture), kernel, **FAST)
    assert np.isfinite(by_nan).all()
    for image, how in [
        (np.where(mask, 0, picture), {"mask": mask}),
        (picture, {"mask": ~mask, "mask_polarity": "valid"}),
        (np.ma.masked_array(picture, mask), {}),
    ]:
        np.testing.assert_array_equal(deblur(image, kernel, **how, **FAST), by_nan)


def test_poisson_noise_is_better_treated_as_what_it_is(scene, truth, rng):
    kernel, peak = gaussian_kernel(1.6), 60
    dark = scene**2 / 255  # a wide range of intensities, of which few counts fall into the shadows
    expected = convolve2d(dark, kernel, mode="same")[BORDER:-BORDER, BORDER:-BORDER] * peak / 255
    counts = rng.poisson(expected).astype(np.uint16)
    truth = dark[BORDER:-BORDER, BORDER:-BORDER]
    by_prior = deblur(counts.astype(float), kernel, noise="poisson")
    restored, report = deblur(counts.astype(float), kernel, noise="poisson", prior="none", return_report=True)
    assert min(restored.min(), by_prior.min()) >= 0
    assert report.noise_sigmas[0] == pytest.approx(np.sqrt(counts.mean()))
    assert quality(restored * 255 / peak, truth) > quality(counts * 255.0 / peak, truth) + 3
    as_gaussian = deblur(counts.astype(float), kernel, noise_sigma=np.sqrt(counts.mean()), prior="none")
    assert quality(restored * 255 / peak, truth) > quality(as_gaussian * 255 / peak, truth) + 0.05
    shadows = truth < np.quantile(truth, 0.3)
    found, less = (psnr(each * 255 / peak, truth, data_range=255, where=shadows) for each in (restored, as_gaussian))
    assert found > less + 0.3
    assert quality(by_prior * 255 / peak, truth) > quality(restored * 255 / peak, truth) + 0.05
    assert psnr(by_prior * 255 / peak, truth, data_range=255, where=shadows) > found + 0.3
    # counts in other units, with the gain that says so
    np.testing.assert_allclose(deblur(counts / 60.0, kernel, noise="poisson", gain=60) * 60, by_prior, atol=1e-3 * peak)
    assert deblur(counts, kernel, noise="poisson", **FAST).dtype == np.uint16


def test_nothing_is_imposed_beyond_the_border(scene, truth):
    """The error at the border is hardly larger than inside, for the scene beyond is restored, too."""
    restored = deblur(picture_of(scene, uniform_kernel(9), 1.0), uniform_kernel(9))
    error = (np.clip(restored, 0, 255) - truth) ** 2
    inside = error[9:-9, 9:-9].mean()
    assert (error.sum() - error[9:-9, 9:-9].sum()) / (error.size - error[9:-9, 9:-9].size) < 2.5 * inside


def test_color_is_coded_together_and_grey_dictionaries_take_channels_apart():
    from skimage.data import astronaut

    photo = astronaut()[60:124, 180:244]
    kernel = gaussian_kernel(1.5)
    blurred = np.stack([convolve2d(c, kernel, mode="same", boundary="symm") for c in np.moveaxis(photo, -1, 0)], axis=-1)
    restored = deblur(to_uint8(blurred), kernel, channel_axis=-1)
    assert restored.shape == photo.shape
    assert quality(restored, photo) > quality(blurred, photo) + 2
    gray, report = deblur(
        np.moveaxis(blurred, -1, 0), kernel, channel_axis=0, dictionary=Dictionary.default(), return_report=True, **FAST
    )
    assert len(report.groups) == 3
    np.testing.assert_allclose(gray[1], deblur(blurred[..., 1], kernel, **FAST))
    assert upscale(photo[:20, :24], 2, channel_axis=-1, **FAST).shape == (40, 48, 3)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "float16", "int16"])
def test_type_and_input_are_kept(photo, dtype):
    image = photo[:32, :32].astype(dtype)
    kept = image.copy()
    for restored in (deblur(read_only(image), read_only(np.ones((3, 3))), **FAST), upscale(read_only(image), 2, **FAST)):
        assert restored.dtype == np.dtype(dtype)
        assert restored.dtype.byteorder == image.dtype.byteorder
    np.testing.assert_array_equal(image, kept)


def test_scaling_and_shifting_the_values_scales_and_shifts_the_result(photo):
    image = photo[:40, :40].astype(float)
    restored = deblur(image, uniform_kernel(3), dtype="float64", **FAST)
    np.testing.assert_allclose(
        deblur(1e4 * image - 7, uniform_kernel(3), dtype="float64", **FAST), 1e4 * restored - 7, rtol=1e-6
    )


def test_the_options_that_are_passed_on_are_those_that_are_taken():
    taken = inspect.signature(restore_image).parameters.values()
    expected = {parameter.name: parameter.annotation for parameter in taken if parameter.kind is parameter.KEYWORD_ONLY}
    assert {name: hint.__forward_arg__ for name, hint in Options.__annotations__.items()} == expected


@pytest.mark.parametrize("value", [np.uint8(77), np.float64(-3e-30), np.float32(1e20), np.int16(-5)])
def test_constant_images_stay_constant(value):
    image = np.full((20, 24), value)
    np.testing.assert_allclose(deblur(image, gaussian_kernel(1.0), **FAST), image, rtol=1e-5)
    np.testing.assert_allclose(upscale(image, 2, **FAST), np.full((40, 48), value), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (2, 2), (5, 7)])
def test_small_and_thin_images(rng, shape):
    image = rng.integers(0, 255, shape).astype(np.uint8)
    assert deblur(image, np.ones((1, 1)), noise_sigma=1, **FAST).shape == shape
    assert upscale(image, 3, noise_sigma=1, **FAST).shape == (3 * shape[0], 3 * shape[1])
    if min(shape) < 3:
        with pytest.warns(UserWarning, match="noise_sigma can't be estimated"):
            deblur(image, np.ones((1, 1)), **FAST)


def test_progress_is_told_and_a_callback_can_end_the_codes(photo):
    told = []
    deblur(photo[:32, :32], np.ones((3, 3)), callback=told.append, **FAST)
    assert told[0].stage == "base layer"
    assert [progress[:3] for progress in told if progress.stage == "codes"][-1] == ("codes", 10, 10)
    assert told[-1][:3] == ("patches", 5, 5)
    four = {"callback": lambda p: p.done == 4, "return_report": True}
    stop = deblur(photo[:32, :32], np.ones((3, 3)), prior="none", **four)
    assert len(stop[1].groups[0].history) == 4
    told.clear()
    deblur(photo[:32, :32], np.ones((3, 3)), callback=told.append)
    assert [told[0].stage, told[-1][:3]] == ["base layer", ("prior", 8, 8)]
    assert deblur(photo[:32, :32], np.ones((3, 3)), **four)[1].groups[0].passes == 4


@pytest.fixture(scope="module")
def wide():
    """A photograph, 200 x 180, with what lies around it, in [0, 255]."""
    from skimage.data import camera

    return camera()[60 - BORDER : 260 + BORDER, 110 - BORDER : 290 + BORDER].astype(float)


def check_tiles(restore, truth, tile, edges):
    """Tiles agree with the whole, everywhere and in the neighborhood of the cores' `edges` (rows, columns)."""
    whole, tiled = restore(tile=0), restore(tile=tile)
    error, difference = (whole - truth) ** 2, (tiled - whole) ** 2
    at_seams = np.zeros(truth.shape, bool)
    for edge in edges[0]:
        at_seams[edge - 8 : edge + 8] = True
    for edge in edges[1]:
        at_seams[:, edge - 8 : edge + 8] = True
    assert difference.mean() < 0.004 * error.mean()
    assert difference[at_seams].mean() < 0.005 * error[at_seams].mean()
    for axis, places in enumerate(edges):  # in gray levels of 255
        steps = abs(np.diff((tiled - whole).mean(axis=1 - axis)))
        assert steps[np.array(places) - 1].max() < 0.1


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_tiles_of_a_deblurred_picture_have_no_seams(wide, rng, noise):
    kernel, truth = gaussian_kernel(1.6), wide[BORDER:-BORDER, BORDER:-BORDER]
    picture = picture_of(wide, kernel, 3.0) if noise == "gaussian" else rng.poisson(picture_of(wide, kernel)).astype(float)
    mask = rng.random(truth.shape) < 0.1
    check_tiles(
        lambda **tile: deblur(picture, kernel, mask=mask, noise=noise, max_iter=30, **tile), truth, 100, ([100], [90])
    )


def test_tiles_of_an_upscaled_picture_lie_on_its_grid_and_have_no_seams(wide):
    from PIL import Image

    truth = wide[BORDER:-BORDER, BORDER:-BORDER]
    small = np.asarray(Image.fromarray(truth.astype(np.uint8)).resize((90, 100), Image.Resampling.BICUBIC)).astype(float)
    check_tiles(lambda **tile: upscale(small, 2, max_iter=30, **tile), truth, 50, ([100], [90]))


def test_what_is_estimated_is_that_of_the_whole_picture(wide):
    """Half of the picture is flat: by themselves, its tiles would see another noise, range and detail."""
    picture = picture_of(wide, gaussian_kernel(1.2), 2.0)
    picture[:, 90:] = 40
    reports = [
        deblur(picture, gaussian_kernel(1.2), tile=tile, return_report=True, max_iter=5, threads=1)[1] for tile in (0, 64)
    ]
    assert [len(report.groups[0].plan.tiles) for report in reports] == [1, 12]
    assert reports[0].noise_sigmas == reports[1].noise_sigmas
    assert reports[1].groups[0].lmbda == pytest.approx(reports[0].groups[0].lmbda, rel=1e-3)


@pytest.mark.parametrize(("prior", "little"), [("none", 6e8), ("default", 3.2e8)])
def test_memory_is_bounded_by_smaller_tiles(rng, prior, little):
    image = rng.integers(0, 255, (600, 700)).astype(np.uint8)
    plans = []
    how = {"prior": prior, "dry_run": True, "return_report": True}
    for memory in (2e9, little):
        same, report = deblur(image, np.ones((3, 3)), max_memory=memory, **how)
        np.testing.assert_array_equal(same, image)
        plans.append(report.groups[0].plan)
        assert plans[-1].memory <= memory
        assert report.lines() == [str(plans[-1])]
        assert report.groups[0].history == []
    assert len(plans[0].tiles) == 1 < len(plans[1].tiles)
    _, finer = upscale(image, 2, max_memory=little, **how)
    assert finer.groups[0].plan.memory <= little
    assert len(finer.groups[0].plan.tiles) > len(plans[1].tiles)
    with pytest.raises(InputError, match=r"max_memory of 0\.1 GB doesn't suffice"):
        deblur(image, np.ones((3, 3)), max_memory=1e8, prior=prior)


def test_threads_and_tiles_at_once_change_nothing_and_a_stop_leaves_the_rest_smooth(photo):
    run = {"tile": 48, "max_iter": 4}
    one, three = (deblur(photo, gaussian_kernel(1.0), threads=threads, **run) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)
    told = []

    def stop(progress):
        told.append(progress)
        return True

    stopped = deblur(photo, gaussian_kernel(1.0), threads=1, callback=stop, **run)
    assert [progress[:3] for progress in told] == [("tiles", number, 4) for number in (0, 1, 2, 3, 4)]
    np.testing.assert_array_equal(stopped[:20, :20], one[:20, :20])
    assert quality(stopped[60:, 60:], photo[60:, 60:]) > 17


@pytest.mark.parametrize("operator", [Blur(np.ones((2, 3))), Decimation(2, np.ones((2, 2)))])
def test_the_smooth_scene_is_the_tikhonov_solution(rng, operator):
    picture, known = rng.random((1, 6, 5)), rng.random((1, 6, 5)) < 0.7
    H, W = operator.scene_shape((6, 5))
    units = np.eye(H * W).reshape(-1, H, W)
    A = operator.apply(units).reshape(H * W, -1).T[known.ravel()]
    rows, columns = np.diff(units, axis=1).reshape(H * W, -1).T, np.diff(units, axis=2).reshape(H * W, -1).T
    gram = A.T @ A + SCENE_SMOOTHING / operator.factor**2 * (rows.T @ rows + columns.T @ columns)
    expected = np.linalg.solve(gram, A.T @ picture[known])
    np.testing.assert_allclose(smooth_scene(picture, known, operator).ravel(), expected, atol=1e-4)


def test_noise_estimates(rng, photo):
    noise = 3 * rng.standard_normal((80, 80))
    assert estimate_noise(np.add.outer(np.arange(80), np.arange(80)) + noise) == pytest.approx(3, rel=0.05)
    gaps = rng.random((80, 80)) < 0.1
    assert estimate_noise(np.where(gaps, 1e6, noise), ~gaps) == pytest.approx(3, rel=0.1)
    assert estimate_noise(np.ones((2, 50))) == 0
    assert np.isnan(estimate_noise(np.eye(4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4, 3))}, "channel_axis=-1"),
        ({"image": np.zeros((8, 8), bool)}, "bilevel"),
        ({"image": np.full((8, 8), np.inf)}, "infinite"),
        ({"image": np.full((8, 8), np.nan)}, "every pixel of a channel is missing"),
        ({"image": np.zeros((2, 8))}, "kernel of 3 x 3 pixels is larger than the image, 2 x 8"),
        (
            {"operator": np.ones((3, 3))},
            "operator must be an operator, such as Blur or Decimation, got ndarray, which lacks adjoint, .*",
        ),
        ({"mask": np.ones((8, 9))}, "mask must be of shape"),
        ({"mask": np.ones((8, 8))}, "every pixel of a channel is missing"),
        ({"mask_polarity": "valid"}, "mask_polarity says how to read a mask, but there is none"),
        ({"noise": "salt"}, "noise must be 'gaussian' or 'poisson', got 'salt'"),
        ({"noise_sigma": -1}, "noise_sigma must be .* got -1"),
        ({"noise_sigma": np.nan}, "noise_sigma must be .* got nan"),
        ({"gain": 2.0}, "gain belongs to Poisson noise"),
        ({"gain": 0, "noise": "poisson"}, "gain must be a positive number, got 0"),
        ({"noise": "poisson", "noise_sigma": 1.0}, "noise_sigma follows from"),
        ({"noise": "poisson", "image": -np.ones((8, 8))}, "aren't counts"),
        ({"lmbda": -1}, "lmbda must be a finite number >= 0, got -1"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
        ({"dictionary": np.ones((2, 3, 3))}, "dictionary must be a csc_cogd.Dictionary"),
        ({"dtype": "int8"}, "float32"),
        ({"device": "gpu"}, "device must be .+ got 'gpu'"),
        ({"tile": 5}, "tile must be 'auto', 0 for all at once, or 32 or more pixels, got 5"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"image": np.arange(64.0).reshape(8, 8), "operator": Blur(np.ones((3, 3))), "max_iter": 2} | change
    with pytest.raises(InputError, match=message):
        restore_image(arguments.pop("image"), arguments.pop("operator"), **arguments)
