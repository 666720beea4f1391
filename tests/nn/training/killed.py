"""A run that kills itself, by SIGKILL: ``python -m tests.nn.training.killed FILE WHEN``."""

import os
import signal
import sys
from pathlib import Path

from csc_cogd import storage
from csc_cogd.nn import train
from tests.nn.training.small import HALF, RECIPE, SmallNetwork, small_images


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    path, when = Path(sys.argv[1]), sys.argv[2]
    replace, saves = os.replace, []

    def replace_and_die(source, target):
        saves.append(target)
        if len(saves) == 2 and when == "before the rename":
            kill()
        replace(source, target)
        if len(saves) == 2 and when == "after the rename":
            kill()

    storage.os.replace = replace_and_die
    train(
        SmallNetwork(), small_images(), RECIPE, normalization=HALF, checkpoint=path,
        progress=lambda p: kill() if (p.epoch, p.batch) == (3, 3) else None,
    )  # fmt: skip


if __name__ == "__main__":
    main()
