"""What the page is about: the pictures of a folder, and what is asked of them. It outlives windows that are closed."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from csc_cogd.batch.inputs import expand_inputs, place_outputs
from csc_cogd.batch.tasks import TASKS
from csc_cogd.detect.detect import detect_damage
from csc_cogd.detect.dust import find_dust
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.imagefiles import ImageFile, open_images
from csc_cogd.imagefiles.infrared import split_infrared
from csc_cogd.page.filling import Filler
from csc_cogd.page.picture import Box, Event, Picture, View
from csc_cogd.page.pyramid import TILE, thumbnail
from csc_cogd.page.restoring import Asked, Restorer
from csc_cogd.storage import Json

IN_MEMORY = 2  # pictures
MOST_CANDIDATES = 5000
LARGEST_SEARCH = 1500 * 1500  # pixels, so that it takes seconds and little memory
LARGEST_TRIAL = 512 * 512
THUMBNAIL = 192  # pixels
SQUARE = np.ones((3, 3), bool)


class Session:
    """The pictures that are painted on.

    Parameters
    ----------
    path : Path
        A picture, or a folder of some: masks and results among them are left out.
    axes : str, optional
        See :func:`csc_cogd.imagefiles.open_images`.
    engine : Engine, optional

    Attributes
    ----------
    publish : callable
        Hears of events, as JSON can hold them.

    Raises
    ------
    InputError
        If there is no picture, or the only one can't be read.
    """

    def __init__(self, path: Path, *, axes: str | None = None, engine: Engine | None = None):
        self.title = path.resolve().name
        self.pictures = [Picture(file, axes) for file in _pictures(path)]
        if not path.is_dir():
            with open_images(path, axes=axes):
                pass
            self.pictures[0].view(0)
        self.publish: Callable[[dict[str, Json]], object] = lambda about: None
        self._folder = tempfile.TemporaryDirectory(prefix="csc-cogd-paint-")
        root = (path if path.is_dir() else path.parent).resolve()
        self.restorer = Restorer(Path(self._folder.name), root, engine or Engine(), self._tell)
        self._filler = Filler(engine or Engine(), self._tell)
        self._thumbnails: dict[Picture, tuple[int, bytes]] = {}
        self._reading = threading.Lock()
        self._recent: list[Picture] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.restorer.close()
        self._filler.close()
        self._folder.cleanup()

    @property
    def unkept(self) -> list[Picture]:
        """Pictures with strokes that are nowhere in a file."""
        done = ((picture, (picture.kept_revision, picture.saved_revision)) for picture in self.pictures)
        return [picture for picture, revisions in done if picture.revision not in revisions and picture.marked]

    def overview(self) -> dict[str, Json]:
        """Return the names and states of all pictures."""
        rows = [{"name": picture.path.name, "state": _state(picture)} for picture in self.pictures]
        return {"title": self.title, "pictures": rows, "busy": self.restorer.busy}

    def describe(self, number: int, page: int) -> dict[str, Json]:
        """Return what the page shows of a picture."""
        picture = self._picture(number)
        is_new = not picture.is_loaded(page)
        with picture.lock:
            view, mask = self._in_memory(picture).view(page), picture.mask(page)
            height, width = mask.shape
            if is_new and picture.restored_revision != picture.revision and mask.any():
                self._filler.ask(picture, page, _bounds(mask))
            return {
                "name": picture.path.name, "pages": picture.n_pages, "width": width, "height": height, "tile": TILE,
                "levels": len(view.before.levels), "version": picture.version, "revision": picture.revision,
                "state": _state(picture), "about": _about(view), "target": picture.target.name,
                "channels": _n_channels(view.image), "channel": view.channel, "trial": _trial(picture, page),
                "notes": [*picture.notes, *filter(None, [view.note])],
            }  # fmt: skip

    def tile(self, number: int, page: int, layer: str, level: int, row: int, column: int) -> bytes:
        """Return a tile of a page ``"before"`` or ``"after"``, as PNG."""
        picture = self._picture(number)
        with picture.lock:
            view = self._in_memory(picture).view(page)
            return (view.before if layer == "before" else view.after).tile(level, row, column)

    def thumbnail(self, number: int) -> bytes:
        """Return a small picture of the first page, as PNG."""
        picture = self._picture(number)
        picture.notice_changes()
        version, content = self._thumbnails.get(picture, (-1, b""))
        if version != picture.version:
            with self._reading, open_images(picture.path, axes=picture.axes) as pages:  # one at a time, for the memory
                levels = View(pages.read(0)).before.levels
            large_enough = [level for level in levels if max(level.shape) >= THUMBNAIL]
            content = thumbnail((large_enough or levels)[-1], THUMBNAIL)
            self._thumbnails[picture] = picture.version, content
        return content

    def mask(self, number: int, page: int) -> bytes:
        """Return what is marked in a page, packed."""
        return self._picture(number).packed_mask(page)

    def change_mask(self, number: int, page: int, revision: int, place: Box, bits: bytes, fill: bool) -> int:
        """Set what is marked in a part of a page, have it filled if that is wanted, and return the new revision."""
        picture = self._picture(number)
        revision = picture.change_mask(page, revision, place, bits)
        self.restorer.outdate(picture)
        if fill:
            self._filler.ask(picture, page, place)
        self._tell(Event("mask", picture, page, revision=revision))
        return revision

    def show_channel(self, number: int, channel: int | None) -> None:
        """Show one channel of a picture only; None for all."""
        picture = self._picture(number)
        picture.show_channel(channel)
        self._tell(Event("channel", picture))

    def inverted(self, number: int, page: int) -> bytes:
        """Return what isn't marked, packed."""
        return np.packbits(~self._picture(number).mask(page)).tobytes()

    def flooded(self, number: int, page: int, x: int, y: int, marks: bool) -> bytes:
        """Return what would be marked, or not, if the area around a pixel were filled as far as its outline, packed.

        Raises
        ------
        InputError
            If there is no such pixel, or no closed outline.
        """
        mask = self._picture(number).mask(page)
        if not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]):
            raise InputError("", "must lie in the picture", subject="the place")
        areas, _ = label(mask != marks)
        inside = areas == areas[y, x] if areas[y, x] else np.zeros_like(mask)
        if 2 * np.count_nonzero(inside) > mask.size:
            raise InputError("", "isn't closed: nothing is filled", "close it", "the outline")
        return np.packbits(np.where(inside, marks, mask)).tobytes()

    def grown(self, number: int, page: int, by: int) -> bytes:
        """Return what would be marked if it were grown by some pixels in every direction, packed."""
        if not 1 <= by <= 100:
            raise InputError("by", f"must be from 1 to 100 pixels, got {by}")
        return np.packbits(binary_dilation(self._picture(number).mask(page), SQUARE, iterations=by)).tobytes()

    def read_mask(self, number: int, page: int, path: Path) -> bytes:
        """Return what a mask file marks, packed."""
        return np.packbits(self._picture(number).missing(page, path)).tobytes()

    def candidates(self, number: int, page: int, place: Box, kind: str, sensitivity: float) -> dict[str, Json]:
        """Return what looks like damage in a part of a page: of each, its box, and runs of row, first and last column.

        Parameters
        ----------
        number, page : int
        place : Box
        kind : {"dust", "pixels"}
            Dust, hairs and scratches; or bad pixels, columns and rows.
        sensitivity : float
            From 0 to 1.

        Raises
        ------
        InputError
            If there is no such kind or part, or too many are found.
        """
        if kind not in FINDERS:
            raise InputError("kind", f"must be {' or '.join(FINDERS)}, got {kind!r}")
        image = self._in_memory(self._picture(number)).view(page).image
        part = image.colors[place.window]
        if 0 in part.shape or part.shape[0] * part.shape[1] > LARGEST_SEARCH:
            raise InputError("", f"must have from 1 to {LARGEST_SEARCH} pixels", subject="the part to search")
        summary, labels = FINDERS[kind](image, place, sensitivity)
        boxes = find_objects(labels)
        if len(boxes) > MOST_CANDIDATES:
            raise InputError("", f"{len(boxes)} places look like damage", "search less keenly")
        places = [_candidate(labels[box] == i, place, box) for i, box in enumerate(boxes, 1)]
        places.sort(key=lambda found: found.box.size)  # the smallest first: a click takes the first one
        return {"summary": summary, "places": [found._asdict() for found in places]}

    def try_part(self, number: int, page: int, place: Box, asked: Asked) -> None:
        """Begin to do a task on a part of a page, for the eye."""
        picture = self._picture(number)
        height, width = self._in_memory(picture).view(page).image.pixels[place.window].shape[:2]
        if not 0 < height * width <= LARGEST_TRIAL:
            raise InputError("", f"must have from 1 to {LARGEST_TRIAL} pixels", subject="the part to try it on")
        self.restorer.try_part(picture, page, Box(place.top, place.left, place.top + height, place.left + width), asked)

    def trial(self, number: int) -> bytes:
        """Return what was tried last, as PNG."""
        trial = self._picture(number).trial
        if trial is None:
            raise InputError("", "nothing was tried")
        return trial.content

    def drop_trial(self, number: int) -> None:
        """Forget what was tried."""
        self._picture(number).trial = None

    def restore(self, number: int, effort: str) -> None:
        """Begin to restore a picture at full quality."""
        self.restorer.start(self._picture(number), Asked(effort=effort))

    def keep(self, number: int, asked: Asked, overwrite: bool) -> None:
        """Begin to keep the result of a task, and the picture's mask; what isn't there yet is made first."""
        self.restorer.start(self._picture(number), asked, keep=True, overwrite=overwrite)

    def save_mask(self, number: int, overwrite: bool) -> str:
        """Write what is marked in a picture beside it, and return the file's name."""
        picture = self._picture(number)
        self.restorer.save_mask(picture, overwrite)
        return picture.mask_path.name

    def _picture(self, number: int) -> Picture:
        if not 0 <= number < len(self.pictures):
            raise InputError("", f"there is no picture {number}")
        return self.pictures[number]

    def _in_memory(self, picture: Picture) -> Picture:
        """Return a picture; others that weren't looked at for longest leave the memory."""
        if picture not in self._recent[-1:]:
            self._recent = [*(other for other in self._recent if other is not picture), picture]
            while len(self._recent) > IN_MEMORY:
                self._recent.pop(0).release()
        return picture

    def _tell(self, event: Event) -> None:
        picture = {"picture": self.pictures.index(event.picture), "state": _state(event.picture)}
        self.publish({name: value for name, value in vars(event).items() if value is not None} | picture)


