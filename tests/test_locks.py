"""What a child finds that was forked while another thread held a lock."""

import importlib
import sys
import threading
import time

import pytest

from csc_cogd.locks import kept_across_forks
from tests.forking import forks, succeeds_in_a_child, while_another_thread

pytestmark = forks
A_MOMENT = 0.3  # seconds: much longer than a fork takes that doesn't wait

SLOW = """
import threading
from csc_cogd.lazy import lazy_attributes
begun = threading.Event()
__getattr__, __dir__ = lazy_attributes(__name__, {"value": "late"})
__all__ = ["value"]
"""
LATE = f"""
import time
import slow_package
slow_package.begun.set()
time.sleep({A_MOMENT})
value = 7
"""


@pytest.fixture
def slow_package(tmp_path, monkeypatch):
    """A package with a public name that takes a while to import."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(SLOW)
    (folder / "late.py").write_text(LATE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("slow_package")
    for name in ("slow_package", "slow_package.late"):
        sys.modules.pop(name, None)


def test_a_child_that_is_forked_during_the_first_import_of_a_name_has_it(slow_package):
    thread = while_another_thread(lambda: slow_package.value, slow_package.begun)
    assert succeeds_in_a_child(lambda: slow_package.value == 7, seconds=10)
    thread.join()
    assert slow_package.value == 7


def test_a_fork_waits_for_a_lock_and_both_processes_find_it_free():
    lock, begun = kept_across_forks(threading.RLock()), threading.Event()

    def hold():
        with lock:
            begun.set()
            time.sleep(A_MOMENT)

    thread = while_another_thread(hold, begun)
    assert succeeds_in_a_child(lambda: lock.acquire(timeout=5))
    thread.join()
    assert lock.acquire(timeout=5)
    lock.release()


def test_a_thread_that_holds_a_lock_can_fork():
    with kept_across_forks(threading.RLock()):
        assert succeeds_in_a_child(lambda: True)
