"""Shards in other processes and on a cluster: the result of this process, bit for bit, and workers that are lost."""

import logging
import os
import signal
import sys

import numpy as np
import pytest

from csc_cogd import DeviceError, InputError, learn_dictionary_consensus, shard_mapper
from csc_cogd.batch.cluster_learning import Processes

RUN = {"n_filters": 4, "filter_shape": 5, "lmbda": 0.4, "max_iter": 4, "tol": 0, "threads": 1, "fft": "scipy"}


@pytest.fixture(scope="module")
def shards():
    rng = np.random.default_rng(7)
    return [rng.standard_normal((n, 18, 20)) for n in (2, 1, 3, 1, 2)]


@pytest.fixture(scope="module")
def local(shards):
    return learn_dictionary_consensus(shards, **RUN)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="Dask isn't installed: pip install '.[distributed]'")
    settings = {"n_workers": 3, "threads_per_worker": 2, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def check_equal(found, expected):
    np.testing.assert_array_equal(found.dictionary.filters, expected.dictionary.filters)
    assert [r._replace(seconds=0) for r in found.history] == [r._replace(seconds=0) for r in expected.history]


def test_processes_give_the_same_result_and_end(shards, local):
    with shard_mapper(jobs=2) as mapper:
        check_equal(learn_dictionary_consensus(shards, **RUN, mapper=mapper), local)
        check_equal(learn_dictionary_consensus(shards, **RUN, mapper=mapper), local)
        with pytest.raises(InputError, match="shard 0: filter_shape must not be larger"):
            learn_dictionary_consensus(shards, **RUN | {"filter_shape": 19}, mapper=mapper)
        pids = mapper.start(process_of, range(2))
    assert len({os.getpid(), *pids}) == 3
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def process_of(state):
    return state, os.getpid()


def kill_yourself(state):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_is_an_error_and_not_a_wait():
    mapper = Processes(2)
    try:
        mapper.start(process_of, range(3))
        for _ in range(2):  # in the middle of a call, and before one
            with pytest.raises(DeviceError, match="jobs: a process that learned has ended"):
                mapper.step(kill_yourself)
    finally:
        mapper.close()


def test_a_cluster_gives_the_same_result(shards, local, client):
    with shard_mapper(scheduler=client) as mapper:
        check_equal(learn_dictionary_consensus(shards, **RUN, mapper=mapper), local)
    with shard_mapper(scheduler=client.scheduler.address) as mapper:
        check_equal(
            learn_dictionary_consensus(shards[:2], **RUN, mapper=mapper), learn_dictionary_consensus(shards[:2], **RUN)
        )


def test_a_lost_worker_does_not_change_the_result(shards, local, client, tmp_path):
    names = [tmp_path / f"{m}.npy" for m in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        np.save(name, shard)
    with shard_mapper(scheduler=client) as mapper:
        kill = killer(client, 2)
        found = learn_dictionary_consensus(names, **RUN, load=np.load, mapper=mapper, callback=kill)
    check_equal(found, local)


def test_a_worker_lost_after_a_resumed_run_has_saved_does_not_change_the_result(shards, local, client, tmp_path):
    saved = {"checkpoint": tmp_path / "run.npz", "checkpoint_every": 1}
    learn_dictionary_consensus(shards, **RUN | {"max_iter": 1}, **saved)
    with shard_mapper(scheduler=client) as mapper:
        check_equal(learn_dictionary_consensus(shards, **RUN, **saved, mapper=mapper, callback=killer(client, 3)), local)


def killer(client, number):
    """A callback that kills the worker with most on it after round `number`, in the hardest way."""

    def callback(record):
        if record.iteration == number:
            pids, held = client.run(os.getpid), client.has_what()
            os.kill(pids[max(pids, key=lambda address: len(held[address]))], signal.SIGKILL)

    return callback


def test_errors_on_a_cluster_are_the_same(shards, client):
    with (
        shard_mapper(scheduler=client) as mapper,
        pytest.raises(InputError, match="shard 0: filter_shape must not be larger"),
    ):
        learn_dictionary_consensus(shards, **RUN | {"filter_shape": 19}, mapper=mapper)


@pytest.mark.parametrize("address", ["somewhere", "tcp://", "tcp://host"])
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("distributed")
    with (
        pytest.raises(InputError, match=f"scheduler must be an address .* got '{address}'"),
        shard_mapper(scheduler=address),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    distributed = pytest.importorskip("distributed")

    def refuse(*arguments, **settings):
        raise OSError("connection refused")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(DeviceError, match="tcp://host:1 doesn't answer"), shard_mapper(scheduler="tcp://host:1"):
        pass


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'csc-cogd\[distributed\]'"), shard_mapper(scheduler="tcp://host:1"):
        pass
