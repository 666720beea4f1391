"""``csc-cogd doctor``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar

import click

from csc_cogd import __version__
from csc_cogd.cli import machine
from csc_cogd.cli.console import echo
from csc_cogd.errors import CscCogdError, DeviceError

if TYPE_CHECKING:
    from csc_cogd.storage import Json

_NEEDED = (
    "numpy", "scipy", "pyfftw", "numba", "threadpoolctl", "scikit-image", "imagecodecs", "tifffile", "pillow",
    "imageio", "safetensors", "click", "lazy_loader", "starlette", "uvicorn",
)  # fmt: skip
_OPTIONAL = {
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "distributed": ("distributed",),
    "matplotlib": ("matplotlib",),
    "onnx": ("onnx",),
}
_VARIABLES = ("CSC_COGD_", "NUMBA_", "CUDA_", "TMPDIR")  # what matters begins with one of these
_LEAST = 33.0  # dB of the self-test, which makes 33.5
_ROOM = 1.0  # GB of memory; less is a problem

Facts: TypeAlias = "Mapping[str, Json] | machine.Processors"
Found = TypeVar("Found")


class SelfTest(TypedDict):
    """PSNR in dB of what a device restored, and whether all is as it should be."""

    psnr_dB: float | None
    passed: bool


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def command(as_json: bool) -> None:
    """Show what csc-cogd finds on this machine, and whether it works here; include this in bug reports.

    Versions of the libraries, processors and memory and what this process may use of them, the FFT library and its speed
    (64 maps of 256 x 256, float32, forward and inverse), the cache of compiled kernels, devices, and a self-test that
    restores a small picture on the CPU and, if there is one, a GPU. Problems are listed last, each with a fix.

    \b
    Examples:
      csc-cogd doctor
      csc-cogd doctor --json > report.json

    \b
    Exit codes: 0 the self-test passed; 1 it failed; 2 wrong usage.
    """
    problems: list[str] = []
    nothing: Facts = {}
    untested: dict[str, SelfTest] = {}
    facts = {name: _found(name, look, problems, nothing) for name, look in _SECTIONS.items()}
    tests = _found("self-test", _self_tests, problems, untested)
    works = bool(tests) and all(test["passed"] for test in tests.values())
    if as_json:
        echo(json.dumps({**facts, "self-test": tests, "problems": problems, "works": works}))
    else:
        facts["self-test"] = {
            device: f"{test['psnr_dB']} dB, passed" if test["passed"] else "failed" for device, test in tests.items()
        }
        for line in _lines(facts, problems, works):
            echo(line)
    if not works:
        raise click.exceptions.Exit(1)


def _found(name: str, look: Callable[[list[str]], Found], problems: list[str], otherwise: Found) -> Found:
    """Return what `look` finds; if it fails, as on a damaged installation, add that to the problems."""
    try:
        return look(problems)
    except CscCogdError as error:
        problem = str(error)
    except Exception as error:  # the more is broken, the more the rest of the report is wanted
        problem = f"{name}: {type(error).__name__}: {error}: reinstall csc-cogd and its dependencies"
    if problem not in problems:
        problems.append(problem)
    return otherwise


def _versions(problems: list[str]) -> Facts:
    needed = {name: _version(name) for name in _NEEDED}
    for name, version in needed.items():
        if version is None and name != "pyfftw":  # its license keeps some from using it
            problems.append(f"{name}: isn't installed: pip install {name}")
    optional = {name: next(filter(None, map(_version, names)), None) for name, names in _OPTIONAL.items()}
    own = {"csc-cogd": __version__, "python": platform.python_version(), "platform": platform.platform()}
    return own | needed | optional


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processors(problems: list[str]) -> Facts:
    found = machine.processors()
    usable, limit = found["usable"], found["limit"]
    if usable and limit and limit < usable:
        fix = f"use --threads {max(1, int(limit))}"
        problems.append(f"processors: {usable} are seen, but the control group gives the time of {limit:g}: {fix}")
    return found


def _memory(problems: list[str]) -> Facts:
    found = machine.memory()
    room = min((amount for amount in found.values() if amount is not None), default=None)
    if room is not None and room < _ROOM:
        problems.append(
            f"memory: {room} GB are to be had: use --max-memory {max(room / 2, 0.1):.1f}GB, or end other programs"
        )
    return found


def _fft(problems: list[str]) -> Facts:
    from csc_cogd.backend import get_backend
    from csc_cogd.backend.diagnostics import fft_library

    most = get_backend("cpu").threads
    times = {threads: _fft_seconds(get_backend("cpu", threads=threads)) for threads in sorted({1, most})}
    speed = {f"{n}_thread{'s'[: n > 1]}_ms": round(1000 * seconds, 1) for n, seconds in times.items()}
    return {"library": fft_library()} | speed


def _fft_seconds(backend: Any) -> float:
    """Return the seconds to transform 64 maps of 256 x 256 forward and back, the best of five times."""
    import numpy as np

    maps = np.random.default_rng(0).standard_normal((64, 1, 1, 256, 256)).astype(backend.dtype)
    workspaces = backend.workspaces(maps.shape[1:])

    def transform(workspace: Any, number: int) -> None:
        workspace.real[...] = maps[number]
        workspace.forward()
        workspace.inverse()

    times = []
    for _ in range(5):
        started = time.perf_counter()
        backend.run(transform, range(len(maps)), workspaces)
        times.append(time.perf_counter() - started)
    return min(times)


def _kernels(problems: list[str]) -> Facts:
    from csc_cogd.backend import get_backend
    from csc_cogd.backend.diagnostics import kernel_cache

    compiled = get_backend("cpu").compiled
    folder = kernel_cache()
    if compiled and folder is None:
        problems.append(
            "kernels: no cache can be written, so each run compiles for a minute: set NUMBA_CACHE_DIR to a folder"
        )
    kept = len(list(folder.glob("*.nbi"))) if folder else 0
    return {"compiler": "numba" if compiled else None, "cache": str(folder) if folder else None, "compiled_already": kept}


def _files(problems: list[str]) -> Facts:
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        problems.append("temporary files: there is no folder for them: set TMPDIR to one that you may write to")
        return {}
    return {"temporary": folder, "free_GB": round(shutil.disk_usage(folder).free / 1e9, 1)}


def _devices(problems: list[str]) -> Facts:
    from csc_cogd.backend import choose_device
    from csc_cogd.backend.diagnostics import cuda_devices

    chosen, why = choose_device()
    try:
        found = cuda_devices()
    except DeviceError as error:
        found = {"cuda": f"none: {str(error).partition(': ')[2]}"}
    return {"auto": f"{chosen} ({why})"} | found


def _environment(problems: list[str]) -> Facts:
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(_VARIABLES)}


def _self_tests(problems: list[str]) -> dict[str, SelfTest]:
    """Restore a piece of a photograph on each device."""
    from csc_cogd.backend import choose_device, get_backend
    from csc_cogd.backend.diagnostics import kernel_cache

    folder = kernel_cache()
    if get_backend("cpu").compiled and not (folder and any(folder.glob("*.nbi"))):
        echo("compiling kernels: the first time, the self-test takes a minute", err=True)
    failed = SelfTest(psnr_dB=None, passed=False)
    return {
        device: _found(f"self-test on {device}", partial(_restore, device), problems, failed)
        for device in dict.fromkeys(("cpu", choose_device()[0]))
    }


def _restore(device: str, problems: list[str]) -> SelfTest:
    import numpy as np

    from csc_cogd import inpaint, psnr
    from csc_cogd.imagefiles import read_image
    from csc_cogd.restore.synthetic_masks import random_mask

    with resources.as_file(resources.files("csc_cogd.data") / "photo.png") as path:
        original = np.ascontiguousarray(read_image(path).pixels[64:128, 64:128, 1])
    mask = random_mask(original.shape, 0.5, seed=0)
    damaged = np.where(mask, 0, original).astype(original.dtype)
    restored = inpaint(damaged, mask, effort="fast", device=device)
    quality = psnr(restored, original, data_range=255)
    if quality < _LEAST:
        problems.append(f"self-test on {device}: {quality:.2f} dB are less than {_LEAST:g}: report it, with all of this")
    if changed := int((restored != original)[~mask].sum()):
        problems.append(f"self-test on {device}: {changed} known pixels were changed: report it, with all of this")
    return {"psnr_dB": round(quality, 2), "passed": quality >= _LEAST and not changed}


_SECTIONS: dict[str, Callable[[list[str]], Facts]] = {
    "versions": _versions,
    "processors": _processors,
    "memory": _memory,
    "fft": _fft,
    "kernels": _kernels,
    "files": _files,
    "devices": _devices,
    "environment": _environment,
}


def _lines(facts: dict[str, Facts], problems: list[str], works: bool) -> Iterator[str]:
    for section, values in facts.items():
        yield section
        for name, value in values.items():
            yield f"  {name:<18} {'-' if value is None else value}"
        yield ""
    yield from [f"problem: {problem}" for problem in problems]
    yield "csc-cogd works here" if works else "csc-cogd does not work here"
