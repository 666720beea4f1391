"""Checkpoints of a learning run: its whole state in one npz file, written in one step, read without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.cogd.rule import Backtracking
from csc_cogd.csc.alternation import OuterIteration
from csc_cogd.csc.settings import check_count
from csc_cogd.csc.state import Entry, check_state, damaged_checkpoint
from csc_cogd.errors import InputError
from csc_cogd.storage import check_writable, is_number, read_arrays, write_arrays

_FORMAT = 2


class Checkpoint:
    """The file that a run is saved to every few rounds, and continued from.

    Parameters
    ----------
    path : Path
    every : int
        Rounds from one save to the next.
    identity : mapping
        Settings and digests of the data, as JSON can hold them; a run can be continued only by one with the same.
    """

    def __init__(self, path: Path, every: int, identity: Mapping[str, Any]):
        self.path, self.every, self.identity = path, check_count("checkpoint_every", every), dict(identity)
        check_writable(path, overwrite=True)

    def load(self, entries: Mapping[str, Entry]) -> tuple[dict[str, np.ndarray], list[OuterIteration]] | None:
        """Return the state, of these entries, and the history of the run so far; None if there is no file yet.

        Raises
        ------
        InputError
            If the file isn't a checkpoint, is damaged, or belongs to a run on other images or with other settings.
        """
        if not self.path.exists():
            return None
        state, about = read_arrays(self.path, "checkpoint")
        if about.get("format") != _FORMAT or not isinstance(about.get("identity"), dict):
            raise InputError("", "not a checkpoint of this version", "delete it, or name another file", str(self.path))
        saved = about["identity"]
        other = sorted(key for key in saved.keys() | self.identity.keys() if saved.get(key) != self.identity.get(key))
        if other:
            what = f"a checkpoint of another run ({', '.join(other)} differ)"
            raise InputError("", what, "delete it, or name another file", str(self.path))
        check_state(self.path, state, entries)
        return state, self._rounds(about.get("history"))

    def save(self, state: Mapping[str, Any], history: list[OuterIteration]) -> None:
        """Write state and history, in one step."""
        about = {"format": _FORMAT, "identity": self.identity, "history": history}
        write_arrays(self.path, state, about, overwrite=True, compress=False)

    def _rounds(self, rows: Any) -> list[OuterIteration]:
        """Return the history that was saved as JSON."""
        if isinstance(rows, list) and all(_is_round(row, number) for number, row in enumerate(rows, 1)):
            records = [OuterIteration(*row) for row in rows]
            return [
                record._replace(backtracking=record.backtracking and Backtracking(*record.backtracking))
                for record in records
            ]
        raise damaged_checkpoint(self.path, "its history isn't one")


def _is_round(row: Any, number: int) -> bool:
    """Return whether a row of JSON describes the round of this number."""
    if not isinstance(row, list) or len(row) != len(OuterIteration._fields):
        return False
    *figures, backtracking, residual = row
    whole = all(map(is_number, figures)) and figures[0] == number
    return whole and (residual is None or is_number(residual)) and (backtracking is None or _is_backtracking(backtracking))


def _is_backtracking(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != len(Backtracking._fields):
        return False
    *figures, accepted = row
    return all(map(is_number, figures)) and isinstance(accepted, bool)
