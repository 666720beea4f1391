"""Locks that no forked child finds taken.

A child has only the thread that forked: what another thread had locked would stay locked in it for ever. So a fork waits
until these locks are free, and both processes go on with all of them free.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol, TypeVar


class _Lock(Protocol):
    def acquire(self) -> Any: ...
    def release(self) -> Any: ...


_L = TypeVar("_L", bound=_Lock)
importing = threading.RLock()
"""Holds forks off while modules are imported on first use: a child would wait for a module that was half imported."""

_kept: list[_Lock] = [importing]  # in the order in which a fork takes them: imports add more, so theirs is the first
_taken: list[_Lock] = []  # by the fork that is going on: there is one at a time, as all take the first lock


def kept_across_forks(lock: _L) -> _L:
    """Let forks wait for a lock, which is reentrant or shared, and return it.

    Modules call this while they are imported, so it waits for nobody: who waits for their import may hold what it waits for.
    """
    _kept.append(lock)
    return lock


class SharedLock:
    """A lock that any number of threads hold at a time, by ``with``; who acquires it waits until none of them does.

    For calls of libraries that leave something half done, or locked, in a child that is forked meanwhile.
    """

    def __init__(self) -> None:
        self._n_inside, self._condition = 0, threading.Condition()

    def __enter__(self) -> None:
        with self._condition:
            self._n_inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._condition:
            self._n_inside -= 1
            self._condition.notify_all()

    def acquire(self) -> None:
        """Wait until no thread is inside, and let none enter."""
        self._condition.acquire()
        self._condition.wait_for(lambda: self._n_inside == 0)

    def release(self) -> None:
        """Let threads enter again."""
        self._condition.release()


def _take_all() -> None:
    taken: list[_Lock] = []
    for lock in _kept:  # also those that are added meanwhile
        lock.acquire()
        taken.append(lock)
    _taken[:] = taken


def _release_all() -> None:
    for lock in _taken[::-1]:
        lock.release()


in_scipy = kept_across_forks(SharedLock())
"""Around SciPy's solvers and transforms: what SuperLU has in memory is an error in a child that is forked meanwhile."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take_all, after_in_parent=_release_all, after_in_child=_release_all)
