"""Worker processes that are killed in the middle of a job."""

import json
import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.killing import is_running, results, save_images, temporary_files, wait_until
from csc_cogd.batch import plan_batch, restore_batch, workers
from csc_cogd.batch.job import Job, Result

SLOW = {"max_iter": 60}  # a second or two for an image


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two small images, and one in each of the folders ``once`` and ``twice``, with their masks."""
    folder = tmp_path_factory.mktemp("images")
    save_images(folder, 4, 96)
    for place, number in (("once", 2), ("twice", 3)):
        (folder / "images" / place).mkdir()
        os.rename(folder / "images" / f"000{number}.png", folder / "images" / place / f"000{number}.png")
    return folder


def writer(temporary):
    """The process that writes to a temporary file."""
    return int(temporary.name.split("-")[-2])


def kill_at_work(folder, times):
    """Kill the process that is restoring an image to `folder`, so many times: it has a temporary file there all the time."""
    for _ in range(times):
        killed = []

        def caught(killed=killed):
            for path in temporary_files(folder):
                pid = writer(path)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    at_work = path.exists()
                    os.kill(pid, signal.SIGKILL if at_work else signal.SIGCONT)
                    killed += [pid] * at_work
            return bool(killed)

        wait_until(caught, "a process at work")
        wait_until(lambda pid=killed[0]: not is_running(pid), "its end")


def test_a_killed_worker_is_replaced_and_the_others_go_on(images, tmp_path):
    settings = {"task": "inpaint", "mask": images / "masks", "recursive": True, **SLOW}
    expected = {result.input: result for result in restore_batch(images / "images", tmp_path / "one", **settings)}
    batch = plan_batch(images / "images", tmp_path / "two", jobs=2, **settings)
    killers = [
        threading.Thread(target=kill_at_work, args=(tmp_path / "two" / place, times), daemon=True)
        for place, times in (("once", 1), ("twice", 2))
    ]
    for killer in killers:
        killer.start()
    found = {result.input: result for result in batch.run()}
    for killer in killers:
        killer.join()
    assert found.keys() == expected.keys()
    lost = found.pop(str(images / "images" / "twice" / "0003.png"))
    assert (lost.status, lost.code, lost.output) == ("failed", 3, "")
    assert lost.error == f"{lost.input}: its process ended twice (signal 9): if memory was short, use fewer jobs"
    assert {result.status for result in found.values()} == {"done"}
    for place in (".", "once"):
        assert results(tmp_path / "two" / place) == results(tmp_path / "one" / place) != {}
    assert results(tmp_path / "two" / "twice") == {}
    assert temporary_files(tmp_path / "two") == []


def test_one_process_and_two_give_the_same_files_bit_for_bit(images, tmp_path):
    for jobs in (1, 2):
        done = list(restore_batch(images / "images", tmp_path / str(jobs), mask=images / "masks", jobs=jobs, threads=1))
        assert [result.status for result in done] == ["done", "done"]
    assert results(tmp_path / "1") == results(tmp_path / "2")
    records = [json.loads((tmp_path / jobs / ".csc-cogd" / "0000.png.json").read_text()) for jobs in "12"]
    assert records[0]["output"] == records[1]["output"]


def test_a_batch_that_is_closed_early_ends_its_processes(images, tmp_path):
    batch = restore_batch(images / "images", tmp_path, mask=images / "masks", recursive=True, jobs=2, **SLOW)
    next(batch)
    wait_until(lambda: bool(temporary_files(tmp_path)), "a process at work")
    workers = {writer(path) for path in temporary_files(tmp_path)}
    batch.close()
    assert temporary_files(tmp_path) == []
    assert not any(map(is_running, workers))


class Deaf:
    """In place of a worker process: done at once, but for the first job of one device, at which it dies."""

    born: ClassVar[list] = []

    def __init__(self, device):
        self.connection, self._theirs = multiprocessing.Pipe()
        self.device, self.job, self.attempts = device, None, 0
        self.born.append(device)

    def begin(self, job, attempts):
        self.job, self.attempts = job, attempts
        if self.device == "cuda:1" and self.born.count("cuda:1") == 1:
            self._theirs.close()
        else:
            self._theirs.send(Result(str(job.source), self.device))

    def exit_code(self):
        return -9

    def end(self):
        self.connection.close()

    def wait(self):
        pass


def test_processes_take_the_devices_in_turn_and_one_that_dies_is_replaced_at_its_own(monkeypatch):
    monkeypatch.setattr(workers, "_Worker", Deaf)
    monkeypatch.setattr(Deaf, "born", [])
    jobs = [Job(Path(f"{n}.png"), Path("out") / f"{n}.png", "inpaint", {}) for n in range(6)]
    results = list(workers.run_in_processes(jobs, 4, devices=["cuda:0", "cuda:1", "cuda:2"]))
    assert Deaf.born == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert sorted(result.input for result in results) == [f"{n}.png" for n in range(6)]


def test_a_process_works_on_its_device(images, tmp_path):
    batch = plan_batch(images / "images", tmp_path / "out", mask=images / "masks", task="inpaint", device="cpu")
    assert batch.devices == []
    results = list(workers.run_in_processes(batch.jobs, 1, devices=["cuda:77"]))
    assert results
    assert all(result.code == 3 and "device 'cuda:77': " in result.error for result in results)
