"""What is built and shipped, what it pulls in, and what is said where an extra is missing."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest

from tests.cli.calling import call, save

ROOT = Path(__file__).parents[1]
TOP = [
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "csc_cogd",
    "cli",
    "data",
    "tests",
    "benchmarks",
    "docs",
]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"


def build(kind, tree, target):
    done = subprocess.run([sys.executable, "-c", BUILD.format(kind), target], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the source tree, with caches as they come to lie in it."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 isn't installed: pip install '.[test]'")
    tree = tmp_path_factory.mktemp("tree")
    for name in TOP:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(ROOT / name, tree)
    for folder in ("csc_cogd", "tests", "data"):
        (tree / folder / "__pycache__").mkdir()
        (tree / folder / "__pycache__" / "left.cpython-311.pyc").touch()
    return tree


@pytest.fixture(scope="module")
def sdist(tree, tmp_path_factory):
    return build("sdist", tree, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the unpacked sdist, as pip does."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    return build("wheel", next(unpacked.iterdir()), tmp_path_factory.mktemp("wheel"))


def shipped():
    """The files of the package, by their places in it: what lies in its folders, and cli and data inside of it."""
    homes = {"csc_cogd": "csc_cogd", "cli": "csc_cogd/cli", "data": "csc_cogd/data"}
    files = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in homes.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    return {name for name in files if "__pycache__" not in name}


def test_the_wheel_from_the_sdist_has_all_of_the_package_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == shipped()
    assert any(name.endswith(".cu") for name in names)
    assert "csc_cogd/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in about)
    assert wheel.stat().st_size < 5e6


def test_the_wheel_pulls_only_what_the_common_path_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = Parser().parsestr(archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode())
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    heavy = ("cupy", "distributed", "dask", "onnx", "matplotlib", "pytest", "mkdocs", "torch")
    assert [line for line in needed if line.startswith(heavy)] == []
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    for version in ("3.11", "3.12", "3.13"):
        assert f"Programming Language :: Python :: {version}" in metadata.get_all("Classifier")


def test_the_sdist_has_tests_benchmarks_and_docs_without_caches(sdist):
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    for name in (
        "tests/test_packaging.py",
        "benchmarks/README.md",
        "docs/guide/index.md",
        "docs/mkdocs.yml",
        "CHANGELOG.md",
        "LICENSE",
    ):
        assert name in names
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []


@pytest.mark.parametrize(
    ("library", "arguments", "extra", "code"),
    [
        ("cupy", ["inpaint", "photo.npy", "--device", "cuda"], "cuda13", 3),
        ("distributed", ["inpaint", "photo.npy", "--scheduler", "local"], "distributed", 2),
        ("matplotlib", ["beale", "--plot", "paths.svg"], "plot", 2),
        ("matplotlib", ["train", "digits.npz", "-o", "a.safetensors", "--plot", "run.svg"], "plot", 2),
        ("onnx", ["prune", "net.safetensors", "digits.npz", "-o", "half.safetensors", "--onnx", "half.onnx"], "onnx", 2),
    ],
)
def test_a_missing_extra_is_told_by_name_and_command(library, arguments, extra, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    save(tmp_path / "photo.npy", np.where(np.eye(16) > 0, np.nan, 1.0))
    (tmp_path / "net.safetensors").touch()
    np.savez(tmp_path / "digits.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4) % 2)
    assert call(*arguments) == code
    (error,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("device: "))
    assert error.startswith("csc-cogd: error: ")
    assert f"pip install 'csc-cogd[{extra}]'" in error


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, csc_cogd, csc_cogd.nn\n"
        "heavy = {'numpy', 'scipy', 'numba', 'llvmlite', 'skimage', 'PIL', 'imageio', 'tifffile', 'imagecodecs', 'pyfftw',\n"
        "         'safetensors', 'cupy', 'dask', 'distributed', 'onnx', 'matplotlib', 'click'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
