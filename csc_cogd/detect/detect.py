"""Finding what is damaged: dead and hot pixels, columns and rows of a sensor, and impulses."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, median_filter

from csc_cogd.backend import from_gpu
from csc_cogd.detect.lines import Line, find_columns
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, with_hints
from csc_cogd.restore.impulses import ImpulseSearch
from csc_cogd.restore.observation import Observation, frames_of
from csc_cogd.restore.peaks import THRESHOLD, deviations, find_peaks
from csc_cogd.restore.report import Reporter
from csc_cogd.restore.settings import Tiling

KINDS = ("pixels", "columns", "rows", "impulses")
LISTED = 12  # columns or rows that are named


@dataclass(frozen=True, eq=False)
class Detection:
    """What :func:`detect_damage` found.

    Attributes
    ----------
    mask : bool array
        Of one image's shape; what is damaged, missing pixels not included. As `mask` of :func:`csc_cogd.inpaint`.
    hot_pixels, dead_pixels, impulses : int arrays (n, 2)
        Row and column of each, in any channel, outside of bad columns and rows; impulses without hot and dead pixels.
    columns, rows : tuples of Line
        Bad columns and rows, or parts of them.
    texture : float
        Share of the values that stand out like impulses, but lie together as texture does: they aren't in the mask.
    """

    mask: np.ndarray
    hot_pixels: np.ndarray
    dead_pixels: np.ndarray
    impulses: np.ndarray
    columns: tuple[Line, ...]
    rows: tuple[Line, ...]
    texture: float = 0.0

    def __repr__(self) -> str:
        return f"Detection({self.summary()})"

    def summary(self) -> str:
        """What was found, in words, such as ``"412 hot and 37 dead pixels, 3 columns (12, 400, 401)"``."""
        found = []
        hot, dead = len(self.hot_pixels), len(self.dead_pixels)
        if hot or dead:
            counts = [f"{n} {kind}" for n, kind in ((hot, "hot"), (dead, "dead")) if n]
            found.append(" and ".join(counts) + (" pixel" if hot + dead == 1 else " pixels"))
        for lines, kind in ((self.columns, "column"), (self.rows, "row")):
            if lines:
                numbers = sorted({line.index for line in lines})
                text = ", ".join(map(str, numbers[:LISTED])) + (", ..." if len(numbers) > LISTED else "")
                found.append(f"{len(numbers)} {kind}{'' if len(numbers) == 1 else 's'} ({text})")
        if len(self.impulses):
            found.append(f"{len(self.impulses)} impulse{'' if len(self.impulses) == 1 else 's'}")
        return ", ".join(found) or "nothing"


@with_hints()
def detect_damage(
    image: Any,
    *,
    mask: Any = None,
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    kinds: Sequence[str] = ("pixels", "columns", "rows"),
    sensitivity: float = 1.0,
    mask_polarity: str = "missing",
) -> Detection:
    """Find dead and hot pixels, columns and rows that are off or stuck, and impulses.

    Pixels must stand out from all eight neighbors, and columns and rows from both sides, further than noise and texture
    let others do that, and without the glow that a lens gives to small things: see
    :mod:`csc_cogd.restore.peaks` and :mod:`csc_cogd.detect.lines`. What is nothing of the kind, but left out
    by chance, is rarer than one in 100,000 pixels of noisy pictures. Thin straight lines of the scene that follow a column
    or row, as in print and drawings, can be taken for damage.

    In a stack, frames of different scenes from one sensor, what is wrong at the same place in every frame is found: much
    weaker damage than in one picture.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`, frames along `stack_axis`, or both
        Integers or floats of any range. NaN, what `mask` marks, and what is masked by ``numpy.ma`` isn't looked at.
    mask : array, optional
        Of one frame's shape, or (H, W). What is missing in every frame.
    channel_axis, stack_axis : int, optional
        Axis of the channels, and of the frames; default: a gray image, a single one.
    kinds : sequence of {"pixels", "columns", "rows", "impulses"}
        What to look for. Impulses, many corrupted pixels as of salt and pepper, are found as by
        :func:`csc_cogd.denoise`, which takes seconds; single pictures only.
    sensitivity : float
        Twice as much finds deviations half as large, and more of the picture's own detail.
    mask_polarity : {"missing", "valid"}
        What non-zero means in `mask`.

    Returns
    -------
    Detection
        Its `mask` has the shape of one frame.

    Raises
    ------
    InputError
        If the image isn't one, or an argument doesn't fit; the message says which.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).normal(100, 2, (64, 64))
    >>> image[20, 30], image[:, 40] = 200, 0
    >>> detect_damage(image).summary()
    '1 hot pixel, 1 column (40)'
    """
    image, mask = from_gpu(image), from_gpu(mask)
    frames: Iterable[Any] = [image]
    if stack_axis is not None:
        frames, channel_axis = frames_of(image, stack_axis, channel_axis)
    return detect_in_frames(
        frames, mask=mask, channel_axis=channel_axis, kinds=kinds, sensitivity=sensitivity, mask_polarity=mask_polarity
    )


def detect_in_frames(
    frames: Iterable[Any],
    *,
    mask: Any = None,
    channel_axis: int | None = None,
    kinds: Sequence[str] = ("pixels", "columns", "rows"),
    sensitivity: float = 1.0,
    mask_polarity: str = "missing",
) -> Detection:
    """As :func:`detect_damage`, of frames that are read one by one, so that any number fits into memory."""
    if isinstance(kinds, str) or not kinds or not set(kinds) <= set(KINDS):
        raise InputError("kinds", f"must be some of {', '.join(KINDS)}, got {kinds!r}")
    if not isinstance(sensitivity, Real) or not 0 < sensitivity <= 100:
        raise InputError("sensitivity", f"must be a positive number <= 100, got {sensitivity!r}")
    threshold = THRESHOLD / float(sensitivity)
    checked = _checked(frames, mask, channel_axis, mask_polarity)
    start = list(itertools.islice(checked, 2))
    if not start:
        raise InputError("image", "must have at least one frame")
    pixels, known = start[0]
    average = _Average(planes := _filled(pixels, known), planes, known, {1: known, -1: known})
    if len(start) > 1:
        if "impulses" in kinds:
            raise InputError("kinds", "must not have impulses for several frames, as they are elsewhere in each")
        average = _average(itertools.chain(start, checked), threshold)

    hot, dead, impulses, on_lines = (np.zeros(known.shape, bool) for _ in range(4))
    lines: dict[str, list[Line]] = {"columns": [], "rows": []}
    texture = 0.0
    for channel, plain in enumerate(average.plain):
        for kind, turned in (("columns", np.asarray), ("rows", np.transpose)):
            if kind in kinds:
                usable = average.known[channel] & ~on_lines[channel]
                for line in find_columns(turned(plain), turned(usable), threshold):
                    lines[kind].append(replace(line, channel=channel))
                    turned(on_lines[channel])[line.start : line.stop, line.index] = True
        if "pixels" in kinds:
            usable = average.known[channel] & ~on_lines[channel]
            for found, sign in ((hot, 1), (dead, -1)):
                peaks = find_peaks(sign * average.deviations[channel], usable, threshold, recurring=len(start) > 1)
                found[channel] = peaks & average.lasting[sign][channel]
    if "impulses" in kinds:
        search = ImpulseSearch(Tiling(), Engine(), Reporter())
        impulses, texture = search.find(Observation(pixels, ~known | on_lines), None)
        impulses &= ~hot & ~dead

    def as_image(planes: np.ndarray) -> np.ndarray:
        return planes[0] if channel_axis is None else np.moveaxis(planes, 0, channel_axis)

    return Detection(
        as_image(hot | dead | impulses | on_lines), *(np.argwhere(kind.any(axis=0)) for kind in (hot, dead, impulses)),
        tuple(lines["columns"]), tuple(lines["rows"]), texture,
    )  # fmt: skip


def _checked(
    frames: Iterable[Any], mask: Any, channel_axis: int | None, mask_polarity: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames as (C, H, W), all of one shape, and which of their pixels are known."""
    shape = None
    for number, frame in enumerate(frames):
        try:
            given = Observation.of(frame, mask, channel_axis=channel_axis, mask_polarity=mask_polarity, complete=True)
            pixels, missing = given.planes, given.missing
            if pixels.dtype.kind == "b":
                raise InputError("image", "must not be bilevel", "convert it to 8 bits first")
            shape = shape or pixels.shape
            if pixels.shape != shape:
                raise InputError("image", "differs from the first one in size or channels", "give frames of one sensor")
        except InputError as error:
            raise error.about(f"frame {number}") if number else error from None
        yield pixels, ~missing


def _filled(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """As floats, with the nearest known values where nothing is known."""
    planes = pixels.astype(np.result_type(pixels.dtype, np.float32))
    for plane, k in zip(planes, known, strict=True):
        if not k.all():
            nearest = distance_transform_edt(~k, return_distances=False, return_indices=True)
            plane[:] = plane[tuple(nearest)]
    return planes


@dataclass(frozen=True, eq=False)
class _Average:
    """What frames (C, H, W) have in common, see :func:`_average`."""

    plain: np.ndarray
    deviations: np.ndarray
    known: np.ndarray
    lasting: dict[int, np.ndarray]


def _average(frames: Iterable[tuple[np.ndarray, np.ndarray]], threshold: float) -> _Average:
    """Average frames that weigh by their noise.

    A cosmic ray in one frame, however bright, mustn't look like a hot pixel. So of the deviations from each frame's own
    background the largest and the smallest are left out of the average, pixel by pixel; of two, the one nearer to zero
    counts. And in `lasting`, pixels are above (1) or below (-1) the median of the nine around, which a hot pixel beside a
    fainter one doesn't lift, in nearly all of few frames, in significantly more than half of many. Known is what is known in
    at least half of them.
    """
    n_frames, plain, total, inside, known_in, above, below = 0, *(np.zeros(()) for _ in range(6))
    low, high = np.array(np.inf), np.array(-np.inf)
    for pixels, known in frames:
        planes = _filled(pixels, known)
        parts, noise = zip(*(deviations(plane, k, threshold) for plane, k in zip(planes, known, strict=True)), strict=True)
        weights = np.array([1 / n if 0 < n < np.inf else 1.0 for n in noise])[:, None, None]
        part = weights * np.stack(parts)
        plain, total, inside = plain + weights * planes, total + weights, inside + part
        low, high = np.minimum(low, part), np.maximum(high, part)
        around = median_filter(planes, (1, 3, 3))
        above, below = above + (planes > around), below + (planes < around)
        known_in, n_frames = known_in + known, n_frames + 1
    nearer = np.where(low > 0, low, np.where(high < 0, high, 0))
    common = nearer if n_frames == 2 else (inside - low - high) / (n_frames - 2)
    enough = min(n_frames, n_frames / 2 + 1.5 * n_frames**0.5)
    lasting = {1: above >= enough, -1: below >= enough}
    return _Average(plain / total, common, 2 * known_in >= n_frames, lasting)
