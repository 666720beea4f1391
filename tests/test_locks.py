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
from csc_cogd.lazy import lazy_names
begun = threading.Event()
__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
"""
NAMES = """
from .late import value as value
from .user import locked as locked
"""
LATE = f"""
import time
import slow_package
slow_package.begun.set()
time.sleep({A_MOMENT})
value = 7
"""
LOCKING = f"""
import threading, time
import slow_package
from csc_cogd.locks import kept_across_forks
slow_package.begun.set()
time.sleep({A_MOMENT})
lock = kept_across_forks(threading.RLock())
"""
USER = """
from slow_package.locking import lock as locked
"""


@pytest.fixture
def slow_package(tmp_path, monkeypatch):
    """A package with a public name that takes a while to import."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(SLOW)
    (folder / "__init__.pyi").write_text(NAMES)
    for name, text in (("late", LATE), ("locking", LOCKING), ("user", USER)):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("slow_package")
    for name in [name for name in sys.modules if name.startswith("slow_package")]:
        del sys.modules[name]


def test_a_child_that_is_forked_during_the_first_import_of_a_name_has_it(slow_package):
    thread = while_another_thread(lambda: slow_package.value, slow_package.begun)
    assert succeeds_in_a_child(lambda: slow_package.value == 7, seconds=10)
    thread.join()
    assert slow_package.value == 7


def test_importing_a_module_at_once_and_lazily_is_no_deadlock(slow_package):
    directly = while_another_thread(lambda: importlib.import_module("slow_package.locking"), slow_package.begun)
    lazily = threading.Thread(target=lambda: slow_package.locked, daemon=True)
    lazily.start()
    for thread in (lazily, directly):
        thread.join(10)
        assert not thread.is_alive()


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
