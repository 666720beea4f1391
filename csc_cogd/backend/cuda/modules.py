"""The `.cu` files of this folder, compiled by NVRTC on first use and kept by CuPy, in memory and on disk."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from types import ModuleType
from typing import Any

import numpy as np

THREADS = 256
"""Threads of a block, unless a kernel says otherwise."""


Macros = tuple[tuple[str, int], ...]
"""Names and values of the macros that a source is compiled with."""


@lru_cache(maxsize=256)
def load_function(xp: ModuleType, name: str, kernel: str, dtype: np.dtype, macros: Macros = ()) -> Any:
    """Return a kernel of ``name.cu``, compiled for a precision and looked up once: CuPy looks it up at every call."""
    return _load_module(xp, name, compiler_options(dtype, macros)).get_function(kernel)


@lru_cache(maxsize=64)
def _load_module(xp: ModuleType, name: str, options: tuple[str, ...]) -> Any:
    source = resources.files(__package__).joinpath(f"{name}.cu").read_text()
    return xp.RawModule(code=source, options=options)


def compiler_options(dtype: np.dtype, macros: Macros = ()) -> tuple[str, ...]:
    real = "float" if dtype == np.float32 else "double"
    return ("--std=c++17", f"-DREAL={real}", *(f"-D{name}={value}" for name, value in sorted(macros)))


def blocks(n: int) -> int:
    """Return how many blocks have a thread for each of n values."""
    return -(-int(n) // THREADS)
