"""A folder of other people's files: each is restored, or its error says in one line why not; nothing stops the others."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cogd import restore_batch
from tests.batch.torture import LONGEST, RIGHT, WRONG, make
from tests.cli.calling import call, check_refused, contents

QUICK = ("--fast", "--iterations", "1")

STORAGE = {
    "ImageWidth", "ImageLength", "BitsPerSample", "SamplesPerPixel", "Compression", "PhotometricInterpretation", "ColorMap",
    "PlanarConfiguration", "StripOffsets", "StripByteCounts", "RowsPerStrip", "TileOffsets", "TileByteCounts", "Orientation",
    "ExtraSamples", "SampleFormat",
}  # fmt: skip
OF_MISSING_PIXELS = "mask|nothing says|no pixel is missing"  # errors of inpainting alone


def command(folder, *arguments, bound=False):
    """Exit code, rows by the inputs' names, the summary, and stderr of the real command line."""
    called = [*(BOUND if bound else []), sys.executable, "-m", "csc_cogd", *arguments, "--threads", "1", "--json"]
    done = subprocess.run(called, cwd=folder, capture_output=True, encoding="utf-8", errors="backslashreplace")
    *rows, summary = map(json.loads, done.stdout.splitlines())
    return done.returncode, {row["input"]: row for row in rows}, summary, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torture")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def inpainted(folder):
    """What the command said, by the folder of the images."""
    runs = {
        "by mask": ("--mask", "masks/by mask"), "by NaN": (), "by alpha": ("--mask-from-alpha",),
        "by value": ("--mask-value", "77"),
    }  # fmt: skip
    return {
        name: command(folder, "inpaint", f"images/{name}", "-o", f"inpainted/{name}", *more, *QUICK)
        for name, more in runs.items()
    }


