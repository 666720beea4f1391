"""The benchmark for GPUs, on the double of CuPy: that it runs through, and ends where it takes too long."""

import sys
import time

import pytest

from benchmarks import gpu


@pytest.fixture
def small(cuda, monkeypatch):
    """The benchmark on a small problem; returns a function that runs it."""
    if not hasattr(cuda, "launched"):
        pytest.skip("on a GPU, run the benchmark itself")
    sizes = {"K": 3, "SIZE": 4, "SMALL": 16, "SIDES": (16,), "BATCH": (2, 16), "ITERATIONS": 20, "COPIED": 2**12}
    for name, value in sizes.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(gpu, "sporco", lambda cupy, name, image, filters: 1.0)
    monkeypatch.setitem(sys.modules, "cupy", cuda)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
        gpu.main()

    return run


def test_every_part_prints_its_figures(small, cuda, capsys, monkeypatch):
    monkeypatch.delenv(gpu.GRAPHS, raising=False)
    small("--pictures", "2", "--rounds", "2")
    printed = capsys.readouterr().out
    assert "stopped" not in printed
    lines = [line for line in printed.splitlines() if line.startswith("- ")]
    figures = {"code": 4, "graphs": 2, "batch": 1, "agreement": 1, "learning": 1}
    assert list(figures) == list(gpu.PARTS)
    assert len(lines) == sum(figures.values())
    assert printed.count("of the bandwidth bound") == 2
    assert gpu.GRAPHS not in gpu.os.environ
    assert cuda.launched


def test_a_part_that_takes_too_long_or_fails_does_not_keep_the_others(small, capsys, monkeypatch):
    def fail(setup):
        raise MemoryError("of the card")

    monkeypatch.setitem(gpu.PARTS, "code", lambda setup: time.sleep(60))
    monkeypatch.setitem(gpu.PARTS, "batch", fail)
    small("--limit", "0.5", "--parts", "code", "batch")
    printed = capsys.readouterr().out
    assert "code\n- stopped: TimeoutError: it took more than 0.5 s" in printed
    assert "batch\n- stopped: MemoryError: of the card" in printed
