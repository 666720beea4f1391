"""The compiled kernels on patches against the plain ones, and the plain ones against what they stand for."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from csc_cogd.backend import compiled_patches, patches
from csc_cogd.backend.patches import GroupModel

KERNELS = [patches, compiled_patches]


def textured(rng, P=1, H=22, W=19):
    i, j = np.mgrid[:H, :W]
    planes = [np.sin(i * 0.9 + c) * np.cos(j * 0.7) * 0.3 + 0.5 for c in range(P)]
    return np.array(planes) + 0.02 * rng.standard_normal((P, H, W))


def match(module, guide, corners, size=4, radius=5, N=12):
    matches = np.full((len(corners), N, 2), 99, np.int64)
    module.match_patches(guide, np.asarray(corners, np.int64), size, radius, matches)
    return matches


def distances(guide, matches, size):
    """Squared distance of every match from its reference, infinite for none."""
    out = np.full(matches.shape[:2], np.inf)
    for n, group in enumerate(matches):
        i0, j0 = group[0]
        for k, (i, j) in enumerate(group):
            if i >= 0:
                difference = guide[:, i : i + size, j : j + size] - guide[:, i0 : i0 + size, j0 : j0 + size]
                out[n, k] = (difference**2).sum()
    return out


def estimate(module, pilot, observed, known, matches, size=4, solved=5, top=0, rows=None, **changes):
    options = {"noise": 0.0, "pilot_noise": 0.0, "shrinkage": 0.01, "floor": 1e-6} | changes
    total = np.zeros((len(pilot), rows or pilot.shape[1], pilot.shape[2]), pilot.dtype)
    weight = np.zeros_like(total)
    module.estimate_patches(pilot, observed, known, matches, GroupModel(size, solved, **options), top, total, weight)
    return total, weight


@pytest.mark.parametrize("P", [1, 3])
@pytest.mark.parametrize(("size", "radius", "N"), [(4, 5, 12), (3, 2, 25), (6, 30, 60), (2, 1, 9), (3, 4, 1)])
def test_both_find_patches_equally_similar(rng, P, size, radius, N):
    guide = textured(rng, P)
    H, W = guide.shape[1:]
    corners = np.array([(0, 0), (0, W - size), (H - size, 0), (H - size, W - size), (7, 9), (8, 3)])
    found = [match(module, guide, corners, size, radius, N) for module in KERNELS]
    for matches in found:
        np.testing.assert_array_equal(matches[:, 0], corners)
        for (i, j), group in zip(corners, matches, strict=True):
            rows = np.arange(max(i - radius, 0), min(i + radius, H - size) + 1)
            columns = np.arange(max(j - radius, 0), min(j + radius, W - size) + 1)
            present = group[group[:, 0] >= 0]
            assert len(present) == min(N, len(rows) * len(columns))
            assert len(np.unique(present, axis=0)) == len(present)
            assert np.isin(present[:, 0], rows).all()
            assert np.isin(present[:, 1], columns).all()
            assert (group[len(present) :] == -1).all()
    plain, fast = (distances(guide, matches, size) for matches in found)
    np.testing.assert_allclose(fast, plain, rtol=1e-12)
    assert (plain[:, 1:] >= plain[:, :-1]).all()


@pytest.mark.parametrize("module", KERNELS)
def test_no_patch_of_the_window_is_more_similar_than_those_found(rng, module):
    guide = textured(rng)
    matches = match(module, guide, [(9, 8)], size=4, radius=5, N=7)
    window = [(i, j) for i in range(4, 15) for j in range(3, 14)]
    everywhere = distances(guide, np.array([[(9, 8), *window]]), 4)[0, 1:]
    np.testing.assert_allclose(distances(guide, matches, 4)[0], np.sort(everywhere)[:7], rtol=1e-12)


@pytest.mark.parametrize("module", KERNELS)
def test_the_reference_comes_first_among_equals(module):
    matches = match(module, np.full((1, 12, 12), 0.5), [(4, 5), (0, 0)], size=3, radius=2, N=20)
    np.testing.assert_array_equal(matches[:, 0], [(4, 5), (0, 0)])
    assert ((matches >= 0).all(axis=2).sum(axis=1) == [20, 9]).all()


@pytest.mark.parametrize("P", [1, 2])
@pytest.mark.parametrize(("noise", "pilot_noise"), [(0.0, 0.0), (0.01, 0.0), (0.01, 0.004), (0.01, 10.0)])
@pytest.mark.parametrize(("top", "rows"), [(0, 22), (3, 19)])
def test_estimates_agree(rng, P, noise, pilot_noise, top, rows):
    pilot = textured(rng, P)
    pilot[:, 14:20, 12:19] = 0.4  # a group without variance
    known = rng.random(pilot.shape) < 0.6
    known[:, 9:15, 2:8] = False  # patches of which nothing is known
    known[:, :12, 11:] = True  # and nothing is missing
    observed = np.where(known, pilot + 0.1 * rng.standard_normal(pilot.shape), 0)
    matches = match(patches, pilot, [(8, 7), (9, 2), (10, 3), (7, 14), (15, 14), (16, 0)], size=4, radius=4, N=40)
    assert (matches < 0).any()
    options = {"top": top, "rows": rows, "noise": noise, "pilot_noise": pilot_noise}
    plain, fast = (estimate(module, pilot, observed, known, matches, **options) for module in KERNELS)
    np.testing.assert_allclose(fast[0], plain[0], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(fast[1], plain[1])
    assert plain[1].any()


@pytest.mark.parametrize("module", KERNELS)
def test_sums_begin_at_the_row_they_are_told_and_are_added_to(rng, module):
    pilot = textured(rng)
    known = rng.random(pilot.shape) < 0.5
    matches = match(patches, pilot, [(9, 5), (10, 9)], radius=3)
    whole, number = estimate(module, pilot, pilot, known, matches)
    part, part_number = estimate(module, pilot, pilot, known, matches, top=6, rows=12)
    np.testing.assert_array_equal(part, whole[:, 6:18])
    np.testing.assert_array_equal(part_number, number[:, 6:18])
    assert part.any()
    twice = np.concatenate([matches, matches])
    np.testing.assert_allclose(estimate(module, pilot, pilot, known, twice)[0], 2 * whole, rtol=1e-12)


@pytest.mark.parametrize("module", KERNELS)
def test_without_noise_complete_patches_are_passed_over_but_with_it_none(rng, module):
    pilot = textured(rng)
    known = np.ones(pilot.shape, bool)
    known[0, 0, 0] = False
    matches = match(patches, pilot, [(9, 5), (0, 0)], radius=3, N=6)
    _, number = estimate(module, pilot, pilot, known, matches, solved=1)
    np.testing.assert_array_equal(np.argwhere(number[0])[[0, -1]], [(0, 0), (3, 3)])
    _, number = estimate(module, pilot, pilot, known, matches, solved=1, noise=0.1)
    assert number.sum() == 32
    assert number[0, 9:13, 5:9].all()


@pytest.mark.parametrize("module", KERNELS)
@pytest.mark.parametrize("P", [1, 2])
@pytest.mark.parametrize(("noise", "pilot_noise"), [(0.02, 0.0), (0.02, 0.003), (0.0, 0.0)])
def test_an_estimate_is_the_mean_of_the_gaussian_given_what_is_observed(rng, module, P, noise, pilot_noise):
    size, floor, shrinkage = 3, 1e-4, 0.05
    D = P * size * size
    pilot, known = rng.random((P, 22, 19)), rng.random((P, 22, 19)) < 0.6
    observed = rng.random(pilot.shape)
    matches = match(patches, pilot, [(9, 8)], size=size, radius=5, N=60)
    total, weight = estimate(
        module, pilot, observed, known, matches, size=size, solved=1,
        noise=noise, pilot_noise=pilot_noise, shrinkage=shrinkage, floor=floor,
    )  # fmt: skip
    cut = np.s_[:, 9 : 9 + size, 8 : 8 + size]
    likes = np.array([pilot[:, i : i + size, j : j + size].ravel() for i, j in matches[0]])
    prior = np.cov(likes.T, bias=True) - pilot_noise * np.eye(D)
    prior += (floor + shrinkage * np.trace(prior) / D) * np.eye(D)
    # by Bayes' rule from the densities' precisions, not from covariances as the kernel does
    seen, y = np.diag(known[cut].ravel() / max(noise, floor)), observed[cut].ravel()
    posterior = np.linalg.inv(np.linalg.inv(prior) + seen)
    expected = posterior @ (np.linalg.inv(prior) @ likes.mean(axis=0) + seen @ y)
    if not noise:
        at = known[cut].ravel()
        np.testing.assert_allclose(total[cut].ravel()[at], y[at], atol=1e-9)
        total[cut] = np.where(at, expected, total[cut].ravel()).reshape(P, size, size)
    np.testing.assert_allclose(total[cut].ravel(), expected, atol=1e-9)
    assert weight.sum() == D

    def density(z):
        at = known[cut].ravel()
        likelihood = multivariate_normal(y[at], max(noise, floor) * np.eye(at.sum())).logpdf(z[:, at])
        return multivariate_normal(likes.mean(axis=0), prior).logpdf(z) + likelihood

    around = expected + 0.01 * rng.standard_normal((200, D))
    assert density(total[cut].reshape(1, -1) + np.zeros((2, 1)))[0] > density(around).max()


@pytest.mark.parametrize("module", KERNELS)
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_a_gaussian_ensemble_is_predicted_as_well_as_linearly_possible(rng, module, noise):
    size, N = 3, 400
    mixing = rng.standard_normal((9, 9))
    truth = rng.standard_normal((N, 9)) @ mixing.T + rng.standard_normal(9)
    seen = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1], bool)
    picture = truth.reshape(N, 3, 3).transpose(1, 0, 2).reshape(1, 3, 3 * N).copy()
    known = np.tile(seen.reshape(1, 3, 3), (1, 1, N))
    noisy = picture + np.sqrt(noise) * rng.standard_normal(picture.shape)
    matches = np.stack([np.zeros(N, int), 3 * np.arange(N)], axis=1)[None]
    options = {"size": size, "solved": N, "shrinkage": 0.0, "floor": 0.0 if noise else 1e-12}
    total, weight = estimate(module, picture, noisy, known, matches, noise=noise, **options)
    assert (weight == 1).all()
    estimates = total.reshape(3, N, 3).transpose(1, 0, 2).reshape(N, 9)
    if noise:  # the true moments give the predictor, the ensemble's own nearly so
        C = mixing @ mixing.T
        gain = C[:, seen] @ np.linalg.inv(C[np.ix_(seen, seen)] + noise * np.eye(seen.sum()))
        least = np.trace(C - gain @ C[seen])
        assert ((estimates - truth) ** 2).sum(axis=1).mean() == pytest.approx(least, rel=0.1)
        inputs = noisy.reshape(3, N, 3).transpose(1, 0, 2).reshape(N, 9)[:, seen]
        assert ((estimates - truth)[:, seen] ** 2).sum() < 0.9 * ((inputs - truth[:, seen]) ** 2).sum()
    else:  # the regression of what is missing on what is known
        predictors = np.column_stack([np.ones(N), truth[:, seen]])
        fitted = predictors @ np.linalg.lstsq(predictors, truth[:, ~seen], rcond=None)[0]
        np.testing.assert_allclose(estimates[:, ~seen], fitted, atol=1e-8)
        np.testing.assert_allclose(estimates[:, seen], truth[:, seen], atol=1e-8)


def test_single_precision_agrees_as_far_as_it_goes(rng):
    pilot = textured(rng).astype(np.float32)
    known = rng.random(pilot.shape) < 0.5
    matches = match(patches, pilot, [(9, 5), (3, 9)])
    plain = estimate(patches, pilot.astype(float), pilot.astype(float), known, matches)
    fast = estimate(compiled_patches, pilot, pilot, known, matches)
    assert fast[0].dtype == np.float32
    np.testing.assert_allclose(fast[0], plain[0], atol=2e-3)


def test_the_process_that_compiles_gives_the_same_bits_as_those_that_load(tmp_path):
    """Of the kernel with the most parts, the one whose bits differed while its parts were functions of their own."""
    program = (
        "import sys, numpy as np\n"
        "from csc_cogd.backend.compiled_patches import estimate_patches\n"
        "rng = np.random.default_rng(0)\n"
        "image = rng.random((1, 40, 56), np.float32)\n"
        "known = rng.random(image.shape) > 0.3\n"
        "matches = rng.integers(0, (37, 53), (30, 12, 2))\n"
        "total, weight = np.zeros_like(image), np.zeros_like(image)\n"
        "estimate_patches(image, image, known, matches, (4, 6, 0.0, 0.0, 0.01, 1e-6), 0, total, weight)\n"
        "sys.stdout.buffer.write(total.tobytes())\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", program]

    def run():
        pixels = subprocess.run(command, check=True, capture_output=True, env=environment).stdout
        return pixels, {path.name: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb*")}

    (compiling, written), (loading, kept) = run(), run()
    assert any("estimate_patches" in name for name in written)
    assert kept == written  # the second one loads what the first one has compiled
    assert np.frombuffer(compiling, np.float32).any()
    assert loading == compiling