def pages_of(path):
    """Pages as they are shown, (H, W) or (H, W, C), by readers of other people."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return [np.load(path)]
    if suffix == ".npz":
        with np.load(path) as arrays:
            return [array for array in arrays.values() if array.ndim > 1]
    if suffix in (".tif", ".tiff"):
        with tifffile.TiffFile(path) as opened:
            return [_shown(page) for page in opened.pages]
    with Image.open(path) as opened:
        assert opened.getexif().get(0x0112, 1) == 1
        pixels = np.asarray(opened)
    content = path.read_bytes()
    deep = suffix == ".png" and content[24] == 16  # bits, of which Pillow shows 8
    return [imagecodecs.png_decode(content) if deep else pixels]


def _shown(page):
    assert page.tags.valueof("Orientation", 1) == 1
    pixels = page.asarray()
    if page.planarconfig == 2 and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    return ~pixels if page.photometric == 0 else pixels


def metadata_of(path):
    """What a file says besides pixels and how they are stored, by readers of other people; upright."""
    kind = path.read_bytes()[:4]
    if kind[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(path) as opened:
            return {"order": opened.byteorder, "big": opened.is_bigtiff, "pages": [tags_of(page) for page in opened.pages]}
    if kind == b"\x93NUM":
        array = np.load(path)
        return {"dtype": array.dtype.str, "order": array.flags.c_contiguous}
    if kind[:2] == b"PK":
        with np.load(path) as arrays:
            return {"names": sorted(arrays), "others": [a.tolist() for a in arrays.values() if a.ndim < 2]}
    with Image.open(path) as opened:
        exif = opened.getexif()
        tags = {code: value for code, value in exif.items() if code not in (0x0112, 0x8769, 0x8825)}
        known = {name: opened.info.get(name) for name in ("icc_profile", "comment", "gamma", "Title")}
        parts = [dict(exif.get_ifd(code)) for code in (0x8769, 0x8825)]
        dpi = [round(float(side), 1) for side in opened.info.get("dpi", ())]
        return {**known, "exif": [tags, *parts], "dpi": dpi[::-1] if exif.get(0x0112, 1) >= 5 else dpi}


def tags_of(page):
    """The tags of a TIFF's page that aren't about storage."""
    tags = {tag.name: tag.value for tag in page.tags if tag.name not in STORAGE}
    if tags.get("ResolutionUnit") == 1:  # as tifffile writes where none is known
        tags = {name: value for name, value in tags.items() if "Resolution" not in name}
    if page.tags.valueof("Orientation", 1) >= 5:
        tags["XResolution"], tags["YResolution"] = tags["YResolution"], tags["XResolution"]
    return tags


@pytest.mark.parametrize("name", RIGHT)
def test_known_pixels_and_metadata_come_back_and_the_rest_is_filled(folder, inpainted, name):
    case, row = RIGHT[name], inpainted[Path(name).parent.name][1][f"images/{name}"]
    assert (row["status"], row["error"]) == ("done", "")
    path = folder / row["output"]
    assert path.parent == folder / "inpainted" / Path(name).parent.name
    assert path.suffix == (case.suffix or Path(name).suffix)
    assert metadata_of(path) == metadata_of(folder / "images" / name)
    found = pages_of(path)
    assert [page.shape for page in found] == [page.shape for page in case.pages]
    for page, shown, missing in zip(found, case.pages, case.missing, strict=True):
        check_page(page.astype(page.dtype.newbyteorder("=")), shown, missing, case.exact)


def check_page(page, shown, missing, exact):
    assert page.dtype == shown.dtype
    known, filled = shown[~missing], page[missing]
    if exact:
        assert page[~missing].tobytes() == known.tobytes()
    assert np.isfinite(filled).all()
    if not missing.any():
        return
    assert known.min() <= filled.min()
    assert filled.max() <= known.max()
    truth = shown[missing].astype(float)
    if shown.size > 4 and np.isfinite(truth).all():
        assert np.abs(filled - truth).mean() <= 0.1 * np.ptp(known.astype(float))


@pytest.mark.parametrize("name", WRONG)
def test_what_can_not_be_restored_is_told_in_one_line(inpainted, name):
    _, rows, _, stderr = inpainted[Path(name).parent.name]
    row = rows[f"images/{name}"]
    assert (row["status"], row["output"]) == ("failed", "")
    assert re.fullmatch(f"images/{re.escape(name)}[:,] {WRONG[name].error}", row["error"])
    told = row["error"].removeprefix(f"images/{name}")
    alike = rf"\d+ files: .*{told[0]} " + re.escape(told[2:])  # those of several files share a line
    assert f"csc-cogd: error: {row['error']}\n" in stderr or re.search(f"csc-cogd: error: {alike}\n", stderr)


@pytest.mark.parametrize("folder_name", ["by mask", "by NaN", "by alpha", "by value"])
def test_a_batch_is_done_to_its_end_and_says_so(folder, inpainted, folder_name):
    code, rows, summary, stderr = inpainted[folder_name]
    n_right, n_wrong = (sum(name.startswith(f"{folder_name}/") for name in cases) for cases in (RIGHT, WRONG))
    assert code == (1 if n_wrong else 0)
    assert (summary["done"], summary["failed"], len(rows)) == (n_right, n_wrong, n_right + n_wrong)
    usual = r"csc-cogd: (error|warning): .+|device: .+|\d+ images? in .+|compiling for this machine.+|at work for .+"
    assert all(re.fullmatch(usual, line) for line in stderr.splitlines())
    written = {row["output"] for row in rows.values()} - {""}
    found = (folder / "inpainted" / folder_name).iterdir()
    assert {str(path.relative_to(folder)) for path in found if path.name != ".csc-cogd"} == written


@pytest.mark.parametrize(
    ("place", "task"),
    [("", ("denoise", "--noise-sigma", "0.5", *QUICK)), ("by NaN/", ("reconstruct", "--dictionary", "default"))],
    ids=["denoise", "reconstruct"],
)
def test_other_tasks_take_the_same_files(folder, place, task):
    code, rows, summary, _ = command(folder, *task, f"images/{place}", "--recursive", "-o", f"by {task[0]}")
    wrong = {name for name, case in WRONG.items() if not re.search(OF_MISSING_PIXELS, case.error)}
    expected = {f"images/{name}" for name in wrong if name.startswith(place)}
    assert {name for name, row in rows.items() if row["status"] == "failed"} == expected
    assert (code, summary["failed"]) == (1, len(expected))
    for name in (name for name in RIGHT if name.startswith(place)):
        path = folder / rows[f"images/{name}"]["output"]
        assert path == folder / f"by {task[0]}" / Path(name.removeprefix(place)).parent / path.name
        assert metadata_of(path) == metadata_of(folder / "images" / name)
        found = pages_of(path)
        assert [page.shape for page in found] == [page.shape for page in RIGHT[name].pages]
        assert all(np.isfinite(page).all() for page in found)


@pytest.fixture
def strange(tmp_path):
    """A folder of images, and of what only has the name of one."""
    images = tmp_path / "images"
    (images / "deep" / "folder.npy").mkdir(parents=True)
    for name in ("a.npy", "secret.npy", "deep/b.npy", "deep/folder.npy/c.npy"):
        (images / name).write_bytes(RIGHT["by NaN/float32.npy"].content)
    (images / "locked").mkdir()
    for name in ("secret.npy", "locked"):
        (images / name).chmod(0)
    os.mkfifo(images / "pipe.npy")
    for link, target in (
        ("loop.npy", "round.npy"), ("round.npy", "loop.npy"), ("gone.npy", "nowhere"), ("link.npy", "a.npy"),
        ("deep/up", ".."),
    ):  # fmt: skip
        (images / link).symlink_to(target)
    return tmp_path


# Without these capabilities root is bound by the permissions of its own files, as everybody is.
DAC = "-dac_override,-dac_read_search"
BOUND = ["setpriv", f"--bounding-set={DAC}", f"--inh-caps={DAC}"] if os.name == "posix" and os.geteuid() == 0 else []
posix = pytest.mark.skipif(
    os.name != "posix" or (bool(BOUND) and shutil.which("setpriv") is None),
    reason="links, pipes and permissions are those of a POSIX system; for root, setpriv is needed",
)


@posix
def test_pipes_links_and_locked_files_cost_only_their_own_result(strange):
    code, rows, _, stderr = command(strange, "inpaint", "images", "-r", "-o", "out", *QUICK, bound=True)
    problems = {
        "secret.npy": "can't be read: Permission denied", "locked": "can't be read: Permission denied",
        "pipe.npy": "isn't a regular file: name an image file",
        "loop.npy": "can't be read: Too many levels of symbolic links", "gone.npy": "no such file: check its name",
        "round.npy": "can't be read: Too many levels of symbolic links",
    }  # fmt: skip
    assert code == 1
    assert {row["error"] for row in rows.values()} - {""} == {f"images/{name}: {text}" for name, text in problems.items()}
    done = {name for name, row in rows.items() if row["status"] == "done"}
    assert done == {f"images/{name}" for name in ("a.npy", "link.npy", "deep/b.npy", "deep/folder.npy/c.npy")}
    results = [np.load(strange / "out" / Path(name).relative_to("images")) for name in sorted(done)]
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    lines = [line for line in stderr.splitlines() if not line.startswith("device: ")]  # said where there is a choice
    assert len(lines) == len(set(problems.values())) + 1  # those alike in one, and the summary


@posix
def test_a_folder_that_is_read_only_is_told_for_each(strange):
    (strange / "images").chmod(0o555)
    code, rows, _, _ = command(strange, "inpaint", "images/a.npy", "images/link.npy", *QUICK, bound=True)
    (strange / "images").chmod(0o755)
    assert code == 1
    for name in ("a", "link"):
        told = f"images/{name}_inpainted.npy: the folder images isn't writable: choose another, or change its permissions"
        assert rows[f"images/{name}.npy"]["error"] == told


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two images in the working folder."""
    for name in ("a.npy", "b.npy"):
        (tmp_path / name).write_bytes(RIGHT["by NaN/float32.npy"].content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", ["a.npy", "soft.npy", "hard.npy", "../{folder}/a.npy"])
def test_an_input_is_never_overwritten(pair, capsys, target):
    (pair / "soft.npy").symlink_to("a.npy")
    (pair / "hard.npy").hardlink_to(pair / "a.npy")
    target = target.format(folder=pair.name)
    arguments = ("inpaint", "a.npy", "-o", target, "--overwrite", "-q")
    check_refused(pair, capsys, arguments, f"{target}: is an input, which is never overwritten: choose another ")


def test_the_folder_of_the_inputs_is_no_place_for_results(pair, capsys):
    before = contents(pair)
    assert call("inpaint", ".", "-o", ".", "--overwrite", "-q") == 2
    told = "csc-cogd: error: a.npy: is an input, which is never overwritten: choose another --output\n"
    assert capsys.readouterr().err == told
    assert contents(pair) == before


def test_what_is_there_already_stays_and_the_rest_is_done(pair, capsys):
    (pair / "a_inpainted.npy").write_bytes(b"somebody's")
    assert call("inpaint", "a.npy", "b.npy", *QUICK, "-q") == 1
    told = "a_inpainted.npy: exists already: use --skip-existing to leave it, or --overwrite to replace it"
    assert capsys.readouterr().err == f"csc-cogd: error: {told}\n"
    assert (pair / "a_inpainted.npy").read_bytes() == b"somebody's"
    assert np.isfinite(np.load(pair / "b_inpainted.npy")).all()


def test_a_name_that_is_too_long_costs_only_its_own_result(pair, capsys):
    shutil.copy("a.npy", LONGEST)
    assert call("inpaint", LONGEST, "b.npy", *QUICK, "-q") == 1
    stem = LONGEST.removesuffix(".npy")
    assert capsys.readouterr().err == f"csc-cogd: error: {stem}_inpainted.npy: can't be written: File name too long\n"
    assert (pair / "b_inpainted.npy").exists()
    assert call("inpaint", "a.npy", "x" * 300, *QUICK, "-q") == 1
    assert capsys.readouterr().err == f"csc-cogd: error: {'x' * 300}: can't be read: File name too long\n"


def test_a_file_that_vanishes_costs_only_its_own_result(pair):
    results = restore_batch(["a.npy", "b.npy"], effort="fast", max_iter=1, threads=1)
    (pair / "a.npy").unlink()
    told = [(result.status, result.error) for result in results]
    assert told == [("failed", "a.npy: no such file: check its name"), ("done", "")]


def test_quiet_is_silent(pair, capfd):
    assert call("inpaint", "a.npy", "b.npy", *QUICK, "-q") == 0
    assert capfd.readouterr() == ("", "")
