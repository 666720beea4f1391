"""Processors and memory, as the operating system reports them; unknown values are None."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

_ROOT = Path("/")


class Processors(TypedDict):
    """The processors of a machine: their model, how many there are, and how many this process may use.

    ``usable`` is the number that this process may use, ``limit`` that of its control group, such as 1.5.
    """

    model: str | None
    physical: int | None
    logical: int | None
    usable: int | None
    limit: float | None


def processors(root: Path = _ROOT) -> Processors:
    """Return the processors that the file system below `root` describes."""
    about = [
        (name, value) for name, value in _fields(root / "proc/cpuinfo") if name in ("model name", "physical id", "core id")
    ]
    cores = zip(*([value for name, value in about if name == kind] for kind in ("physical id", "core id")), strict=True)
    return {
        "model": dict(about).get("model name"),
        "physical": len(set(cores)) or None,
        "logical": os.cpu_count(),
        "usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "limit": min(_processor_limits(root), default=None),
    }


def memory(root: Path = _ROOT) -> dict[str, float | None]:
    """Return memory in GB: total, available, and the limits of this process by ulimit and its control group."""
    known = {name: float(value.split()[0]) * 1024 for name, value in _fields(root / "proc/meminfo") if value}
    total = known.get("MemTotal")
    limits = (limit for limit in _memory_limits(root) if total is None or limit < total)
    amounts = {
        "total": total,
        "available": known.get("MemAvailable"),
        "ulimit": _address_space(),
        "limit": min(limits, default=None),
    }
    return {f"{name}_GB": None if amount is None else round(amount / 1e9, 1) for name, amount in amounts.items()}


def _address_space() -> float | None:
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def _processor_limits(root: Path) -> Iterator[float]:
    for group in _control_groups(root, "cpu"):
        quota = " ".join(_lines(group / "cpu.max")[:1]).split()  # version 2
        quota = quota or [*_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")]
        if len(quota) == 2 and all(number.isdecimal() for number in quota):  # else "max", or -1
            yield round(int(quota[0]) / int(quota[1]), 2)


def _memory_limits(root: Path) -> Iterator[float]:
    for group in _control_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from (float(line) for line in _lines(group / name)[:1] if line.isdecimal())


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of those around them, of both versions.

    Inside a container, the names may be those outside it: then only the folders around them exist, which suffice.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, name = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controllers
            group = top / name.lstrip("/")
            yield from (place for place in (group, *group.parents) if place.is_relative_to(top))


def _fields(path: Path) -> list[tuple[str, str]]:
    """Split each line at its colon."""
    pairs = (line.partition(":") for line in _lines(path))
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
