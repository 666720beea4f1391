"""How much dust is found, and how much that isn't: ``python benchmarks/clean_detection.py [--count N] [--table NAME]``.

Stamps of real damage (``benchmarks/film.py``, those that weren't learned from) over 40 photographs: 13 of ``photos``, the
middle 640 x 800 pixels, and 27 of CBSD68; in 8 bits, as JPEG of quality 90, and in 16 bits. Nothing was learned from these.
Settings were chosen on others, see ``learn_dust.py``, but the usual confidence, and which of two learnings ships, with rows
of this table in view: the last table (``--table others``) has the false alarms on the other 41 pictures of CBSD68.
Visible is what changes a pixel by more than three local deviations of the clean picture, and 2 % of the range. Objects are
found where half of their core is marked. False alarms are the marked share of the undamaged pictures.

The second table (``--table sensitivity``, drawn by ``--curve FILE.svg``) follows the sensitivity, in 8 bits, beside a
difference of Gaussians (1 and 4 pixels) and a median filter (11 x 11, as "dust and scratches" of photo editors), each with a
threshold on the absolute difference.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from film import Film, damage, data_folder, luminance
from PIL import Image
from scipy.ndimage import gaussian_filter

from csc_cogd.detect.detection import POLARITIES
from csc_cogd.detect.dust import Search
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.report import SILENT

MIDDLE = (640, 800)
SENSITIVITIES = (0.3, 0.4, 0.5, 0.6, 0.7)
THRESHOLDS = (0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
FORMATS = ("8 bit", "JPEG, quality 90", "16 bit")


class Score(NamedTuple):
    """Of one picture: visible pixels, those found, visible objects, those found, and share of false alarms."""

    area: int
    area_found: int
    objects: int
    objects_found: int
    false: float


def pictures(count: int | None = None) -> list[tuple[str, np.ndarray]]:
    """Names and pixels (H, W, 3) in [0, 1], of either set in turn."""
    photos = sorted((data_folder() / "photos").glob("*.jpg"))[::3]
    standard = sorted((data_folder() / "standard" / "CBSD68").glob("*.png"))[: 40 - len(photos)]
    mixed = [path for pair in zip(photos, standard, strict=False) for path in pair] + standard[len(photos) :]
    return [(path.stem, middle(np.asarray(Image.open(path).convert("RGB"), np.float32) / 255)) for path in mixed[:count]]


def other_pictures() -> list[np.ndarray]:
    """Pixels (H, W, 3) in [0, 1] of those of CBSD68 that aren't among :func:`pictures`."""
    shown = {name for name, _ in pictures()}
    paths = [path for path in sorted((data_folder() / "standard" / "CBSD68").glob("*.png")) if path.stem not in shown]
    return [np.asarray(Image.open(path).convert("RGB"), np.float32) / 255 for path in paths]


