"""CUDA's compiler takes every kernel source: NVRTC from PyPI's wheels, which needs no GPU."""

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from csc_cogd.backend.cuda import convolution
from csc_cogd.backend.cuda.modules import compiler_options

CASES = {
    "maps": [{}],
    "match_patches": [{}],
    "estimate_patches": [{}],
    "correlate": [
        {"HEIGHT": 11, "WIDTH": 11, "CHANNELS": 1, "WARPS": 8},
        {"HEIGHT": 8, "WIDTH": 8, "CHANNELS": 3, "WARPS": 4},
        {"HEIGHT": 1, "WIDTH": 16, "CHANNELS": 1, "WARPS": 4},
    ],
}
ENGINE = [
    (name, tuple(macros.items()), dtype, architecture)
    for name, cases in CASES.items()
    for macros in cases
    for dtype in ("float32", "float64")
    for architecture in ("sm_80", "sm_90")
]
PLAIN = {
    "channels": (), "convolution": convolution.macros_of(convolution.DOUBLE[0], False), "depthwise": (), "polyphase": (),
}  # fmt: skip
NETWORKS = [
    *((name, macros, *how) for name, macros in PLAIN.items() for how in (("float32", "sm_80"), ("float64", "sm_90"))),
    ("convolution", convolution.macros_of(convolution.TILES[0], True), "float32", "sm_80"),
    ("convolution", convolution.macros_of(convolution.TILES[-1], True), "float32", "sm_90"),
]
"""Each once, for it takes seconds; with tensor cores the smallest tile and the largest."""


def sources():
    return {path.name[:-3]: path for path in resources.files("csc_cogd.backend.cuda").iterdir() if path.name.endswith(".cu")}


def test_every_source_is_compiled_here():
    assert sources().keys() == {name for name, *_ in ENGINE + NETWORKS}


@pytest.mark.parametrize(("name", "macros", "dtype", "architecture"), ENGINE + NETWORKS)
def test_the_device_compiler_takes_the_source(name, macros, dtype, architecture):
    compiler = pytest.importorskip("cupy.cuda.compiler", reason="CuPy isn't installed: pip install '.[nvrtc]'")
    nvidia = pytest.importorskip("nvidia", reason="NVRTC and its headers aren't installed: pip install '.[nvrtc]'")
    folders = [f"-I{include}" for root in nvidia.__path__ for include in sorted(Path(root).glob("cu*/include"))]
    source = sources()[name].read_text()
    options = (*compiler_options(np.dtype(dtype), macros), f"-arch={architecture}", "-default-device", *folders)
    cubin = compiler._NVRTCProgram(source, f"{name}.cu", method="cubin").compile(options)[0]
    kernels = re.findall(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(', source)
    assert kernels
    for kernel in kernels:
        assert kernel.encode() in cubin
