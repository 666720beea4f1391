import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_cogd import Dictionary, InputError, deblur, denoise, inpaint, psnr
from csc_cogd.restore.settings import Tiling
from csc_cogd.restore.stages import code
from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask
from csc_cogd.restore.tiling import MARGIN, Memory, choose_tiles, largest_share, map_tiles, plan_tiles


def tiles_for(damaged, missing=None, tile="auto", max_memory=2e9):
    memory = Memory(10**6, lambda shape: 1000 * shape[0] * shape[1], max_memory)
    return choose_tiles(damaged, damaged[None] if missing is None else missing, memory, Tiling(tile), threads=2)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([0, 32, 50, 128]), st.integers(0, 9))
def test_weights_of_all_tiles_add_up_to_one_wherever_there_is_damage(height, width, side, seed):
    damaged = np.random.default_rng(seed).random((height, width)) < 10.0 ** -(seed % 4)
    total = np.zeros(damaged.shape)
    for tile in plan_tiles(damaged, side):
        total[tile.window] += tile.weight
        assert damaged[tile.window].any()
    np.testing.assert_allclose(total[damaged], 1, rtol=1e-6)


def test_tiles_hold_the_damage_with_a_margin_and_nothing_else():
    damaged = np.zeros((1000, 2000), bool)
    damaged[500:510, 300:340] = damaged[900:, 1990:] = True
    tiles = plan_tiles(damaged, 500)
    windows = [tile.window for tile in tiles]
    assert (slice(500 - MARGIN, 510 + MARGIN), slice(300 - MARGIN, 340 + MARGIN)) in windows
    assert (slice(900 - MARGIN, 1000), slice(1990 - MARGIN, 2000)) in windows
    assert sum(tile.size for tile in tiles) < 0.02 * damaged.size


def test_the_work_follows_the_damage_not_the_picture():
    small, large = np.zeros((400, 400), bool), np.zeros((4000, 4000), bool)
    small[100:110, 50:350] = large[1000:1010, 1050:1350] = True
    work = [sum(tile.size for tile in tiles_for(damaged).tiles) for damaged in (small, large)]
    assert work[1] < 1.5 * work[0]


def test_large_holes_are_never_cut_into_small_tiles():
    damaged = np.zeros((1500, 1500), bool)
    damaged[100:310, 100:310] = True
    damaged[::70, 400:] = True
    for tile in tiles_for(damaged).tiles:
        assert not damaged[tile.window].all()
        if damaged[tile.window][:, : 310 - tile.window[1].start].any() and tile.window[1].start < 310:
            assert tile.shape[0] >= 210
    with pytest.raises(InputError, match="tile must be at least 420 for holes of 210 pixels, got 128: or use 0"):
        tiles_for(damaged, tile=128)


def test_less_memory_makes_smaller_tiles_and_fewer_at_once():
    damaged = np.ones((1024, 1024), bool)
    missing = np.zeros((1, 1024, 1024), bool)
    roomy, close = (tiles_for(damaged, missing, max_memory=memory) for memory in (3e9, 2e8))
    assert len(roomy.tiles) == 1
    assert len(close.tiles) > 1
    assert close.memory <= 2e8
    assert close.jobs >= 1
    with pytest.raises(InputError, match=r"max_memory of 0.01 GB doesn't suffice, 0.\d+ GB do: allow more"):
        tiles_for(damaged, missing, max_memory=1e7)


@pytest.mark.parametrize("tile", [-1, 16, 1.5, "large", True, None])
def test_what_is_no_tile_is_named(tile):
    with pytest.raises(InputError, match=f"tile must be 'auto', 0 for all at once, or 32 or more pixels, got {tile!r}"):
        tiles_for(np.ones((50, 50), bool), tile=tile)


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order_and_none_is_begun_after_the_caller_stopped(jobs):
    assert list(map_tiles(lambda n: n * n, range(20), jobs)) == [n * n for n in range(20)]
    begun, gate = [], threading.Event()

    def work(n):
        begun.append(n)
        if n:
            gate.wait(5)
        return n

    results = map_tiles(work, range(100), jobs)
    assert next(results) == 0
    gate.set()
    results.close()
    assert len(begun) < 100


