import re
import sys

import numpy as np
import pytest

from csc_cogd import DeviceError, Dictionary, InputError, clean, deblur, denoise, inpaint, psnr, upscale
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore.report import Trace
from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask
from tests.conftest import read_only

FAST = {"effort": "fast"}


@pytest.fixture(scope="module")
def color_photo():
    from skimage.data import astronaut

    return astronaut()[60:156, 180:276].copy()


def test_grey_photograph_is_better_than_biharmonic(photo):
    mask = random_mask(photo.shape, 0.5, seed=1)
    restored = inpaint(np.where(mask, 0, photo).astype(np.uint8), mask)
    biharmonic = fill_biharmonic(photo[None] / 255, mask[None])[0] * 255
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored[~mask], photo[~mask])
    assert psnr(restored, photo, data_range=255) > psnr(biharmonic, photo, data_range=255) + 1.5


@pytest.mark.parametrize("mask", [random_mask((96, 96), 0.8, seed=2), scratch_and_text_mask((96, 96), "text")])
def test_much_missing_and_wide_holes(photo, mask):
    restored, report = inpaint(photo, mask, return_report=True, **FAST)
    biharmonic = fill_biharmonic(photo[None] / 255, mask[None])[0] * 255
    gain = psnr(restored, photo, data_range=255, where=mask) - psnr(biharmonic, photo, data_range=255, where=mask)
    assert gain > 0.8
    assert report.groups[0].effort.patches.size == 8


def test_color_photograph_is_better_than_biharmonic(color_photo):
    mask = random_mask(color_photo.shape[:2], 0.5, seed=1)
    damaged = np.where(mask[..., None], 0, color_photo).astype(np.uint8)
    restored = inpaint(damaged, mask, channel_axis=-1)
    planes = np.moveaxis(color_photo, -1, 0) / 255
    biharmonic = np.moveaxis(fill_biharmonic(planes, np.broadcast_to(mask, planes.shape)), 0, -1) * 255
    np.testing.assert_array_equal(restored[~mask], color_photo[~mask])
    assert psnr(restored, color_photo, data_range=255) > psnr(biharmonic, color_photo, data_range=255) + 1.2
    last = inpaint(damaged[:48, :48], mask[:48, :48], channel_axis=-1, **FAST)
    first = inpaint(np.moveaxis(damaged[:48, :48], -1, 0), mask[:48, :48], channel_axis=0, **FAST)
    np.testing.assert_array_equal(np.moveaxis(first, 0, -1), last)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_type_and_known_pixels_are_kept_bit_for_bit(photo, dtype):
    image = (photo.astype(dtype) * (200 if dtype == "uint16" else 1))[:48, :48]
    mask = scratch_and_text_mask(image.shape, "x", seed=0)
    restored = inpaint(read_only(image), read_only(mask), **FAST)
    assert restored.dtype == image.dtype
    assert restored.shape == image.shape
    assert restored[~mask].tobytes() == image[~mask].tobytes()
    assert restored.min() >= image[~mask].min()
    assert restored.max() <= image[~mask].max()


def test_scale_and_offset_of_the_values_do_not_matter(photo):
    image, mask = photo[:48, :48].astype(np.float64), random_mask((48, 48), 0.4)
    plain = inpaint(image, mask, dtype="float64", **FAST)
    scaled = inpaint(image * 3e-7 - 12, mask, dtype="float64", **FAST)
    np.testing.assert_allclose((scaled + 12) / 3e-7, plain, atol=1e-3)


def test_nan_masked_arrays_masks_and_polarity_mean_the_same(photo):
    image, mask = photo[:40, :40].astype(np.float32), random_mask((40, 40), 0.3)
    expected = inpaint(image, mask, **FAST)
    holes = np.where(mask, np.float32(np.nan), image)
    for restored in (
        inpaint(holes, **FAST),
        inpaint(np.ma.array(image, mask=mask), **FAST),
        inpaint(image, ~mask, mask_polarity="valid", **FAST),
        inpaint(image, mask.astype(np.uint8) * 255, **FAST),
        inpaint(np.where(mask & (np.arange(40) < 20), np.float32(np.nan), image), mask & (np.arange(40) >= 20), **FAST),
    ):
        np.testing.assert_array_equal(np.asarray(restored), expected)


