import os
import subprocess
import sys
import threading
import time

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from csc_cogd import InputError
from csc_cogd.backend import get_backend, single_threaded_blas
from tests.forking import forks, succeeds_in_a_child, while_another_thread


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "tpu"}, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        ({"dtype": "float16"}, "dtype must be 'float32' or 'float64'"),
        ({"dtype": "nonsense"}, "dtype must be 'float32' or 'float64'"),
        ({"threads": 0}, "threads must be an integer >= 1, got 0"),
        ({"kernels": "cython"}, "kernels must be 'auto', 'numba' or 'numpy', got 'cython'"),
        ({"fft": "mkl"}, "fft must be .* got 'mkl'"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        get_backend(**arguments)


class TestForking:
    """A child that is forked while other threads are at work."""

    pytestmark = forks

    def test_it_has_threads_of_its_own(self):
        def work():
            backend = get_backend(threads=2)
            return backend.run(lambda workspace, task: task, [1, 2, 3], backend.workspaces((1, 1, 4, 4))) == [1, 2, 3]

        assert work()
        assert succeeds_in_a_child(work)

    def test_it_can_hold_blas_to_one_thread_whoever_is_about_to(self, monkeypatch):
        begun = threading.Event()

        def slow_limits(*arguments, **options):
            begun.set()
            time.sleep(0.3)
            return threadpool_limits(*arguments, **options)

        def enter():
            with single_threaded_blas():
                return True

        monkeypatch.setattr("csc_cogd.backend.blas.threadpool_limits", slow_limits)
        thread = while_another_thread(enter, begun)
        assert succeeds_in_a_child(enter)
        thread.join()

    @pytest.mark.parametrize(("by_another_thread", "expected"), [(False, 1), (True, 2)])
    def test_blas_is_held_to_one_thread_there_only_by_who_forked(self, by_another_thread, expected):
        found = []

        def fork():
            found.append(succeeds_in_a_child(lambda: blas_threads() == {expected}))

        with threadpool_limits(2, "blas"), single_threaded_blas():
            if by_another_thread:
                thread = threading.Thread(target=fork)
                thread.start()
                thread.join()
            else:
                fork()
        assert found == [True]

    def test_it_compiles_whoever_compiles(self):
        from numba.core.compiler_lock import global_compiler_lock

        from csc_cogd.backend.compiled import compile_kernel

        begun = threading.Event()

        def compile_slowly():
            with global_compiler_lock:
                begun.set()
                time.sleep(0.3)

        thread = while_another_thread(compile_slowly, begun)
        assert succeeds_in_a_child(lambda: compile_kernel(lambda x: x + 1)(1) == 2)
        thread.join()


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_while_anybody_asks_for_it_and_as_many_as_before_afterwards():
    with threadpool_limits(2, "blas"):
        with single_threaded_blas():
            with single_threaded_blas():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        with pytest.raises(MemoryError), single_threaded_blas():
            raise MemoryError
        assert blas_threads() == {2}


def test_blas_gets_its_threads_back_whoever_leaves_last():
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
                assert blas_threads() == {1}
                if not other_first:
                    other.start()
                    assert entered.wait(10)
            leave.set()
            other.join()
            assert blas_threads() == {2}


def test_kernels_by_environment(monkeypatch):
    monkeypatch.setenv("CSC_COGD_KERNELS", "numpy")
    assert get_backend().kernels.__name__ == "csc_cogd.backend.kernels"
    monkeypatch.setenv("CSC_COGD_KERNELS", "fortran")
    with pytest.raises(InputError, match=r"CSC_COGD_KERNELS must be .* got 'fortran'"):
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
    with pytest.raises(InputError, match="kernels is 'numba', but NUMBA_DISABLE_JIT keeps Numba from compiling"):
        get_backend("cpu", kernels="numba")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert get_backend("cpu", kernels="numba").compiled
