"""csc-cogd doctor: what it finds, and what it makes of a machine where something is amiss."""

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import csc_cogd
from csc_cogd import __version__
from csc_cogd.backend import diagnostics
from csc_cogd.cli import machine
from tests.cli.calling import call


def report(capsys, code=0):
    assert call("doctor", "--json") == code
    return json.loads(capsys.readouterr().out)


def test_a_sound_machine_passes(capsys):
    facts = report(capsys)
    assert facts["works"] is True
    assert facts["versions"]["csc-cogd"] == __version__
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for name in (re.split("[^a-z_-]", needed)[0] for needed in project["dependencies"]):
        assert facts["versions"][name] == metadata.version(name)
    assert 1 <= facts["processors"]["usable"] <= facts["processors"]["logical"]
    assert facts["fft"]["1_thread_ms"] > 0
    assert facts["devices"]["auto"].startswith("cpu")
    assert "CuPy isn't installed: pip install" in facts["devices"]["cuda"]
    assert facts["self-test"]["cpu"]["psnr_dB"] > 33


def test_people_read_aligned_lines(capsys, monkeypatch):
    monkeypatch.setenv("CSC_COGD_FFT", "scipy")
    assert call("doctor") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert f"  numpy              {metadata.version('numpy')}" in lines
    assert "  library            scipy" in lines
    assert "  CSC_COGD_FFT       scipy" in lines
    assert lines[-1] == "csc-cogd works here"


def test_a_failing_self_test_is_told_by_the_exit_code(capsys, monkeypatch):
    monkeypatch.setattr(csc_cogd, "inpaint", lambda damaged, mask, **options: damaged + 1, raising=False)
    facts = report(capsys, code=1)
    assert facts["works"] is False
    assert facts["self-test"]["cpu"]["passed"] is False
    assert any("known pixels were changed" in problem for problem in facts["problems"])
    assert any("are less than 33" in problem for problem in facts["problems"])


def test_a_wrong_setting_is_named_once_and_the_rest_is_still_said(capsys, monkeypatch):
    monkeypatch.setenv("CSC_COGD_FFT", "mkl")
    facts = report(capsys, code=1)
    assert facts["problems"] == ["CSC_COGD_FFT must be 'auto', 'estimated', 'pyfftw' or 'scipy', got 'mkl'"]
    assert facts["environment"]["CSC_COGD_FFT"] == "mkl"
    assert facts["processors"]["usable"] >= 1
    assert call("doctor") == 1
    shown = capsys.readouterr().out
    assert "problem: CSC_COGD_FFT" in shown
    assert shown.splitlines()[-1] == "csc-cogd does not work here"


def test_a_damaged_installation_is_reported_and_not_fallen_over(capsys, monkeypatch):
    for name in ("csc_cogd.imagefiles", "csc_cogd.backend.diagnostics"):
        monkeypatch.setitem(sys.modules, name, None)
    facts = report(capsys, code=1)
    assert facts["fft"] == {}
    assert any(problem.startswith("fft: ") and "install" in problem for problem in facts["problems"])


def test_a_missing_library_is_named_with_what_mends_it(capsys, monkeypatch):
    version = metadata.version

    def without(name):
        if name in ("numba", "pyfftw", "matplotlib"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    facts = report(capsys)
    assert facts["problems"] == ["numba: isn't installed: pip install numba"]
    assert facts["versions"]["matplotlib"] is None


def test_kernels_that_cannot_be_kept_and_no_temporary_folder_are_problems(capsys, monkeypatch):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(diagnostics, "kernel_cache", lambda: None)
    monkeypatch.setattr("tempfile.gettempdir", none)
    problems = report(capsys)["problems"]
    assert any("set NUMBA_CACHE_DIR" in problem for problem in problems)
    assert any("set TMPDIR" in problem for problem in problems)


def test_devices_and_a_self_test_on_the_gpu_that_fails(capsys, monkeypatch):
    monkeypatch.setattr(diagnostics, "cuda_devices", lambda: {"cuda:0": "NVIDIA H100, 85 GB, driver for CUDA 13.0"})
    monkeypatch.setattr("csc_cogd.backend.choose_device", lambda: ("cuda", "NVIDIA H100, 85 GB"))
    facts = report(capsys, code=1)  # for there is none
    assert facts["devices"] == {
        "auto": "cuda (NVIDIA H100, 85 GB)", "cuda:0": "NVIDIA H100, 85 GB, driver for CUDA 13.0",
    }  # fmt: skip
    assert facts["self-test"]["cpu"]["passed"] is True
    assert facts["self-test"]["cuda"] == {"psnr_dB": None, "passed": False}
    assert any(problem.startswith("device 'cuda': ") for problem in facts["problems"])


def test_limits_of_a_container_are_problems_where_they_are_tight(capsys, monkeypatch):
    monkeypatch.setattr(machine, "processors", lambda: {"usable": 8, "limit": 1.5})
    monkeypatch.setattr(machine, "memory", lambda: {"total_GB": 64.0, "limit_GB": 0.5})
    problems = report(capsys)["problems"]
    assert "processors: 8 are seen, but the control group gives the time of 1.5: use --threads 1" in problems
    assert any(problem.startswith("memory: 0.5 GB are to be had: use --max-memory 0.2GB") for problem in problems)


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


PROC = {
    "proc/cpuinfo": "".join(
        f"processor : {n}\nmodel name : Sample: 3 GHz\nphysical id : 0\ncore id : {n // 2}\n\n" for n in range(4)
    ),
    "proc/meminfo": "MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable: 4000000 kB\n",
}
SECOND = {"proc/self/cgroup": "0::/outer/inner\n"}
FIRST = {"proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n"}
GROUPS = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "processors", "memory"),
    [
        ({}, None, None),
        (SECOND, None, None),
        (
            SECOND | {
                f"{GROUPS}/outer/cpu.max": "150000 100000\n", f"{GROUPS}/outer/inner/cpu.max": "max 100000\n",
                f"{GROUPS}/outer/memory.max": "max\n", f"{GROUPS}/outer/inner/memory.max": "2000000000\n",
            }, 1.5, 2.0,
        ),
        (  # a container sees its own limits at the top
            FIRST | {
                f"{GROUPS}/cpu,cpuacct/cpu.cfs_quota_us": "50000\n", f"{GROUPS}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                f"{GROUPS}/memory/memory.limit_in_bytes": "3000000000\n",
            }, 0.5, 3.0,
        ),
        (
            FIRST | {
                f"{GROUPS}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", f"{GROUPS}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                f"{GROUPS}/memory/memory.limit_in_bytes": "9223372036854771712\n",
            }, None, None,
        ),
    ],
)  # fmt: skip
def test_limits_of_control_groups_of_both_versions(files, processors, memory, tmp_path):
    write(tmp_path, PROC | files)
    found = machine.processors(tmp_path)
    assert (found["model"], found["physical"], found["limit"]) == ("Sample: 3 GHz", 2, processors)
    amounts = machine.memory(tmp_path)
    assert (amounts["total_GB"], amounts["available_GB"], amounts["limit_GB"]) == (8.2, 4.1, memory)


def test_a_system_that_says_nothing_is_no_obstacle(tmp_path):
    assert machine.processors(tmp_path)["physical"] is None
    assert machine.memory(tmp_path)["total_GB"] is None
