"""How long the command takes to answer: ``python benchmarks/startup.py``.

In turns with the floor, an interpreter that does nothing; the medians.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

ROUNDS = 15
COMMANDS = {
    "python, nothing": ["-c", "pass"],
    "csc-cogd --help": ["-m", "csc_cogd", "--help"],
    "csc-cogd inpaint --help": ["-m", "csc_cogd", "inpaint", "--help"],
    "import csc_cogd": ["-c", "import csc_cogd"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    times = np.array([[seconds(arguments) for arguments in COMMANDS.values()] for _ in range(ROUNDS)])
    print("| command | seconds |\n| --- | --- |")
    for name, median in zip(COMMANDS, np.median(times, axis=0), strict=True):
        print(f"| {name} | {median:.2f} |")


if __name__ == "__main__":
    main()
