"""Where the damage is: what is found out window by window is what looking at all of a mask tells."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_cdt

from csc_cogd.restore.extents import (
    GAP,
    SparsePlanes,
    clusters,
    damaged_blocks,
    greatest_depth,
    missing_anywhere,
    planes_for,
    share_of,
    shared_plane,
)
from csc_cogd.restore.settings import Damage


def speckled(rng, shape=(150, 203), count=12, largest=9):
    """Squares at random places, some of them at the border."""
    mask = np.zeros(shape, bool)
    for i, j, side in zip(rng.integers(0, shape[0], count), rng.integers(0, shape[1], count), range(count), strict=True):
        mask[max(i - side % largest, 0) : i + side % largest + 1, j : j + side % largest + 1] = True
    return mask


def test_clusters_hold_all_of_the_damage_once_and_far_from_each_other(rng):
    mask = speckled(rng)
    found, times = clusters(mask), np.zeros(mask.shape, int)
    for rows, columns in found:
        times[rows, columns] += 1
        ring = mask[max(rows.start - GAP, 0) : rows.stop + GAP, max(columns.start - GAP, 0) : columns.stop + GAP]
        assert ring.sum() == mask[rows, columns].sum() > 0
    assert len(found) > 3
    assert times.max() == 1
    assert times[mask].all()


def test_nothing_is_in_no_cluster_and_everything_in_one():
    assert clusters(np.zeros((40, 50), bool)) == []
    assert clusters(np.ones((40, 50), bool)) == [(slice(0, 40), slice(0, 50))]


def test_damage_that_reaches_into_the_box_of_another_is_in_one_cluster():
    mask = np.zeros((200, 200), bool)
    mask[:160, 3] = mask[155, :160] = True  # an L, and within its box
    mask[40, 120] = True
    assert len(clusters(mask)) == 1


@pytest.mark.parametrize("side", [16, 128])
def test_blocks_are_those_that_any_pixel_of_is_damaged(rng, side):
    mask = speckled(rng)
    found = damaged_blocks(mask, side)
    for (i, j), damaged in np.ndenumerate(found):
        assert damaged == mask[side * i : side * i + side, side * j : side * j + side].any()


def test_depth_is_that_of_the_whole_mask(rng):
    masks = np.stack([speckled(rng), speckled(rng, largest=3), np.zeros((150, 203), bool)])
    assert greatest_depth(masks) == max(distance_transform_cdt(mask, "chessboard").max() for mask in masks[:2])
    assert greatest_depth(masks[2:]) == 0


def test_masks_that_channels_share_are_known_for_it(rng):
    mask = speckled(rng)
    view, copies = np.broadcast_to(mask, (3, *mask.shape)), np.stack([mask] * 3)
    other = copies.copy()
    other[1, 0, 0] ^= True
    for missing in (view, copies, mask[None]):
        assert np.array_equal(shared_plane(missing), mask)
        assert np.array_equal(missing_anywhere(missing), mask)
        assert share_of(missing) == pytest.approx(missing.mean())
    assert shared_plane(other) is None
    assert np.array_equal(missing_anywhere(other), other.any(axis=0))
    assert share_of(other) == pytest.approx(other.mean())


def plain_damage(missing):
    """Share, inside, scattered as :class:`Damage` defines them, pixel by pixel."""
    inside = beside = around = 0
    for plane in missing:
        padded = np.pad(plane, 1, constant_values=True)
        for i, j in np.ndindex(plane.shape):
            count = padded[i : i + 3, j : j + 3].sum() - plane[i, j]
            touching = not plane[i, j] and plane[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].any()
            inside += plane[i, j] and count == 8
            beside, around = beside + touching, around + touching * count
    return missing.mean(), inside / missing.sum(), around / (8 * beside)


def test_damage_is_that_of_the_whole_mask(rng):
    masks = np.stack([speckled(rng, (70, 83)), rng.random((70, 83)) < 0.5])
    for missing in (masks[:1], masks):
        assert Damage.of(missing)[:3] == pytest.approx(plain_damage(missing))
    assert not Damage.of(masks).shared


@pytest.mark.parametrize("shared", [True, False])
def test_sparse_planes_keep_what_whole_planes_keep_of_marked_values(rng, shared):
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


def test_sparse_planes_are_for_few_values(rng):
    few, many = (rng.random((1, 40, 40)) < share for share in (0.02, 0.5))
    assert isinstance(planes_for(few, np.dtype(np.float64)), SparsePlanes)
    assert isinstance(planes_for(many, np.dtype(np.float64)), np.ndarray)