def _pictures(path: Path) -> list[Path]:
    """Return the picture, or those of the folder that aren't masks or results of others, nor links out of it."""
    if not path.is_dir():
        return [path]
    found = [image for image in expand_inputs([path]).images if path.resolve() in image.path.resolve().parents]
    stems = {image.path.stem for image in found}
    images = [image for image in found if not _is_mask(image.path.stem, stems)]
    for task in TASKS.values():
        images = place_outputs(images, None, task.ending).inputs
    return [image.path for image in images]


def _is_mask(stem: str, stems: set[str]) -> bool:
    return stem.endswith("_mask") and stem.removesuffix("_mask") in stems


def _state(picture: Picture) -> str:
    """Return a picture's state in a word."""
    if picture.revision == picture.kept_revision and picture.target.exists():
        return "kept"
    if picture.revision == picture.restored_revision:
        return "restored"
    return "painted" if picture.marked else "untouched"


def _n_channels(image: ImageFile) -> int:
    return 1 if image.colors.ndim == 2 else image.colors.shape[2]


def _trial(picture: Picture, page: int) -> Box | None:
    """Return where something was tried, if it was on that page."""
    return picture.trial.box if picture.trial is not None and picture.trial.page == page else None


def _find_dust(image: ImageFile, place: Box, sensitivity: float) -> tuple[str, np.ndarray]:
    """Return a summary of the dust in a part of a page, and labels; by infrared, where the scan has such a channel."""
    colors, infrared = split_infrared(image)
    part = colors[place.window]
    found = find_dust(
        part, channel_axis=None if part.ndim == 2 else -1, infrared=None if infrared is None else infrared[place.window],
        sensitivity=sensitivity, threads=1,  # each takes much memory
    )  # fmt: skip
    return found.summary(), found.labels


