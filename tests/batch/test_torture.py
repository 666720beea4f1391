"""A folder of other people's files: each is restored, or its error says in one line why not; nothing stops the others."""

import json
import re
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.batch.torture import RIGHT, WRONG, make

QUICK = ("--fast", "--iterations", "1", "--threads", "1", "--json")
STORAGE = {
    "ImageWidth", "ImageLength", "BitsPerSample", "SamplesPerPixel", "Compression", "PhotometricInterpretation", "ColorMap",
    "PlanarConfiguration", "StripOffsets", "StripByteCounts", "RowsPerStrip", "TileOffsets", "TileByteCounts", "Orientation",
    "ExtraSamples", "SampleFormat",
}  # fmt: skip


def command(folder, *arguments):
    """Exit code, rows by the inputs' names, the summary, and stderr of the real command line."""
    called = [sys.executable, "-m", "csc_cogd", *arguments, *QUICK]
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
        name: command(folder, "inpaint", f"images/{name}", "-o", f"inpainted/{name}", *more) for name, more in runs.items()
    }


@pytest.fixture(scope="module")
def denoised(folder):
    return command(folder, "denoise", "images", "--recursive", "-o", "denoised", "--noise-sigma", "0.5")


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
    assert not filled.size or (known.min() <= filled.min() and filled.max() <= known.max())


@pytest.mark.parametrize("name", WRONG)
def test_what_can_not_be_restored_is_told_in_one_line(inpainted, name):
    _, rows, _, stderr = inpainted[Path(name).parent.name]
    row = rows[f"images/{name}"]
    assert (row["status"], row["output"]) == ("failed", "")
    assert re.fullmatch(f"images/{re.escape(name)}: {WRONG[name].error}", row["error"])
    assert f"csc-cogd: error: {row['error']}\n" in stderr


@pytest.mark.parametrize("folder_name", ["by mask", "by NaN", "by alpha", "by value"])
def test_a_batch_is_done_to_its_end_and_says_so(folder, inpainted, folder_name):
    code, rows, summary, stderr = inpainted[folder_name]
    n_right, n_wrong = (sum(name.startswith(f"{folder_name}/") for name in cases) for cases in (RIGHT, WRONG))
    assert code == (1 if n_wrong else 0)
    assert (summary["done"], summary["failed"], len(rows)) == (n_right, n_wrong, n_right + n_wrong)
    assert re.fullmatch(r"(csc-cogd: (error|warning): .+\n|device: .+\n|\d+ images in .+\n)*", stderr)
    written = {row["output"] for row in rows.values()} - {""}
    found = (folder / "inpainted" / folder_name).iterdir()
    assert {str(path.relative_to(folder)) for path in found if path.name != ".csc-cogd"} == written
