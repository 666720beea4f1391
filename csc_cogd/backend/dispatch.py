"""Choose the kernels that networks' layers run on, and the memory layout that these want."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from csc_cogd.backend.arrays import on_gpu
from csc_cogd.backend.cpu import load
from csc_cogd.backend.selection import choose_kernels


def kernels_for(name: str, array: Any) -> Any:
    """Return the module ``compiled_<name>``, or ``cuda.<name>`` for arrays on a GPU, or None if plain code has to do it.

    That is on a CPU without Numba, or if ``CSC_COGD_KERNELS`` is ``"numpy"``. Both modules have the same functions.
    """
    if on_gpu(array):
        return load(f"cuda.{name}")
    if _chosen(os.environ.get("CSC_COGD_KERNELS")) == "numpy":
        return None
    return load(f"compiled_{name}")


def as_channels_last(array: Any) -> Any:
    """Return the array as networks' kernels read it without a copy: on a GPU, channels last if it has four axes."""
    if not on_gpu(array) or array.ndim != 4:
        return array
    from csc_cogd.backend.cuda.layout import channels_first, channels_last

    return channels_first(channels_last(array))


@lru_cache(maxsize=4)
def _chosen(variable: str | None) -> str:
    return choose_kernels(None)
