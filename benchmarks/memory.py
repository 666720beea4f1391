"""Peak memory of restoring one tile against what is predicted for it: ``python benchmarks/memory.py``.

Each line is a process of its own, in which a small picture is restored first, so that kernels are compiled: measured is the
peak of the resident memory (Linux only) less what the process held then; predicted by ``csc_cogd.restore.tiling``.
"""

from __future__ import annotations

import itertools
import subprocess
import sys

TASKS = {
    "inpaint, 10 % missing": ("csc_cogd.inpaint(image, mask[0], **run)", "code_memory(d, C, itemsize, shape)"),
    "inpaint, 50 % missing": ("csc_cogd.inpaint(image, mask[1], **run)", "code_memory(d, C, itemsize, shape)"),
    "inpaint, 80 % missing": ("csc_cogd.inpaint(image, mask[2], **run)", "code_memory(d, C, itemsize, shape)"),
    "inpaint, 4 filters": (
        "csc_cogd.inpaint(image, mask[1], dictionary=few, **run)", "code_memory(few, C, itemsize, shape)"
    ),
    "denoise": ("csc_cogd.denoise(image, 20, **run)", "code_memory(d, C, itemsize, shape)"),
    "denoise, impulses": (
        "csc_cogd.denoise(image, noise='impulse', max_iter=1, effort='fast', **run)", "admm_memory(d, itemsize, shape)"
    ),
    "deblur": (
        "csc_cogd.deblur(image, np.ones((5, 5)), max_iter=3, **run)", "admm_memory(d, itemsize, (side + 4,) * 2, True)"
    ),
}  # fmt: skip
SIDES, DTYPES, THREADS = (128, 384), ("float32", "float64"), (1, 2)
PROGRAM = """
import re
import numpy as np
import csc_cogd
from skimage.data import astronaut
from csc_cogd.restore.tiling import admm_memory, code_memory

def memory(name):
    return int(re.search(name + r":\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024

C, side, itemsize = {C}, {side}, np.dtype("{dtype}").itemsize
shape, d = (side, side), csc_cogd.Dictionary.default("gray" if C == 1 else "color")
few = csc_cogd.Dictionary(np.random.default_rng(0).standard_normal((4, 8, 8) if C == 1 else (4, 3, 8, 8)))
run = dict(tile=0, max_memory=1e12, dtype="{dtype}", threads={threads}, channel_axis=None if C == 1 else -1)
whole = astronaut()[:side, :side, 1] if C == 1 else astronaut()[:side, :side]
gone = [np.random.default_rng(0).random(shape) < share for share in (0.1, 0.5, 0.8)]
for part in (64, side):
    image, mask = whole[:part, :part], [m[:part, :part] for m in gone]
    held = memory("VmRSS")
    {call}
print(memory("VmHWM") - held, {predicted})
"""


def main() -> None:
    print("| task | picture | precision | threads | measured | predicted | predicted / measured |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (name, (call, predicted)), C, side, dtype, threads in itertools.product(
        TASKS.items(), (1, 3), SIDES, DTYPES, THREADS
    ):
        program = PROGRAM.format(C=C, side=side, dtype=dtype, threads=threads, call=call, predicted=predicted)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        measured, expected = map(int, done.stdout.split())
        picture = f"{side} x {side}, {'gray' if C == 1 else 'color'}"
        sizes = f"{measured / 1e6:.0f} MB | {expected / 1e6:.0f} MB | {expected / measured:.2f}"
        print(f"| {name} | {picture} | {dtype} | {threads} | {sizes} |", flush=True)


if __name__ == "__main__":
    main()
