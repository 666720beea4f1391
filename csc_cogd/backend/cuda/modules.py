"""The `.cu` files of this folder, compiled by NVRTC on first use and kept by CuPy, in memory and on disk."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from types import ModuleType
from typing import Any

import numpy as np

THREADS = 256
"""In a block, where a kernel doesn't say otherwise."""


@lru_cache(maxsize=64)
def load_module(xp: ModuleType, name: str, dtype: np.dtype, **macros: int) -> Any:
    """Return the kernels of ``name.cu`` for a precision, with further macros."""
    source = resources.files(__package__).joinpath(f"{name}.cu").read_text()
    return xp.RawModule(code=source, options=compiler_options(dtype, **macros))


@lru_cache(maxsize=256)
def load_function(xp: ModuleType, name: str, kernel: str, dtype: np.dtype, **macros: int) -> Any:
    """Return a kernel of ``name.cu``, looked up once: CuPy looks it up anew at every call."""
    return load_module(xp, name, dtype, **macros).get_function(kernel)


def compiler_options(dtype: np.dtype, **macros: int) -> tuple[str, ...]:
    real = "float" if dtype == np.float32 else "double"
    return ("--std=c++17", f"-DREAL={real}", *(f"-D{name}={value}" for name, value in sorted(macros.items())))


def blocks(n: int) -> int:
    """Return how many blocks have a thread for each of n values."""
    return -(-int(n) // THREADS)
