"""Totals of a batch, the same for the terminal, for programs and for a report."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from csc_cogd.errors import percent

NONE_YET = {"done": 0, "skipped": 0, "planned": 0, "failed": 0}
NAMES_AT_MOST = 3  # that are listed


class Words(NamedTuple):
    """What pixels that are restored are called, and values that are to stay."""

    gone: str
    kept: str


MISSING = Words("missing", "known values")
DAMAGED = Words("damaged", "values beside the damage")


@dataclass
class Totals:
    """Numbers of files by status, how long they took, and how much of them was missing.

    Attributes
    ----------
    unread : list of str
        Files of folders that look like images, but whose formats aren't read.
    counts : dict
        Numbers of files by their status.
    seconds : float
        Between :meth:`begin` and :meth:`end`.
    seconds_before : float
        Time that the skipped files took when they were done.
    missing : list of float
        Fractions of the pixels of those that are done, now or before, or planned.
    changed : int
        Known values that aren't as they were, in the files that were written.
    expected_seconds : float
        That the planned files are expected to take, one after the other.
    words : Words
    """

    unread: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=NONE_YET.copy)
    seconds: float = 0.0
    seconds_before: float = 0.0
    missing: list[float] = field(default_factory=list)
    changed: int = 0
    expected_seconds: float = 0.0
    words: Words = MISSING
    _started: float = 0.0

    def begin(self) -> None:
        """Start counting and timing."""
        self.counts, self.missing, self.changed = dict.fromkeys(self.counts, 0), [], 0
        self.seconds_before = self.expected_seconds = 0.0
        self._started = time.perf_counter()

    def add(
        self, status: str, seconds: float | None, missing: float | None, changed: int = 0, expected_seconds: float = 0.0
    ) -> None:
        """Count a file.

        Parameters
        ----------
        status : {"done", "skipped", "planned", "failed"}
        seconds : float, optional
            That it took.
        missing : float, optional
            Fraction of its pixels that was missing.
        changed : int
            Known values that aren't as they were.
        expected_seconds : float
            That it would take.
        """
        self.counts[status] += 1
        self.changed += changed
        self.expected_seconds += expected_seconds
        if status == "skipped":
            self.seconds_before += seconds or 0
        if status != "failed" and missing is not None:
            self.missing.append(missing)

    def end(self) -> None:
        """Stop timing."""
        self.seconds = time.perf_counter() - self._started

    def missing_range(self) -> tuple[float, float] | None:
        """Return the least and the greatest fraction that was missing; None if nothing was."""
        return (min(self.missing), max(self.missing)) if any(self.missing) else None

    def row(self) -> dict[str, float | tuple[float, float] | list[str] | None]:
        """Return the totals, as JSON can hold them."""
        seconds = {"seconds": round(self.seconds, 3), "seconds_before": round(self.seconds_before, 3)}
        return {**self.counts, **seconds, "missing": self.missing_range(), "changed": self.changed, "unread": self.unread}

    def sentence(self) -> str:
        """Describe the totals in one line."""
        said = {status: f"{number} {status}" for status, number in self.counts.items() if number or status == "done"}
        if self.seconds_before:
            said["skipped"] += f" (made in {duration(self.seconds_before)} before)"
        n_images = sum(self.counts.values())
        parts = [f"{n_images} image{'s' if n_images != 1 else ''} in {duration(self.seconds)}: {', '.join(said.values())}"]
        if (found := self.missing_range()) is not None:
            verb = "are" if self.counts["planned"] else "were"
            least, most = (percent(share) for share in found)
            share = least if least == most else f"{least} to {most}"
            parts.append(f"{share} of the pixels {verb} {self.words.gone}")
        if self.expected_seconds:
            parts.append(f"about {duration(self.expected_seconds)} are expected, one after the other")
        if self.changed:
            parts.append(f"{self.changed:,} {self.words.kept} changed")
        if self.unread:
            parts.append(f"{len(self.unread)} not read: {some_of(self.unread)}")
        return "; ".join(parts)


def some_of(names: Iterable[str]) -> str:
    """Return the first few of the names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - NAMES_AT_MOST} more" if len(names) > NAMES_AT_MOST else ""
    return ", ".join(names[:NAMES_AT_MOST]) + more


def duration(seconds: float) -> str:
    """Return a time for display."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
