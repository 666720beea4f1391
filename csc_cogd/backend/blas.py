"""One thread for BLAS while threads of our own work.

BLAS starts threads for vectors of ten thousand values already, and they wait for each other after every product: where other
threads want the processors too, ours or another program's, that takes many times as long as the product.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
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
