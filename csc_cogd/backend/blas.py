"""One thread for BLAS while threads of our own work.

BLAS starts threads for vectors of ten thousand values already, and they wait for each other after every product: where other
threads want the processors too, ours or another program's, that takes many times as long as the product.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

from csc_cogd.locks import kept_across_forks

_lock = kept_across_forks(threading.RLock())
_thread = threading.local()  # `inside`: whether this thread has asked already
_before: list[Any] = []  # what to go back to, once for everyone who is inside


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread; afterwards it has as many as before anybody asked.

    In some builds of OpenBLAS only the main thread can change this: called from another one, nothing changes.
    """
    if getattr(_thread, "inside", False):
        yield
        return
    with _lock:
        limit = threadpool_limits(limits=1, user_api="blas")
        _before.append(_before[0] if _before else limit)
    _thread.inside = True
    try:
        yield
    finally:
        _thread.inside = False
        with _lock:  # by every thread, for another one might not be able to
            _before.pop().restore_original_limits()


def _forget_other_threads() -> None:
    """Forget, in a forked child, those who had asked in other threads and aren't there to leave."""
    n_here = int(getattr(_thread, "inside", False))
    others = _before[n_here:]
    del _before[n_here:]
    if others and not n_here:
        others[0].restore_original_limits()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
