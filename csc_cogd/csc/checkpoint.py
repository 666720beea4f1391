"""Checkpoints of a learning run: its whole state in one npz file, written in one step, read without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.cogd.rule import Backtracking
from csc_cogd.csc.alternation import Round
from csc_cogd.csc.state import Entry, check_state
from csc_cogd.errors import InputError
from csc_cogd.storage import check_writable, is_number, read_arrays, write_arrays

_FORMAT = 2


class Checkpoint:
    """Where a run is saved every few rounds, and taken up again.

    Parameters
    ----------
    path : Path
    every : int
        Rounds from one save to the next.
    identity : mapping
        What two runs must share for one to go on with the other's state: settings and digests of the data, as JSON can
        hold them.
    """

    def __init__(self, path: Path, every: int, identity: Mapping[str, Any]):
        if not isinstance(every, (int, np.integer)) or every < 1:
            raise InputError(f"checkpoint_every: {every} isn't a number of rounds: use 1 or more")
        self.path, self.every, self.identity = path, every, dict(identity)
        check_writable(path, overwrite=True)

    def load(self, entries: Mapping[str, Entry]) -> tuple[dict[str, Any], list[Round]] | None:
        """State, of these entries, and history of the run so far; None where there is no file yet.

        Raises
        ------
        InputError
            If the file isn't a checkpoint, is damaged, or belongs to a run on other images or with other settings.
        """
        if not self.path.exists():
            return None
        state, about = read_arrays(self.path, "checkpoint")
        if about.get("format") != _FORMAT or not isinstance(about.get("identity"), dict):
            raise InputError(f"{self.path}: not a checkpoint of this version: delete it, or name another file")
        saved = about["identity"]
        other = sorted(key for key in saved.keys() | self.identity.keys() if saved.get(key) != self.identity.get(key))
        if other:
            raise InputError(
                f"{self.path}: a checkpoint of another run ({', '.join(other)} differ): "
                "delete it, or name another file"
            )  # fmt: skip
        check_state(self.path, state, entries)
        return state, self._rounds(about.get("history"))

    def save(self, state: Mapping[str, Any], history: list[Round]) -> None:
        about = {"format": _FORMAT, "identity": self.identity, "history": history}
        write_arrays(self.path, state, about, overwrite=True, compress=False)

    def _rounds(self, rows: Any) -> list[Round]:
        """A history as JSON gives it back."""
        if isinstance(rows, list) and all(_is_round(row, number) for number, row in enumerate(rows, 1)):
            records = [Round(*row) for row in rows]
            return [
                record._replace(backtracking=record.backtracking and Backtracking(*record.backtracking))
                for record in records
            ]
        raise InputError(f"{self.path}: a damaged checkpoint: its history isn't one: delete it, or name another file")


def _is_round(row: Any, number: int) -> bool:
    """Whether JSON gives the round of this number back."""
    if not isinstance(row, list) or len(row) != len(Round._fields):
        return False
    *figures, backtracking, residual = row
    whole = all(map(is_number, figures)) and figures[0] == number
    return whole and (residual is None or is_number(residual)) and (backtracking is None or _is_backtracking(backtracking))


def _is_backtracking(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != len(Backtracking._fields):
        return False
    *figures, accepted = row
    return all(map(is_number, figures)) and isinstance(accepted, bool)
