from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd import psnr
from csc_cogd.backend import get_backend
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore.settings import PatchModel
from csc_cogd.restore.stages import nonlocal_bayes
from csc_cogd.restore.stages.nonlocal_bayes import OPPONENT, refine
from csc_cogd.restore.synthetic_masks import random_mask
from tests.conftest import read_only

SMALL = PatchModel(size=4, step=3, radius=6, n_similar=20, n_estimated=6)


@pytest.fixture(scope="module")
def double():
    return get_backend(dtype="float64", threads=2)


@pytest.fixture
def gray(photo):
    """Picture, what is known of it, and its pilot."""
    return damaged(photo[None, 20:52, 30:70] / 255, random_mask((32, 40), 0.4)[None])


@pytest.fixture(scope="module")
def color():
    from skimage.data import astronaut

    return np.moveaxis(astronaut()[60:108, 180:228] / 255, -1, 0)


def damaged(picture, missing):
    missing = np.broadcast_to(missing, picture.shape)
    return picture, ~missing, fill_biharmonic(picture, missing)


def texture(height, width):
    i, j = np.mgrid[:height, :width]
    return (0.5 + 0.25 * np.sin(i * 1.1 + 0.3 * j) + 0.2 * np.sign(np.sin(j * 0.9)))[None]


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("channels", ["alike", "different"])
def test_every_backend_gives_the_same(backend, double, color, noise, channels, rng):
    picture = color[:, 8:32, 8:36]
    missing = rng.random((3, 24, 28)) < 0.3
    picture, known, pilot = damaged(picture, missing if channels == "different" else missing[:1])
    observed = picture + noise * rng.standard_normal(picture.shape)
    model = PatchModel(size=3, step=3, radius=4, n_similar=15, n_estimated=4)
    expected = refine(pilot, observed, known, model, 2, double, noise=noise)
    assert abs(expected - pilot).max() > 0.01
    np.testing.assert_allclose(refine(pilot, observed, known, model, 2, backend, noise=noise), expected, atol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_the_number_of_threads_does_not_matter(photo, rng, noise):
    picture, known, pilot = damaged(photo[None, :64, :48] / 255, random_mask((64, 48), 0.4)[None])
    observed = picture + noise * rng.standard_normal(picture.shape)
    one, two = (
        refine(pilot, observed, known, SMALL, 2, get_backend(dtype="float32", threads=threads), noise=noise)
        for threads in (1, 2)
    )
    assert one.tobytes() == two.tobytes()


def test_known_pixels_are_kept(gray, color, double):
    picture, known, pilot = gray
    refined = refine(pilot, np.where(known, picture, np.nan), known, SMALL, 2, double)
    assert refined.dtype == np.float64
    np.testing.assert_array_equal(refined[known], picture[known])
    assert (refined != pilot)[~known].mean() > 0.9
    picture, known, pilot = damaged(color, random_mask((48, 48), 0.4)[None])
    refined = refine(pilot, picture, known, SMALL, 1, double)  # by way of luminance and color differences
    np.testing.assert_allclose(refined[known], picture[known], atol=1e-12)


def test_inputs_are_not_changed(gray, double):
    picture, known, pilot = gray
    copies = picture.copy(), known.copy(), pilot.copy()
    expected = refine(pilot, picture, known, SMALL, 2, double, noise=0.05)
    refined = refine(*map(read_only, (pilot, picture, known)), SMALL, 2, double, noise=0.05)
    np.testing.assert_allclose(refined, expected, atol=1e-12)
    for now, before in zip((picture, known, pilot), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_a_texture_that_repeats_itself_is_found_again(double):
    picture, known, pilot = damaged(texture(64, 64), random_mask((64, 64), 0.5)[None])
    refined = refine(pilot, picture, known, PatchModel(), 4, double)
    assert psnr(refined, picture, data_range=1) > psnr(pilot, picture, data_range=1) + 20


def test_a_hole_in_a_texture_is_closed(double):
    missing = np.zeros((1, 48, 48), bool)
    missing[0, 20:27, 22:28] = True
    picture, known, pilot = damaged(texture(48, 48), missing)
    refined = refine(pilot, picture, known, PatchModel(size=8), 4, double)
    np.testing.assert_array_equal(refined[known], picture[known])
    assert psnr(pilot, picture, data_range=1, where=missing) < 20
    assert psnr(refined, picture, data_range=1, where=missing) > 45


def test_more_passes_are_better_on_a_texture(double):
    picture, known, pilot = damaged(texture(48, 48), random_mask((48, 48), 0.6)[None])
    quality = [psnr(refine(pilot, picture, known, SMALL, n, double), picture, data_range=1) for n in (0, 1, 4)]
    assert quality[0] == psnr(pilot, picture, data_range=1)
    assert quality[0] + 1 < quality[1] < quality[2] - 1


def test_noise_is_removed(photo, double, rng):
    picture = photo[None, :64, :64] / 255
    noisy = picture + 0.1 * rng.standard_normal(picture.shape)
    pilot, known = gaussian_filter(noisy, (0, 1, 1)), np.ones(picture.shape, bool)
    refined = refine(pilot, noisy, known, PatchModel(step=3, n_estimated=60, shrinkage=0.0), 2, double, noise=0.1)
    assert psnr(refined, picture, data_range=1) > psnr(noisy, picture, data_range=1) + 6
    assert psnr(refined, picture, data_range=1) > psnr(pilot, picture, data_range=1) + 1


def test_noise_is_removed_where_pixels_are_missing_too(photo, double, rng):
    picture, known, _ = damaged(photo[None, :64, :64] / 255, random_mask((64, 64), 0.3)[None])
    noisy = picture + 0.1 * rng.standard_normal(picture.shape)
    pilot = gaussian_filter(fill_biharmonic(noisy, ~known), (0, 1, 1))
    refined = refine(pilot, noisy, known, PatchModel(step=3, n_estimated=60, shrinkage=0.0), 2, double, noise=0.1)
    for where in (known, ~known):
        before = psnr(pilot, picture, data_range=1, where=where)
        assert psnr(refined, picture, data_range=1, where=where) > before + 1


def test_channels_help_each_other_where_other_pixels_are_missing(color, double, rng):
    picture, known, pilot = damaged(color, rng.random(color.shape) < 0.5)
    model = PatchModel(size=4, step=3)
    joint = refine(pilot, picture, known, model, 2, double)
    np.testing.assert_array_equal(joint[known], picture[known])
    apart = np.concatenate(
        [refine(pilot[c : c + 1], picture[c : c + 1], known[c : c + 1], model, 2, double) for c in range(3)]
    )
    assert psnr(joint, picture, data_range=1) > psnr(apart, picture, data_range=1) + 3
    assert psnr(apart, picture, data_range=1) > psnr(pilot, picture, data_range=1)


def test_channels_that_miss_the_same_are_estimated_together_in_the_last_passes(color, double, monkeypatch):
    picture, known, pilot = damaged(color, random_mask((48, 48), 0.5)[None])
    results = {}
    for together in (0, 1):
        model = PatchModel(size=4, step=3, together=together)
        results[together] = refine(pilot, picture, known, model, 1, double)
        monkeypatch.setattr(nonlocal_bayes, "OPPONENT", np.eye(3))
        turned = refine(pilot, picture, known, model, 1, double)
        assert np.allclose(turned, results[together], atol=1e-9) == together  # no choice of the channels matters then
        monkeypatch.undo()
    assert psnr(results[1], picture, data_range=1) > psnr(pilot, picture, data_range=1)


def test_of_channels_estimated_together_there_may_be_fewer_patches(color, double):
    picture, known, pilot = damaged(color, random_mask((48, 48), 0.5)[None])
    many, few = PatchModel(size=4, step=3, n_estimated=16, together=2), PatchModel(size=4, step=3, n_estimated=4, together=2)
    fewer_together = replace(many, n_together=4)
    expected = refine(pilot, picture, known, few, 2, double)  # all passes are over channels together
    np.testing.assert_array_equal(refine(pilot, picture, known, fewer_together, 2, double), expected)
    assert abs(refine(pilot, picture, known, many, 2, double) - expected).max() > 1e-3
    apart = [refine(pilot, picture, known, replace(model, together=0), 2, double) for model in (many, fewer_together)]
    np.testing.assert_array_equal(*apart)


def test_patches_wait_for_the_last_pass_where_nothing_moves(photo, backend):
    picture = photo[None, :64, :64] / 255
    missing = np.zeros(picture.shape, bool)
    missing[0, 20:23, 8:12] = missing[0, 40:43, 44:48] = True
    picture[0, :32, :28] = 0.5  # around the first hole nothing changes
    picture, known, pilot = damaged(picture, missing)
    pilot = np.where(missing, pilot + 1e-4, pilot)
    model, shown = PatchModel(size=4, step=3, radius=8), {}
    for still in (0.0, 1e-3, 1.0):
        shown[still] = []
        refine(
            pilot, picture, known, replace(model, still=still), 4, backend,
            watch=lambda number, planes, of=shown[still]: of.append(planes),
        )  # fmt: skip
    first, second = (slice(None), slice(0, 32), slice(0, 28)), (slice(None), slice(32, 64), slice(28, 64))
    for number in range(4):  # the other hole is filled as ever
        np.testing.assert_allclose(shown[1e-3][number][second], shown[0.0][number][second], atol=1e-6)
    np.testing.assert_array_equal(shown[1e-3][2][first], shown[1e-3][1][first])
    assert (shown[0.0][2][first] != shown[0.0][1][first]).any()
    np.testing.assert_array_equal(shown[1.0][2], shown[1.0][1])  # nowhere has anything moved so far
    assert (shown[1.0][3] != shown[1.0][2]).any()


def test_grey_channels_come_out_alike(gray, double):
    picture, known, pilot = gray
    three = [np.repeat(planes, 3, axis=0) for planes in (pilot, picture, known)]
    refined = refine(*three, SMALL, 2, double)
    np.testing.assert_allclose(refined[1:], refined[:2], atol=1e-12)


def test_luminance_and_color_differences_are_orthonormal():
    np.testing.assert_allclose(OPPONENT @ OPPONENT.T, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(OPPONENT[1:] @ np.ones(3), 0, atol=1e-15)


@pytest.mark.parametrize(("shape", "tried"), [((7, 40), False), ((40, 7), False), ((8, 40), True)])
def test_pictures_smaller_than_two_patches_come_back_as_the_pilot(rng, double, shape, tried):
    picture, known, pilot = damaged(rng.random((1, *shape)), rng.random((1, *shape)) < 0.4)
    told = []
    refined = refine(pilot, picture, known, SMALL, 2, double, callback=told.append)
    assert (refined != pilot).any() == tried
    assert told == ([1, 2] if tried else [])


def test_without_anything_missing_or_noisy_nothing_changes(gray, double):
    picture, known, _ = gray
    np.testing.assert_array_equal(refine(picture, picture, np.ones_like(known), SMALL, 2, double), picture)


@pytest.mark.parametrize("shape", [(13, 17), (32, 33), (9, 31)])
def test_every_missing_pixel_is_reached(rng, double, shape):
    """The grid of reference patches ends at the border, wherever that is."""
    for at in [(0, 0), (0, -1), (-1, 0), (-1, -1), (shape[0] // 2, -1)]:
        missing = np.zeros((1, *shape), bool)
        missing[0, at[0], at[1]] = True
        picture = texture(*shape) + 0.01 * rng.standard_normal((1, *shape))
        pilot = np.where(missing, 5.0, picture)
        refined = refine(pilot, picture, ~missing, SMALL, 1, double)
        assert (refined != pilot)[missing].all()


def test_a_callback_is_told_every_pass_and_can_stop(gray, double):
    picture, known, pilot = gray
    told = []
    refined = refine(pilot, picture, known, SMALL, 3, double, callback=told.append)
    assert told == [1, 2, 3]
    stopped = refine(pilot, picture, known, SMALL, 3, double, callback=lambda number: number == 2)
    np.testing.assert_array_equal(stopped, refine(pilot, picture, known, SMALL, 2, double))
    assert abs(stopped - refined).max() > 0