def test_masks_per_channel_and_channels_without_damage(color_photo):
    image = np.dstack([color_photo[:40, :40], np.arange(1600).reshape(40, 40) % 251]).astype(np.uint8)
    mask = np.zeros(image.shape, bool)
    mask[5:9, 5:30, 1] = mask[20:24, 8:12, 2] = True
    restored = inpaint(image, mask, channel_axis=-1, **FAST)
    np.testing.assert_array_equal(restored[~mask], image[~mask])
    assert psnr(restored, image, data_range=255, where=mask) > 20
    filled_alpha = inpaint(image, mask.any(axis=2), channel_axis=-1, **FAST)
    assert (filled_alpha[..., 3] != image[..., 3]).any()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(color_photo, channels):
    image = np.repeat(color_photo[:32, :32, :1], channels, axis=2)
    mask = random_mask((32, 32), 0.3)
    restored = inpaint(image, mask, channel_axis=-1, **FAST)
    assert restored.shape == image.shape
    alone = inpaint(image[..., 0], mask, **FAST)
    np.testing.assert_array_equal(restored, np.repeat(alone[..., None], channels, axis=2))


@pytest.mark.parametrize("shape", [(1, 60), (60, 1), (2, 2), (5, 7)])
def test_small_and_thin_images(rng, shape):
    image = rng.integers(0, 255, shape).astype(np.uint8)
    mask = np.zeros(shape, bool)
    mask.flat[1] = True
    restored = inpaint(image, mask, **FAST)
    np.testing.assert_array_equal(restored[~mask], image[~mask])


def test_the_range_of_one_channel_does_not_spoil_another(photo):
    image, mask = photo[:40, :40] / 255, random_mask((40, 40), 0.4)
    both = inpaint(np.stack([image, image * 1e4]), mask, channel_axis=0, **FAST)
    np.testing.assert_allclose(both[0], inpaint(image, mask, **FAST))


@pytest.mark.parametrize("value", [np.uint8(77), np.float32(1e20), np.float64(-3e-30), np.int16(-5)])
def test_constant_images_stay_constant(value):
    image, mask = np.full((20, 20), value), random_mask((20, 20), 0.5)
    np.testing.assert_array_equal(inpaint(np.where(mask, 0, image).astype(value.dtype), mask), image)


def test_bilevel_images_are_rounded():
    image = np.add.outer(np.arange(48), np.arange(48)) % 32 < 16
    mask = random_mask(image.shape, 0.3)
    restored = inpaint(image & ~mask, mask, **FAST)
    assert restored.dtype == bool
    assert (restored == image)[mask].mean() > 0.9


@pytest.mark.parametrize("dtype", [">f4", ">u2", "float16"])
def test_byte_order_and_half_precision_are_kept(photo, dtype):
    image = photo[:32, :32].astype(dtype)
    restored = inpaint(image, random_mask((32, 32), 0.3), **FAST)
    assert restored.dtype == np.dtype(dtype)
    assert restored.dtype.byteorder == image.dtype.byteorder


def test_known_pixels_are_approximated_on_request(photo):
    image, mask = photo[:40, :40], random_mask((40, 40), 0.3)
    smooth = inpaint(image, mask, keep_known=False, **FAST)
    assert (smooth[~mask] != image[~mask]).any()
    assert psnr(smooth, image, data_range=255) > 25


def test_learning_adapts_the_dictionary():
    stripes = (128 + 100 * np.sin(np.add.outer(np.arange(64) * 0.9, np.arange(64) * 1.7))).astype(np.uint8)
    mask = random_mask((64, 64), 0.9)
    results = {}
    for learn in (False, True):
        restored, report = inpaint(stripes, mask, learn=learn, return_report=True, **FAST)
        results[learn] = psnr(restored, stripes, data_range=255)
        assert report.missing == pytest.approx(mask.mean())
        assert report.groups[0].effort.learn == learn
        assert ("adapted" in report.lines()[0]) == learn
        assert np.array_equal(report.groups[0].dictionary.filters, Dictionary.default("gray").filters) != learn
    assert results[True] > results[False] + 3


