from itertools import pairwise

import numpy as np
import pytest

from csc_cogd import (
    CogradientRule,
    Dictionary,
    InputError,
    debias,
    learn_from_images,
    psnr,
    reconstruct,
    reconstruct_images,
    sparse_code,
)
from csc_cogd.learning.base_detail import decompose
from tests.conftest import read_only

FEW = {"n_filters": 6, "filter_shape": 5, "max_iter": 4}


@pytest.fixture
def pictures(photo):
    return [read_only(photo[:36, :40]), read_only(photo[40:76, 50:90])]


@pytest.fixture
def dictionary(pictures):
    return reconstruct(pictures, **FEW).dictionary


def test_sparser_codes_say_less_and_less_well(pictures, dictionary):
    results = [reconstruct(pictures, dictionary, lmbda=lmbda).quality[0] for lmbda in (1e-4, 0.01, 0.1)]
    for dense, sparse in pairwise(results):
        assert dense.psnr > sparse.psnr + 3
        assert dense.ssim > sparse.ssim
        assert dense.nonzeros > sparse.nonzeros
        assert dense.bits > sparse.bits
    assert results[0].psnr > 50


def test_learned_filters_and_codes_rebuild_the_pictures(pictures):
    result = reconstruct(pictures, **FEW)
    assert len(result.history) == 4
    assert result.dictionary.filters.shape == (6, 5, 5)
    for picture, layer, rebuilt, codes, quality in zip(
        pictures, decompose(pictures, None), result.reconstruction, result.codes, result.quality, strict=True
    ):
        assert rebuilt.dtype == np.uint8
        np.testing.assert_array_equal(rebuilt, layer.compose(reconstruct_images(codes, result.dictionary)))
        assert quality.psnr == pytest.approx(psnr(rebuilt, picture, data_range=255))
        assert quality.nonzeros == np.count_nonzero(codes)
        assert quality.nonzeros_per_value == quality.nonzeros / picture.size
        assert quality.bits_per_value == quality.bits / picture.size


@pytest.mark.parametrize("debias", [False, True])
def test_codes_rebuild_pictures_of_floats_to_the_last_bit(pictures, dictionary, debias):
    pictures = [picture / 7 for picture in pictures]
    result = reconstruct(pictures, dictionary, debias=debias)
    fits = reconstruct_images(np.concatenate(result.codes), dictionary)
    for layer, fit, rebuilt in zip(decompose(pictures, None), fits, result.reconstruction, strict=True):
        np.testing.assert_array_equal(layer.compose(fit[None]), rebuilt)


def test_a_given_dictionary_is_used_as_it_is(pictures, dictionary):
    stages = []
    result = reconstruct(pictures[:1], dictionary, callback=lambda progress: stages.append(progress.stage))
    assert result.dictionary is dictionary
    assert result.history == []
    assert set(stages) == {"codes"}


def test_debiasing_is_more_faithful_and_equally_sparse(pictures, dictionary):
    plain, refitted = (reconstruct(pictures, dictionary, lmbda=0.1, debias=debias).quality for debias in (False, True))
    for before, after in zip(plain, refitted, strict=True):
        assert after.psnr > before.psnr + 1
        assert after.nonzeros <= before.nonzeros


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_depth_and_layout_stay(pictures, dictionary, dtype):
    picture = (pictures[0].astype(np.float64) * 200).astype(dtype)
    rebuilt = reconstruct([picture], dictionary, lmbda=1e-3).reconstruction[0]
    assert rebuilt.dtype == dtype
    assert psnr(rebuilt, picture, data_range=float(picture.max())) > 35


