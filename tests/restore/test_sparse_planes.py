"""Sparse planes: what is written to marked values is read again, as from whole planes."""

import numpy as np
import pytest

from csc_cogd.restore.sparse_planes import SparsePlanes, planes_for


@pytest.mark.parametrize("shared", [True, False])
def test_they_keep_what_whole_planes_keep_of_marked_values(rng, shared):
    marked = rng.random((3, 20, 30)) < 0.1
    marked = np.broadcast_to(marked[0], marked.shape) if shared else marked
    sparse, whole = SparsePlanes(marked, np.dtype(np.float32)), np.zeros(marked.shape, np.float32)
    for channels, rows, columns in ((slice(None), slice(2, 9), slice(0, 30)), (slice(1, 2), slice(None), slice(25, 99))):
        block = rng.random(whole[channels, rows, columns].shape).astype(np.float32)
        for planes in (sparse, whole):
            planes[channels, rows, columns] += block
    assert np.array_equal(sparse[:, 0:20, 0:30], np.where(marked, whole, 0))
    assert np.array_equal(sparse[1:3, 5:8, 20:30], np.where(marked, whole, 0)[1:3, 5:8, 20:30])
    for plane, of_plane, values, places in zip(whole, marked, sparse.values, sparse.places, strict=True):
        assert np.array_equal(values, plane[of_plane])
        assert np.array_equal(places, np.flatnonzero(of_plane))


def test_they_are_for_few_values(rng):
    few, many = (rng.random((1, 40, 40)) < share for share in (0.02, 0.5))
    assert isinstance(planes_for(few, np.dtype(np.float64)), SparsePlanes)
    assert isinstance(planes_for(many, np.dtype(np.float64)), np.ndarray)
