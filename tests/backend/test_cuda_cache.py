"""Where CuPy keeps its kernels."""

import os
from pathlib import Path

import pytest

from csc_cogd.backend import cuda_cache


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home, with CuPy installed, and nothing said of where its kernels belong."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CUPY_CACHE_DIR", "")  # so that it is put back
    monkeypatch.delenv("CUPY_CACHE_DIR")
    monkeypatch.setattr(cuda_cache, "find_spec", lambda name: object())


def test_a_home_that_is_not_writable_is_replaced_by_a_temporary_folder(monkeypatch):
    monkeypatch.setattr("os.access", lambda place, mode: False)
    removed = []
    monkeypatch.setattr("atexit.register", lambda function, folder, **options: removed.append(folder))
    cuda_cache.prepare_cache()
    folder = Path(os.environ["CUPY_CACHE_DIR"])
    assert folder.is_dir()
    assert removed == [str(folder)]
    folder.rmdir()


@pytest.mark.parametrize("installed", [True, False])
def test_else_nothing_is_changed(monkeypatch, installed):
    monkeypatch.setattr(cuda_cache, "find_spec", lambda name: object() if installed else None)
    if not installed:
        monkeypatch.setattr("os.access", lambda place, mode: False)
    cuda_cache.prepare_cache()
    assert "CUPY_CACHE_DIR" not in os.environ


def test_a_folder_that_was_chosen_is_kept(monkeypatch):
    monkeypatch.setenv("CUPY_CACHE_DIR", "/chosen")
    monkeypatch.setattr("os.access", lambda place, mode: False)
    cuda_cache.prepare_cache()
    assert os.environ["CUPY_CACHE_DIR"] == "/chosen"
