"""Time of the main job, inpainting: ``python benchmarks/main_job.py [--against DIR] [--cases CASE...]``.

The cases, each restored by a process that has compiled its kernels before, on one thread:

photograph  500 x 500 in color, 2.1 % of it scratches and specks: by default, ``--fast`` and ``--best``, beside biharmonic
            interpolation by scikit-image and by csc-cogd's own, and OpenCV NS; and beside each, how long its multiply-adds
            over similar patches take at the speed of a matrix product, and its pixels at that of copying
half        half of the pixels missing at random, 512 x 512, gray and color
scratched   24 megapixels in color of which scratches cover 2.2 %, by the command, on two threads; with the peak of memory
dust        the same with specks on 0.3 %
thousand    `--count` photographs of 2 megapixels with 20 specks each, by one command, with 1 process and with 2
growth      exponents of time over pixels at constant damage, and over damage at constant pixels

Printed are CPU seconds, PSNR over what is missing, and with ``--against`` what another tree of the project takes: a
checkout, of which the same is run in turns, `--rounds` times, and the median of the ratios. Without OpenCV its row is
left out. A busy machine changes seconds, and CPU seconds a little; ratios least.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from large import mosaic, scratches
from PIL import Image
from restoration import pictures_for

from csc_cogd.restore.settings import Solve, choose_effort
from csc_cogd.restore.synthetic_masks import random_mask, scratch_mask

HERE = Path(__file__).resolve().parent.parent
CASES = ("photograph", "half", "scratched", "dust", "thousand", "growth")
PROGRAM = """
import json, sys, time
import numpy as np
from csc_cogd import inpaint
with np.load(sys.argv[1]) as given:
    image, mask = given["image"], given["mask"]
options = dict(channel_axis=-1 if image.ndim == 3 else None, effort=sys.argv[2], threads=1)
inpaint(image[:64, :64], np.pad(mask[8:56, 8:56], 8) | (np.arange(64) == 30), **options)  # compiles
inpaint(image, mask, **options)
started = time.process_time()
restored = inpaint(image, mask, **options)
print(json.dumps(time.process_time() - started))
np.save(sys.argv[3], restored)
"""


class Work(NamedTuple):
    """What is restored, and how."""

    name: str
    truth: np.ndarray
    mask: np.ndarray
    effort: str = "default"

    @property
    def damaged(self) -> np.ndarray:
        return np.where(self.mask if self.truth.ndim == 2 else self.mask[..., None], 0, self.truth).astype(np.uint8)

    def psnr(self, restored: np.ndarray) -> float:
        """Over what is missing."""
        error = float(((restored.astype(float) - self.truth)[self.mask] ** 2).mean())
        return float(10 * np.log10(255**2 / max(error, 1e-6)))


def specks(shape: tuple[int, int], count: int, largest: float, seed: int = 0) -> np.ndarray:
    """Discs of up to `largest` pixels' radius at random places, (H, W) bool."""
    generator, mask = np.random.default_rng(seed), np.zeros(shape, bool)
    for _ in range(count):
        radius, center = generator.uniform(0.7, largest), generator.random(2) * shape
        low = np.maximum(center - radius - 1, 0).astype(int)
        i, j = np.ogrid[low[0] : int(center[0] + radius + 2), low[1] : int(center[1] + radius + 2)]
        disc = (i - center[0]) ** 2 + (j - center[1]) ** 2 <= radius**2
        place = mask[low[0] : low[0] + disc.shape[0], low[1] : low[1] + disc.shape[1]]
        place |= disc[: place.shape[0], : place.shape[1]]
    return mask


def photograph(gray: bool = False, side: int = 500) -> np.ndarray:
    """The first of the pictures that :mod:`restoration` takes, cut."""
    wanted = 2 if gray else 3
    picture = next(picture for _, picture in pictures_for([], 512, not gray) if picture.ndim == wanted)
    return np.ascontiguousarray(picture[:side, :side])


