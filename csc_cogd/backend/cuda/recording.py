"""Work that is queued over and over, recorded as a CUDA graph: a replay is one launch, in place of one for each kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from csc_cogd.errors import InputError

ENVIRONMENT_VARIABLE = "CSC_COGD_CUDA_GRAPHS"
CALLS_BEFORE = 4
"""Calls before work is recorded: recording doesn't pay for work that is done less often, as in the phases of learning."""


def graphs_wanted() -> bool:
    """Return whether the environment variable ``CSC_COGD_CUDA_GRAPHS`` is "on", the default, rather than "off"."""
    value = os.environ.get(ENVIRONMENT_VARIABLE) or "on"
    if value not in ("on", "off"):
        raise InputError(ENVIRONMENT_VARIABLE, f"must be 'on' or 'off', got {value!r}")
    return value == "on"


class Recording:
    """Does work at the first calls, records it at the fifth, and replays that from then on.

    The first calls load kernels and make FFT plans, which can't be done while recording; and recording takes about as long
    as a few calls. Arrays that are made while recording are kept, for every replay writes to their memory. Work that can't
    be recorded, as what CuPy does by cuBLAS, or that a driver refuses to record, is done at every call as at the first.

    Replays are queued on the current stream, so they are in order with all other work.

    Parameters
    ----------
    xp : module
        CuPy.
    stream : cupy.cuda.Stream
        To record on: a non-blocking one, for a blocking one would forbid other threads the default one meanwhile.
    """

    _alone = threading.Lock()

    def __init__(self, xp: ModuleType, stream: Any):
        self._xp, self._stream = xp, stream
        self._calls = 0
        self._memory: list[Any] = []
        self._graph: Any = None

    def __call__(self, work: Callable[[], Any]) -> None:
        self._calls += 1
        if self._calls == CALLS_BEFORE + 1:
            self._record(work)
        if self._graph is None:
            work()
        else:
            self._graph.launch()

    def _record(self, work: Callable[[], Any]) -> None:
        try:
            with self._alone, self._stream, self._xp.cuda.using_allocator(self._allocate):
                self._stream.begin_capture()
                try:
                    work()
                finally:
                    graph = self._stream.end_capture()
            graph.upload()
        except Exception:  # whatever it is: if the work itself fails, it does so again when it is done without recording
            self._memory.clear()
        else:
            self._graph = graph

    def _allocate(self, size: int) -> Any:
        """Return memory that nothing else gets before the recording is gone."""
        self._memory.append(self._xp.get_default_memory_pool().malloc(size))
        return self._memory[-1]
