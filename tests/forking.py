"""Children that are forked while other threads are at work."""

import os
import signal
import threading
import time

import pytest

forks = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def succeeds_in_a_child(work, seconds=30):
    """Whether a forked child gets a true value from `work` within some seconds."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    if done == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return done == (child, 0)


def while_another_thread(work, begun):
    """Start a thread that calls `work`, and return it as soon as the event `begun` is set."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert begun.wait(30)
    return thread
