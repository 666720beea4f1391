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

from csc_cogd.batch.job import Job, Result, Silent
from csc_cogd.batch.jobs import attempt, clean_up
from csc_cogd.errors import InputError
from csc_cogd.restore.report import Progress

MAX_ATTEMPTS = 2
SHUTDOWN_SECONDS = 10.0  # seconds that a process has to clean up before it is killed


def run_in_processes(
    jobs: Iterable[Job],
    n_processes: int,
    on_progress: Callable[[Job, Progress], Any] | None = None,
    devices: Sequence[str] = (),
) -> Iterator[Result]:
    """Yield results as they are finished.

    Where there are `devices`, the processes take them in turn; else each job's settings name one. Closing the iterator ends
    the processes and removes half-written files.
    """
    waiting, workers = deque((job, 1) for job in jobs), list[_Worker]()
    try:
        while len(workers) < min(n_processes, len(waiting)):
            workers.append(_Worker(devices[len(workers) % len(devices)] if devices else None))
        while waiting or any(process.job for process in workers):
            for process in workers:
                if process.job is None and waiting:
                    process.begin(*waiting.popleft())
            for ready in wait([process.connection for process in workers if process.job]):
                process = next(process for process in workers if process.connection is ready)
                try:
                    message = process.connection.recv()
                except (EOFError, OSError):
                    job, attempts, exit_code = process.job, process.attempts, process.exit_code()
                    clean_up([job])
                    workers[workers.index(process)] = _Worker(process.device)
                    if attempts < MAX_ATTEMPTS:
                        waiting.appendleft((job, attempts + 1))
                    else:
                        yield _lost(job, exit_code)
                    continue
                if isinstance(message, Result):
                    process.job = None
                    yield message
                elif on_progress is not None:
                    on_progress(process.job, message)
    finally:
        for process in workers:
            process.end()
        for process in workers:
            process.wait()


class _Worker:
    """A worker and the job it is at."""

    def __init__(self, device: str | None) -> None:
        context: Any = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
        if hasattr(os, "fork"):
            context.set_forkserver_preload(["csc_cogd.batch.jobs"])
        self.connection, theirs = context.Pipe()
        self.device = device
        self.job: Any = None
        self.attempts = 0
        self._process = context.Process(target=_serve, args=(theirs,), name="csc-cogd", daemon=True)
        with ignoring_interrupts():
            self._process.start()
        theirs.close()

    def begin(self, job: Job, attempts: int) -> None:
        self.job, self.attempts = job, attempts
        with suppress(OSError):  # it has just died: the pipe says so when it is read
            self.connection.send(job if self.device is None else job.on(self.device))

    def exit_code(self) -> int | None:
        self._process.join(SHUTDOWN_SECONDS)
        return self._process.exitcode

    def end(self) -> None:
        self.connection.close()
        if self.job is not None:
            self._process.terminate()

    def wait(self) -> None:
        self._process.join(SHUTDOWN_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
            clean_up([self.job] if self.job else [])


def _lost(job: Job, exit_code: int | None) -> Result:
    how = f"signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"exit code {exit_code}"
    error = InputError("", f"its process ended twice ({how})", "if memory was short, use fewer {jobs}", str(job.source))
    return Result(str(job.source), "", "failed", job.text(error), 3)


class _Reporter(Silent):
    def __init__(self, connection: Connection):
        self._connection = connection

    def progress(self, record: Progress) -> None:
        self._connection.send(record._replace(record=None))


def _serve(connection: Connection) -> None:
    """Do the jobs that come through the pipe until it is closed."""
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, which a terminal interrupts, too, ends it
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
def ignoring_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, which a terminal sends to all of them: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End with a parent that is killed: the batch may have been resumed by then."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
