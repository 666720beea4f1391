"""Where CuPy keeps the kernels that it has compiled."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

_VARIABLE = "CUPY_CACHE_DIR"


def prepare_cache() -> None:
    """Let CuPy be imported where its folder can't be made, as in a home that isn't writable: by a temporary one.

    CuPy makes that folder when it is imported, on machines without a GPU, too, and pyFFTW imports it, by way of Dask.
    """
    if _VARIABLE in os.environ or find_spec("cupy") is None:
        return
    folder = Path("~/.cupy/kernel_cache").expanduser()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="csc-cogd-cupy-")
        atexit.register(shutil.rmtree, os.environ[_VARIABLE], ignore_errors=True)
