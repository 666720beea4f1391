"""Lines of a long run where there is no terminal."""

import io
import time

import pytest

from csc_cogd.cli.console import Console, ProgressBar
from csc_cogd.cli.heartbeat import Heartbeat
from csc_cogd.restore.report import Progress


def wait_for(condition):
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


def test_a_line_says_how_far_it_is():
    lines = []
    with ProgressBar(False, 1, Heartbeat(lines.append, interval=0.02)) as progress:
        wait_for(lambda: lines)
        progress(Progress("tiles", 3, 12, None))
        wait_for(lambda: "tiles: 3 of 12" in lines[-1])
    assert lines[0].startswith("at work for 0.")
    ended = len(lines)
    time.sleep(0.1)
    assert len(lines) == ended


def test_files_are_counted():
    lines = []
    with ProgressBar(False, 4, Heartbeat(lines.append, 4, interval=0.02)) as progress:
        progress.file_done("a.png")
        progress.file_done("b.png")
        wait_for(lambda: lines and "2 of 4 files done" in lines[-1])


@pytest.mark.parametrize(("verbosity", "said"), [(-1, False), (0, True), (1, True)])
def test_a_quiet_call_has_none(monkeypatch, verbosity, said):
    monkeypatch.setattr(Heartbeat.__init__, "__defaults__", (1, 0.02))
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    with Console(quiet=verbosity < 0, verbose=max(verbosity, 0)).progress():
        if said:
            wait_for(lambda: "at work for" in log.getvalue())
        else:
            time.sleep(0.1)
    assert ("at work for" in log.getvalue()) == said
