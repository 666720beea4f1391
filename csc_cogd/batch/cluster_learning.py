"""Where the shards of consensus learning live: in processes of this machine, or on the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from csc_cogd.batch.cluster import SECONDS, check_workers, connected
from csc_cogd.batch.workers import SHUTDOWN_SECONDS, ignoring_interrupts
from csc_cogd.csc.consensus import Mapper, SerialMapper
from csc_cogd.errors import DeviceError


@contextlib.contextmanager
def shard_mapper(jobs: int = 1, scheduler: Any = None) -> Iterator[Mapper]:
    """A mapper for :func:`csc_cogd.learn_dictionary_consensus`, whose processes end with the ``with`` statement.

    Parameters
    ----------
    jobs : int
        Processes of this machine; 1 is this one.
    scheduler : str or distributed.Client, optional
        The Dask cluster to work on instead, its scheduler's address such as ``tcp://host:8786``, or ``"local"`` for one of
        `jobs` processes.

    Yields
    ------
    mapper : Mapper

    Raises
    ------
    InputError
        If Dask isn't installed.
    DeviceError
        If the scheduler doesn't answer.

    Examples
    --------
    >>> import numpy as np
    >>> from csc_cogd import learn_dictionary_consensus
    >>> shards = np.random.default_rng(0).standard_normal((2, 1, 12, 12))
    >>> with shard_mapper(jobs=1) as mapper:
    ...     learn_dictionary_consensus(shards, 2, 3, lmbda=0.5, max_iter=1, mapper=mapper).dictionary.n_filters
    2
    """
    if scheduler is None:
        if jobs == 1:
            yield SerialMapper()
            return
        with contextlib.closing(Processes(jobs)) as processes:
            yield processes
        return
    with connected(scheduler, jobs) as client:
        yield Cluster(client)


# -- processes ---------------------------------------------------------------------------------------------------------


class Processes:
    """A :class:`csc_cogd.csc.consensus.Mapper` whose shards live in processes: shard m in process m modulo their number."""

    def __init__(self, jobs: int):
        context = multiprocessing.get_context("spawn")  # a forked child can find locks held by threads it hasn't got
        self._workers = []
        for _ in range(jobs):
            connection, end = context.Pipe()
            process = context.Process(target=_serve, args=(end,), daemon=True)
            with ignoring_interrupts():
                process.start()
            end.close()
            self._workers.append((process, connection))

    def start(self, function: Callable[..., Any], shards: Sequence[Any], *arguments: Any) -> list[Any]:
        self._number, jobs = len(shards), len(self._workers)
        return self._call("start", [(function, list(shards[job::jobs]), *arguments) for job in range(jobs)])

    def step(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        return self._call("step", [(function, *arguments)] * len(self._workers))

    def _call(self, method: str, arguments: list[Any]) -> list[Any]:
        """Call a method of every process's mapper; the reports in the shards' order."""
        try:
            for (_, connection), given in zip(self._workers, arguments, strict=True):
                connection.send((method, given))
            answers = [connection.recv() for _, connection in self._workers]
        except (EOFError, OSError):
            raise DeviceError(
                "jobs: a process that learned has ended, perhaps for want of memory: use fewer jobs, more shards, or "
                "smaller images, and a checkpoint to go on from"
            ) from None
        reports: list[Any] = [None] * self._number
        for job, (found, error) in enumerate(answers):
            if error is not None:
                raise error
            reports[job :: len(self._workers)] = found
        return reports

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for process, connection in self._workers:
            process.terminate()
            connection.close()
        for process, _ in self._workers:
            process.join(SHUTDOWN_SECONDS)
            if process.is_alive():  # it was stopped, or doesn't get at its signals
                process.kill()
                process.join()


def _serve(connection: Any) -> None:
    """What a process does: call methods of a mapper of its own, and send what they return, or raise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and ends its children
    mapper = SerialMapper()
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:  # the parent has ended
            return
        try:
            connection.send((getattr(mapper, method)(*arguments), None))
        except Exception as error:
            connection.send((None, error))


# -- a Dask cluster ------------------------------------------------------------------------------------------------------

_turn = threading.Lock()  # of a worker: a shard uses all threads, and memory for one


class Cluster:
    """A :class:`csc_cogd.csc.consensus.Mapper` whose shards live on the workers of a Dask cluster.

    The states are futures, each made of the one before: if a worker is lost, Dask makes its shards again from their
    beginning on others. Nothing is scattered, for what was scattered can't be made again.
    """

    def __init__(self, client: Any):
        self._client = client
        self._states: list[Any] = []

    def start(self, function: Callable[..., Any], shards: Sequence[Any], *arguments: Any) -> list[Any]:
        self._states = [self._client.submit(_given, shard, pure=False) for shard in shards]
        return self.step(function, *arguments)

    def step(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        from distributed import KilledWorker

        shared = self._client.submit(_given, arguments, pure=False)  # once, not with every shard
        both = [self._client.submit(_in_turn, function, state, shared, pure=False) for state in self._states]
        states, reports = (self._client.map(itemgetter(part), both, pure=False) for part in (0, 1))
        try:
            found = [self._result(report) for report in reports]  # of several errors, always the same one
        except KilledWorker as error:
            raise DeviceError(
                f"scheduler: the workers that learned have ended again and again, perhaps for want of memory: use more "
                f"shards, smaller images, or larger workers ({error})"
            ) from None
        self._states = states
        return found

    def _result(self, report: Any) -> Any:
        """Wait for a report as long as there are workers."""
        while True:
            try:
                return report.result(timeout=SECONDS)
            except TimeoutError:
                check_workers(self._client)


def _given(value: Any) -> Any:
    return value


def _in_turn(function: Callable[..., Any], state: Any, arguments: tuple[Any, ...]) -> Any:
    with _turn:
        return function(state, *arguments)
