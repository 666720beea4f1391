"""A picture file that is painted on: its pages as they are shown, and what is marked in each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.batch.inputs import Input, place_outputs
from csc_cogd.batch.job import Settings
from csc_cogd.batch.tasks import TASKS
from csc_cogd.errors import InputError
from csc_cogd.imagefiles import ImageFile, MaskRules, create_images, find_missing, open_images
from csc_cogd.imagefiles.masks import in_any_channel
from csc_cogd.page.pyramid import Pyramid
from csc_cogd.report.pictures import to_bytes, tone_range, visible


class ConflictError(Exception):
    """What is asked for belongs to another state than the present one."""


class Box(NamedTuple):
    """A part of a page, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The part as an index."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> int:
        """Pixels in it."""
        return (self.bottom - self.top) * (self.right - self.left)

    def grown(self, by: int, shape: tuple[int, ...]) -> Box:
        """Return the box with a margin, within a page of this shape."""
        bottom, right = min(self.bottom + by, shape[0]), min(self.right + by, shape[1])
        return Box(max(self.top - by, 0), max(self.left - by, 0), bottom, right)


class View:
    """A page in memory: as it was read, and for the eye, before and after.

    Attributes
    ----------
    image : ImageFile
    channel : int, optional
        The only one that is shown.
    before : Pyramid
    note : str
        What isn't shown of it.
    """

    def __init__(self, image: ImageFile, channel: int | None = None):
        self.image, self.channel = image, channel
        pixels, self.note = self._visible(image.colors)
        known = np.isfinite(pixels).all(axis=2) if pixels.dtype.kind == "f" else np.ones(pixels.shape[:2], bool)
        self._tones = tone_range(pixels, known)
        self.before = Pyramid(to_bytes(pixels, self._tones))
        self._after: Pyramid | None = None

    @property
    def after(self) -> Pyramid:
        """The page with what has been filled so far."""
        if self._after is None:
            self._after = Pyramid(self.before.levels[0].copy())
        return self._after

    def show(self, place: Box, colors: np.ndarray) -> None:
        """Put colors, (h, w) or (h, w, C), into the page after."""
        self.after.put(place.top, place.left, self.to_bytes(colors))

    def clear(self) -> None:
        """Let the page after be as before."""
        self._after = None

    def show_all(self, colors: np.ndarray) -> None:
        """Let colors of the page's size be the page after; not copied where they needn't be."""
        self._after = Pyramid(np.require(self.to_bytes(colors), requirements="W"))

    def to_bytes(self, colors: np.ndarray) -> np.ndarray:
        """Return colors, (h, w) or (h, w, C), as the page is shown, in 8 bits."""
        return to_bytes(self._visible(colors)[0], self._tones)

    def _visible(self, colors: np.ndarray) -> tuple[np.ndarray, str]:
        pixels = colors if colors.ndim == 3 else colors[..., None]
        return visible(pixels) if self.channel is None else (pixels[..., [self.channel]], "")


class Trial(NamedTuple):
    """What another task than filling made of a part of a page, for the eye."""

    page: int
    box: Box
    content: bytes


