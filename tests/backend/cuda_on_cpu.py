"""CUDA kernels on the CPU, for tests: g++ builds the very source that NVRTC gets, with `cuda_shim.h` in CUDA's place.

It shows what a kernel computes, not how fast: threads take turns, blocks run one after the other. Beyond results it finds
barriers that aren't met, shared memory that is read before it is written, and arguments of which CuPy would pass other bytes
than the kernel reads.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HAVE_COMPILER = shutil.which("g++") is not None
"""Whether kernels can be built here."""

_SHIM = Path(__file__).with_name("cuda_shim.h")
_FLAGS = ["-O2", "-std=c++17", "-march=native", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-w"]
_SHARED_UNASKED, _SHARED_MOST = 48 << 10, 227 << 10  # bytes of a block: without asking, and on sm_90
_TYPES = {
    "bool": np.bool_, "signed char": np.int8, "unsigned char": np.uint8, "short": np.int16, "unsigned short": np.uint16,
    "int": np.int32, "unsigned": np.uint32, "unsigned int": np.uint32, "long long": np.int64,
    "unsigned long long": np.uint64, "float": np.float32, "double": np.float64,
}  # fmt: skip


class HostModule:
    """Stands for `cupy.RawModule`: kernels by name, for NumPy arrays.

    Parameters
    ----------
    source : str
        Kernels as ``extern "C" __global__ void name(...)``, of which arguments are pointers or scalars.
    macros : dict
        What NVRTC would be told by ``-D``, such as ``{"REAL": "float"}``.

    Raises
    ------
    RuntimeError
        If g++ can't compile the source.
    """

    def __init__(self, source: str, macros: dict[str, object]) -> None:
        self._signatures = _parse_signatures(source, macros)
        self._library = ctypes.PyDLL(str(_build(source, macros, self._signatures)))  # keeps the lock: fibers are global
        self._library.shim_launch.restype = ctypes.c_char_p

    def get_function(self, name: str) -> HostFunction:
        """The kernel called `name`; a ValueError where there is none."""
        if name not in self._signatures:
            raise ValueError(f"the source has no kernel {name}, only {', '.join(self._signatures)}")
        return HostFunction(name, self._signatures[name], self._library)


class HostFunction:
    """A kernel, called as CuPy's: ``function(grid, block, args, shared_mem=0)``.

    An array's data type must be the parameter's, NumPy scalars' as well; a Python int is taken for `int` and `long long`, a
    float for `double`, a bool for `bool`, as CuPy does, which passes garbage for others. More than 48 KiB of dynamic shared
    memory must be asked for by setting `max_dynamic_shared_size_bytes`.
    """

    def __init__(self, name: str, signature: list[tuple[str, bool, bool]], library: Any) -> None:
        self.name, self._signature, self._library = name, signature, library
        self._kernel = getattr(library, f"shim_{name}")
        self.max_dynamic_shared_size_bytes = _SHARED_UNASKED

    def __call__(self, grid: tuple, block: tuple, args: tuple, shared_mem: int = 0) -> None:
        grid, block = (tuple(int(n) for n in shape) + (1,) * (3 - len(shape)) for shape in (grid, block))
        if min(grid + block) < 1 or max(grid[1:]) > 65535 or np.prod(block) > 1024 or block[2] > 64:
            raise ValueError(f"{self.name}: CUDA has no grid {grid} of blocks {block}")
        if not 0 <= shared_mem <= min(self.max_dynamic_shared_size_bytes, _SHARED_MOST):
            raise ValueError(
                f"{self.name}: {shared_mem} bytes of shared memory, {self.max_dynamic_shared_size_bytes} allowed"
            )
        if len(args) != len(self._signature):
            raise TypeError(f"{self.name} takes {len(self._signature)} arguments, not {len(args)}")
        values = [
            _convert(arg, *parameter, f"{self.name}, argument {number}")
            for number, (arg, parameter) in enumerate(zip(args, self._signature, strict=True))
        ]
        places = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        shapes = ((ctypes.c_uint * 3)(*shape) for shape in (grid, block))
        error = self._library.shim_launch(self._kernel, *shapes, places, ctypes.c_int(shared_mem))
        if error:
            raise RuntimeError(f"{self.name}: {error.decode()}")


def _convert(arg: Any, base: str, pointer: bool, constant: bool, where: str) -> Any:
    """The C value of an argument; `where` says which, in errors."""
    dtype = np.dtype(_TYPES[base]) if base in _TYPES else None
    if pointer:
        if arg is None:
            return ctypes.c_void_p(0)
        if not isinstance(arg, np.ndarray):
            raise TypeError(f"{where} must be an array, not {type(arg).__name__}")
        bytes_both = dtype == np.uint8 and arg.dtype == np.bool_
        if dtype is not None and arg.dtype != dtype and not bytes_both:
            raise TypeError(f"{where} must hold {dtype}, not {arg.dtype}")
        if not constant and not arg.flags.writeable:
            raise ValueError(f"{where} is written to, but the array is read-only")
        return ctypes.c_void_p(arg.ctypes.data)
    if dtype is None:
        raise TypeError(f"{where}: no scalar of type {base} can be passed")
    if isinstance(arg, np.generic):
        fits = arg.dtype == dtype
    elif isinstance(arg, bool):
        fits = dtype.kind == "b"
    elif isinstance(arg, int):
        fits = dtype.kind in "iu" and np.iinfo(dtype).min <= arg <= np.iinfo(dtype).max
    else:
        fits = isinstance(arg, float) and dtype == np.float64
    if not fits:
        raise TypeError(f"{where} is of type {base}, {arg!r} ({type(arg).__name__}) isn't: pass np.{dtype}(...)")
    return np.ctypeslib.as_ctypes_type(dtype)(dtype.type(arg).item())


def _parse_signatures(source: str, macros: dict[str, object]) -> dict[str, list[tuple[str, bool, bool]]]:
    """Of every kernel its parameters: type without typedefs and macros, whether a pointer, whether constant."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", " ", source, flags=re.DOTALL)
    names = {name: str(value) for name, value in macros.items()}
    names |= {new: " ".join(old.split()) for old, new in re.findall(r"\btypedef\s+([\w\s]+?)\s+(\w+)\s*;", code)}
    kernel = r'extern\s+"C"\s+__global__\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?'
    signatures = {}
    for name, inside in re.findall(kernel + r"(\w+)\s*\(([^)]*)\)", code):
        parameters = []
        for text in inside.split(",") if inside.strip() else []:
            words = re.sub(r"\b(const|__restrict__|restrict)\b|\*", " ", text).split()[:-1]
            base = " ".join(words)
            while base in names:
                base = names[base]
            parameters.append((base, "*" in text, "const" in text.split("*")[0].split()))
        signatures[name] = parameters
    return signatures


def _build(source: str, macros: dict[str, object], signatures: dict[str, list]) -> Path:
    """A shared library of the kernels, built when there is none of this source yet."""
    code = re.sub(
        r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w\s]+?)\s+(\w+)\s*\[\s*\]\s*;",
        r"\1 *const \2 = reinterpret_cast<\1 *>(shim::dynamic);",
        source,
    )
    entries = [f"SHIM_ENTRY({name}, {len(parameters)})\n" for name, parameters in signatures.items()]
    # in a nameless namespace even what templates declare can be put into a section of the library
    text = f'#include "{_SHIM}"\nnamespace {{\n#line 1 "kernel.cu"\n{code}\n}}\n{"".join(entries)}'
    options = _FLAGS + [f"-D{name}={value}" for name, value in macros.items()]
    key = hashlib.sha256("\0".join([text, _SHIM.read_text(), *options]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"csc-cogd-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            fresh = Path(scratch) / "kernels.so"
            command = ["g++", *options, "-x", "c++", "-", "-o", str(fresh)]
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"g++ can't compile the kernels:\n{done.stderr}")
            os.replace(fresh, library)
    return library