def environment(tree: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def restored_by(tree: Path, work: Work) -> tuple[float, np.ndarray]:
    """CPU seconds that a tree takes, and the picture that it makes."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "given.npz", Path(folder) / "restored.npy"
        np.savez(given, image=work.damaged, mask=work.mask)
        command = [sys.executable, "-c", PROGRAM, str(given), work.effort, str(result)]
        done = subprocess.run(command, env=environment(tree), cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout), np.load(result)


def peers() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """What fills the photograph, too."""
    from skimage.restoration import inpaint_biharmonic

    from csc_cogd.biharmonic import fill_biharmonic

    def eight_bits(values: np.ndarray) -> np.ndarray:
        return np.rint(255 * values).clip(0, 255)

    def own(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        planes = np.moveaxis(image / 255, -1, 0)
        return np.moveaxis(eight_bits(fill_biharmonic(planes, np.broadcast_to(mask, planes.shape))), 0, -1)

    found = {
        "biharmonic, scikit-image": lambda image, mask: eight_bits(inpaint_biharmonic(image / 255, mask, channel_axis=-1)),
        "biharmonic, csc-cogd's pilot": own,
    }
    if find_spec("cv2"):
        import cv2

        found["OpenCV NS"] = lambda image, mask: cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_NS)
    return found


def print_peers(work: Work) -> None:
    for name, peer in peers().items():
        peer(work.damaged, work.mask)
        started = time.process_time()
        restored = peer(work.damaged, work.mask)
        seconds = time.process_time() - started
        print(f"| {work.name}, {name} | {seconds:.3f} | {work.psnr(restored):.2f} | | | |", flush=True)


def print_work(work: Work, against: Path | None, rounds: int) -> None:
    """A row: of this tree, and of the other one in turns."""
    ours, theirs, other = [], [], None
    for _ in range(rounds):
        seconds, restored = restored_by(HERE, work)
        ours.append(seconds)
        if against is not None:
            seconds, other = restored_by(against, work)
            theirs.append(seconds)
    row = f"| {work.name}, {work.effort} | {np.median(ours):.3f} | {work.psnr(restored):.2f} |"
    if other is not None:
        ratio = np.median(np.array(theirs) / ours)
        row += f" {np.median(theirs):.3f} | {work.psnr(other):.2f} | {ratio:.1f} |"
    else:
        row += " | | |"
    print(row, flush=True)


def print_floor(work: Work) -> None:
    """A row: what the stages can't take less than, as they are.

    Counted are distances of patches, sums of products for covariances and their Cholesky factors; not the solutions for what
    is missing of each patch, of which most have next to nothing.
    """
    missing = np.broadcast_to(work.mask, (3 if work.truth.ndim == 3 else 1, *work.mask.shape))
    effort = choose_effort(Solve(work.effort), missing, 0.0)
    model, channels = effort.patches, len(missing)
    corners = [np.unique(np.append(np.arange(0, n - model.size, model.step), n - model.size)) for n in work.mask.shape]
    touched = np.lib.stride_tricks.sliding_window_view(work.mask, (model.size, model.size))[np.ix_(*corners)]
    n_groups = int(np.count_nonzero(touched.any(axis=(2, 3))))
    n_searches = sum(number & (number - 1) == 0 for number in range(1, effort.passes + 1))

    def fitting(values: int) -> float:
        return model.n_similar * values * (values + 1) / 2 + values**3 / 6

    one = model.size**2
    apart = (effort.passes - model.together) * channels * fitting(one)
    matching = n_searches * (2 * model.radius + 1) ** 2 * channels * one
    multiply_adds = n_groups * (apart + model.together * fitting(channels * one) + matching)
    square, started = np.ones((1024, 1024), np.float32), time.process_time()
    square @ square
    seconds = multiply_adds / 1024**3 * (time.process_time() - started)
    source, started = np.ones(1 << 26, np.uint8), time.process_time()
    source.copy()
    copying = (time.process_time() - started) * 2 * work.truth.nbytes / source.nbytes
    counted = f"{multiply_adds / 1e9:.2f} G multiply-adds of {n_groups} groups"
    print(
        f"| {work.name}, {work.effort}: floor | {seconds:.3f} for {counted}"
        f" | {copying:.4f} for {2 * work.truth.nbytes / 1e6:.1f} MB | | | |",
        flush=True,
    )


def command_of(tree: Path, arguments: list[str]) -> tuple[float, float, float]:
    """CPU seconds, seconds and the peak of memory in GB (Linux only) of the command of a tree."""
    peak, before, started = 0, os.times(), time.perf_counter()
    command = [sys.executable, "-m", "csc_cogd", *arguments]
    with subprocess.Popen(command, env=environment(tree), cwd=tempfile.gettempdir()) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
            peak = int(found[1]) * 1024 if found else peak
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - started, peak / 1e9


def print_large(name: str, truth: np.ndarray, mask: np.ndarray, against: Path | None) -> None:
    """Rows of a large picture, by the command on two threads, and of biharmonic interpolation in tiles."""
    work = Work(name, truth, mask)
    with tempfile.TemporaryDirectory() as folder:
        damaged, marked, restored = (str(Path(folder) / file) for file in ("picture.png", "mask.png", "restored.png"))
        Image.fromarray(work.damaged).save(damaged, compress_level=1)
        Image.fromarray(mask.astype(np.uint8) * 255).save(marked)
        for tree in (HERE, against):
            if tree is not None:
                cpu, seconds, peak = command_of(
                    tree, ["inpaint", damaged, "-m", marked, "-o", restored, "--overwrite", "--threads", "2"]
                )
                with Image.open(restored) as image:
                    quality = work.psnr(np.asarray(image))
                measured = f"{cpu:.1f} | {quality:.2f} | {seconds:.0f} s, {peak:.2f} GB"
                print(f"| {name}, {mask.mean():.1%}, {tree.name} | {measured} | | |", flush=True)
    started, filled = time.process_time(), work.damaged
    own = peers()["biharmonic, csc-cogd's pilot"]
    for rows, columns in tiles(mask.shape):
        if mask[rows, columns].any():
            filled[rows, columns] = own(filled[rows, columns], mask[rows, columns])
    seconds = time.process_time() - started
    print(f"| {name}, biharmonic in tiles | {seconds:.1f} | {work.psnr(filled):.2f} | | | |", flush=True)


def tiles(shape: tuple[int, int], side: int = 512) -> Iterator[tuple[slice, slice]]:
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, top + side), slice(left, left + side)


def print_thousand(count: int) -> None:
    """Photographs a second, with one process and with two."""
    picture, rates = mosaic(1200, 1700, 0), []
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("photographs", "masks", "restored"):
            (Path(folder) / kind).mkdir()
        for number in range(count):
            mask = specks(picture.shape[:2], 20, 4.0, number)
            damaged = np.where(mask[..., None], 255, picture).astype(np.uint8)
            Image.fromarray(damaged).save(Path(folder) / "photographs" / f"{number}.jpg", quality=95)
            Image.fromarray(mask.astype(np.uint8) * 255).save(Path(folder) / "masks" / f"{number}.png")
        for processes in (1, 2):
            options = ["--jobs", str(processes), "--threads", "1", "--overwrite"]
            places = [f"{folder}/photographs", "-m", f"{folder}/masks", "-o", f"{folder}/restored"]
            _, seconds, _ = command_of(HERE, ["inpaint", *places, *options])
            rates.append(count / seconds)
    print(f"| {count} of 2 megapixels, 20 specks each | {rates[0]:.2f} and {rates[1]:.2f} a second |", end="")
    print(f" {rates[1] / rates[0]:.2f} times as many with two processes | | | |", flush=True)


def print_growth() -> None:
    """Exponents of the time of inpainting."""
    sides, dense = (1000, 1400, 2000, 2800), (20, 60, 200, 600)
    picture, seconds = mosaic(2800, 2800, 0), []
    for side in sides:
        mask = np.zeros((side, side), bool)
        mask[:500, :500] = specks((500, 500), 200, 3.0)
        seconds.append(restored_by(HERE, Work("", picture[:side, :side], mask))[0])
    over_pixels = np.polyfit(np.log(np.square(sides)), np.log(seconds), 1)[0]
    print(
        f"| 200 specks in 1 to 8 megapixels | {', '.join(f'{s:.2f}' for s in seconds)} | exponent {over_pixels:.2f} | | | |"
    )
    seconds, shares = [], []
    for count in dense:
        mask = specks((1400, 1400), count, 3.0)
        shares.append(mask.sum())
        seconds.append(restored_by(HERE, Work("", picture[:1400, :1400], mask))[0])
    over_damage = np.polyfit(np.log(shares), np.log(seconds), 1)[0]
    print(
        f"| 20 to 600 specks in 2 megapixels | {', '.join(f'{s:.2f}' for s in seconds)} | exponent {over_damage:.2f} | | | |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of the project, to compare with")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, metavar="CASE", help="only these")
    parser.add_argument("--rounds", type=int, default=3, help="in turns with the other tree (default 3)")
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 6000), metavar=("H", "W"), help="of the large picture")
    parser.add_argument("--count", type=int, default=1000, help="of photographs (default 1000)")
    arguments = parser.parse_args()
    cases, against, rounds, size = arguments.cases, arguments.against, arguments.rounds, tuple(arguments.size)
    against = None if against is None else against.resolve()
    print("| case | CPU seconds | PSNR | CPU seconds before | PSNR before | ratio |\n| --- | --- | --- | --- | --- | --- |")
    if "photograph" in cases:
        truth = photograph()
        mask = scratch_mask(truth.shape[:2], (2, 2, 3, 3, 4, 5), seed=1) | specks(truth.shape[:2], 90, 3.0)
        print_peers(Work(f"photograph, {mask.mean():.1%}", truth, mask))
        for effort in ("fast", "default", "best"):
            print_work(Work("photograph", truth, mask, effort), against, rounds)
            print_floor(Work("photograph", truth, mask, effort))
    if "half" in cases:
        for name in ("gray", "color"):
            truth = photograph(name == "gray", 512)
            print_work(Work(f"half missing, {name}", truth, random_mask(truth.shape[:2], 0.5)), against, rounds)
    if "scratched" in cases:
        print_large("scratched", mosaic(*size, 0), scratches(*size, 0.022, 0), against)
    if "dust" in cases:
        n_specks = int(0.003 * np.prod(size) / 22)  # of 22 pixels on average
        print_large("dust", mosaic(*size, 0), specks(size, n_specks, 4.0), against)
    if "thousand" in cases:
        print_thousand(arguments.count)
    if "growth" in cases:
        print_growth()


if __name__ == "__main__":
    main()
