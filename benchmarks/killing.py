"""A batch that is killed again and again, and resumed: ``python benchmarks/killing.py``.

``csc-cogd inpaint`` restores a folder of small images by two processes, and is killed by SIGKILL at random moments: the
command alone, or all of its processes. After every kill, and at the end, what is there is compared with a run that wasn't
disturbed. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from imageio.v3 import imread, imwrite

MARK = "CSC_COGD_KILLING"  # environment variable that all processes of a command have in common
PATIENCE = 120.0  # seconds, on a busy machine


class Round(NamedTuple):
    """A run that was killed, or the last one, and what was found after it."""

    killed: str
    seconds: float
    done: int
    temporary: int
    orphans: int
    orphans_seconds: float


def save_images(folder: Path, n_images: int, side: int, seed: int = 0) -> None:
    """Pieces (side, side) of a photograph in ``folder/images``, with a scratch each in ``folder/masks``."""
    from skimage.data import camera

    rng, photo = np.random.default_rng(seed), camera()
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(n_images):
        y, x = rng.integers(0, 513 - side, 2)
        mask = np.zeros((side, side), np.uint8)
        mask[rng.integers(2, side - 2)] = 255
        imwrite(folder / "images" / f"{number:04d}.png", photo[y : y + side, x : x + side])
        imwrite(folder / "masks" / f"{number:04d}.png", mask)


def start(folder: Path, *arguments: Any, **options: Any) -> tuple[subprocess.Popen[str], str]:
    """Begin to restore ``folder/images`` in a session of its own; the process, and the mark of all that it starts."""
    mark = uuid.uuid4().hex
    command = [
        sys.executable, "-m", "csc_cogd", "inpaint", folder / "images", "-m", folder / "masks", "--fast", "--iterations", 1,
        "--device", "cpu", *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(
        list(map(str, command)), env=os.environ | {MARK: mark}, start_new_session=True, text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    )  # fmt: skip
    return process, mark


def marked(mark: str) -> list[int]:
    """The running processes with this mark."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            zombie = place.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not zombie and f"{MARK}={mark}".encode() in place.joinpath("environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_until(condition: Callable[[], bool], what: str) -> float:
    """Seconds until it holds."""
    started = time.perf_counter()
    while not condition():
        assert time.perf_counter() - started < PATIENCE, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.002)
    return time.perf_counter() - started


def results(folder: Path) -> dict[str, bytes]:
    """The images in a folder that aren't hidden, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file() and not path.name.startswith(".")}


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.rglob(".csc-cogd-*"))


def check_results(output: Path, reference: dict[str, bytes], seen: dict[str, Any]) -> int:
    """How many results are new. All are whole, none has changed, and the new ones come from one and the same new run."""
    found, runs = results(output), set()
    for name, content in found.items():
        assert content == reference[name], f"{name} differs from the run that wasn't disturbed"
        imread(content, extension=".png")
        status, about = (output / name).stat(), json.loads((output / ".csc-cogd" / f"{name}.json").read_text())
        identity = status.st_ino, status.st_mtime_ns, about["run"]
        if name not in seen:
            runs.add(about["run"])
        assert seen.setdefault(name, identity) == identity, f"{name} was made twice"
    assert not seen.keys() - found.keys(), "a result is gone"
    new = [identity for identity in seen.values() if identity[2] in runs]
    assert len(runs) <= 1, "results of several runs at once"
    return len(new)


def kill_and_resume(folder: Path, n_images: int, n_kills: int, side: int = 32, seed: int = 0) -> list[Round]:
    """Kill a batch `n_kills` times, resume it each time, and check what it leaves.

    Raises
    ------
    AssertionError
        If a result isn't whole, is missing or was made twice; or something is left behind.
    """
    rng = np.random.default_rng(seed)
    save_images(folder, n_images, side, seed)
    process, _ = start(folder, "-o", folder / "reference", "--jobs", 1)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    reference = results(folder / "reference")
    output, lines, seen, rounds = folder / "out", Counter[str](), dict[str, Any](), list[Round]()
    options = ("-o", output, "--jobs", 2, "--skip-existing", "--json")
    for number in range(n_kills):
        started = time.perf_counter()
        process, mark = start(folder, *options)
        whole_group = bool(rng.integers(2))
        if number % 5 == 4:  # at any moment, while it starts
            time.sleep(rng.uniform(0, 3))
        else:
            goal = min(len(seen) + rng.integers(1, max(2 * n_images // (n_kills + 1), 2)), n_images)
            wait_until(lambda goal=goal: len(results(output)) >= goal, "the next results")
            time.sleep(rng.uniform(0, 0.1))
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        seconds = time.perf_counter() - started
        orphans = len(marked(mark)) - (process.poll() is None)
        said, _ = process.communicate()
        orphans_seconds = wait_until(lambda mark=mark: not marked(mark), "orphans end by themselves")
        lines.update(row["input"] for row in read_lines(said) if row.get("status") == "done")
        temporary = len(temporary_files(output))
        done = check_results(output, reference, seen)
        rounds.append(Round("all" if whole_group else "parent", seconds, done, temporary, max(orphans, 0), orphans_seconds))
    started, before = time.perf_counter(), len(seen)
    process, mark = start(folder, *options)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    *rows, summary = read_lines(said)
    lines.update(row["input"] for row in rows if row["status"] == "done")
    done = check_results(output, reference, seen)
    assert len(seen) == n_images, "a result is missing"
    assert (summary["done"], summary["skipped"], summary["failed"]) == (n_images - before, before, 0)
    assert max(lines.values()) == 1, "an image was restored twice"
    assert not temporary_files(output), "a temporary file is left"
    wait_until(lambda: not marked(mark), "the processes end")
    return [*rounds, Round("-", time.perf_counter() - started, done, 0, 0, 0.0)]


def read_lines(text: str) -> list[dict[str, Any]]:
    """JSON lines; the last one may have been cut off."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="images")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--side", type=int, default=48, help="of the images, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds = kill_and_resume(Path(folder), arguments.count, arguments.kills, arguments.side, arguments.seed)
    print("| run | killed | after | new results | temporary files left | orphans | gone after |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for number, r in enumerate(rounds, 1):
        orphans = f"{r.orphans} | {r.orphans_seconds:.2f} s"
        print(f"| {number} | {r.killed} | {r.seconds:.1f} s | {r.done} | {r.temporary} | {orphans} |")
    found = "every result whole and that of an undisturbed run, none missing, none made twice, no temporary file at the end"
    print(f"\n{arguments.count} images, {arguments.kills} kills: {found}")


if __name__ == "__main__":
    main()
