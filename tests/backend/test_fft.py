import gc
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st

from csc_cogd import InputError
from csc_cogd.backend import get_backend
from csc_cogd.backend.fft import fast_length, plan
from tests.forking import while_another_thread


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 1, 15, 16), (1, 3, 24, 7)])
def test_forward_agrees_with_scipy_and_inverse_scales_by_the_number_of_pixels(backend, rng, shape):
    workspace = backend.workspace(shape)
    image = rng.standard_normal(shape)
    workspace.real[...] = backend.asarray(image)
    workspace.forward()
    np.testing.assert_allclose(backend.to_host(workspace.spectrum), scipy.fft.rfft2(image), atol=1e-12)
    workspace.inverse()
    np.testing.assert_allclose(backend.to_host(workspace.real), image * shape[-2] * shape[-1], atol=1e-10)


@given(st.integers(1, 5000))
def test_fast_length_is_long_enough_aligned_and_smooth(length):
    fast = fast_length(length)
    assert fast >= length
    assert fast % 8 == 0
    assert fast <= max(8, 1.2 * length + 8)
    for prime in (2, 3, 5, 7):
        while fast % prime == 0:
            fast //= prime
    assert fast == 1


def test_provider_by_environment(monkeypatch):
    monkeypatch.setenv("CSC_COGD_FFT", "scipy")
    assert get_backend().fft == "scipy"
    monkeypatch.setenv("CSC_COGD_FFT", "fftpack")
    with pytest.raises(InputError, match=r"CSC_COGD_FFT must be .* got 'fftpack'"):
        get_backend()


def test_plans_that_are_not_measured_transform_alike(rng):
    pytest.importorskip("pyfftw")
    image = rng.standard_normal((1, 1, 40, 24))
    spectra = []
    for fft in ("pyfftw", "estimated"):
        workspace = get_backend(dtype="float64", fft=fft).workspace(image.shape)
        workspace.real[...] = image
        workspace.forward()
        spectra.append(workspace.spectrum.copy())
    np.testing.assert_allclose(*spectra, atol=1e-12)


def test_no_plan_is_destroyed_while_another_thread_plans(monkeypatch):
    """FFTW would allow neither; pyFFTW destroys without asking."""
    state = SimpleNamespace(slow=False, planning=False, destroyed=[], begun=threading.Event())

    class Plan:
        def __init__(self, *arguments, **options):
            self.execute = lambda plan=self: plan
            if state.slow:
                state.planning = True
                state.begun.set()
                time.sleep(0.2)
                state.planning = False

        def __del__(self):
            state.destroyed.append(state.planning)

    def transforms():
        return plan(np.empty((8, 8), np.float32), np.empty((8, 5), np.complex64), "estimated")

    monkeypatch.setattr("csc_cogd.backend.fft.pyfftw", SimpleNamespace(FFTW=Plan))
    first, state.slow = transforms(), True
    thread = while_another_thread(transforms, state.begun)
    del first
    gc.collect()
    thread.join()
    gc.collect()
    assert state.destroyed
    assert not any(state.destroyed)


def test_restored_pixels_repeat_bit_for_bit_in_another_process():
    program = (
        "import hashlib, numpy as np, csc_cogd\n"
        "image = np.random.default_rng(0).random((40, 56), np.float32)\n"
        "image[10:30:3, 5:50:2] = np.nan\n"
        "print(hashlib.sha256(csc_cogd.inpaint(image, threads=1)).hexdigest())\n"
    )
    command = [sys.executable, "-c", program]
    runs = {subprocess.run(command, check=True, capture_output=True).stdout for _ in range(3)}
    assert len(runs) == 1


def test_scipy_takes_over_where_pyfftw_is_absent():
    program = (
        "import sys; sys.modules['pyfftw'] = None\n"
        "from csc_cogd.backend import get_backend\n"
        "assert get_backend().fft == 'scipy'\n"
        "from csc_cogd import InputError\n"
        "try:\n    get_backend(fft='pyfftw')\n"
        "except InputError as error:\n    assert 'pip install pyfftw' in str(error)\n"
        "else:\n    raise SystemExit('no error')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
