"""An hour as an archivist: ``python benchmarks/clean_archive.py [-o DIR] [--count N] [--options ...]``.

Makes a folder of scans, pieces of 240 x 320 pixels of the photographs of ``clean_detection.py``: 30 with dust, as JPEG, TIFF
of 8 bits and PNG, and with infrared as RGBI TIFF of 16 bits and as a file beside; three without; one on which infrared sees
the picture, as on Kodachrome; and one whose file ends in the middle. ``csc-cogd clean`` cleans the folder, with a report.
What it says of each kind of file is told: how many are cleaned, how much visible damage they have, what is marked, and the
root mean square error of that, in gray levels, before and after. With -o, the folder with the scans, the cleaned ones and
the report is kept, to be looked at in a browser. ``--count`` gives the number of scans with dust.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from clean_detection import pictures
from clean_infrared import Scanner, as_bytes, light_through, scanner
from film import damage
from imageio.v3 import imread
from PIL import Image

DUSTY, HIGH, WIDE = 30, 240, 320
AMOUNT = 0.4
"""Times the damage that small pictures have elsewhere."""
KINDS = ("jpg", "tif", "png", "rgbi", "beside")
"""In which files scans with dust are, in turn."""
DARKENS, LIGHTENS = 2, 0
"""Seeds, but for multiples of three, of damage that is darker or lighter than the picture."""


class Scan(NamedTuple):
    """A file to be cleaned, its kind, the picture (H, W, 3) uint8 without damage, and the share of what is visible."""

    path: Path
    kind: str
    truth: np.ndarray
    visible: float = 0.0


def piece(pixels: np.ndarray) -> np.ndarray:
    top, left = ((side - most) // 2 for side, most in zip(pixels.shape, (HIGH, WIDE), strict=False))
    return pixels[max(top, 0) : max(top, 0) + HIGH, max(left, 0) : max(left, 0) + WIDE]


def wide(pixels: np.ndarray) -> np.ndarray:
    """In 16 bits."""
    return as_bytes(pixels).astype(np.uint16) * 257


def write_rgbi(path: Path, pixels: np.ndarray, infrared: np.ndarray) -> None:
    tifffile.imwrite(path, np.dstack([wide(pixels), infrared]), photometric="rgb", extrasamples=["unspecified"])


def write_dusty(folder: Path, number: int, scene: np.ndarray) -> Scan:
    """Write a scan with dust."""
    kind, rng = KINDS[number % len(KINDS)], np.random.default_rng((5, number))
    by_infrared = kind in ("rgbi", "beside")
    film = damage(scene, 3 * number + (DARKENS if by_infrared or number % 2 else LIGHTENS), amount=AMOUNT)
    path = folder / f"dusty_{number:02}.{'tif' if by_infrared else kind}"
    if by_infrared:
        infrared = scanner(number).scan(scene, light_through(film, rng), rng)
        if kind == "rgbi":
            write_rgbi(path, film.damaged, infrared)
        else:
            tifffile.imwrite(path, wide(film.damaged), photometric="rgb")
            tifffile.imwrite(path.with_name(f"{path.stem}_IR.tif"), infrared)
    elif kind == "tif":
        tifffile.imwrite(path, as_bytes(film.damaged), photometric="rgb")
    else:
        Image.fromarray(as_bytes(film.damaged)).save(path, **({"quality": 92} if kind == "jpg" else {}))
    return Scan(path, kind, as_bytes(film.clean), float(film.visible().mean()))


def write_scans(folder: Path, count: int) -> list[Scan]:
    """Write all scans into an empty folder."""
    scenes = [piece(pixels) for _, pixels in pictures(count + 5)]
    scans = [write_dusty(folder, number, scene) for number, scene in enumerate(scenes[:count])]
    for number, (ending, scene) in enumerate(zip(("jpg", "png", "tif"), scenes[count:], strict=False)):
        path = folder / f"clean_{number}.{ending}"
        Image.fromarray(as_bytes(scene)).save(path, **({"quality": 92} if ending == "jpg" else {}))
        scans.append(Scan(path, "without dust", imread(path)))
    sees, broken = folder / "kodachrome.tif", folder / "truncated.tif"
    rng = np.random.default_rng(6)
    film = damage(scenes[count + 3], DARKENS, amount=AMOUNT)
    write_rgbi(sees, film.damaged, Scanner(0.7, 0.005, (1.0, -1.0), False).scan(film.damaged, light_through(film, rng), rng))
    scans.append(Scan(sees, "Kodachrome", as_bytes(film.clean), float(film.visible().mean())))
    tifffile.imwrite(broken, wide(scenes[count + 4]), photometric="rgb")
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    return [*scans, Scan(broken, "truncated", as_bytes(scenes[count + 4]))]


def colors_of(path: Path) -> np.ndarray:
    """The picture of a file, (H, W, 3), in values of 8 bits."""
    pixels = imread(path)[..., :3]
    return pixels if pixels.dtype == np.uint8 else (pixels / 257).round().astype(np.uint8)


def print_archive(folder: Path, count: int, options: str) -> None:
    (scans_folder := folder / "scans").mkdir(parents=True)
    scans = write_scans(scans_folder, count)
    command = [
        sys.executable, "-m", "csc_cogd", "clean", str(scans_folder), "-o", str(folder / "cleaned"), "--mask-out",
        str(folder / "masks"), "--report", str(folder / "report"), "--json", *options.split(),
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    (folder / "said.txt").write_text(run.stderr)
    records = {Path(one["input"]).name: one for one in map(json.loads, run.stdout.splitlines()) if "input" in one}
    print(f"\n### A folder of {len(scans)} scans: exit code {run.returncode}\n")
    print("| scans | files | written | visible damage | marked | error of that, before, after | said |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in dict.fromkeys(scan.kind for scan in scans):
        of_kind = [scan for scan in scans if scan.kind == kind]
        marked, errors, written = [], [], 0
        for scan in of_kind:
            cleaned = folder / "cleaned" / scan.path.name
            mask_path = folder / "masks" / f"{scan.path.stem}_mask.png"
            written += cleaned.exists()
            mask = imread(mask_path) > 0 if mask_path.exists() else np.zeros(scan.truth.shape[:2], bool)
            marked.append(mask.mean())
            if mask.any():
                errors.append([colors_of(path)[mask].astype(float) - scan.truth[mask] for path in (scan.path, cleaned)])
        told = ", ".join(f"{np.sqrt(np.mean(np.concatenate(both) ** 2)):.1f}" for both in zip(*errors, strict=True))
        visible = np.mean([scan.visible for scan in of_kind])
        record = records.get(of_kind[0].path.name, {})
        said = record.get("error") or "; ".join(record.get("warnings", [])) if len(of_kind) == 1 else ""
        print(
            f"| {kind} | {len(of_kind)} | {written} | {visible:.2%} | {np.mean(marked):.2%} | {told} | {said} |", flush=True
        )


def print_tables(count: int | None = None, output: Path | None = None, options: str = "") -> None:
    if output is not None:
        print_archive(output, count or DUSTY, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        print_archive(Path(folder) / "archive", count or DUSTY, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="a new folder, kept; default: a temporary one")
    parser.add_argument("--count", type=int, metavar="N", help=f"scans with dust; default: {DUSTY}")
    parser.add_argument("--options", default="", help="for csc-cogd clean, such as '--fast'")
    given = parser.parse_args()
    if given.output is not None and given.output.exists():
        parser.error(f"{given.output} exists: name a new folder")
    print_tables(given.count, given.output, given.options)


if __name__ == "__main__":
    main()
