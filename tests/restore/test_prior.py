"""Denoising by a prior and similar patches: better than without, refused where it can't be had, the same bits every way."""

import numpy as np
import pytest
from skimage.data import astronaut, camera

import csc_cogd
from csc_cogd import Dictionary, InputError, Prior, denoise, psnr
from csc_cogd.unrolled.network import Network, Shape


@pytest.fixture(scope="module")
def clean():
    return camera()[120:216, 180:276].astype(float)


def noisy(image, sigma):
    return image + np.random.default_rng(1).normal(0, sigma, image.shape)


def quality(restored, clean):
    return psnr(restored, clean, data_range=255)


@pytest.mark.parametrize("sigma", [10, 50])
def test_it_is_better_than_the_code_and_patches_better_than_it_alone(clean, sigma):
    image = noisy(clean, sigma)
    code, alone, both = (
        quality(denoise(image, sigma, **options), clean)
        for options in ({"prior": "none"}, {"effort": "fast"}, {})
    )  # fmt: skip
    assert both > code
    assert both > alone - 0.1


@pytest.mark.parametrize("sigma", [1.5, 100])
def test_beyond_the_levels_that_it_learned_it_does_no_harm(clean, sigma):
    image = noisy(clean, sigma)
    by_prior, by_code = (quality(denoise(image, sigma, prior=prior), clean) for prior in ("default", "none"))
    assert by_prior > quality(image, clean)
    assert by_prior > by_code - 0.3


def test_one_that_fills_is_refused(clean):
    with pytest.raises(InputError, match="takes no noise off"):
        denoise(clean, 10, prior=Prior.default("fill"))


def test_color_is_denoised_together(clean):
    clean = astronaut()[60:124, 180:244].astype(float)
    image = noisy(clean, 25)
    together = denoise(image, 25, channel_axis=-1)
    apart = np.stack([denoise(image[..., c], 25) for c in range(3)], axis=-1)
    assert quality(together, clean) > quality(apart, clean)


def test_each_group_of_channels_has_the_prior_of_its_kind():
    image = noisy(astronaut()[60:110, 180:230].astype(float), 20)
    layered = np.concatenate([image, image[..., :1]], axis=-1)
    restored, report = denoise(layered, 20, channel_axis=-1, return_report=True)
    assert [group.prior.kind for group in report.groups] == ["color", "gray"]
    np.testing.assert_array_equal(restored[..., :3], denoise(image, 20, channel_axis=-1))
    gray = denoise(image, 20, channel_axis=-1, prior=Prior.default("gray"))
    assert 0 < abs(gray - restored[..., :3]).mean() < 3


def test_threads_and_stacks_change_no_bit(clean):
    image = noisy(clean[:48, :64], 20)
    one, two = (denoise(image, 20, threads=threads, device="cpu") for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(denoise(np.stack([image, image]), 20, stack_axis=0)[1], one)


def test_tiles_leave_no_seam(clean):
    image = noisy(clean, 20)
    whole, tiled = (denoise(image, 20, tile=tile, effort="fast") for tile in (0, 48))
    assert abs(whole - tiled).max() < 1


def test_the_report_names_what_was_done(clean):
    image = noisy(clean[:64, :64], 20)
    _, report = denoise(image, 20, return_report=True)
    assert "Prior(gray: 8 iterations, 64 filters" in str(report)
    assert report.groups[0].passes == 2
    stages = []
    denoise(image, 20, effort="fast", callback=lambda progress: stages.append(progress.stage), prior=Prior.default("gray"))
    assert "codes" not in stages


def test_a_trace_has_its_codes_and_filters():
    clean = astronaut()[60:100, 180:216].astype(float)
    trace = csc_cogd.restore.report.Trace(clean)
    denoise(noisy(clean, 20), 20, channel_axis=-1, trace=trace)
    assert [step.stage for step in trace.curve()] == ["prior", "patches", "patches"]
    assert trace.curve()[-1].mse < 20**2 / 4
    assert trace.dictionary.filters.shape == (len(trace.usage), 3, 7, 7)
    assert 0 < trace.usage.sum() < 0.9 * trace.usage.size * 20 * 18
    assert np.isfinite(trace.fit).all()


def test_where_the_default_does_not_serve_the_code_does(clean):
    image = noisy(clean[:48, :48], 20)
    hole = image.copy()
    hole[20:24, 20:24] = np.nan
    for given, options in [(hole, {}), (image, {"lmbda": 0.1})]:
        default, none = (denoise(given, 20, prior=prior, **options) for prior in ("default", "none"))
        np.testing.assert_array_equal(default, none)
    assert np.isfinite(denoise(hole, 20)).all()


def test_poisson_noise_is_taken_off_by_it_too(clean):
    rng, scene = np.random.default_rng(0), clean / 8
    counts = rng.poisson(scene).astype(float)
    by_prior, by_code = (denoise(counts, noise="poisson", gain=1, prior=prior) for prior in ("default", "none"))
    errors = [np.mean((restored - scene) ** 2) for restored in (by_prior, by_code, counts)]
    assert errors[0] < errors[1] < errors[2]


def test_a_given_prior_is_used_or_refused(clean):
    image, gray = noisy(clean[:64, :64], 20), Prior.default("gray")
    np.testing.assert_array_equal(denoise(image, 20, prior=gray), denoise(image, 20))
    color = Prior(Network.random(Shape(3, 4, 5, 2, 2), np.random.default_rng(0)))
    for options, name in [
        ({"prior": color}, "prior"),
        ({"prior": "best"}, "prior"),
        ({"prior": gray, "lmbda": 0.1}, "lmbda"),
        ({"prior": gray, "max_iter": 3}, "max_iter"),
        ({"prior": gray, "dictionary": Dictionary.default("gray")}, "dictionary"),
    ]:
        with pytest.raises(InputError) as caught:
            denoise(image, 20, **options)
        assert caught.value.argument == name
    with pytest.raises(InputError, match="impulse"):
        denoise(image, noise="impulse", prior=gray)
    hole = np.where(np.eye(64) > 0, np.nan, image)
    with pytest.warns(csc_cogd.errors.Remark, match="nothing is missing"):
        denoise(hole, 20, prior=gray)


def test_small_images_are_denoised_by_the_prior_alone():
    for size in [(1, 1), (3, 9), (12, 40)]:
        image = np.random.default_rng(0).normal(100, 10, size)
        assert np.isfinite(denoise(image, 10)).all()


@pytest.mark.parametrize("effort", ["fast", "default"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gpu_takes_noise_off_as_the_cpu_does(cuda, clean, effort, channels):
    image = noisy(clean[:40, :44], 20).astype(np.float32)
    image, axis = (image, None) if channels == 1 else (np.stack([image, image[::-1], 255 - image], axis=-1), -1)
    options = {"channel_axis": axis, "effort": effort}
    expected, report = denoise(image, 20, device="cpu", return_report=True, **options)
    found, same = denoise(cuda.asarray(image), 20, return_report=True, **options)
    assert isinstance(found, cuda.ndarray)
    assert str(same.groups[0].prior) == str(report.groups[0].prior)
    np.testing.assert_allclose(found.get(), expected, atol=0.02)
