"""The compiled kernels of exemplar filling against the plain ones, and these against what they stand for."""

import numpy as np
import pytest

from csc_cogd.backend import compiled_patchmatch, patchmatch

KERNELS = [patchmatch, compiled_patchmatch]
SIZE = 3


@pytest.fixture
def problem(rng):
    """Small whole numbers, of which sums are exact in any order; a hole; and sources at random."""
    guide = rng.integers(0, 9, (2, 17, 19)).astype(np.float32)
    missing = np.zeros((17, 19), bool)
    missing[6:11, 7:13] = True
    usable = ~np.lib.stride_tricks.sliding_window_view(missing, (SIZE, SIZE)).any(axis=(2, 3))
    targets = np.argwhere(~usable).astype(np.int32)
    numbers = np.full(usable.shape, -1, np.int32)
    numbers[~usable] = np.arange(len(targets))
    places = np.argwhere(usable).astype(np.int32)
    sources = places[rng.integers(len(places), size=len(targets))]
    jumps = rng.integers(-9, 10, (len(targets), 5, 2)).astype(np.int32)
    return guide, targets, numbers, usable, sources, jumps


def searched(kernels, problem, sweeps=1):
    guide, targets, numbers, usable, sources, jumps = problem
    sources, distances = sources.copy(), np.zeros(len(targets), np.float32)
    kernels.measure_sources(guide, targets, SIZE, sources, distances)
    before = distances.copy()
    for sweep in range(sweeps):
        kernels.search_sources(guide, targets, numbers, usable, SIZE, bool(sweep % 2), jumps, sources, distances)
    return sources, distances, before


@pytest.mark.parametrize("sweeps", [1, 2, 3])
def test_both_search_alike(problem, sweeps):
    plain, compiled = (searched(kernels, problem, sweeps) for kernels in KERNELS)
    for a, b in zip(plain, compiled, strict=True):
        np.testing.assert_array_equal(a, b)


def test_sources_get_better_and_stay_usable(problem):
    guide, targets, _, usable, _, _ = problem
    sources, distances, before = searched(patchmatch, problem, 2)
    assert (distances <= before).all()
    assert distances.sum() < 0.7 * before.sum()
    assert usable[tuple(sources.T)].all()
    measured = np.zeros_like(distances)
    patchmatch.measure_sources(guide, targets, SIZE, sources, measured)
    np.testing.assert_array_equal(distances, measured)


def test_what_one_patch_has_found_its_neighbor_tries_moved_along(problem, rng):
    _, targets, numbers, usable, sources, jumps = problem
    guide = np.tile(rng.permutation(24).reshape(2, 3, 4), (1, 6, 5))[:, :17, :19].astype(np.float32)  # of period (3, 4)
    sources[0], sources[1:] = targets[0] - (3, 4), targets[0] - (4, 4)
    problem = (guide, targets, numbers, usable, sources, np.zeros_like(jumps))
    _, distances, before = searched(patchmatch, problem)
    assert (before[1:] > 0).mean() > 0.9
    np.testing.assert_array_equal(distances[:8], 0)


@pytest.mark.parametrize("kernels", KERNELS)
def test_votes_are_means_of_the_sources(problem, kernels, rng):
    guide, targets, _, _, sources, _ = problem
    weights = rng.integers(1, 5, len(targets)).astype(np.float32)
    total, weight = np.zeros_like(guide), np.zeros(guide.shape[1:], np.float32)
    kernels.vote_sources(guide, targets, sources, weights, SIZE, total, weight)
    i, j = 8, 9
    votes = [
        (by, guide[:, k + i - a, m + j - b])
        for (a, b), (k, m), by in zip(targets, sources, weights, strict=True)
        if 0 <= i - a < SIZE and 0 <= j - b < SIZE
    ]
    assert len(votes) == SIZE**2
    assert weight[i, j] == sum(by for by, _ in votes)
    np.testing.assert_array_equal(total[:, i, j], sum(by * value for by, value in votes))
