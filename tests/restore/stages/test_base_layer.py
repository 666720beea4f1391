import os
import subprocess
import sys

import numpy as np
import pytest

from csc_cogd.backend import get_backend
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore.stages.base_layer import base_layer
from tests.conftest import read_only


def test_base_layer_solves_its_equation(rng):
    pilot, smoothing = rng.standard_normal((2, 7, 9)), 3.0
    base = base_layer(pilot, smoothing)
    padded = np.pad(base, ((0, 0), (1, 1), (1, 1)), "edge")  # mirrored: no gradient across the border
    laplacian = sum(np.roll(padded, s, axis)[:, 1:-1, 1:-1] - base for s in (1, -1) for axis in (1, 2))
    np.testing.assert_allclose(base - smoothing * laplacian, pilot, atol=1e-12)


def test_base_layer_keeps_constants_and_without_smoothing_everything(rng):
    np.testing.assert_allclose(base_layer(np.full((1, 5, 6), 0.3)), 0.3)
    pilot = rng.standard_normal((1, 5, 6))
    np.testing.assert_allclose(base_layer(pilot, 0.0), pilot, atol=1e-12)


@pytest.mark.parametrize("damage", ["half", "nearly all", "a large hole", "the border"])
def test_pilot_is_biharmonic_interpolation(rng, photo, damage):
    from skimage.restoration import inpaint_biharmonic

    image, missing = photo[:64, :64] / 255, rng.random((64, 64)) < {"half": 0.5, "nearly all": 0.95}.get(damage, 0.0)
    if damage == "a large hole":  # too many iterations for conjugate gradients: solved directly
        missing[5:60, 4:58] = True
    elif damage == "the border":
        missing[:3] = missing[:, -3:] = True
    expected = inpaint_biharmonic(np.where(missing, 0, image), missing)
    known = image[~missing]
    expected[missing] = np.clip(expected[missing], known.min(), known.max())
    close = 1e-6 if damage in ("half", "nearly all") else 1e-9  # conjugate gradients stop early, the direct solve does not
    np.testing.assert_allclose(fill_biharmonic(image[None], read_only(missing[None]))[0], expected, rtol=1e-7, atol=close)


def test_a_pilot_of_a_coarser_tolerance_is_as_much_coarser(rng, photo):
    image, missing = photo[None, :64, :64] / 255, rng.random((1, 64, 64)) < 0.5
    exact = fill_biharmonic(image, missing)
    errors = [abs(fill_biharmonic(image, missing, tolerance=tolerance) - exact).max() for tolerance in (1e-5, 1e-3)]
    assert 0 < errors[0] < errors[1] / 5 < 0.01


@pytest.mark.parametrize("share", [0.35, 0.6, 0.95])
def test_on_a_gpu_the_pilot_is_the_same(cuda, rng, photo, share):
    image, missing = photo[None, :40, :33] / 255, rng.random((1, 40, 33)) < share
    missing[0, :4, -5:] = True
    backend = get_backend("cuda", dtype="float64")
    for part in (slice(None), slice(0, 2)):  # a small one is solved exactly before its residual is looked at
        found, expected = (fill_biharmonic(image[:, part], missing[:, part], b) for b in (backend, None))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_channels_of_the_pilot_are_filled_each_by_its_own_mask(rng, photo):
    image = np.stack([photo[:32, :32], photo[32:64, :32], photo[:32, 32:64]]) / 255
    missing = rng.random(image.shape) < 0.4
    missing[2] = missing[0]
    filled = fill_biharmonic(image, missing)
    for c in range(3):
        np.testing.assert_array_equal(filled[c], fill_biharmonic(image[c : c + 1], missing[c : c + 1])[0])


@pytest.mark.parametrize("shape", [(1, 2), (1, 40), (40, 1), (2, 2), (3, 50)])
@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_pilot_of_thin_and_nearly_empty_images(rng, shape, fraction):
    image, missing = rng.random((1, *shape)), rng.random((1, *shape)) < fraction
    missing.flat[0] = False
    filled = fill_biharmonic(image, missing)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~missing], image[~missing])
    assert filled.min() >= image[~missing].min() - 1e-9
    assert filled.max() <= image[~missing].max() + 1e-9


def test_pilot_of_channels_with_their_own_masks(rng):
    image, missing = rng.random((2, 12, 12)), np.zeros((2, 12, 12), bool)
    missing[0, 3:5, 3:5] = missing[1, 8, 2:9] = True
    together = fill_biharmonic(image, missing)
    for c in range(2):
        np.testing.assert_allclose(together[c], fill_biharmonic(image[c : c + 1], missing[c : c + 1])[0])


FORKING = """
import os, sys, threading, time
import numpy as np
from csc_cogd import biharmonic

def solve_slowly(*arguments, **options):
    factor = solve(*arguments, **options)
    begun.set()
    time.sleep(0.3)
    return factor

begun, solve, biharmonic.splu = threading.Event(), biharmonic.splu, solve_slowly
image, missing = np.ones((1, 12, 12)), np.zeros((1, 12, 12), bool)
missing[0, 3:5, 3:5] = True
thread = threading.Thread(target=biharmonic.fill_biharmonic, args=(image, missing))
thread.start()
begun.wait()
child = os.fork()
if child == 0:
    os._exit(threading.active_count())
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_child_that_is_forked_while_another_thread_solves_knows_its_only_thread():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
