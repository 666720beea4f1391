"""The course of a training, epoch by epoch."""

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
from csc_cogd.storage import Json, write_whole


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    learning_rate : float
        That of its last batch.
    loss : float
        The loss that is minimized: mean over the training images, each at the time of its batch.
    accuracy : float
        Share of the training images, in [0, 1], in training mode, each at the time of its batch.
    test_loss : float or None
        Cross entropy of the test images; None without them.
    test_accuracy : float or None
        Share of the test images; None without them.
    seconds : float
        Time of training, without the test.
    figures : mapping of str to float
        Figures that hooks return.
    """

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    test_loss: float | None
    test_accuracy: float | None
    seconds: float
    figures: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, float | None]:
        """Return all figures in one flat mapping."""
        own = asdict(self)
        return own | own.pop("figures")

    def is_numeric(self) -> bool:
        """Return whether the figures are numbers, as their types say."""
        numbers = [self.epoch, self.learning_rate, self.loss, self.accuracy, self.seconds, *self.figures.values()]
        numbers += [figure for figure in (self.test_loss, self.test_accuracy) if figure is not None]
        return all(isinstance(number, (int, float)) for number in numbers)


@dataclass(frozen=True)
class History:
    """The sequence of the epochs of a run.

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
        """Return this history with one more epoch."""
        return History((*self.epochs, epoch))

    def as_json(self) -> list[dict[str, Json]]:
        """Return one mapping an epoch, with the hooks' figures under ``"figures"``."""
        return [asdict(epoch) for epoch in self]

    @classmethod
    def from_json(cls, rows: Any) -> History:
        """Return the history that :meth:`as_json` describes.

        Raises
        ------
        InputError
            If `rows` describe none.
        """
        try:
            history = cls(tuple(Epoch(**row) for row in rows))
            known = all(epoch.epoch == number and epoch.is_numeric() for number, epoch in enumerate(history, start=1))
        except (TypeError, AttributeError):
            known = False
        if not known:
            fix = "use another file, as this one is damaged or of another program"
            raise InputError("history", "must list the epochs of a run", fix)
        return history

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a table (.csv) or a list (.json), with the hooks' figures among the others.

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Whether an existing file may be replaced.

        Raises
        ------
        InputError
            If the name has another suffix, or the file exists and may not be replaced, or can't be written.
        """
        path = Path(path)
        check_history_name(path)
        rows = [epoch.row() for epoch in self]
        text = json.dumps(rows, indent=1) + "\n" if path.suffix.lower() == ".json" else _csv(rows)
        write_whole(path, text.encode(), overwrite=overwrite)


def check_history_name(path: Path) -> None:
    """Raise InputError unless a file's name has the suffix of a format for histories."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError("", "the name of a history must end in .csv or .json", subject=str(path))


def _csv(rows: list[dict[str, float | None]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
