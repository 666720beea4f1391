"""Jobs done by the workers of a Dask cluster, which see the same files under the same names."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from csc_cogd.batch.jobs import Job, Result, attempt, folders_of
from csc_cogd.batch.workers import deaf_to_interrupts
from csc_cogd.errors import DeviceError, InputError
from csc_cogd.storage import remove_abandoned

AHEAD = 2  # jobs that are handed out for each thread of the workers
SECONDS = 10  # to answer


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
        with deaf_to_interrupts():
            here = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, processes=True, dashboard_address=None)
        with here as cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client
    elif not re.fullmatch(r"(\w+://)?[^/]+:\d+", scheduler):
        raise InputError(f"scheduler: {scheduler!r} isn't an address: give one such as tcp://host:8786, or 'local'")
    else:
        try:
            client = distributed.Client(scheduler, timeout=SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise DeviceError(
                f"scheduler: {scheduler} doesn't answer: is `dask scheduler` running there? ({error})"
            ) from None
        with client:
            yield client


def check_scheduler(scheduler: Any) -> None:
    """Raise what :func:`connected` would."""
    if scheduler == "local":
        _distributed()
    else:
        with connected(scheduler):
            pass


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InputError("scheduler: Dask isn't installed: pip install 'csc-cogd[distributed]'") from None
    return distributed


def run_on_cluster(jobs: Iterable[Job], client: Any) -> Iterator[Result]:
    """Results as they are finished. A lost worker's jobs are done by others; a file that it had written stays.

    Raises
    ------
    DeviceError
        If the cluster has no workers, or is lost.
    """
    from distributed import as_completed
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    going_on: dict[Any, Job] = {}
    folders: set[str] = set()
    batch, waiting = uuid.uuid4().hex, enumerate(jobs)

    def hand_out(number: int, job: Job) -> Any:
        absolute = _with_absolute_paths(job)
        folders.update(map(os.fspath, folders_of(absolute)))
        future = client.submit(attempt, absolute, key=f"csc-cogd-{batch}-{number}", pure=False)
        going_on[future] = job
        return future

    try:
        client.wait_for_workers(1, timeout=SECONDS)
        n_threads = max(sum(client.nthreads().values()), 1)
        first = [hand_out(*following) for following in islice(waiting, AHEAD * n_threads)]
        futures = as_completed(first, loop=client.loop)
        for future in futures:
            job = going_on.pop(future)
            try:
                result = future.result()
            except KilledWorker:
                text = f"{job.source}: several workers were lost while they were at it: was memory short?"
                result = Result(str(job.source), "", "failed", text, 3)
            for following in islice(waiting, 1):
                futures.add(hand_out(*following))
            yield replace(result, input=str(job.source), output=str(job.target) if result.output else "")
    except TimeoutError:
        raise DeviceError("scheduler: it has no workers: start some by 'dask worker ADDRESS'") from None
    except (FutureCancelledError, OSError) as error:
        lost = f"scheduler: the connection was lost: what is done stays, and --skip-existing goes on from there ({error})"
        raise DeviceError(lost) from None
    finally:
        with suppress(Exception):  # it may be gone
            client.cancel(list(going_on))
            client.run(_clean_up, sorted(folders))


def _clean_up(folders: list[str]) -> None:
    """Remove what workers of this machine have left that were lost."""
    for folder in folders:
        remove_abandoned(Path(folder))


def _with_absolute_paths(job: Job) -> Job:
    def absolute(path: Any) -> Any:
        return None if path is None else Path(os.path.abspath(path))

    return replace(
        job, source=absolute(job.source), target=absolute(job.target), inputs=tuple(map(absolute, job.inputs)),
        rules=replace(job.rules, path=absolute(job.rules.path)), page=absolute(job.page), reference=absolute(job.reference),
        dictionary=job.dictionary if job.dictionary == "default" else str(absolute(job.dictionary)),
    )  # fmt: skip
