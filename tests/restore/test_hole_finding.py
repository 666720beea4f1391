"""Where the holes are: what is missing is taken apart by its width, and wide lines are cut into pieces that overlap."""

import numpy as np
import pytest
from skimage.restoration import inpaint_biharmonic

from csc_cogd import inpaint
from csc_cogd.restore.hole_finding import count_holes, find_holes, pieces_beside


def missing_in(shape, *boxes):
    missing = np.zeros(shape, bool)
    for box in boxes:
        missing[box] = True
    return missing


def total_of(holes, shape):
    """How much all fills count in every pixel, (H, W)."""
    total = np.zeros(shape)
    for hole in holes:
        total[hole.window] += hole.shares
    return total


LINE = np.s_[70:80, 20:220]


def test_a_line_that_a_brush_makes_is_cut_into_pieces_that_add_up_to_it():
    missing = missing_in((150, 240), LINE)
    holes = find_holes(missing[None])
    assert count_holes(holes) == 1
    assert len(holes) >= 8
    np.testing.assert_allclose(total_of(holes, missing.shape), missing, atol=1e-12)
    for hole in holes:
        length = np.ptp(np.nonzero(hole.pixels)[1]) + 1
        assert 10 <= length <= 44
        assert (hole.pixels <= missing[hole.window]).all()


def test_pieces_overlap_smoothly():
    """From one to the next, the shares of a row change by less than a whole."""
    holes = find_holes(missing_in((150, 240), LINE)[None])
    for hole in holes:
        inside = hole.shares[75 - hole.rows.start]
        ends = abs(np.diff(inside))[: 219 - hole.columns.start]
        begins_at_the_end = hole.columns.start + np.flatnonzero(inside)[0] == 20
        assert ends[20 * begins_at_the_end :].max() < 0.5


def test_the_pieces_beside_one_are_the_nearest_of_its_line():
    missing = missing_in((200, 240), LINE, np.s_[110:120, 20:220], np.s_[150:162, 100:112])
    holes = find_holes(missing[None])
    assert count_holes(holes) == 3
    found = pieces_beside(holes, 2)
    for hole, others in zip(holes, found, strict=True):
        assert len(others) == (2 if hole.piece else 0)
        columns = [part.columns.start + np.nonzero(part.shares)[1].mean() for part in [hole, *(holes[k] for k in others)]]
        assert all(holes[k].part == hole.part for k in others)
        assert all(abs(column - columns[0]) < 70 for column in columns)


def test_a_torn_corner_and_the_line_that_leads_to_it_are_apart():
    missing = missing_in((200, 240), np.s_[:60, 180:], np.s_[40:190, 200:210])
    holes = find_holes(missing[None])
    whole = [hole for hole in holes if not hole.piece]
    assert len(whole) == 1
    np.testing.assert_array_equal(total_of(whole, missing.shape)[:60, 180:], 1)
    assert not total_of(whole, missing.shape)[80:].any()
    np.testing.assert_allclose(total_of(holes, missing.shape)[:180], missing[:180], atol=1e-12)


@pytest.mark.parametrize("width", [1, 3, 6])
def test_thin_lines_are_left_to_the_stages(width):
    assert not find_holes(missing_in((150, 240), np.s_[70 : 70 + width, 20:220], np.s_[20:130, 60 : 60 + width])[None])


def test_channels_that_miss_other_lines_are_cut_by_themselves():
    first, second = missing_in((150, 240), LINE), missing_in((150, 240), np.s_[20:140, 50:60])
    holes = find_holes(np.stack([first, second]))
    for c, missing in enumerate((first, second)):
        own = [hole for hole in holes if hole.channels == slice(c, c + 1)]
        np.testing.assert_allclose(total_of(own, missing.shape), missing, atol=1e-12)
    assert count_holes(holes) == 2


def smooth_and_striped():
    """A picture that is smooth on the left, and has stripes on the right."""
    i, j = np.mgrid[:96, :192] / 128
    image = 60 + 150 * (i - 0.4) ** 2 + 60 * j
    image[:, 96:] += 40 * np.sin(np.arange(96) * 0.9)[:, None]
    return image


class TestFilling:
    def test_each_piece_of_a_line_is_filled_as_its_surroundings_ask_for(self):
        halves = smooth_and_striped()
        mask = missing_in(halves.shape, np.s_[44:54, 8:184])
        damaged = np.where(mask, 0, halves)
        restored, report = inpaint(damaged, mask, return_report=True)
        assert report.groups[0].holes == 1
        plain = inpaint_biharmonic(damaged, mask)
        smooth, striped = np.s_[44:54, 8:80], np.s_[44:54, 112:184]
        assert abs(restored - halves)[smooth].max() < 1.0
        assert ((restored - halves)[striped] ** 2).mean() < 0.05 * ((plain - halves)[striped] ** 2).mean()

    def test_it_doesn_t_depend_on_threads(self):
        halves = smooth_and_striped()
        mask = missing_in(halves.shape, np.s_[44:54, 8:184])
        damaged = np.where(mask, 0, halves)
        np.testing.assert_array_equal(inpaint(damaged, mask, threads=1), inpaint(damaged, mask, threads=2))

    def test_texture_that_is_asked_for_is_counted_once_where_pieces_overlap(self):
        halves = np.rint(smooth_and_striped()).clip(0, 255).astype(np.uint8)
        mask = missing_in(halves.shape, np.s_[44:54, 8:184])
        _, report = inpaint(np.where(mask, 0, halves).astype(np.uint8), mask, fill="texture", return_report=True)
        assert report.groups[0].n_invented == mask.sum()

    def test_no_seam_shows_where_pieces_meet(self):
        """A slope goes on through all of them."""
        i, j = np.mgrid[:96, :192]
        slope = 40.0 + 0.8 * j + 0.3 * i
        mask = missing_in(slope.shape, np.s_[44:54, 8:184])
        restored = inpaint(np.where(mask, 0, slope), mask)
        assert abs(np.diff(restored - slope, axis=1)[44:54]).max() < 0.2
