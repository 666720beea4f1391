"""What happened in training, epoch by epoch."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from csc_cogd.errors import InputError
from csc_cogd.storage import write_whole


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

    def is_numeric(self) -> bool:
        """Whether there are numbers wherever the types say so."""
        numbers = [self.epoch, self.learning_rate, self.loss, self.accuracy, self.seconds, *self.figures.values()]
        numbers += [figure for figure in (self.test_loss, self.test_accuracy) if figure is not None]
        return all(isinstance(number, (int, float)) for number in numbers)


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
        try:
            history = cls(tuple(Epoch(**row) for row in rows))
            known = all(epoch.epoch == number and epoch.is_numeric() for number, epoch in enumerate(history, start=1))
        except (TypeError, AttributeError):
            known = False
        if not known:
            raise InputError("history: it doesn't list the epochs of a run: the file is damaged, or of another program")
        return history

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
