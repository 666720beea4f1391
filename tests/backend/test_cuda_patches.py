"""The CUDA kernels on patches, run on the CPU, against the plain ones."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.backend import patches
from csc_cogd.backend.cuda.patches import Patches
from tests.backend.test_patches import distances, textured

SHARED_MEMORY = 227 << 10


def match(cuda, guide, corners, size=4, radius=5, N=12, shared_memory=SHARED_MEMORY):
    """Groups of the CUDA kernel and of the plain one."""
    found = cuda.full((len(corners), N, 2), 99, np.int32)
    kernels = Patches(cuda, guide.dtype, shared_memory)
    kernels.match_patches(cuda.asarray(guide), cuda.asarray(corners), size, radius, found)
    plain = np.empty((len(corners), N, 2), np.int64)
    patches.match_patches(guide, np.asarray(corners), size, radius, plain)
    return cuda.asnumpy(found), plain


def estimate(
    cuda, pilot, observed, known, matches, size=4, solved=5, *, top=0, rows=None, shared_memory=SHARED_MEMORY, start=0,
    **changes,
):  # fmt: skip
    """Sums and numbers of the CUDA kernel and, in double precision, of the plain one."""
    options = {"noise": 0.0, "pilot_noise": 0.0, "shrinkage": 0.01, "floor": 1e-6} | changes
    shape = (len(pilot), rows or pilot.shape[1], pilot.shape[2])
    total, weight = (cuda.asarray(np.broadcast_to(start, (2, *shape))[n], pilot.dtype) for n in range(2))
    plain, model = np.zeros((2, *shape)), patches.GroupModel(size, solved, **options)
    on_device = (cuda.asarray(array) for array in (pilot, observed, known, matches))
    Patches(cuda, pilot.dtype, shared_memory).estimate_patches(*on_device, model, top, total, weight)
    arrays = (pilot.astype(float), observed.astype(float), known, matches)
    patches.estimate_patches(*arrays, model, top, *plain)
    return np.stack([cuda.asnumpy(total), cuda.asnumpy(weight)]), plain


@pytest.mark.parametrize("P", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("size", "radius", "N"), [(4, 5, 12), (3, 2, 25), (6, 30, 60), (2, 1, 9), (3, 4, 1), (1, 3, 200)])
def test_groups_are_those_of_the_plain_kernel(cuda, rng, P, dtype, size, radius, N):
    guide = textured(rng, P).astype(dtype)
    H, W = guide.shape[1:]
    corners = np.array([(0, 0), (0, W - size), (H - size, 0), (H - size, W - size), (7, 9), (8, 3)])
    found, plain = match(cuda, guide, corners, size, radius, N)
    np.testing.assert_array_equal(found[:, 0], corners)
    np.testing.assert_array_equal(found < 0, plain < 0)
    if dtype == "float64":
        np.testing.assert_array_equal(found, plain)
    else:  # rounding may exchange two that are equally similar
        expected = distances(guide.astype(float), plain, size)
        np.testing.assert_allclose(distances(guide.astype(float), found, size), expected, rtol=1e-5, atol=1e-9)


def test_a_default_window_in_color_with_the_default_number_of_matches(cuda, rng):
    guide = textured(rng, 3, 40, 43)
    found, plain = match(cuda, guide, [(17, 20), (0, 37), (30, 2)], size=6, radius=15, N=60)
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_keep_the_order_of_the_picture_behind_the_reference(cuda, rng, dtype):
    flat = np.full((1, 14, 15), 0.5, dtype)
    found, plain = match(cuda, flat, [(4, 5), (0, 0), (11, 12)], size=3, radius=4, N=30)
    np.testing.assert_array_equal(found, plain)
    coarse = rng.integers(0, 3, (2, 20, 18)).astype(dtype)  # sums of integers are exact: many ties
    found, plain = match(cuda, coarse, [(i, j) for i in range(0, 19, 3) for j in range(0, 17, 4)], 2, 6, 40)
    np.testing.assert_array_equal(found, plain)


def test_patches_with_nan_come_last(cuda, rng):
    guide = textured(rng)
    guide[0, 8, 7] = np.nan
    found, plain = match(cuda, guide, [(3, 5)], size=3, radius=6, N=110)
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("P", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-3)])
@pytest.mark.parametrize(("noise", "pilot_noise"), [(0.0, 0.0), (0.01, 0.0), (0.01, 0.004), (0.01, 10.0)])
@pytest.mark.parametrize(("top", "rows"), [(0, 22), (3, 19)])
def test_estimates_are_those_of_the_plain_kernel(cuda, rng, P, dtype, tolerance, noise, pilot_noise, top, rows):
    pilot = textured(rng, P)
    pilot[:, 14:20, 12:19] = 0.4  # a group without variance
    known = rng.random(pilot.shape) < 0.6
    known[:, 9:15, 2:8] = False  # patches of which nothing is known
    known[:, :12, 11:] = True  # and nothing is missing
    observed = np.where(known, pilot + 0.1 * rng.standard_normal(pilot.shape), 0).astype(dtype)
    pilot = pilot.astype(dtype)
    corners = [(8, 7), (9, 2), (10, 3), (7, 14), (15, 14), (16, 0)]
    matches, _ = match(cuda, pilot, corners, size=4, radius=4, N=40)
    assert (matches < 0).any()
    options = {"top": top, "rows": rows, "noise": noise, "pilot_noise": pilot_noise}
    sums, plain = estimate(cuda, pilot, observed, known, matches, **options)
    number = np.maximum(plain[1], 1)
    np.testing.assert_allclose(sums[0] / number, plain[0] / number, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(sums[1], plain[1])
    assert plain[1].any()


@pytest.mark.parametrize(("size", "P"), [(6, 3), (5, 3), (7, 2), (8, 1)])
@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_large_patches_with_few_or_all_values_known(cuda, rng, size, P, noise):
    pilot = textured(rng, P, 34, 30)
    known = rng.random(pilot.shape) < np.linspace(0, 1.4, 30)
    observed = pilot + 0.05 * rng.standard_normal(pilot.shape)
    matches, _ = match(cuda, pilot, [(i, j) for i in (0, 11, 26) for j in (0, 10, 22)], size, 9, 60)
    for limit in (227 << 10, 4096):  # in shared memory, and in scratch memory
        sums, plain = estimate(
            cuda, pilot, observed, known, matches, size, 7, noise=noise, floor=1e-4, shared_memory=limit
        )  # fmt: skip
        np.testing.assert_allclose(sums[0], plain[0], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(sums[1], plain[1])


def test_sums_are_added_to_and_the_same_bits_in_any_order(cuda, rng):
    pilot = textured(rng, 1).astype(np.float32)
    known = rng.random(pilot.shape) < 0.5
    matches, _ = match(cuda, pilot, [(9, 5), (10, 9), (3, 3), (12, 12)], radius=6, N=30)
    sums, _ = estimate(cuda, pilot, pilot, known, matches)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        again, _ = estimate(cuda, pilot, pilot, known, matches[order])
        np.testing.assert_array_equal(again, sums)
    twice, _ = estimate(cuda, pilot, pilot, known, matches, start=sums)
    np.testing.assert_array_equal(twice, 2 * sums)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e7])
def test_what_cannot_be_summed_shows(cuda, rng, value):
    pilot = textured(rng)
    observed = pilot.copy()
    observed[0, 10, 10] = value
    known = rng.random(pilot.shape) < 0.5
    known[0, 10, 10] = True
    matches = np.array([[(8, 8), (3, 4), (0, 9), (2, 2)], [(2, 3), (4, 8), (0, 1), (-1, -1)]])
    sums, _ = estimate(cuda, pilot, observed, known, matches, solved=1)
    assert np.isnan(sums[0][0, 8:12, 8:12]).any()
    assert np.isfinite(sums[0][0, 2:6, 3:7]).all()
    np.testing.assert_array_equal(sums[1], estimate(cuda, pilot, pilot, known, matches, solved=1)[1][1])


def test_arguments_that_the_kernels_cannot_use_are_refused(cuda, rng):
    guide = textured(rng)
    with pytest.raises(InputError, match="radius"):
        match(cuda, guide, [(3, 3)], radius=8, shared_memory=2000)
    kernels, on_device = Patches(cuda, guide.dtype, SHARED_MEMORY), cuda.asarray(guide)
    with pytest.raises(InputError, match="matches"):
        kernels.match_patches(on_device, cuda.asarray([(3, 3)]), 4, 3, cuda.zeros((1, 5, 2), np.int64))
    matches, _ = match(cuda, guide, [(3, 3)])
    total = cuda.zeros((1, 22, 38))[:, :, ::2]
    given = (on_device, on_device, on_device > 0, cuda.asarray(matches))
    with pytest.raises(InputError, match="total"):
        kernels.estimate_patches(*given, patches.GroupModel(4, 5, 0, 0, 0, 1e-6), 0, total, total)
