"""What is painted over, filled while one paints: the newest stroke first, quickly, in a thread of its own.

When one pauses, what was filled quickly is filled again at full quality, by another thread, which a stroke needn't wait for.
"""

from __future__ import annotations

import itertools
import threading
from typing import NamedTuple

import numpy as np

from csc_cogd.engine import Engine
from csc_cogd.page.picture import Box, Event, Picture, Publish
from csc_cogd.restore.inpaint import inpaint
from csc_cogd.restore.report import Progress
from csc_cogd.restore.settings import Solve

CELL = 512  # pixels: what is larger is filled piece by piece
MARGIN = 32  # pixels around a piece that it is filled from
PREVIEW, FULL = Solve("fast"), Solve()
PAUSE = 0.5  # seconds


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
        self._waiting: dict[Solve, list[_Piece]] = {PREVIEW: [], FULL: []}  # the newest last
        self._condition, self._closed = threading.Condition(), False
        self._n_asked = 0  # times that something was asked for,
        self._n_begun = {PREVIEW: 0, FULL: 0}  # and how many these were when the present pieces were begun
        self._previewing = False
        self._threads = [
            threading.Thread(target=self._work, args=(solve,), name="csc-cogd-filler", daemon=True)
            for solve in (PREVIEW, FULL)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, picture: Picture, page: int, box: Box) -> None:
        """Fill what is marked in a part of a page, before all that was asked for until now."""
        steps = (range(box.top, box.bottom, CELL), range(box.left, box.right, CELL))
        cells = [
            _Piece(picture, page, Box(top, left, min(top + CELL, box.bottom), min(left + CELL, box.right)), PREVIEW)
            for top, left in itertools.product(*steps)
        ]
        with self._condition:
            others = [piece for piece in self._waiting[PREVIEW] if piece not in cells]
            self._waiting[PREVIEW] = others + cells[::-1]
            self._n_asked += 1
            self._condition.notify_all()

    def close(self) -> None:
        """Leave what is still to be filled, and end the threads."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, solve: Solve) -> None:
        """Fill by these settings what waits for it; previews are to be filled by others afterwards."""
        if solve == PREVIEW:
            _warm_up(self._engine)
        while (piece := self._next(solve)) is not None:
            try:
                self._fill(*piece)
                if solve == PREVIEW:
                    self._put_off(piece._replace(solve=FULL), 0)
            except _SupersededError:
                self._put_off(piece, -1 if solve == PREVIEW else 0)
            except Exception as error:  # what comes next is filled all the same
                self._publish(Event("unfilled", piece.picture, error=str(error) or type(error).__name__))

    def _next(self, solve: Solve) -> _Piece | None:
        """Wait for what is to be filled next, at full quality once there was no preview for a while; None at the end."""
        waiting = self._waiting
        with self._condition:
            if solve == PREVIEW:
                self._previewing = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: waiting[PREVIEW] or self._closed)
                self._previewing = True
            else:
                is_paused = False
                while not (is_paused or self._closed):
                    self._condition.wait_for(lambda: (waiting[FULL] and self._is_idle()) or self._closed)
                    is_paused = not self._condition.wait_for(lambda: not self._is_idle() or self._closed, PAUSE)
            self._n_begun[solve] = self._n_asked
            return None if self._closed else waiting[solve].pop()

    def _is_idle(self) -> bool:
        return not (self._previewing or self._waiting[PREVIEW])

    def _put_off(self, piece: _Piece, place: int) -> None:
        """Let a piece wait: as the last one (0), or as the one after the newest (-1)."""
        with self._condition:
            waiting = self._waiting[piece.solve]
            if piece not in waiting:
                waiting.insert(place if waiting else 0, piece)

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
            filled = inpaint(
                filled, part, channel_axis=axis, solve=solve, engine=self._engine,
                callback=lambda progress: self._check(progress, solve),
            )  # fmt: skip
        inner = Box(*(a - b for a, b in zip(box, window[:2] * 2, strict=True)))
        with picture.lock:
            if solve == FULL and picture.revision != revision:  # a preview of another mask may be there
                raise _SupersededError
            picture.show(page, box, filled[inner.window])
        self._publish(Event("filled", picture, page, box, revision, preview=solve == PREVIEW))

    def _check(self, progress: Progress, solve: Solve) -> bool:
        """Stop where something newer waits; and of previews, leave out the comparison of ways to fill each hole, which takes
        most of the time.
        """
        if self._closed or self._n_asked != self._n_begun[solve]:
            raise _SupersededError
        return solve == PREVIEW and progress.stage == "holes"


def _warm_up(engine: Engine) -> None:
    """Load the kernels, which takes seconds, before anybody waits for them."""
    picture = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    inpaint(picture, np.eye(64), solve=PREVIEW, engine=engine)
