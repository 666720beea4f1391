"""A line now and then, where no bar can be drawn: a log shows that a long run is alive, and how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from csc_cogd.report.totals import duration

INTERVAL = 30.0  # seconds between lines


class Heartbeat:
    """Says every `interval` seconds how far `n_files` files are; a context manager.

    Parameters
    ----------
    say : callable
        Prints a line.
    n_files : int
    interval : float
    """

    def __init__(self, say: Callable[[str], Any], n_files: int = 1, interval: float = INTERVAL):
        self._say, self._n_files, self._interval = say, n_files, interval
        self._progress: Any = None
        self._files_done = 0
        self._over, self._started = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._beat, name="csc-cogd-heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def note(self, progress: Any) -> None:
        """Remember a :class:`csc_cogd.Progress`."""
        self._progress = progress

    def file_done(self) -> None:
        """Count a file."""
        self._files_done += 1

    def line(self) -> str:
        """Return what is done, how far it is, and since when."""
        parts = [f"at work for {duration(time.monotonic() - self._started)}"]
        if self._n_files > 1:
            parts.append(f"{self._files_done} of {self._n_files} files done")
        if (progress := self._progress) is not None:
            parts.append(f"{progress.stage}: {progress.done} of {progress.total}")
        return "; ".join(parts)

    def _beat(self) -> None:
        while not self._over.wait(self._interval):
            self._say(self.line())
