"""Threads over the images, or the channels, of a batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

from csc_cogd.backend.cpu import Backend
from csc_cogd.backend.selection import get_backend

PARTS = 8
"""That a batch is cut into, however many threads there are, so that sums don't depend on them."""


def in_parts(function: Callable[[int, int], Any], count: int) -> list[Any]:
    """``function(begin, stop)`` of the parts of `count` things, on all threads; the results in their order."""
    parts = min(PARTS, count)
    cuts = [count * part // parts for part in range(parts + 1)] if parts else [0]
    return list(_backend(os.getpid()).each(lambda part: function(*part), pairwise(cuts)))


@lru_cache(maxsize=1)
def _backend(process: int) -> Backend:
    """Whose threads they are; a forked child has its parent's cache but not its threads."""
    return get_backend("cpu")