def test_color_is_coded_together_or_channel_by_channel(pictures, dictionary):
    color = np.stack([pictures[0], pictures[0] // 2, pictures[1]], axis=-1)
    together = reconstruct([color], channel_axis=-1, **FEW)
    assert together.dictionary.filters.shape == (6, 3, 5, 5)
    assert together.codes[0].shape[0] == 1
    apart = reconstruct([color], dictionary, channel_axis=-1)
    assert apart.codes[0].shape[0] == 3
    for result in (together, apart):
        assert result.reconstruction[0].shape == color.shape
        assert result.quality[0].psnr > 25


def test_missing_pixels_are_filled(pictures, dictionary):
    truth = pictures[0].astype(float)
    damaged = truth.copy()
    damaged[10:12, 5:20] = np.nan
    result = reconstruct([damaged], dictionary, lmbda=0.01)
    assert np.isfinite(result.reconstruction[0]).all()
    assert abs(result.reconstruction[0] - truth)[10:12, 5:20].mean() < 25
    layer = decompose([damaged], None)[0]
    refitted = reconstruct([damaged], dictionary, lmbda=0.01, debias=True).codes[0]
    np.testing.assert_array_equal(refitted, debias(layer.detail, result.codes[0], dictionary, weights=layer.known))
    assert np.isnan(result.quality[0].ssim)
    assert result.quality[0].psnr > 30


def test_the_seed_decides_and_cogradient_descent_is_heard(pictures):
    one, same, other = (reconstruct(pictures, seed=seed, **FEW).dictionary.filters for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    guided = reconstruct(pictures, cogd=CogradientRule(degree=2), **FEW)
    assert guided.history[-1].backtracking.backtracked > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": [np.zeros((20, 20)), np.zeros((20, 21))]}, "images must be of one shape to be learned from together"),
        ({"dictionary": Dictionary(np.ones((2, 3, 3))), "cogd": CogradientRule()}, "cogd belongs to learning"),
        ({"dictionary": Dictionary(np.ones((2, 2, 3, 3)))}, "dictionary has filters of 2 channels, but the images have 1"),
        ({"filter_shape": 25}, "filter_shape must not be larger than the images"),
        ({"lmbda": -1}, "lmbda"),
        ({"dictionary": "default"}, "dictionary must be a csc_cogd.Dictionary, got str"),
        ({"images": np.eye(20)}, r"put it into a list, \[image\]"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        reconstruct(**{"images": [np.eye(20)], "n_filters": 2, "filter_shape": 3} | arguments)


def test_large_values_and_generators_are_no_matter(pictures, dictionary):
    plain = reconstruct([pictures[0].astype(float)], dictionary)
    scaled = reconstruct((picture * 1e100 for picture in pictures[:1]), dictionary)
    np.testing.assert_allclose(scaled.reconstruction[0], plain.reconstruction[0] * 1e100, rtol=1e-4, atol=1e97)
    np.testing.assert_allclose(scaled.quality[0][:2], plain.quality[0][:2], rtol=1e-3)


def test_missing_pixels_count_neither_in_learning_nor_in_codes_nor_in_the_figures(pictures):
    truth = pictures[0].astype(float)
    damaged = truth.copy()
    damaged[8:20, 8:24] = np.nan
    layer = decompose([damaged], None)[0]
    result = reconstruct([damaged], **FEW)
    learned = learn_from_images([damaged], 6, 5, max_iter=4, lmbda=0.03).dictionary
    np.testing.assert_array_equal(result.dictionary.filters, learned.filters)
    assert result.dictionary.provenance["masked"] is True
    alone = sparse_code(layer.detail, learned, lmbda=0.03, weights=layer.known, max_iter=100)
    np.testing.assert_array_equal(result.codes[0], alone.codes)
    known = np.isfinite(damaged)
    error = np.mean((result.reconstruction[0] - truth)[known] ** 2)
    assert result.quality[0].psnr == pytest.approx(10 * np.log10(np.ptp(truth[known]) ** 2 / error))


def test_what_a_mask_hides_has_no_influence(pictures, dictionary):
    gaps = pictures[0].astype(float)
    gaps[8:20, 8:24] = np.nan
    hidden = np.ma.masked_array(np.nan_to_num(gaps, nan=1e9), np.isnan(gaps))
    found, expected = (reconstruct([picture], dictionary).quality[0] for picture in (hidden, gaps))
    np.testing.assert_equal(found, expected)


def test_pictures_of_mixed_depth_are_each_on_their_own_scale(pictures, dictionary):
    mixed = [pictures[0], pictures[0].astype(np.uint16) * 257, pictures[0] / 255 - 7]
    result = reconstruct(mixed, dictionary, lmbda=0.01)
    assert [rebuilt.dtype for rebuilt in result.reconstruction] == [np.uint8, np.uint16, np.float64]
    for picture, rebuilt, codes in zip(mixed, result.reconstruction, result.codes, strict=True):
        np.testing.assert_allclose(codes, result.codes[0], atol=2e-3)
        assert psnr(rebuilt, picture, data_range=float(np.ptp(picture))) > 30
    learned = reconstruct(mixed[:2], **FEW)
    np.testing.assert_allclose(learned.codes[0], learned.codes[1], atol=2e-3)


def test_an_interrupted_run_goes_on_from_its_checkpoint_to_the_same_result(pictures, tmp_path):
    settings = FEW | {"max_iter": 8, "fft": "scipy"}

    def interrupt(progress):
        if progress.done == 7:
            raise KeyboardInterrupt

    whole = reconstruct(pictures, **settings)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(pictures, **settings, checkpoint=tmp_path / "run.npz", callback=interrupt)
    stages = []
    resumed = reconstruct(
        pictures, **settings, checkpoint=tmp_path / "run.npz",
        callback=lambda progress: stages.append((progress.stage, progress.done)),
    )  # fmt: skip
    assert [done for stage, done in stages if stage == "learning"] == [6, 7, 8]
    for one, other in zip(resumed.reconstruction, whole.reconstruction, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(resumed.history) == 8
