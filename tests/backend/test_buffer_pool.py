"""Memory that is used again."""

import numpy as np
import pytest

from csc_cogd.backend import buffer_pool


@pytest.fixture(autouse=True)
def nothing_kept():
    buffer_pool.release()
    yield
    buffer_pool.release()


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_the_last_view_is_gone():
    first = buffer_pool.empty((64, 1024), np.float32)
    assert first.shape == (64, 1024)
    assert first.dtype == np.float32
    where, view = address(first), first[1:]
    del first
    other = buffer_pool.empty((64, 1024), np.float32)
    assert address(other) != where
    view[...], other[...] = 1, 2
    assert (view == 1).all()
    del view
    again = buffer_pool.empty((32, 1024), np.float64)  # as many bytes
    assert address(again) == where


def test_a_buffer_that_is_somewhat_larger_serves_too_and_comes_back_whole():
    size = 4 * buffer_pool.MIN_BYTES
    where = address(buffer_pool.empty((size,), np.uint8))
    for smaller in (int(size / buffer_pool.SLACK) + 1, size - 1, size):
        array = buffer_pool.empty((smaller,), np.uint8)
        assert (address(array), array.size) == (where, smaller)
        del array
    large = buffer_pool.empty((size + 1,), np.uint8)
    small = buffer_pool.empty((int(size / buffer_pool.SLACK) - 1,), np.uint8)
    assert where not in (address(large), address(small))


def test_no_more_is_kept_than_is_said(monkeypatch):
    monkeypatch.setattr(buffer_pool, "MAX_IDLE_BYTES", 3 * buffer_pool.MIN_BYTES)
    arrays = [buffer_pool.empty((buffer_pool.MIN_BYTES,), np.uint8) for _ in range(5)]
    arrays.clear()
    assert sum(map(len, buffer_pool._idle.values())) == 3


def test_small_arrays_are_left_alone():
    del (small := [buffer_pool.empty((3, 0), np.float32), buffer_pool.empty((3, 4), np.float32)])[:]
    assert not small
    assert not any(buffer_pool._idle.values())