class Picture:
    """A picture file, and what is marked as missing in its pages.

    Every change of a mask gives the picture a new revision; what was made of it is of one of them.

    Attributes
    ----------
    path : Path
    version : int
        How often the file has changed.
    revision, restored_revision, kept_revision, saved_revision : int
        The present one, and those of which the result was made, the result was kept, and only the mask was.
    restored : Path, optional
        The result of the last restoration, in a file of our own.
    restored_by : Settings
    trial : Trial, optional
        What was tried last, unless it was painted over.
    channel : int, optional
        The only one that is shown.
    lock : RLock
        Held by who changes or reads any of this.
    """

    def __init__(self, path: Path, axes: str | None = None):
        self.path, self.axes, self.lock = path, axes, threading.RLock()
        self.revision = self.kept_revision = self.saved_revision = self.version = 0
        self.restored: Path | None = None
        self.restored_revision, self.restored_by = -1, Settings()
        self.trial: Trial | None = None
        self.channel: int | None = None
        self.n_pages = 0
        self.notes: list[str] = []
        self._masks: dict[int, tuple[np.ndarray, tuple[int, int]]] = {}  # bits, packed, and the page's height and width
        self._views: dict[int, View] = {}
        self._signature: Any = None

    @property
    def target(self) -> Path:
        """Where the filled picture belongs."""
        return self.target_of("inpaint")

    def target_of(self, task: str) -> Path:
        """Return where the result of a task belongs: beside the picture, as the command of that name calls it."""
        return place_outputs([Input(self.path)], None, TASKS[task].ending).targets[0]

    @property
    def mask_path(self) -> Path:
        """Where the mask belongs: beside the picture."""
        return self.path.with_name(f"{self.path.stem}_mask{'.tif' if self.n_pages > 1 else '.png'}")

    @property
    def marked(self) -> bool:
        """Whether anything is marked in any page that has been opened."""
        return any(bits.any() for bits, _ in self._masks.values())

    def is_loaded(self, page: int) -> bool:
        """Whether a page is in memory."""
        return page in self._views

    def view(self, page: int) -> View:
        """Return a page, read if it isn't in memory.

        Raises
        ------
        InputError
            If it can't be read.
        """
        with self.lock:
            self.notice_changes()
            if page not in self._views:
                with open_images(self.path, axes=self.axes) as pages:
                    self.n_pages = len(pages)
                    image = pages.read(page)
                self._views = {page: View(image, self.channel)}
                self._find_mask(page, image)
                self._show_restored(page)
            return self._views[page]

    def show(self, page: int, place: Box, colors: np.ndarray) -> None:
        """Put colors into a page after, if it is in memory."""
        with self.lock:
            if page in self._views:
                self._views[page].show(place, colors)

    def show_channel(self, channel: int | None) -> None:
        """Show one channel only; None for all.

        Raises
        ------
        InputError
            If there is no such channel.
        """
        with self.lock:
            colors = self.view(next(iter(self._views), 0)).image.colors
            if channel is not None and not (colors.ndim == 3 and 0 <= channel < colors.shape[2]):
                raise InputError("channel", f"{channel} isn't one of the picture")
            self.channel = channel
            self._views.clear()
            self.trial = None

    def release(self) -> None:
        """Take the pages out of memory."""
        with self.lock:
            self._views.clear()

    def notice_changes(self) -> bool:
        """Forget what was read from a file that has changed since; masks that still fit stay.

        Raises
        ------
        InputError
            If the file is gone.
        """
        with self.lock:
            try:
                status = self.path.stat()
            except OSError as error:
                raise InputError("", f"can't be read: {error.strerror}", subject=self.path.name) from None
            signature = (status.st_mtime_ns, status.st_size)
            changed = self._signature not in (None, signature)
            self._signature = signature
            if changed:
                self._views.clear()
                self.restored_revision, self.restored, self.trial = -1, None, None
                self.channel = None
                self.version += 1
                self.revision += 1
            return changed

    def mask(self, page: int) -> np.ndarray:
        """Return what is marked in a page, (H, W) bool."""
        with self.lock:
            if page not in self._masks:
                self.view(page)
            bits, shape = self._masks[page]
            return np.unpackbits(bits, count=shape[0] * shape[1]).view(bool).reshape(shape)

    def packed_mask(self, page: int) -> bytes:
        """Return what is marked in a page, eight pixels a byte, the first one in the highest bit."""
        with self.lock:
            self.view(page)
            return self._masks[page][0].tobytes()

    def change_mask(self, page: int, revision: int, place: Box, bits: bytes) -> int:
        """Set what is marked in a part of a page, and return the new revision.

        Raises
        ------
        ConflictError
            If `revision` isn't the present one: somebody else painted meanwhile.
        InputError
            If the part isn't one of the page, or the bits aren't as many.
        """
        with self.lock:
            shape = self.view(page).image.pixels.shape[:2]
            if revision != self.revision:
                raise ConflictError("the mask was changed in another window")
            height, width = place.bottom - place.top, place.right - place.left
            inside = 0 <= place.top < place.bottom <= shape[0] and 0 <= place.left < place.right <= shape[1]
            if not inside or len(bits) != -(-height * width // 8):
                raise InputError("", "isn't a part of the picture, or has too few or too many bits", subject="the change")
            mask = self.mask(page)
            part = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
            mask[place.window] = part.reshape(height, width)
            self._masks[page] = _packed(mask)
            self.revision += 1
            self.trial = None
            return self.revision

    def write_mask(self, path: Path, *, overwrite: bool) -> None:
        """Write what is marked, 8 bits, 255 where something is; of several pages, a page for each."""
        with create_images(path, range(self.n_pages), overwrite=overwrite) as writer:
            for page in range(self.n_pages):
                writer.write(ImageFile(self.mask_of_unopened(page) * np.uint8(255), path, "png"))

    def mask_of_unopened(self, page: int) -> np.ndarray:
        """Return the mask of a page without keeping the page in memory."""
        with self.lock:
            if page not in self._masks:
                with open_images(self.path, axes=self.axes) as pages:
                    self._find_mask(page, pages.read(page))
            return self.mask(page)

    def has_version(self, version: int) -> bool:
        """Return whether the file is still as it was then."""
        with self.lock:
            self.notice_changes()
            return version == self.version

    def set_restored(self, path: Path, revision: int, settings: Settings) -> None:
        """Take in the result of a restoration of a revision."""
        with self.lock:
            self.restored, self.restored_revision, self.restored_by = path, revision, settings
            for page in self._views:
                self._show_restored(page)

    def missing(self, page: int, mask: Path) -> np.ndarray:
        """Return what a mask file marks in a page, and what the page itself says is missing, (H, W) bool.

        Raises
        ------
        InputError
            If the mask can't be read, or isn't of the page's size.
        """
        image = self.view(page).image
        return in_any_channel(find_missing(image, MaskRules(mask), page=page, n_pages=self.n_pages, complete=True).touched)

    def _find_mask(self, page: int, image: ImageFile) -> None:
        """Begin with the mask that was kept beside the picture, if it fits, and with what the page says is missing."""
        if page in self._masks and self._masks[page][1] == image.pixels.shape[:2]:
            return
        beside = self.mask_path if self.mask_path.is_file() else None
        self.notes = []
        for path in dict.fromkeys((beside, None)):
            try:
                found = find_missing(image, MaskRules(path), page=page, n_pages=self.n_pages, complete=True)
                self._masks[page] = _packed(in_any_channel(found.touched))
                return
            except InputError as error:
                self.notes = [str(error)]
        self._masks[page] = _packed(np.zeros(image.pixels.shape[:2], bool))  # as all of it is missing

    def _show_restored(self, page: int) -> None:
        if self.restored is None or self.restored_revision != self.revision:
            return
        view = self._views[page]
        view.clear()  # before another picture of that size is in memory
        with suppress(InputError), open_images(self.restored, axes=self.axes) as pages:
            view.show_all(pages.read(page).colors)


@dataclass(frozen=True)
class Event:
    """What windows hear of a picture. What doesn't belong to its kind is None.

    Attributes
    ----------
    kind : str
        "mask", "channel", "filled", "unfilled", "progress", "restored", "tried", "kept", "canceled" or "failed".
    picture : Picture
    page, box : int, Box
        What has changed.
    revision : int
        Of the mask.
    preview : bool
        It is filled better later.
    stage, done, total : str, int, int
        How far a task is.
    seconds : float
    warnings : list of str
    error : str
    files : list of str
        Names of what was written.
    """

    kind: str
    picture: Picture
    page: int | None = None
    box: Box | None = None
    revision: int | None = None
    preview: bool | None = None
    stage: str | None = None
    done: int | None = None
    total: int | None = None
    seconds: float | None = None
    warnings: list[str] | None = None
    error: str | None = None
    files: list[str] | None = None


Publish = Callable[[Event], None]
"""Tells the windows of an event."""


def _packed(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    height, width = mask.shape
    return np.packbits(mask), (height, width)