def middle(pixels: np.ndarray) -> np.ndarray:
    top, left = (max((side - most) // 2, 0) for side, most in zip(pixels.shape, MIDDLE, strict=False))
    return pixels[top : top + MIDDLE[0], left : left + MIDDLE[1]]


def encoded(pixels: np.ndarray, file_format: str) -> np.ndarray:
    """A picture in [0, 1] as a file holds it."""
    if file_format == "16 bit":
        return np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    whole = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if file_format == "8 bit":
        return whole
    stream = io.BytesIO()
    Image.fromarray(whole).save(stream, "JPEG", quality=90)
    return np.asarray(Image.open(stream))


def ours(picture: np.ndarray, sensitivities: Sequence[float] = (0.5,)) -> list[np.ndarray]:
    """What is marked with each sensitivity, as by `find_dust`, which would look as many times."""
    search = Search(Observation.of(picture, channel_axis=-1, complete=True), POLARITIES["both"])
    search.run(None, SILENT)
    return [search.found(sensitivity) != 0 for sensitivity in sensitivities]


def difference_of_gaussians(picture: np.ndarray, thresholds: Sequence[float]) -> list[np.ndarray]:
    gray = luminance(picture / np.float32(255))
    difference = abs(gaussian_filter(gray, 1) - gaussian_filter(gray, 4))
    return [difference > threshold for threshold in thresholds]


def dust_and_scratches(picture: np.ndarray, thresholds: Sequence[float]) -> list[np.ndarray]:
    difference = cv2.absdiff(picture, cv2.medianBlur(picture, 11)).max(axis=2)
    return [np.asarray(difference > 255 * threshold) for threshold in thresholds]


def scores_of(find: Callable[[np.ndarray], list[np.ndarray]], film: Film, file_format: str) -> list[Score]:
    """How each of the masks does that are found."""
    visible, objects, scores = film.visible(), list(film.objects()), []
    pairs = zip(*(find(encoded(pixels, file_format)) for pixels in (film.damaged, film.clean)), strict=True)
    for mask, false in pairs:
        found = sum(mask.ravel()[core].mean() >= 0.5 for core in objects)
        area = (int(visible.sum()), int((mask & visible).sum()))
        scores.append(Score(*area, len(objects), int(found), float(false.mean())))
    return scores


def rows(
    find: Callable[[np.ndarray], list[np.ndarray]], films: list[Film], file_format: str
) -> list[tuple[float, float, float, float]]:
    """For each setting: shares of the visible area and objects that are found; false alarms on average, and the most."""
    return [row(list(scores)) for scores in zip(*(scores_of(find, film, file_format) for film in films), strict=True)]


def row(scores: list[Score]) -> tuple[float, float, float, float]:
    area, area_found, objects, objects_found, _ = np.sum(scores, axis=0)
    false = [each.false for each in scores]
    return area_found / area, objects_found / objects, float(np.mean(false)), max(false)


def print_formats(films: list[Film]) -> None:
    print("| format | area found | objects found | false alarms | most |\n| --- | --- | --- | --- | --- |")
    for file_format in FORMATS:
        ((area, objects, false, most),) = rows(ours, films, file_format)
        print(f"| {file_format} | {area:.1%} | {objects:.1%} | {false:.3%} | {most:.3%} |", flush=True)


def print_curve(films: list[Film], path: Path | None) -> None:
    methods = {
        "find_dust, sensitivity": (SENSITIVITIES, ours),
        "difference of Gaussians": (THRESHOLDS, difference_of_gaussians),
        "median filter": (THRESHOLDS, dust_and_scratches),
    }
    lines: dict[str, list[tuple[float, float]]] = {}
    print("\n| method | setting | area found | objects found | false alarms | most |\n| --- | --- | --- | --- | --- | --- |")
    for name, (settings, find) in methods.items():
        found = rows(lambda picture, find=find, settings=settings: find(picture, settings), films, "8 bit")
        for setting, (area, objects, false, most) in zip(settings, found, strict=True):
            lines.setdefault(name, []).append((100 * area, 100 * false))
            print(f"| {name} | {setting} | {area:.1%} | {objects:.1%} | {false:.3%} | {most:.3%} |", flush=True)
    if path is not None:
        from csc_cogd.report.charts import line_chart

        path.write_text(
            line_chart("false alarms, % of the area", lines, x_label="found, % of the visible area", logarithmic=True)
        )


def print_others() -> None:
    others = other_pictures()
    print(f"\n| format, {len(others)} other pictures | false alarms | most |\n| --- | --- | --- |")
    for file_format in FORMATS[:2]:
        false = [float(ours(encoded(pixels, file_format))[0].mean()) for pixels in others]
        print(f"| {file_format} | {np.mean(false):.3%} | {max(false):.3%} |", flush=True)


def print_tables(count: int | None = None, table: str | None = None, curve: Path | None = None) -> None:
    films = [damage(pixels, seed) for seed, (_, pixels) in enumerate(pictures(count))]
    print("\n### Dust found without infrared\n")
    if table in (None, "formats"):
        print_formats(films)
    if table in (None, "sensitivity"):
        print_curve(films, curve)
    if table in (None, "others"):
        print_others()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, metavar="N", help="pictures; default: all 40")
    parser.add_argument("--table", choices=("formats", "sensitivity", "others"), help="one of them; default: all")
    parser.add_argument("--curve", type=Path, metavar="FILE", help="draw the second table, as SVG")
    given = parser.parse_args()
    print_tables(given.count, given.table, given.curve)


if __name__ == "__main__":
    main()
