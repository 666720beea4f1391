"""Batches that are short of disk or memory, or have nobody to talk to."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from imageio.v3 import imwrite

from benchmarks.killing import results, save_images, temporary_files
from csc_cogd.batch import restore_batch

COMMAND = f"{sys.executable} -m csc_cogd inpaint"
SETTINGS = "--fast --iterations 1 --device cpu --threads 1"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images and masks, and what they are restored to."""
    folder = tmp_path_factory.mktemp("images")
    save_images(folder, 12, 48)
    options = {"mask": folder / "masks", "effort": "fast", "max_iter": 1, "device": "cpu", "threads": 1}
    assert {result.status for result in restore_batch(folder / "images", folder / "reference", **options)} == {"done"}
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """An image that takes gigabytes at once, and its mask."""
    folder = tmp_path_factory.mktemp("large")
    rows = np.arange(4000, dtype=np.uint8)
    for name, pixels in (("large.png", np.add.outer(rows, rows)), ("mask.png", np.where(rows[:, None] % 9, 0, rows | 1))):
        imwrite(folder / name, np.broadcast_to(pixels, (4000, 4000)), compress_level=1)
    return folder


def shell(script, folder, *arguments, wrapped=()):
    """Run a script of the shell in a folder: its exit code and its lines on stderr."""
    command = [*wrapped, "sh", "-c", script, "sh", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()


def test_a_full_disk_ends_a_batch_and_corrupts_nothing(images, tmp_path):
    (tmp_path / "disk").mkdir()
    if shutil.which("unshare") is None or shell("mount -t tmpfs none disk", tmp_path, wrapped=("unshare", "-rm"))[0]:
        pytest.skip("a small disk can't be mounted here")
    script = f"""
        mount -t tmpfs -o size=64k none disk || exit 99
        {COMMAND} "$1/images" -m "$1/masks" -o disk/out --jobs 2 {SETTINGS}
        code=$?
        cp -r disk/out copy
        exit $code
    """
    code, errors = shell(script, tmp_path, images, wrapped=("unshare", "-rm"))
    assert code == 1
    found = results(tmp_path / "copy")
    assert 0 < len(found) < 12
    assert found.items() < results(images / "reference").items()
    assert temporary_files(tmp_path) == []
    failed, summary, advice = errors
    why = "can't be written: No space left on device: make room, or write to another disk"
    assert re.fullmatch(rf"csc-cogd: error: disk/out/\w+\.png: {why}", failed)
    assert f"{len(found)} done, 1 failed" in summary
    assert advice == f"{len(found)} of 12 are done and stay: the same call with --skip-existing does the rest"


def test_a_file_that_may_not_be_so_large_is_an_error_in_one_line(images, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)  # as a PNG, larger than the limit
    imwrite(tmp_path / "a.png", image)
    imwrite(tmp_path / "mask.png", np.uint8(255) * (np.arange(96 * 96).reshape(96, 96) % 50 == 0))
    script = f"ulimit -f 8; {COMMAND} a.png -m mask.png {SETTINGS} -q"
    assert shell(script, tmp_path) == (2, ["csc-cogd: error: a_inpainted.png: can't be written: File too large"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "mask.png"]


def test_an_image_that_memory_does_not_hold_is_an_error_in_one_line(large, tmp_path):
    script = (
        f'ulimit -v 1500000; {COMMAND} "$1/large.png" -m "$1/mask.png" -o out.png --tile 0 --max-memory 1TB {SETTINGS} -q'
    )
    reason = "out of memory: use a smaller image, or a machine with more"
    assert shell(script, tmp_path, large) == (3, [f"csc-cogd: error: {large}/large.png: {reason}"])
    assert list(tmp_path.iterdir()) == []


def test_in_a_batch_the_other_images_are_done(images, large, tmp_path):
    (tmp_path / "masks").mkdir()
    shutil.copy(large / "mask.png", tmp_path / "masks" / "large.png")
    for number in range(3):
        shutil.copy(images / "masks" / f"000{number}.png", tmp_path / "masks")
    script = f"""
        ulimit -v 1500000
        {COMMAND} "$1/images/0000.png" "$2/large.png" "$1/images/0001.png" "$1/images/0002.png" -m masks -o out \\
            --jobs 2 --tile 0 --max-memory 1TB {SETTINGS} -q
    """
    code, errors = shell(script, tmp_path, images, large)
    assert errors == [f"csc-cogd: error: {large}/large.png: out of memory: use a smaller image, or a machine with more"]
    assert code == 1
    assert list(results(tmp_path / "out")) != []
    assert results(tmp_path / "out") == {f"000{n}.png": results(images / "reference")[f"000{n}.png"] for n in range(3)}
    assert temporary_files(tmp_path) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_closed_stderr_costs_no_result(images, tmp_path, jobs):
    script = f'{COMMAND} "$1/images" -m "$1/masks" -o out --jobs {jobs} {SETTINGS} 2>&-'
    assert shell(script, tmp_path, images) == (0, [])
    assert results(tmp_path / "out") == results(images / "reference")
