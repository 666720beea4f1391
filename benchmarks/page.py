"""From a stroke on the page of ``csc-cogd paint`` to its preview, and the server's memory: ``python benchmarks/page.py``.

The server is a process of its own, with as many threads as `--threads` says, for a JPEG of 24 megapixels. Strokes as people
paint them, of brushes of several widths, are sent within parts of 512 x 512 pixels; the time goes on until the tiles that
show the preview have been fetched. On a machine that does other things, the time that the server spent on the processor says
more. Then dust is looked for, denoising is tried, and the whole picture is restored and kept, in processes that are counted
apart. Memory is the peak of the resident memory (Linux only).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from large import mosaic
from PIL import Image, ImageDraw

HEIGHT, WIDTH, SIDE = 4000, 6000, 512
GOAL_SECONDS, GOAL_BYTES = 1.0, 1e9


class Client:
    """Asks the server, and hears its events."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        self._host, self._token = parts.netloc, parts.path.strip("/")
        self._listening = http.client.HTTPConnection(self._host, timeout=600)
        self._listening.request("GET", f"/{self._token}/api/events")
        self._events = self._listening.getresponse()
        self._events.readline()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(self._host, timeout=600)
        connection.request(method, f"/{self._token}/api/{path}", body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 400:
            raise SystemExit(f"{path}: {answer.status} {content!r}")
        return content

    def hear(self, *kinds: str) -> dict[str, Any]:
        while line := self._events.readline():
            if line.startswith(b"data: ") and (event := json.loads(line[6:]))["kind"] in kinds:
                return event
        raise SystemExit("the server has ended")


def stroke(generator: np.random.Generator, width: int) -> np.ndarray:
    """A bent stroke within (SIDE, SIDE), bool."""
    canvas = Image.new("L", (SIDE, SIDE))
    start, middle, end = generator.uniform(40, SIDE - 40, (3, 2))
    along = np.linspace(0, 1, 30)[:, None]
    points = (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * end
    ImageDraw.Draw(canvas).line([tuple(point) for point in points], fill=255, width=width, joint="curve")
    return np.asarray(canvas) > 0


def preview(client: Client, pid: int, top: int, left: int, marked: np.ndarray) -> tuple[float, float]:
    """Seconds from a stroke to its preview, and the processor's seconds that the server needed for it."""
    rows, columns = (np.flatnonzero(marked.any(axis=axis)) for axis in (1, 0))
    part = marked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = [top + rows[0], left + columns[0], top + rows[-1] + 1, left + columns[-1] + 1]
    place = "&".join(f"{side}={value}" for side, value in zip(("top", "left", "bottom", "right"), box, strict=True))
    revision = json.loads(client.ask("pictures/0/0"))["revision"]
    started, spent = time.perf_counter(), processor_seconds(pid)
    client.ask(f"pictures/0/0/mask?{place}&revision={revision}&fill", "POST", np.packbits(part).tobytes())
    while client.hear("filled")["revision"] <= revision:
        pass
    for row in range(box[0] // 256, (box[2] - 1) // 256 + 1):
        for column in range(box[1] // 256, (box[3] - 1) // 256 + 1):
            client.ask(f"pictures/0/0/after/0/{row}/{column}")
    return time.perf_counter() - started, processor_seconds(pid) - spent


def processor_seconds(pid: int) -> float:
    """Seconds that a process has spent on the processor, its own and the system's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid: int) -> int:
    """Peak bytes of a process's resident memory."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--strokes", type=int, default=5, help="of each width")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "photo.jpg"
        Image.fromarray(mosaic(HEIGHT, WIDTH, options.seed)).save(picture, quality=92)
        command = [
            sys.executable,
            "-m",
            "csc_cogd",
            "paint",
            str(picture),
            "--no-browser",
            "--threads",
            str(options.threads),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                measure(Client(server.stdout.readline().strip()), server.pid, generator, options.strokes)
            finally:
                server.terminate()


def measure(client: Client, pid: int, generator: np.random.Generator, n_strokes: int) -> None:
    print(f"a JPEG of {HEIGHT * WIDTH / 1e6:.0f} MP, strokes within {SIDE} x {SIDE} pixels")
    print("| brush, pixels | median, s | longest, s | median, processor's s | most, processor's s |")
    print("| --- | --- | --- | --- | --- |")
    client.ask("pictures/0/0")
    time.sleep(10)  # while kernels are loaded, people look at the picture
    longest = most = 0.0
    for width in (4, 12, 40):
        seconds = []
        for _ in range(n_strokes):
            top, left = (int(generator.integers(0, length - SIDE)) for length in (HEIGHT, WIDTH))
            seconds.append(preview(client, pid, top, left, stroke(generator, width)))
            while client.hear("filled", "unfilled").get("preview"):  # what follows, at full quality, is counted apart
                pass
        waited, spent = np.array(seconds).T
        longest, most = max(longest, waited.max()), max(most, spent.max())
        shown = (np.median(waited), waited.max(), np.median(spent), spent.max())
        print(f"| {width} | {' | '.join(f'{value:.2f}' for value in shown)} |", flush=True)
    for name, worst in (("waiting", longest), ("on the processor", most)):
        print(f"goal of {GOAL_SECONDS:.0f} s {name}: {'met' if worst <= GOAL_SECONDS else 'missed'}, {worst:.2f} s at most")
    print(f"peak memory of the server after the strokes: {peak(pid) / 1e6:.0f} MB")
    part = "top=1000&left=1000&bottom=2500&right=2500"
    client.ask(f"pictures/0/0/candidates?{part}&kind=dust&sensitivity=0.5")
    print(f"after dust was looked for: {peak(pid) / 1e6:.0f} MB")
    client.ask("pictures/0/0/try?top=1000&left=1000&bottom=1512&right=1512&task=denoise&effort=fast", "POST")
    client.hear("tried", "failed")
    client.ask("pictures/0/keep?effort=fast", "POST")
    kept = client.hear("kept", "failed")
    print(f"after denoising was tried, and the picture {kept['kind']}: {peak(pid) / 1e6:.0f} MB")
    print(f"goal of {GOAL_BYTES / 1e9:.0f} GB: {'met' if peak(pid) < GOAL_BYTES else 'missed'}, {peak(pid) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
