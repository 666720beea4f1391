"""The bar on a terminal."""

import io
import time

from csc_cogd.cli.console import ProgressBar
from csc_cogd.restore.report import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_sign_turns_while_a_step_takes_long(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with ProgressBar(True) as progress:
        progress(Progress("tiles", 0, 2, None))
        began = len(terminal.getvalue())
        until = time.monotonic() + 30
        while len(terminal.getvalue()) == began and time.monotonic() < until:
            time.sleep(0.02)
        assert "tiles      |" in terminal.getvalue()[began:]
        progress(Progress("tiles", 2, 2, None))
    assert "100%" in terminal.getvalue()
    ended = terminal.getvalue()
    time.sleep(0.05)
    assert terminal.getvalue() == ended
