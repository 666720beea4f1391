import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from csc_cogd import InputError
from csc_cogd.backend import get_backend, single_threaded_blas


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"dtype": "float16"}, "'float32' or 'float64'"),
        ({"dtype": "nonsense"}, "'float32' or 'float64'"),
        ({"threads": 0}, "threads: 0"),
        ({"kernels": "cython"}, "kernels: 'cython'"),
        ({"fft": "mkl"}, "fft: 'mkl'"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        get_backend(**arguments)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    def work():
        backend = get_backend(threads=2)
        return backend.run(lambda workspace, task: task, [1, 2, 3], backend.workspaces((1, 1, 4, 4)))

    assert work() == [1, 2, 3]
    child = os.fork()
    if child == 0:
        os._exit(0 if work() == [1, 2, 3] else 1)
    deadline = time.monotonic() + 30
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    if done == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert done == (child, 0)


def test_blas_has_one_thread_while_anybody_asks_for_it_and_as_many_as_before_afterwards():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        with single_threaded_blas():
            with single_threaded_blas():
                assert threads() == {1}
            assert threads() == {1}
        assert threads() == {2}
        with pytest.raises(MemoryError), single_threaded_blas():
            raise MemoryError
        assert threads() == {2}


def test_blas_gets_its_threads_back_whoever_leaves_last():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def stay(entered, leave):
        with single_threaded_blas():
            entered.set()
            leave.wait(10)

    with threadpool_limits(2, "blas"):
        for other_first in (True, False):
            entered, leave = threading.Event(), threading.Event()
            other = threading.Thread(target=stay, args=(entered, leave))
            if other_first:
                other.start()
                assert entered.wait(10)
            with single_threaded_blas():
                assert threads() == {1}
                if not other_first:
                    other.start()
                    assert entered.wait(10)
            leave.set()
            other.join()
            assert threads() == {2}


def test_kernels_by_environment(monkeypatch):
    monkeypatch.setenv("CSC_COGD_KERNELS", "numpy")
    assert get_backend().kernels.__name__ == "csc_cogd.backend.kernels"
    monkeypatch.setenv("CSC_COGD_KERNELS", "fortran")
    with pytest.raises(InputError, match="CSC_COGD_KERNELS: 'fortran'"):
        get_backend()


def test_run_keeps_the_order_and_passes_errors_on(backend):
    workspaces = backend.workspaces((1, 1, 4, 4))
    assert backend.run(lambda workspace, task: task**2, range(20), workspaces) == [i**2 for i in range(20)]

    def fail(workspace, task):
        raise MemoryError(task)

    with pytest.raises(MemoryError):
        backend.run(fail, [1], workspaces)
    assert backend.run(lambda workspace, task: task, [3], workspaces) == [3]


def test_asarray_copies_only_what_it_must(backend):
    fitting = backend.xp.zeros((3, 4))
    assert backend.asarray(fitting) is fitting
    assert backend.asarray(fitting.T).flags.c_contiguous
    assert backend.asarray([1, 2]).dtype == backend.dtype


def test_a_process_in_which_numba_may_not_compile_takes_numpy(monkeypatch):
    program = (
        "import numpy as np\nfrom csc_cogd import inpaint\nfrom csc_cogd.backend import get_backend\n"
        "assert not get_backend('cpu').compiled\n"
        "image = np.add.outer(np.arange(16.0), np.arange(16))\n"
        "restored = inpaint(np.where(np.eye(16), 0, image), np.eye(16) > 0, max_iter=1, effort='fast', device='cpu')\n"
        "assert np.isfinite(restored).all() and (restored == image)[np.eye(16) == 0].all()\n"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pytest.importorskip("numba")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    with pytest.raises(InputError, match="kernels: NUMBA_DISABLE_JIT keeps Numba from compiling"):
        get_backend("cpu", kernels="numba")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert get_backend("cpu", kernels="numba").compiled