def test_a_texture_that_repeats_itself_is_restored_almost_exactly():
    stripes = (128 + 100 * np.sin(np.add.outer(np.arange(64) * 0.9, np.arange(64) * 1.7))).astype(np.uint8)
    mask = random_mask((64, 64), 0.65)
    assert psnr(inpaint(stripes, mask), stripes, data_range=255) > 45


def test_the_report_says_what_was_done(photo):
    image, mask = np.dstack([photo[:40, :40]] * 5), random_mask((40, 40), 0.85)
    _, report = inpaint(image, mask, channel_axis=-1, max_iter=7, lmbda=0.01, return_report=True)
    assert len(report.groups) == len(report.noise_sigmas) == len(report.lines()) == 5
    assert report.noise_sigmas == [0] * 5
    for group, line in zip(report.groups, report.lines(), strict=True):
        assert group.effort.max_iter == len(group.history) == 7
        assert group.lmbda == 0.01
        assert group.passes == group.effort.passes
        assert 0 <= group.blend_weight <= 1
        assert "7 iterations" in line
        assert f"{group.passes} passes" in line
    image = np.dstack([photo[:40, :40]] * 4)
    _, report = inpaint(image, np.where(np.arange(4) < 3, mask[..., None], 0), channel_axis=-1, return_report=True, **FAST)
    assert len(report.groups) == 1  # nothing is missing of the fourth channel
    assert report.missing == pytest.approx(mask.mean() * 3 / 4)


def test_more_effort_is_better_where_a_picture_repeats_itself():
    from skimage.data import brick

    image, mask = brick()[:96, :96], random_mask((96, 96), 0.75, seed=3)
    restored = {effort: inpaint(image, mask, effort=effort) for effort in ("fast", "default", "best")}
    fast, default, best = (psnr(picture, image, data_range=255) for picture in restored.values())
    assert fast < default < best - 0.1
    np.testing.assert_array_equal(inpaint(image, mask), restored["default"])


def test_channels_help_each_other_where_other_pixels_are_missing(color_photo, rng):
    image = color_photo[:48, :48]
    mask = rng.random(image.shape) < 0.4
    joint = inpaint(image, mask, channel_axis=-1, **FAST)
    apart = np.stack([inpaint(image[..., c], mask[..., c], **FAST) for c in range(3)], axis=-1)
    np.testing.assert_array_equal(joint[~mask], image[~mask])
    assert psnr(joint, image, data_range=255, where=mask) > psnr(apart, image, data_range=255, where=mask) + 2


def test_the_number_of_threads_does_not_matter(photo):
    image, mask = photo[:64, :48], random_mask((64, 48), 0.4)
    np.testing.assert_array_equal(inpaint(image, mask, threads=1, **FAST), inpaint(image, mask, threads=2, **FAST))


