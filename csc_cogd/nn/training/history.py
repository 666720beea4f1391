"""What happened in training, epoch by epoch."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from csc_cogd.errors import InputError
from csc_cogd.storage import is_number, write_whole


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes
    ----------
    epoch : int
        From 1.
    learning_rate : float
        Of its last batch.
    loss : float
        Mean over its images, each at the time of its batch, as what is minimised.
    accuracy : float
        Share of the training images, from 0 to 1, in training mode, each at the time of its batch.
    test_loss, test_accuracy : float, or None
        Cross entropy, and share of the test images; None without these.
    seconds : float
        Of training; the test isn't counted.
    figures : mapping of str to float
        What hooks report.
    """

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """All of it in one flat mapping."""
        own = asdict(self)
        return own | own.pop("figures")


@dataclass(frozen=True)
class History:
    """The epochs of a run, in their order; a sequence of them.

    Attributes
    ----------
    epochs : tuple of Epoch
    """

    epochs: tuple[Epoch, ...] = ()

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, number: int) -> Epoch:
        return self.epochs[number]

    def with_epoch(self, epoch: Epoch) -> History:
        """This history and one epoch more."""
        return History((*self.epochs, epoch))

    def as_json(self) -> list[dict[str, Any]]:
        """One mapping an epoch, with the hooks' figures under ``"figures"``."""
        return [asdict(epoch) for epoch in self]

    @classmethod
    def from_json(cls, rows: Any) -> History:
        """The history that :meth:`as_json` describes.

        Raises
        ------
        InputError
            If it describes none.
        """
        if not isinstance(rows, list) or not all(_is_epoch(row, number) for number, row in enumerate(rows, 1)):
            raise InputError("history: it isn't a list of epochs: delete it, or take another one")
        return cls(tuple(Epoch(**row) for row in rows))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write it as a table (.csv) or as a list (.json), with the hooks' figures beside the others.

        Raises
        ------
        InputError
            If the name ends in something else, or the file exists and may not be replaced, or can't be written.
        """
        path = Path(path)
        check_history_name(path)
        rows = [epoch.row() for epoch in self]
        text = json.dumps(rows, indent=1) + "\n" if path.suffix.lower() == ".json" else _csv(rows)
        write_whole(path, lambda file: file.write(text.encode()), overwrite=overwrite)


def _is_epoch(row: Any, number: int) -> bool:
    """Whether JSON gives the epoch of this number back."""
    if not isinstance(row, dict) or row.keys() != {field.name for field in fields(Epoch)} or row["epoch"] != number:
        return False
    unknown = [name for name in ("test_loss", "test_accuracy") if row[name] is None]
    numbers = [value for name, value in row.items() if name not in (*unknown, "figures")]
    figures = row["figures"]
    known = all(map(is_number, numbers)) and isinstance(figures, dict)
    return known and all(isinstance(figure, float) or is_number(figure) for figure in figures.values())


def check_history_name(path: Path) -> None:
    """Raise InputError unless the format of a history is known by the file's name."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"{path}: the history's format isn't known by its name: end it in .csv or .json")


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
