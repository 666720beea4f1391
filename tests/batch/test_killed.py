"""Batches that are cut off: killed, interrupted by Ctrl-C or SIGTERM, or by a reader that has gone."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.killing import kill_and_resume, marked, results, save_images, start, temporary_files, wait_until
from csc_cogd.batch import restore_batch
from csc_cogd.storage import remove_abandoned, whole_file

SLOW = 20  # iterations: tenths of a second for an image
ABANDONING = """
import os, pathlib, signal, sys
from csc_cogd.storage import whole_file
with whole_file(pathlib.Path(sys.argv[1]), overwrite=True):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images and masks, and what they are restored to."""
    folder = tmp_path_factory.mktemp("images")
    save_images(folder, 12, 48)
    options = {"mask": folder / "masks", "effort": "fast", "max_iter": SLOW, "device": "cpu", "threads": 1}
    assert {result.status for result in restore_batch(folder / "images", folder / "reference", **options)} == {"done"}
    return folder


def test_a_batch_that_is_killed_again_and_again_is_resumed_each_time(tmp_path):
    *rounds, last = kill_and_resume(tmp_path, n_images=16, n_kills=2, seed=6)
    assert {r.killed for r in rounds} == {"all", "parent"}
    assert sum(r.done for r in rounds) + last.done == 16


def test_what_killed_processes_have_left_is_removed_and_nobody_elses(images, tmp_path):
    places = [tmp_path, tmp_path / ".csc-cogd", tmp_path / "report" / "pages"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        killed = subprocess.run([sys.executable, "-c", ABANDONING, place / "a.png"])
        assert killed.returncode == -signal.SIGKILL
    assert len(temporary_files(tmp_path)) == 3
    options = {"mask": images / "masks", "effort": "fast", "max_iter": 1, "report": tmp_path / "report"}
    with whole_file(tmp_path / "b.png", overwrite=False) as ours:
        restored = list(restore_batch([images / "images" / f"000{n}.png" for n in (0, 1)], tmp_path, **options))
        assert [result.error for result in restored] == ["", ""]
        assert [str(path) for path in temporary_files(tmp_path)] == [ours.name]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux tells who has ended and isn't waited for")
def test_a_writer_that_has_ended_and_is_not_waited_for_is_gone(tmp_path):
    """As orphans in a container whose first process doesn't wait for them."""
    writer = subprocess.Popen([sys.executable, "-c", ABANDONING, tmp_path / "a.png"])
    wait_until(lambda: Path(f"/proc/{writer.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "its end")
    assert len(temporary_files(tmp_path)) == 1
    remove_abandoned(tmp_path)
    assert temporary_files(tmp_path) == []
    assert writer.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("jobs", "end", "number"),
    [
        pytest.param(1, os.kill, signal.SIGINT, id="1-Ctrl-C"),
        pytest.param(1, os.kill, signal.SIGTERM, id="1-SIGTERM"),
        pytest.param(2, os.killpg, signal.SIGINT, id="2-Ctrl-C in a terminal"),
        pytest.param(2, os.kill, signal.SIGINT, id="2-SIGINT to the parent"),
        pytest.param(2, os.kill, signal.SIGTERM, id="2-SIGTERM to the parent"),
    ],
)
def test_an_interrupted_batch_leaves_whole_results_and_nothing_else(images, tmp_path, jobs, end, number):
    process, mark = start(images, "-o", tmp_path, "--jobs", jobs, "--threads", 1, "--iterations", SLOW)
    wait_until(lambda: bool(results(tmp_path)), "a result")
    end(process.pid, number)
    _, errors = process.communicate()
    *advice, last = [line for line in errors.splitlines() if line and not line.startswith("compiling for this machine")]
    assert last == "csc-cogd: error: interrupted: nothing half-written is left behind"
    for line in advice:
        assert re.fullmatch(r"\d+ of \d+ are done and stay: the same call with --skip-existing does the rest", line)
    assert process.returncode == 130
    wait_until(lambda: not marked(mark), "all processes end")
    assert temporary_files(tmp_path) == []
    assert results(tmp_path).items() < results(images / "reference").items()


def test_nobody_reads_the_lines_of_json_any_more(images, tmp_path):
    process, mark = start(images, "-o", tmp_path, "--jobs", 2, "--json", "-q", "--iterations", SLOW)
    with process:
        assert '"status": "done"' in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
    wait_until(lambda: not marked(mark), "all processes end")
    assert temporary_files(tmp_path) == []
    assert results(tmp_path).items() < results(images / "reference").items()
