"""Batches on the worker processes of a Dask cluster of this machine."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading

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
    [
        ("nowhere", InputError, "scheduler must be an address such as tcp://host:8786, or 'local', got 'nowhere'"),
        ("tcp://127.0.0.1:9", DeviceError, "scheduler tcp://127.0.0.1:9 doesn't answer as a Dask scheduler"),
    ],
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


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 8 + b"GARBAGE" * 100])
def test_another_service_at_the_address_is_one_line_in_time(folder, answer, monkeypatch, capfd):
    from csc_cogd.batch import cluster as module

    pytest.importorskip("distributed")
    monkeypatch.setattr(module, "SECONDS", 2)
    held = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                held.append(server.accept()[0])
                held[-1].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(DeviceError, match="doesn't answer as a Dask scheduler"):
            restore_batch("in", "out", mask="masks", scheduler=f"tcp://127.0.0.1:{server.getsockname()[1]}", **QUICK)
    for connection in held:
        connection.close()
    assert "Traceback" not in capfd.readouterr().err


def test_a_batch_ends_where_no_worker_answers_any_more(folder, cluster, client, monkeypatch):
    from csc_cogd.batch import cluster as module

    monkeypatch.setattr(module, "SECONDS", 1)
    monkeypatch.setattr(module, "SILENCE", 3)
    pids = [worker.process.pid for worker in cluster.workers.values()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DeviceError, match="scheduler has no worker that has answered for 3 s: what is done stays"):
            list(restore_batch("in", "out", mask="masks", scheduler=client, **QUICK))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_cluster_may_ask_for_certificates(folder):
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("cryptography", reason="certificates are made by it: pip install cryptography")
    security = distributed.Security.temporary()
    environment = os.environ.copy()
    for name, content in [
        ("CA_FILE", security.tls_ca_file),
        ("CLIENT__CERT", security.tls_client_cert),
        ("CLIENT__KEY", security.tls_client_key),
    ]:
        (folder / name).write_text(content)
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{name}"] = str(folder / name)
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    command = [sys.executable, "-m", "csc_cogd", "inpaint", "in/p0.png", "-m", "masks", "-o", "out.png", "--fast", "-q"]
    with distributed.LocalCluster(protocol="tls", security=security, **settings) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        command += ["--device", "cpu", "--scheduler", cluster.scheduler_address]
        stranger = subprocess.run(command, capture_output=True, text=True)
        assert stranger.returncode == 3
        assert "doesn't answer as a Dask scheduler" in stranger.stderr
        assert stranger.stderr.count("\n") == 1
        subprocess.run(command, env=environment, check=True)
    assert (folder / "out.png").exists()