@pytest.mark.parametrize("mask", [random_mask((256, 256), 0.5), scratch_and_text_mask((256, 256), "tiles")])
def test_seams_cannot_be_found(photo, mask):
    image = np.tile(photo, (3, 3))[:256, :256]
    damaged = np.where(mask, 0, image).astype(np.uint8)
    whole = inpaint(damaged, mask, tile=0, effort="fast").astype(float)
    tiled, report = inpaint(damaged, mask, tile=128, effort="fast", return_report=True)
    assert len(report.groups[0].plan.tiles) == 4
    np.testing.assert_array_equal(tiled[~mask], image[~mask])
    assert abs(psnr(tiled, image, data_range=255) - psnr(whole, image, data_range=255)) < 0.15
    error = (tiled - image.astype(float)) ** 2
    at_seams = np.zeros(mask.shape, bool)
    at_seams[120:136] = at_seams[:, 120:136] = True
    reference = (whole - image) ** 2
    assert error[at_seams & mask].mean() < 1.2 * reference[at_seams & mask].mean() + 1


def test_the_number_of_threads_and_tiles_at_once_changes_nothing(photo):
    image = np.tile(photo, (2, 3))
    mask = np.zeros(image.shape, bool)
    mask[::90, :] = True
    results = [inpaint(image, mask, tile=96, effort="fast", threads=threads) for threads in (1, 3)]
    np.testing.assert_array_equal(*results)


def test_noise_is_removed_tile_by_tile(photo, rng):
    image = np.tile(photo, (1, 2)).astype(float)
    noisy = image + 20 * rng.standard_normal(image.shape)
    whole = denoise(noisy, 20, effort="fast", tile=0)
    tiled = denoise(noisy, 20, effort="fast", tile=64)
    assert abs(psnr(tiled, image, data_range=255) - psnr(whole, image, data_range=255)) < 0.1


def test_a_dry_run_says_what_would_be_done_and_does_nothing(photo):
    mask = random_mask(photo.shape, 0.3)
    planned, report = inpaint(photo, mask, dry_run=True, return_report=True)
    np.testing.assert_array_equal(planned, photo)
    _, done = inpaint(photo, mask, return_report=True, effort="fast")
    assert done.lines()[0].startswith(report.lines()[0])
    assert "1 tile of 96 x 96 at most" in report.lines()[0]


