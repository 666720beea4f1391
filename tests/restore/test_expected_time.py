import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd import Engine, Solve, inpaint
from csc_cogd.restore import expected_time
from csc_cogd.restore.expected_time import busy_pixels, coarsely, expected_seconds, seconds_a_pixel
from csc_cogd.restore.inpaint import inpainting
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.tiling import Plan, plan_tiles

FAST = Solve(effort="fast", max_iter=1)


def plan_of(side, jobs=1, tile=128):
    return Plan(plan_tiles(np.ones((side, side), bool), tile), jobs, 0)


def test_more_pixels_take_longer_and_more_threads_less():
    by_size = [expected_seconds(1e-4, [plan_of(side)], 2) for side in (100, 200, 400, 800)]
    assert by_size == sorted(by_size)
    assert by_size[0] < by_size[-1] / 20
    by_threads = [expected_seconds(1e-4, [plan_of(400, jobs=1)], threads) for threads in (1, 2, 8)]
    by_jobs = [expected_seconds(1e-4, [plan_of(400, jobs=jobs)], 8) for jobs in (2, 4, 8)]
    assert by_threads == sorted(by_threads, reverse=True)
    assert by_jobs == sorted(by_jobs, reverse=True)
    assert expected_seconds(2e-4, [plan_of(100)], 1) == pytest.approx(2 * expected_seconds(1e-4, [plan_of(100)], 1))
    assert expected_seconds(1e-4, [], 1) == 0


def test_groups_share_what_was_measured_of_all_of_them():
    plan = plan_of(200)
    assert expected_seconds(1e-4, [plan, plan, plan], 1) == pytest.approx(expected_seconds(1e-4, [plan], 1))


def test_times_are_told_coarsely():
    assert [coarsely(seconds) for seconds in (0.1, 9, 42, 200, 3000, 9000, 86400)] == [
        "a few seconds", "a few seconds", "40 s", "3 min", "50 min", "2.5 h", "24 h",
    ]  # fmt: skip


@pytest.mark.parametrize("hole", [slice(100, 104), slice(20, 180)])  # smaller and larger than the piece
def test_a_piece_is_measured_once_for_each_kind_of_problem(rng, monkeypatch, hole):
    monkeypatch.setattr(expected_time, "_rates", {})
    picture = gaussian_filter(rng.normal(size=(200, 210)), 2)
    mask = np.zeros(picture.shape, bool)
    mask[hole, hole] = True
    problem = inpainting(Observation.of(picture, mask))
    rate = seconds_a_pixel(problem, FAST, Engine(threads=1))
    assert rate > 0
    assert seconds_a_pixel(problem, FAST, Engine(threads=1)) == rate
    assert len(expected_time._rates) == 1
    restored = inpaint(picture, mask, effort="fast", max_iter=1)
    np.testing.assert_array_equal(restored[~mask], picture[~mask])


def test_small_damage_takes_as_long_in_a_large_picture_as_in_a_small_one():
    def expected(side):
        mask = np.zeros((side, side), bool)
        mask[10:180:20, 10:180:20] = True
        problem = inpainting(Observation.of(np.zeros((side, side)), mask))
        return expected_seconds(1e-4, [plan_of(side)], 1, busy_pixels(problem))

    assert expected(800) == expected(200) > 0


def test_where_all_pixels_take_time_none_is_called_busy(photo):
    mask = np.eye(len(photo), photo.shape[1]) > 0
    assert busy_pixels(inpainting(Observation.of(photo, mask), noise_sigma=5)) is None
    assert 0 < busy_pixels(inpainting(Observation.of(photo, mask))) < photo.size
