"""Jobs done by several processes of this machine.

Each process has a pipe of its own, so that it is known which job it was at when it died: that job is done again by a new
process, once, and the others aren't disturbed. Nothing is handed out before a process is free, so memory doesn't grow with
the batch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from csc_cogd.batch.jobs import Job, Result, Silent, attempt, clean_up
from csc_cogd.restore.report import Progress

TRIES = 2
PATIENCE = 10.0  # seconds that a process has to clean up before it is killed


def run_in_processes(
    jobs: Iterable[Job], n_processes: int, told: Callable[[Job, Progress], Any] | None = None, devices: Sequence[str] = ()
) -> Iterator[Result]:
    """Results as they are finished; `told` is told of the progress of every job.

    Where there are `devices`, the processes take them in turn; else every job's settings say which. Closing the iterator
    ends the processes; half-written files are removed.
    """
    waiting, crew = deque((job, 1) for job in jobs), list[_Process]()
    try:
        while len(crew) < min(n_processes, len(waiting)):
            crew.append(_Process(devices[len(crew) % len(devices)] if devices else None))
        while waiting or any(process.job for process in crew):
            for process in crew:
                if process.job is None and waiting:
                    process.begin(*waiting.popleft())
            for ready in wait([process.connection for process in crew if process.job]):
                process = next(process for process in crew if process.connection is ready)
                try:
                    message = process.connection.recv()
                except (EOFError, OSError):
                    job, tries, exit_code = process.job, process.tries, process.exit_code()
                    clean_up([job])
                    crew[crew.index(process)] = _Process(process.device)
                    if tries < TRIES:
                        waiting.appendleft((job, tries + 1))
                    else:
                        yield _lost(job, exit_code)
                    continue
                if isinstance(message, Result):
                    process.job = None
                    yield message
                elif told is not None:
                    told(process.job, message)
    finally:
        for process in crew:
            process.end()
        for process in crew:
            process.wait()


class _Process:
    """A worker and the job it is at."""

    def __init__(self, device: str | None) -> None:
        context: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
        if hasattr(os, "fork"):
            context.set_forkserver_preload(["csc_cogd.batch.jobs"])
        self.connection, theirs = context.Pipe()
        self.device = device
        self.job: Any = None
        self.tries = 0
        self._process = context.Process(target=_serve, args=(theirs,), name="csc-cogd", daemon=True)
        with deaf_to_interrupts():
            self._process.start()
        theirs.close()

    def begin(self, job: Job, tries: int) -> None:
        self.job, self.tries = job, tries
        with suppress(OSError):  # it has just died: the pipe says so when it is read
            self.connection.send(job if self.device is None else job.on(self.device))

    def exit_code(self) -> int | None:
        self._process.join(PATIENCE)
        return self._process.exitcode

    def end(self) -> None:
        self.connection.close()
        if self.job is not None:
            self._process.terminate()

    def wait(self) -> None:
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            clean_up([self.job] if self.job else [])


def _lost(job: Job, exit_code: int | None) -> Result:
    how = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
    text = f"{job.source}: its process ended twice ({how}): was memory short? Try fewer --jobs"
    return Result(str(job.source), "", "failed", text, 3)


class _Reporter(Silent):
    def __init__(self, connection: Connection):
        self._connection = connection

    def progress(self, record: Progress) -> None:
        self._connection.send(record._replace(record=None))


def _serve(connection: Connection) -> None:
    """Do the jobs that come through the pipe until it is closed."""
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, _interrupt)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        with suppress(EOFError, OSError):
            while True:
                connection.send(attempt(connection.recv(), _Reporter(connection)))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already


def _interrupt(number: int, frame: Any) -> None:
    """Leave the job, once: cleaning up isn't interrupted. What is lost in a compiled library's callback is lost silently."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.unraisablehook = lambda lost: None
    raise KeyboardInterrupt


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started here don't hear Ctrl-C, which a terminal sends to all: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Don't go on for a parent that was killed: the batch may be resumed meanwhile."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
