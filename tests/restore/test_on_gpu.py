"""Restoration, reconstruction and learning on the CUDA backend: the same as on the CPU."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from csc_cogd import (
    Dictionary,
    InputError,
    deblur,
    denoise,
    detect_damage,
    inpaint,
    psnr,
    reconstruct,
    restore_batch,
    ssim,
    upscale,
)
from csc_cogd.backend import get_backend
from csc_cogd.imagefiles import read_image
from csc_cogd.learning.learn import learn_from_images
from csc_cogd.restore.stages.base_layer import base_layer
from tests.cli.calling import call, save


@pytest.fixture
def dictionary(rng):
    filters = rng.standard_normal((6, 5, 4))
    return Dictionary(filters / np.linalg.norm(filters, axis=(1, 2), keepdims=True))


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("shape", [(3, 33, 40), (1, 1, 7), (1, 6, 1)])
def test_the_base_layer_is_that_of_the_cpu(cuda, rng, dtype, close, shape):
    pilot = rng.random(shape)
    for smoothing in (0.0, 4.0):
        found = base_layer(pilot, smoothing, get_backend("cuda", dtype=dtype))
        np.testing.assert_allclose(found, base_layer(pilot, smoothing), atol=close)


@pytest.mark.parametrize(
    "restore",
    [
        partial(denoise, noise_sigma=10, effort="fast"), partial(denoise, noise="impulse", effort="fast"),
        partial(deblur, kernel=np.full((1, 3), 1 / 3), noise_sigma=1.0, max_iter=12),
        partial(deblur, kernel=np.full((1, 3), 1 / 3), noise="poisson", max_iter=12),
        partial(upscale, factor=2, max_iter=12),
    ],
    ids=["denoise", "impulse", "deblur", "poisson", "upscale"],
)  # fmt: skip
def test_pictures_are_those_of_the_cpu(cuda, photo, dictionary, restore, rng):
    picture = abs(photo[:11, :12] + 10 * rng.standard_normal((11, 12)))  # too small for similar patches
    if restore.keywords.get("noise") == "impulse":
        picture[rng.random(picture.shape) < 0.05] = 255
    settings = {"dictionary": dictionary, "dtype": "float64"}
    found, expected = (restore(picture, device=device, **settings) for device in ("cuda", "cpu"))
    difference = np.sqrt(np.mean((found - expected) ** 2))
    assert difference < (4 if restore.func is denoise else 1e-6)  # ADMM and coordinate descent stop at other places


@pytest.mark.parametrize("restore", [inpaint, denoise, partial(deblur, kernel=np.full((1, 3), 1 / 3), max_iter=2)])
@pytest.mark.parametrize("stacked", [False, True])
def test_an_array_that_is_there_comes_back_there(cuda, photo, dictionary, restore, stacked):
    picture, mask = photo[:11, :12].astype(np.float32), np.zeros((11, 12), bool)
    mask[5:7, 5:7] = True
    settings = {"dictionary": dictionary, "mask": mask}
    if stacked:
        picture, settings["stack_axis"] = np.stack([picture, picture[::-1]]), 0
    expected, report = restore(picture, device="cuda", return_report=True, **settings)
    found, same = restore(cuda.asarray(picture), return_report=True, **settings | {"mask": cuda.asarray(mask)})
    assert isinstance(found, cuda.ndarray)
    np.testing.assert_array_equal(found.get(), expected)
    assert type(same) is type(report)
    only_the_mask = restore(picture, device="cuda", **settings | {"mask": cuda.asarray(mask)})
    assert isinstance(only_the_mask, np.ndarray)
    with pytest.raises(InputError, match="image is on cuda:0, but device 'cpu' is asked for"):
        restore(cuda.asarray(picture), device="cpu", **settings)


def test_reconstruction_learning_detection_and_metrics_take_arrays_that_are_there(cuda, photo):
    pictures = [photo[:14, :16].astype(np.float64), photo[24:38, :16].astype(np.float64)]
    there = [cuda.asarray(picture) for picture in pictures]
    run = {"n_filters": 3, "filter_shape": 4, "max_iter": 2}
    expected, found = reconstruct(pictures, device="cuda", **run), reconstruct(there, **run)
    for one, other in zip(found.reconstruction + found.codes, expected.reconstruction + expected.codes, strict=True):
        assert isinstance(one, cuda.ndarray)
        np.testing.assert_array_equal(one.get(), other)
    assert found.quality == expected.quality
    learned = (learn_from_images(images, device="cuda", **run).dictionary.filters for images in (pictures, there))
    np.testing.assert_array_equal(*learned)
    for metric in (psnr, ssim):
        values = (metric(images[0], images[1], data_range=255) for images in (pictures, there))
        assert len(set(values)) == 1
    np.testing.assert_array_equal(detect_damage(there[0]).mask, detect_damage(pictures[0]).mask)


@pytest.mark.parametrize("settings", [{}, {"debias": True}], ids=["plain", "debiased"])
def test_reconstruction_is_that_of_the_cpu(cuda, photo, settings, dictionary):
    pictures = [photo[:14, :16].astype(np.float64), photo[24:38, :16].astype(np.float64)]
    pictures[0][3:5, 3:5] = np.nan
    if "debias" in settings:
        pictures, learning = pictures[:1], {"dictionary": dictionary, "lmbda": 0.05}
    else:
        learning = {"n_filters": 4, "filter_shape": (5, 4), "max_iter": 2}
    run = {"dtype": "float64"} | settings | learning
    found, expected = (reconstruct(pictures, device=device, **run) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(found.dictionary.filters, expected.dictionary.filters, atol=1e-6)
    assert found.quality[0].psnr == pytest.approx(expected.quality[0].psnr, abs=0.3)


def test_learning_from_pictures_is_that_of_the_cpu(cuda, photo):
    pictures = [photo[:14, :16], photo[24:38, :16]]
    run = {"max_iter": 2, "dtype": "float64"}
    found, expected = (
        learn_from_images(pictures, 4, (5, 4), device=device, **run).dictionary.filters for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_commands_work_there(cuda, photo, tmp_path, monkeypatch, dictionary):
    monkeypatch.chdir(tmp_path)
    for n in range(2):
        save(Path(f"{n}.png"), np.ascontiguousarray(photo[20 * n : 20 * n + 12, :14]))
    dictionary.save("given.npz")
    on_gpu = ("--device", "cuda")
    learning = ("--filters", "3", "--filter-size", "4", "--iterations", "2")
    assert call("learn", "0.png", "1.png", "-o", "d.npz", *learning, *on_gpu) == 0
    assert Dictionary.load("d.npz").filters.shape == (3, 4, 4)
    assert call("reconstruct", "0.png", "1.png", "-o", "rebuilt", *learning, *on_gpu) == 0
    assert call("reconstruct", "0.png", "-o", "one.png", "--dictionary", "given.npz", *on_gpu) == 0
    assert read_image("rebuilt/1.png").pixels.shape == read_image("one.png").pixels.shape == (12, 14)
    damaged = photo[:11, :12].astype(np.float32)
    damaged[5:7, 5:7] = np.nan
    np.save("damaged.npy", damaged)
    (result,) = restore_batch("damaged.npy", "restored.npy", dictionary="given.npz", device="cuda")
    expected = inpaint(damaged, dictionary=Dictionary.load("given.npz"), device="cuda")
    np.testing.assert_array_equal(np.load(result.output), expected)
