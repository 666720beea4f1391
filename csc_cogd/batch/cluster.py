"""Jobs done by the workers of a Dask cluster, which see the same files under the same names."""

from __future__ import annotations

import asyncio
import os
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from csc_cogd.batch.job import Job, Result
from csc_cogd.batch.jobs import attempt, folders_of
from csc_cogd.batch.tasks import prior_file
from csc_cogd.batch.workers import ignoring_interrupts
from csc_cogd.errors import DeviceError, InputError
from csc_cogd.storage import remove_abandoned

AHEAD = 2  # jobs that are handed out for each thread of the workers
SECONDS = 10  # to answer
SILENCE = 120  # seconds without a sign of life, after which a worker counts as lost

Answer = TypeVar("Answer")


@contextmanager
def connected(scheduler: Any, jobs: int = 1) -> Iterator[Any]:
    """A client of a Dask cluster.

    Parameters
    ----------
    scheduler : str or distributed.Client
        An address such as ``tcp://host:8786``; ``"local"`` starts a cluster of `jobs` processes here; a client is the one
        to use, and stays open.
    jobs : int

    Raises
    ------
    InputError
        If Dask isn't installed, or that isn't an address.
    DeviceError
        If the scheduler doesn't answer.
    """
    distributed = _distributed()
    if not isinstance(scheduler, str):
        yield scheduler
    elif scheduler == "local":
        with ignoring_interrupts():
            here = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None)
        with here as cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client
    elif not re.fullmatch(r"(\w+://)?[^/]+:\d+", scheduler):
        raise InputError("scheduler", f"must be an address such as tcp://host:8786, or 'local', got {scheduler!r}")
    else:
        _check_answer(scheduler)
        try:
            client = within(SECONDS + 2, partial(distributed.Client, scheduler, timeout=SECONDS, set_as_default=False))
        except Exception as error:  # Dask raises whatever it likes
            raise _silent(scheduler, error) from None
        try:
            yield client
        finally:
            with suppress(Exception):  # what was to be done is done, and the cluster may be gone
                within(SECONDS, partial(client.close, timeout=SECONDS / 2))


def check_scheduler(scheduler: Any) -> None:
    """Raise what :func:`connected` would."""
    if scheduler == "local":
        _distributed()
    else:
        with connected(scheduler):
            pass


def within(seconds: float, function: Callable[[], Answer]) -> Answer:
    """Return what a function returns, which waits for others.

    Raises
    ------
    TimeoutError
        If that takes longer; the function is left to itself.
    """
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def call() -> None:
        try:
            answers.put((True, function()))
        except BaseException as error:
            answers.put((False, error))

    threading.Thread(target=call, daemon=True, name="csc-cogd-waiting").start()
    try:
        succeeded, answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if succeeded:
        return answer
    raise answer


def _check_answer(address: str) -> None:
    """Raise DeviceError unless a scheduler answers at an address: a client would wait for minutes, or trip over others."""
    from distributed.core import rpc
    from distributed.security import Security

    async def ask() -> Any:
        async with rpc(address, connection_args=Security().get_connection_args("client")) as scheduler:
            return await asyncio.wait_for(scheduler.identity(), SECONDS)

    try:
        identity = within(SECONDS + 2, partial(asyncio.run, ask()))
    except (Exception, asyncio.CancelledError) as error:  # a service of another kind makes Dask raise whatever it likes
        raise _silent(address, error) from None
    if not isinstance(identity, dict) or identity.get("type") != "Scheduler":
        raise _silent(address, "something else answers")


def _silent(address: str, why: Any) -> DeviceError:
    reason = " ".join(str(why).split())[:150] or type(why).__name__
    return DeviceError(
        "scheduler", f"{address} doesn't answer as a Dask scheduler ({reason})", "is `dask scheduler` running there?"
    )


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError("scheduler", "needs Dask, which isn't installed", "pip install 'csc-cogd[distributed]'") from None
    return distributed


def run_on_cluster(jobs: Iterable[Job], client: Any) -> Iterator[Result]:
    """Results as they are finished. A lost worker's jobs are done by others; a file that it had written stays.

    Raises
    ------
    DeviceError
        If the cluster has no workers, or is lost.
    """
    from distributed import wait
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    going_on: dict[Any, Job] = {}
    folders: set[str] = set()
    batch, waiting = uuid.uuid4().hex, enumerate(jobs)

    def hand_out(number: int, job: Job) -> None:
        absolute = _with_absolute_paths(job)
        folders.update(map(os.fspath, folders_of(absolute)))
        going_on[client.submit(attempt, absolute, key=f"csc-cogd-{batch}-{number}", pure=False)] = job

    try:
        client.wait_for_workers(1, timeout=SECONDS)
        n_threads = max(sum(client.nthreads().values()), 1)
        for following in islice(waiting, AHEAD * n_threads):
            hand_out(*following)
        while going_on:
            try:
                with client.as_current():
                    done = wait(list(going_on), timeout=SECONDS, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                check_workers(client)
                continue
            for future in done:
                job = going_on.pop(future)
                try:
                    result = future.result(timeout=SECONDS)
                except KilledWorker:
                    text = f"{job.source}: several workers were lost while they were at it: was memory short?"
                    result = Result(str(job.source), "", "failed", text, 3)
                for following in islice(waiting, 1):
                    hand_out(*following)
                yield replace(result, input=str(job.source), output=str(job.target) if result.output else "")
    except TimeoutError:
        raise DeviceError("scheduler", "has no workers", "start some by 'dask worker ADDRESS'") from None
    except (FutureCancelledError, OSError) as error:
        lost = f"was lost ({error}): what is done stays"
        raise DeviceError("scheduler", lost, "{skip_existing} goes on from there") from None
    finally:
        with suppress(Exception):  # it may be gone
            within(SECONDS, partial(client.cancel, list(going_on)))
            within(SECONDS, partial(client.run, _clean_up, sorted(folders)))


def check_workers(client: Any) -> None:
    """Raise DeviceError if no worker has given a sign of life for long: nobody would ever finish what was handed out."""
    workers = within(SECONDS, partial(client.scheduler_info, n_workers=-1))["workers"].values()
    if not any(time.time() - worker["last_seen"] < SILENCE for worker in workers):
        raise DeviceError(
            "scheduler", f"has no worker that has answered for {SILENCE} s: what is done stays",
            "start others by 'dask worker ADDRESS'; {skip_existing} goes on from there",
        )  # fmt: skip


def _clean_up(folders: list[str]) -> None:
    """Remove what workers of this machine have left that were lost."""
    for folder in folders:
        remove_abandoned(Path(folder))


def _with_absolute_paths(job: Job) -> Job:
    def absolute(path: Any) -> Any:
        return None if path is None else Path(os.path.abspath(path))

    prior = prior_file(job.settings)
    settings = job.settings if prior is None else replace(job.settings, prior=str(absolute(prior)))
    return replace(
        job, settings=settings, source=absolute(job.source), target=absolute(job.target),
        inputs=tuple(map(absolute, job.inputs)),
        rules=replace(job.rules, path=absolute(job.rules.path)), page=absolute(job.page), reference=absolute(job.reference),
        dictionary=job.dictionary if job.dictionary == "default" else str(absolute(job.dictionary)),
    )  # fmt: skip
