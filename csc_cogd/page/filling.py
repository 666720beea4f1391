"""What is painted over, filled while one paints: the newest stroke first, quickly, in a thread of its own.

When nothing waits any more, what was filled quickly is filled again at full quality.
"""

from __future__ import annotations

import itertools
import threading
from typing import NamedTuple

import numpy as np

from csc_cogd.engine import Engine
from csc_cogd.page.picture import Box, Picture, Publish
from csc_cogd.restore.inpaint import inpaint
from csc_cogd.restore.report import Progress
from csc_cogd.restore.settings import Solve

CELL = 512  # pixels: what is larger is filled piece by piece
MARGIN = 32  # pixels around a piece that it is filled from
PREVIEW, FULL = Solve("fast"), Solve()


class _SupersededError(Exception):
    """Something newer is to be filled."""


class _Piece(NamedTuple):
    picture: Picture
    page: int
    box: Box
    solve: Solve


class Filler:
    """Fills parts of pages as they are asked for, the newest first."""

    def __init__(self, engine: Engine, publish: Publish):
        self._engine, self._publish = engine, publish
        self._waiting: list[_Piece] = []  # the newest last
        self._condition, self._superseded, self._closed = threading.Condition(), False, False
        self._thread = threading.Thread(target=self._work, name="csc-cogd-filler", daemon=True)
        self._thread.start()

    def ask(self, picture: Picture, page: int, box: Box) -> None:
        """Fill what is marked in a part of a page, before all that was asked for until now."""
        steps = (range(box.top, box.bottom, CELL), range(box.left, box.right, CELL))
        cells = [
            _Piece(picture, page, Box(top, left, min(top + CELL, box.bottom), min(left + CELL, box.right)), PREVIEW)
            for top, left in itertools.product(*steps)
        ]
        with self._condition:
            self._waiting = [piece for piece in self._waiting if piece._replace(solve=PREVIEW) not in cells] + cells[::-1]
            self._superseded = True
            self._condition.notify()

    def close(self) -> None:
        """Leave what is still to be filled, and end the thread."""
        with self._condition:
            self._closed = self._superseded = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        _warm_up(self._engine)
        while (piece := self._next()) is not None:
            try:
                self._fill(*piece)
                if piece.solve == PREVIEW:
                    self._put_off(piece._replace(solve=FULL))
            except _SupersededError:
                self._put_off(piece)
            except Exception as error:  # what comes next is filled all the same
                self._publish("unfilled", piece.picture, error=str(error) or type(error).__name__)

    def _next(self) -> _Piece | None:
        """Wait for what is to be filled next; None at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closed)
            self._superseded = self._closed
            return None if self._closed else self._waiting.pop()

    def _put_off(self, piece: _Piece) -> None:
        """Let a piece wait: a preview for what was asked for just now, full quality for all previews."""
        with self._condition:
            if piece not in self._waiting:
                self._waiting.insert(max(len(self._waiting) - 1, 0) if piece.solve == PREVIEW else 0, piece)

    def _fill(self, picture: Picture, page: int, box: Box, solve: Solve) -> None:
        with picture.lock:
            if not picture.is_loaded(page):  # it is filled when it is looked at again
                return
            if picture.restored_revision == picture.revision:  # all of it is there at full quality
                return
            revision, colors, mask = picture.revision, picture.view(page).image.colors, picture.mask(page)
        window = box.grown(MARGIN, mask.shape)
        while mask[window.window].all() and window != Box(0, 0, *mask.shape):
            window = window.grown(max(mask.shape) // 8 + 1, mask.shape)
        part, filled = mask[window.window], colors[window.window]
        if part.any() and not part.all():
            axis = None if colors.ndim == 2 else -1
            check = self._check_of_preview if solve == PREVIEW else self._check
            filled = inpaint(filled, part, channel_axis=axis, solve=solve, engine=self._engine, callback=check)
        inner = Box(*(a - b for a, b in zip(box, window[:2] * 2, strict=True)))
        picture.show(page, box, filled[inner.window])
        self._publish("filled", picture, page=page, box=box, revision=revision, preview=solve == PREVIEW)

    def _check(self, progress: Progress) -> None:
        if self._superseded:
            raise _SupersededError

    def _check_of_preview(self, progress: Progress) -> bool:
        """Leave out the comparison of ways to fill each hole, which takes most of the time."""
        self._check(progress)
        return progress.stage == "holes"


def _warm_up(engine: Engine) -> None:
    """Load the kernels, which takes seconds, before anybody waits for them."""
    picture = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    inpaint(picture, np.eye(64), solve=PREVIEW, engine=engine)
