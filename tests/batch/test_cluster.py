"""Batches on the worker processes of a Dask cluster of this machine."""

import logging
import os
import signal
import sys

import pytest

from csc_cogd import DeviceError, InputError, restore_batch
from tests.batch.conftest import QUICK
from tests.cli.calling import call, contents

N_IMAGES = 18


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="Dask isn't installed: pip install '.[distributed]'")
    settings = {"n_workers": 3, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(**settings) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
        yield client


@pytest.fixture
def folder(tmp_path, make_pictures, monkeypatch):
    make_pictures(tmp_path / "in", tmp_path / "masks", N_IMAGES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def images(folder):
    return {path.name: content for path, content in contents(folder).items() if path.suffix == ".png"}


def stamps(folder):
    """When the pictures were written: another time, another stamp."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.glob("p*.png")}


def kill_one_of(cluster):
    os.kill(next(worker.process.pid for worker in cluster.workers.values() if worker.process), signal.SIGKILL)


def test_a_lost_worker_costs_nothing_and_nothing_is_written_twice(folder, cluster, client):
    (folder / "in" / "p7.png").write_bytes(b"")
    local = list(restore_batch("in", "local", mask="masks", **QUICK))
    results, written = [], {}
    for result in restore_batch("in", "out", mask="masks", scheduler=client, **QUICK):
        results.append(result)
        written |= {path: stamp for path, stamp in stamps(folder / "out").items() if path not in written}
        if len(results) == 3:
            kill_one_of(cluster)
    assert sorted((result.input, result.status) for result in results) == sorted((r.input, r.status) for r in local)
    assert images(folder / "out") == images(folder / "local")
    assert stamps(folder / "out") == written
    assert [result.input for result in results if result.status == "failed"] == ["in/p7.png"]


def test_a_job_that_is_done_again_finds_its_result(folder, client):
    from csc_cogd.batch import plan_batch
    from csc_cogd.batch.cluster import run_on_cluster

    batch = plan_batch(["in/p0.png", "in/p1.png"], "out", task="inpaint", mask="masks", **QUICK)
    first = list(run_on_cluster(batch.jobs, client))
    before = stamps(folder / "out")
    again = list(run_on_cluster(batch.jobs, client))
    assert {result.output for result in again} == {result.output for result in first}
    assert stamps(folder / "out") == before


def test_the_command_works_on_a_cluster_by_its_address(folder, cluster, capsys):
    address = cluster.scheduler_address
    arguments = ["in", "-m", "masks", "--fast", "--iterations", 1, "-q", "--device", "cpu"]
    assert call("inpaint", *arguments, "-o", "out", "--scheduler", address) == 0
    assert call("inpaint", *arguments, "-o", "local") == 0
    assert images(folder / "out") == images(folder / "local")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("scheduler", "error", "problem"),
    [("nowhere", InputError, "'nowhere' isn't an address"), ("tcp://127.0.0.1:9", DeviceError, "doesn't answer")],
)
def test_a_cluster_that_is_not_there_is_named(folder, scheduler, error, problem, monkeypatch):
    from csc_cogd.batch import cluster as module

    monkeypatch.setattr(module, "SECONDS", 1)
    pytest.importorskip("distributed")
    with pytest.raises(error, match=problem):
        restore_batch("in", "out", mask="masks", scheduler=scheduler, **QUICK)
    assert not (folder / "out").exists()


def test_without_dask_the_way_to_get_it_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'csc-cogd\[distributed\]'"):
        restore_batch("in", "out", mask="masks", scheduler="tcp://host:8786", **QUICK)