def _find_pixels(image: ImageFile, place: Box, sensitivity: float) -> tuple[str, np.ndarray]:
    """Return a summary of the bad pixels, columns and rows in a part of a page, and labels."""
    if not 0 <= sensitivity <= 1:
        raise InputError("sensitivity", f"must be a number from 0 to 1, got {sensitivity}")
    part = image.observed[place.window]
    found = detect_damage(part, channel_axis=None if part.ndim == 2 else -1, sensitivity=10 ** (2 * sensitivity - 1))
    return found.summary(), label(found.mask if found.mask.ndim == 2 else found.mask.any(axis=2), SQUARE)[0]


FINDERS = {"dust": _find_dust, "pixels": _find_pixels}


def _about(view: View) -> str:
    pixels, channels = view.image.colors, _n_channels(view.image)
    kind = f"{8 * pixels.dtype.itemsize} bits" if pixels.dtype.kind in "iub" else f"{pixels.dtype}"
    return f"{pixels.shape[1]} x {pixels.shape[0]}, {kind}, {channels} channel{'' if channels == 1 else 's'}"


def _bounds(mask: np.ndarray) -> Box:
    """Return the smallest box around all that is marked."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


class _Candidate(NamedTuple):
    box: Box
    runs: list[int]


def _candidate(marked: np.ndarray, place: Box, part: tuple[slice, slice]) -> _Candidate:
    """Describe what is marked in a part of a place."""
    top, left = place.top + part[0].start, place.left + part[1].start
    edges = np.diff(marked.astype(np.int8), axis=1, prepend=0, append=0)
    (rows, starts), (_, stops) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    runs = np.stack([rows + top, starts + left, stops + left - 1], axis=1)
    return _Candidate(Box(top, left, top + marked.shape[0], left + marked.shape[1]), runs.ravel().tolist())
