"""Run a function on chunks of a batch, its images or its channels, on all threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import pairwise
from typing import Any

from csc_cogd.backend.cpu import Backend
from csc_cogd.backend.selection import get_backend, usable_processors

CHUNKS = 8
"""Chunks of a batch, however many threads there are, so that sums don't depend on their number."""


_limit: ContextVar[int | None] = ContextVar("threads", default=None)


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let networks compute, and read images, on so many threads within a ``with`` statement; None is all processors."""
    token = _limit.set(threads)
    try:
        yield
    finally:
        _limit.reset(token)


def thread_count() -> int:
    """Return on how many threads networks compute here."""
    return _limit.get() or usable_processors()


def map_chunks(function: Callable[[int, int], Any], count: int) -> list[Any]:
    """Return ``function(begin, stop)`` of each chunk of `count` items, in their order, computed on all threads."""
    chunks = min(CHUNKS, count)
    cuts = [count * chunk // chunks for chunk in range(chunks + 1)] if chunks else [0]
    return list(_backend(os.getpid(), _limit.get()).each(lambda chunk: function(*chunk), pairwise(cuts)))


@lru_cache(maxsize=2)
def _backend(process: int, threads: int | None) -> Backend:
    """Return the backend whose threads are used; a forked child has its parent's cache but not its threads."""
    return get_backend("cpu", threads=threads)