def test_progress_is_told_and_a_callback_can_end_a_stage(photo):
    image, mask, told = photo[:32, :32], random_mask((32, 32), 0.85), []
    _, report = inpaint(image, mask, callback=told.append, learn=True, max_iter=15, return_report=True)
    assert list(dict.fromkeys(p.stage for p in told)) == ["learning", "checking", "base layer", "codes", "patches"]
    for stage, total in [("learning", 10), ("codes", 15), ("patches", report.groups[0].effort.passes)]:
        assert [p[1:3] for p in told if p.stage == stage] == [(n + 1, total) for n in range(total)]
    assert report.groups[0].history == [p.record for p in told if p.stage == "codes"]
    told.clear()

    def stop(progress):
        told.append(progress)
        return progress.done == 2

    _, report = inpaint(image, mask, callback=stop, prior="none", return_report=True)
    assert len(report.groups[0].history) == 2
    assert [p.done for p in told if p.stage == "patches"] == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4, 3))}, "channel_axis=-1"),
        ({"image": np.zeros((4, 4), complex)}, "got complex128"),
        ({"image": np.zeros((0, 4))}, "no pixel"),
        ({"image": np.full((4, 4), np.inf)}, "infinite"),
        ({"image": np.full((4, 4), 1e200)}, "1e150"),
        ({"image": np.full((4, 4), 2**60)}, "2..53"),
        ({"dictionary": np.ones((2, 3, 3))}, "dictionary must be a csc_cogd.Dictionary, got ndarray"),
        ({"max_iter": 2.5}, "max_iter must be an integer >= 1, got 2.5"),
        ({"mask": None}, "no pixel is missing"),
        ({"mask": np.ones((4, 4))}, "every pixel of a channel is missing"),
        ({"mask": np.ones((4, 5))}, r"mask must be of shape .* got \(4, 5\)"),
        ({"mask": np.full((4, 4), np.nan)}, "finite numbers or booleans"),
        ({"mask_polarity": "black"}, "mask_polarity must be 'missing' or 'valid', got 'black'"),
        ({"mask": None, "mask_polarity": "valid"}, "mask_polarity says how to read a mask, but there is none"),
        ({"channel_axis": 2}, "channel_axis=2"),
        ({"dictionary": Dictionary(np.ones((1, 3, 2, 2)))}, "filters of 3 channels, but the image has 1"),
        ({"dtype": "float16"}, "float32"),
        ({"device": "gpu"}, "device must be .+ got 'gpu'"),
        ({"effort": "most"}, "effort must be one of 'fast', 'default', 'best', got 'most'"),
        ({"noise_sigma": -2}, "noise_sigma must be .* got -2"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    arguments = {"image": np.arange(16.0).reshape(4, 4), "mask": np.eye(4)} | change
    with pytest.raises(InputError, match=message):
        inpaint(arguments.pop("image"), arguments.pop("mask"), **arguments)


def test_cuda_never_falls_back(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError):
        inpaint(photo, random_mask(photo.shape, 0.5), device="cuda")


@pytest.mark.parametrize("noise_sigma", [None, 10])
def test_on_a_gpu_the_picture_is_about_as_good(cuda, photo, noise_sigma, rng):
    picture, mask = photo[40:80, 30:78], random_mask((40, 48), 0.5)
    damaged = np.where(mask, 0, picture).astype(float) + (noise_sigma or 0) * rng.standard_normal(picture.shape)
    settings = {"noise_sigma": noise_sigma, "effort": "fast"}
    found, expected = (inpaint(damaged, mask, device=device, **settings) for device in ("cuda", "cpu"))
    truth = picture.astype(float)
    assert psnr(truth, found, data_range=255) > psnr(truth, expected, data_range=255) - 0.3
    assert noise_sigma or (found == damaged)[~mask].all()


def test_a_stack_is_restored_frame_by_frame(photo, rng, tmp_path):
    """By a mask of its own or NaN; frames without gaps stay, and the axes may be any."""
    stack = np.stack([photo[:40, :44], photo[40:80, 40:84], photo[10:50, 50:94]]).astype(np.float32)
    gone = rng.random(stack.shape) < 0.3
    gone[1] = False
    torn = np.where(gone, np.nan, stack)
    restored, reports = inpaint(read_only(torn), stack_axis=0, return_report=True, **FAST)
    np.testing.assert_array_equal(restored[2], inpaint(torn[2], **FAST))
    np.testing.assert_array_equal(restored[1], stack[1])
    assert [report.missing for report in reports] == pytest.approx(gone.mean(axis=(1, 2)))
    np.save(tmp_path / "last.npy", np.moveaxis(np.where(gone, 0, stack), 0, -1))
    last = np.load(tmp_path / "last.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        np.moveaxis(inpaint(last, np.moveaxis(gone, 0, -1), stack_axis=-1, **FAST), -1, 0), restored
    )
    colors = np.stack([torn, torn], axis=-1)
    two = inpaint(colors[:1], gone[0], stack_axis=0, channel_axis=-1, **FAST)
    np.testing.assert_array_equal(two[..., 1], restored[:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stack_axis": 3}, "stack_axis must be an axis"),
        ({"stack_axis": 0, "channel_axis": -3}, "stack_axis must not be the axis of the channels"),
        ({"stack_axis": 0, "mask": np.ones((3, 8, 8))}, "mask has 3 frames along stack_axis=0, but the image has 2"),
        ({"stack_axis": 0}, "frame 1: image can't be filled, as every pixel of a channel is missing: give a mask"),
        ({"stack_axis": 0, "trace": Trace()}, "trace follows one image"),
        ({}, "stack_axis=0"),
    ],
)
def test_what_is_no_stack_is_named(change, message):
    stack = np.zeros((2, 8, 8))
    stack[1] = np.nan
    with pytest.raises(InputError, match=message):
        inpaint(stack, change.pop("mask", None), **change)


@pytest.mark.parametrize(
    ("axes", "moved"),
    [({}, -1), ({}, 0), ({"channel_axis": -1}, -1), ({"channel_axis": 0}, -1), ({"stack_axis": 0}, -1)],
)
def test_a_mask_with_a_single_channel_is_one_for_all(photo, axes, moved):
    image, mask = photo[:24, :20], random_mask((24, 20), 0.2)
    if axes:
        (axis,) = axes.values()
        image = np.stack([image, photo[24:48, :20]], axis)
    restored = inpaint(image, np.expand_dims(mask, moved), max_iter=1, **axes)
    np.testing.assert_array_equal(restored, inpaint(image, mask, max_iter=1, **axes))


def test_infinite_values_are_told_of_also_where_nothing_is_missing(photo):
    image = photo[:16, :16].astype(float)
    image[3, 4] = -np.inf
    with pytest.raises(InputError, match=r"^image has infinite values: set them to NaN, which means missing"):
        inpaint(image)


@pytest.mark.parametrize(
    ("function", "unknown", "message"),
    [
        (inpaint, "multichannel", "did you mean 'channel_axis'?"),
        (inpaint, "inpaintRadius", "there are image, mask, dictionary, "),
        (denoise, "sigma_psd", "did you mean 'noise_sigma'?"),
        (upscale, "sigma", "did you mean 'noise_sigma'?"),
        (deblur, "num_iter", "did you mean 'max_iter'?"),
        (clean, "channels_axis", "did you mean 'channel_axis'?"),
        (psnr, "range", "did you mean 'data_range'?"),
    ],
)
def test_unknown_arguments_are_answered_with_the_likely_ones(function, unknown, message):
    with pytest.raises(TypeError, match=re.escape(f"got an unexpected keyword argument {unknown!r}: {message}")):
        function(np.ones((16, 16)), np.ones((3, 3)), **{unknown: 1})


def test_a_mask_that_marks_nothing_returns_the_image_with_a_warning(photo):
    empty = np.zeros(photo.shape, bool)
    for image, mask in ((photo, empty), (np.ma.array(photo), None)):
        with pytest.warns(UserWarning, match="mask marks no pixel, so the image comes back as it is"):
            np.testing.assert_array_equal(inpaint(image, mask), photo)
    _, report = inpaint(photo, empty, return_report=True)
    assert [remark.argument for remark in report.warnings] == ["mask"]
    with pytest.raises(InputError, match="image can't be filled, as no pixel is missing: give a mask"):
        inpaint(photo)


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_a_hole_at_the_border_gets_no_worse_by_passes_over_similar_patches(effort):
    from skimage.data import coffee
    from skimage.restoration import inpaint_biharmonic

    truth = coffee()[76:188, 242:354] / 255
    mask = np.zeros(truth.shape[:2], bool)
    mask[-12:, 1:11] = True
    damaged = np.where(mask[..., None], 0, truth)
    restored = inpaint(damaged, mask, channel_axis=-1, effort=effort, threads=1)
    biharmonic = inpaint_biharmonic(damaged, mask, channel_axis=-1)
    errors = [np.mean((found - truth)[mask] ** 2) for found in (restored, biharmonic)]
    assert errors[0] < 1.1 * errors[1]