def test_a_stopped_run_leaves_the_other_tiles_to_the_pilot(photo):
    image = np.tile(photo, (1, 4))
    mask = random_mask(image.shape, 0.3)
    told = []

    def stop(progress):
        told.append(progress)
        return True

    restored = inpaint(image, mask, tile=96, effort="fast", threads=1, callback=stop)
    assert [progress.stage for progress in told] == ["tiles"] * 5
    assert told[-1][1:3] == (4, 4)
    assert psnr(restored, image, data_range=255) > 20


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("call", "predicted"),
    [
        ("inpaint(image, mask, prior='none')", "code_memory(Dictionary.default(), 1, 4, (224, 224))"),
        (
            "inpaint(image, mask)",
            "max(patches_memory(1, (224, 224), 0.5), fill_memory(Prior.default('fill'), 1, (224, 224), 2))",
        ),
        ("inpaint(image, mask & (image > 100))", "patches_memory(1, (224, 224), (mask & (image > 100)).mean())"),
        ("inpaint(image, mask, dictionary=few)", "code_memory(few, 1, 4, (224, 224))"),
        ("denoise(image, 20, threads=1)", "prior_memory(Prior.default(), 1, (224, 224), 1)"),
        ("denoise(image, 20, threads=2)", "prior_memory(Prior.default(), 1, (224, 224), 2)"),
        ("denoise(image, 20, prior='none')", "code_memory(Dictionary.default(), 1, 4, (224, 224))"),
        ("denoise(image, noise='impulse', max_iter=1)", "admm_memory(Dictionary.default(), 4, (224, 224))"),
        ("deblur(image, np.ones((5, 5)), max_iter=3)", "admm_memory(Dictionary.default(), 4, (228, 228), True)"),
    ],
)
def test_a_restoration_takes_no_more_memory_than_predicted_and_not_much_less(call, predicted):
    program = f"""
import re
import numpy as np
from skimage.data import camera
from csc_cogd import Dictionary, Prior, deblur, denoise, inpaint
from csc_cogd.restore.stages.prior import fill_memory, prior_memory
from csc_cogd.restore.tiling import admm_memory, code_memory, patches_memory

def memory(name):
    return int(re.search(name + r":\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024

few = Dictionary(np.random.default_rng(0).standard_normal((4, 8, 8)))
whole = camera()[100:324, 100:324], np.random.default_rng(0).random((224, 224)) < 0.5
for part in (48, 224):  # a small one to compile
    image, mask = (a[:part, :part] for a in whole)
    held = memory("VmRSS")
    {call}
print((memory("VmHWM") - held) / {predicted})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0.5 < float(done.stdout) <= 1


def test_the_share_of_damage_is_that_where_it_is_densest():
    damaged = np.zeros((300, 400), bool)
    assert largest_share(damaged) == 0
    damaged[130:194, 0:64] = True
    assert largest_share(damaged) == 0.25
    assert largest_share(np.ones((3, 5), bool)) == 1


def test_where_memory_does_not_suffice_after_all_tiles_become_smaller(monkeypatch):
    from skimage.data import camera

    solve, sizes = code.sparse_code, []

    def solve_small_ones(images, *arguments, **options):
        sizes.append(images.size)
        if images.size > 230**2:
            raise MemoryError
        return solve(images, *arguments, **options)

    monkeypatch.setattr(code, "sparse_code", solve_small_ones)
    picture, mask = camera()[:300, :310], random_mask((300, 310), 0.1)
    coded = {"effort": "fast", "max_iter": 4}
    restored, report = inpaint(np.where(mask, 0, picture).astype(np.uint8), mask, return_report=True, **coded)
    assert sizes[0] > 230**2
    assert len(report.groups[0].plan.tiles) > 1
    assert psnr(restored, picture, data_range=255) > 35
    with pytest.raises(MemoryError):
        inpaint(picture, mask, tile=0, **coded)


def test_a_scene_is_restored_in_smaller_tiles_where_memory_does_not_suffice_after_all(photo, monkeypatch, rng):
    solve, sizes = code.sparse_code, []

    def solve_small_ones(images, *arguments, **options):
        sizes.append(images.size)
        if images.size > 20000:
            raise MemoryError
        return solve(images, *arguments, **options)

    monkeypatch.setattr(code, "sparse_code", solve_small_ones)
    picture, few = np.tile(photo, (7, 1))[:600, :40], Dictionary(rng.standard_normal((3, 5, 4)))
    _, report = deblur(picture, np.ones((1, 3)), dictionary=few, noise_sigma=1.0, max_iter=2, return_report=True)
    assert sizes[0] > 20000
    assert len(report.groups[0].plan.tiles) > 1


def test_on_a_gpu_tiles_fill_its_memory(cuda, monkeypatch):
    from csc_cogd.backend.cuda import CudaBackend

    image = np.add.outer(np.arange(300.0), np.arange(300.0))
    image[::9, ::9] = np.nan
    counts = []
    for free in (3e9, 6e7):
        monkeypatch.setattr(CudaBackend, "free_memory", lambda backend, free=free: free)
        _, report = inpaint(image, device="cuda", max_iter=4, dry_run=True, return_report=True)
        assert report.groups[0].plan.memory <= free
        counts.append(len(report.groups[0].plan.tiles))
    assert counts[0] == 1 < counts[1]
