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
_inside: list[Any] = []  # the limits that hold now: the first one knows what was before


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread, in the whole process, until the last of those who ask for it has left."""
    with _lock:
        if not _inside:
            _inside.append(threadpool_limits(limits=1, user_api="blas"))
        _inside.append(None)
    try:
        yield
    finally:
        with _lock:
            _inside.pop()
            if len(_inside) == 1:
                _inside.pop().restore_original_limits()
