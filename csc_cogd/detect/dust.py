"""Finding dust, hairs and scratches on a photograph.

What stands out from its surroundings, at three sizes, is measured, and gradient-boosted trees say how likely it is damage;
see :mod:`csc_cogd.detect.candidates`, :mod:`csc_cogd.detect.features` and :mod:`csc_cogd.detect.trees`. Faint scratches are
added up along their length; see :mod:`csc_cogd.detect.scratches`. How much damage a picture has is told by what is
certain: where there is hardly any, what looks like some has to be more certain, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import lru_cache
from numbers import Real
from typing import Any, NamedTuple, overload

import numpy as np
from scipy.ndimage import distance_transform_edt

from csc_cogd.backend import from_gpu
from csc_cogd.backend.windows import window_maximum
from csc_cogd.detect.candidates import Candidates
from csc_cogd.detect.detection import POLARITIES, DustDetection
from csc_cogd.detect.features import Scene, scaled
from csc_cogd.detect.frames import look_at_frame
from csc_cogd.detect.infrared import find_by_infrared
from csc_cogd.detect.scratches import faint_scratches
from csc_cogd.detect.shapes import components_of
from csc_cogd.detect.trees import Trees
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, Remark
from csc_cogd.restore.observation import Observation, as_planes, frames_of, intensity_range
from csc_cogd.restore.report import Progress, Reporter

TILE, HALO = 960, 64  # side of a tile, and of what is looked at around it
USUAL_CONFIDENCE = 0.6  # of what is marked at the usual sensitivity
SPAN = 8.0  # by which the least logit of the confidence falls from sensitivity 0 to 1
CERTAIN = 5.0  # logit of candidates that are counted, to tell how much damage there is
USUAL_COUNT = 60.0  # of them, of one polarity, in a megapixel that was learned from
FEW = 4.0  # candidates, of which there are usually so many where their number tells all
MOST_SHIFT = 5.0  # of the logits of a picture with less
HOPELESS = -5.0  # logit after a few trees, of candidates that the others needn't look at
LOG_AREA, USUAL_LOG_AREA, SIZE_COST = 0, 3.0, 0.2  # a feature; logits that a candidate e times as large must have more
STEPS, NOTHING = 16, -128  # steps of a logit that scores are kept in, and what stands for none
RIM, RIM_WIDTH = 0.12, 2  # share of the highest top-hat that the outermost pixels have, and how far out they are

Tile = tuple[slice, slice]


@overload
def find_dust(
    image: Any, *, channel_axis: int | None = None, stack_axis: None = None, infrared: Any = None, polarity: str = "both",
    sensitivity: float = 0.5, threads: int | None = None, callback: Callable[[Progress], Any] | None = None,
) -> DustDetection: ...  # fmt: skip
@overload
def find_dust(
    image: Any, *, channel_axis: int | None = None, stack_axis: int, infrared: None = None, polarity: str = "both",
    sensitivity: float = 0.5, threads: int | None = None, callback: Callable[[Progress], Any] | None = None,
) -> list[DustDetection]: ...  # fmt: skip
def find_dust(
    image: Any,
    *,
    channel_axis: int | None = None,
    stack_axis: int | None = None,
    infrared: Any = None,
    polarity: str = "both",
    sensitivity: float = 0.5,
    threads: int | None = None,
    callback: Callable[[Progress], Any] | None = None,
) -> DustDetection | list[DustDetection]:
    """Find dust, hairs and scratches on a photograph: what stands out from its surroundings as nothing of the scene does.

    Memory beyond the image's is 20 bytes a pixel and 250 MB a thread.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`, frames along `stack_axis`, or both
        Integers or floats of any range. NaN and what is masked by ``numpy.ma`` isn't looked at; frames must not have any.
    channel_axis : int, optional
        Axis of the channels; default: a gray image.
    stack_axis : int, optional
        Axis of the frames, three or more, of a film whose scene stands still, as in :func:`csc_cogd.clean`: what a frame
        has and its neighbors lack is dust.
    infrared : (H, W) array, optional
        The scanner's infrared channel, in which dust is dark and the picture isn't seen: it tells by itself, whatever the
        polarity. Where it shows the picture, a remark says so, and it isn't used.
    polarity : {"both", "dark", "light"}
        Dust on slides darkens their scans; on negatives and prints, it lightens the picture.
    sensitivity : float
        From 0 to 1; higher finds more of the damage, and more that isn't damage.
    threads : int, optional
        Default: the processors that this process may use.
    callback : callable, optional
        Called with a :class:`csc_cogd.Progress` after each tile; what it returns, if true, ends the search there.

    Returns
    -------
    DustDetection, or a list of them, one for each frame

    Raises
    ------
    InputError
        If the image isn't one, or an argument doesn't fit; the message says which.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).normal(120, 2, (96, 96))
    >>> image[40:45, 50:54] = 10
    >>> found = find_dust(image)
    >>> found.summary()
    '1 speck, 0.41% of the area'
    """
    if polarity not in POLARITIES:
        raise InputError("polarity", f"must be 'both', 'dark' or 'light', got {polarity!r}")
    if not isinstance(sensitivity, Real) or isinstance(sensitivity, bool) or not 0 <= sensitivity <= 1:
        raise InputError("sensitivity", f"must be a number from 0 to 1, got {sensitivity!r}")
    if stack_axis is not None:
        if infrared is not None:
            raise InputError("infrared", "isn't used for frames of a film", "leave it out, or give the frames one by one")
        return _in_stack(from_gpu(image), stack_axis, channel_axis, polarity, float(sensitivity), Reporter(callback))
    if np.ndim(image) > 2 + (channel_axis is not None):
        raise InputError(
            "image", f"must be a single picture, got shape {np.shape(image)}",
            "say which axis is that of the frames by {stack_axis}, if their scene stands still; else give them one by one",
        )  # fmt: skip
    observation = Observation.of(from_gpu(image), channel_axis=channel_axis, complete=True)
    if observation.planes.dtype.kind == "b":
        raise InputError("image", "must not be bilevel", "convert it to 8 bits first")
    search = _Search(observation, POLARITIES[polarity], least_logit(float(sensitivity)))

    def seen() -> np.ndarray:
        reporter, tiles = Reporter(callback), search.tiles()
        reporter.report("tiles", 0, len(tiles))
        looks = Engine(device="cpu", threads=threads).backend.each(search.look, tiles)
        for done, (tile, of_tile) in enumerate(zip(tiles, looks, strict=True), 1):
            search.remember(tile, of_tile)
            if reporter.report("tiles", done, len(tiles)):
                break
        return search.found()

    remarks: tuple[Remark, ...] = ()
    if infrared is not None:
        light = from_gpu(infrared)
        by_light = find_by_infrared(observation.planes, light, sensitivity=float(sensitivity), seen=seen)
        if not by_light.remarks:
            return by_light
        remarks = by_light.remarks
    found = seen()
    components, labels = components_of(found, search.gray())
    return DustDetection(found != 0, labels, components, remarks=remarks)


def _in_stack(
    image: Any, stack_axis: int, channel_axis: int | None, polarity: str, sensitivity: float, reporter: Reporter
) -> list[DustDetection]:
    """Find what each frame along an axis has and its neighbors lack; of the first few, if it is ended early."""
    frames, channels = frames_of(image, stack_axis, channel_axis)
    if np.ndim(frames[0]) != 2 + (channels is not None):
        raise InputError("image", f"must have frames of one picture each, got shape {np.shape(image)}")
    found = []
    for number in range(len(frames)):
        seen = look_at_frame(number, len(frames), lambda each: as_planes(frames[each], channels), polarity, sensitivity)
        found.append(seen.detection)
        if reporter.report("frames", number + 1, len(frames)):
            break
    return found


def least_logit(sensitivity: float) -> float:
    """Return the logit of the confidence from which something is marked."""
    return float(np.log(USUAL_CONFIDENCE / (1 - USUAL_CONFIDENCE)) + SPAN * (0.5 - sensitivity))


def prior_shift(certain: int, megapixels: float) -> float:
    """Return what to add to the logits of a picture's candidates, as there is less damage than in what was learned from.

    It is the logarithm of the ratio of the priors. How much there is, is told by the number of :data:`CERTAIN` ones: if
    likely ones told it, texture would vouch for itself. In small pictures, where few are usual, it tells less.
    """
    usual = USUAL_COUNT * megapixels
    return float(np.clip(np.log((certain + 0.5) / usual), -MOST_SHIFT, 0)) * min(usual / FEW, 1.0)


@lru_cache(maxsize=1)
def _trees() -> Trees:
    return Trees.load("dust")


class _Seen(NamedTuple):
    """What is found in a tile, of one polarity.

    `scores` are logits of candidates, less what their size costs, times :data:`STEPS`, and `scratches` the probabilities of
    faint ones, in percent, (h, w) int8; `certain` is the number of certain candidates.
    """

    scores: np.ndarray
    scratches: np.ndarray
    certain: int


class _Search:
    """Looks at an image, tile by tile, and remembers what it saw."""

    def __init__(self, observation: Observation, signs: tuple[int, ...], least: float):
        self._planes, self._signs, self._least = observation.planes, signs, least
        self._missing: np.ndarray = np.asarray(observation.missing.any(axis=0))
        shape = self._missing.shape
        known = [plane.ravel() for plane in self._planes] if not self._missing.any() else observation.known_values()
        self._low, self._high = intensity_range(known)
        self._scores = {sign: np.full(shape, NOTHING, np.int8) for sign in signs}
        self._scratches = {sign: np.zeros(shape, np.int8) for sign in signs}
        self._certain = dict.fromkeys(signs, 0)
        self._megapixels = 0.0

    def tiles(self) -> list[Tile]:
        starts = (range(0, side, TILE) for side in self._missing.shape)
        return [(slice(top, top + TILE), slice(left, left + TILE)) for top, left in itertools.product(*starts)]

    def gray(self) -> np.ndarray:
        """Return the mean of the channels, (H, W) float32, on the image's scale."""
        return np.asarray(self._planes.mean(axis=0, dtype=np.float32))

    def look(self, tile: Tile) -> dict[int, _Seen]:
        """Look at a tile and what is around it."""
        window = self._around(tile)
        rows, columns = (
            slice(side.start - own.start, side.stop - own.start) for side, own in zip(tile, window, strict=True)
        )
        inner = (rows, columns)
        missing = self._missing[window]
        if missing.all():
            return {}
        scene = Scene.of(scaled(_completed(self._planes[:, *window], missing), self._low, self._high))
        scores = {sign: np.full(missing.shape, NOTHING, np.int8) for sign in self._signs}
        certain = dict.fromkeys(self._signs, 0)
        for sign, candidates, features in scene.candidates(self._signs):
            logit = _trees().logit(features, HOPELESS)
            certain[sign] += int(np.count_nonzero((logit > CERTAIN) & _mostly_in(inner, candidates)))
            score = logit - SIZE_COST * np.clip(features[:, LOG_AREA] - USUAL_LOG_AREA, -2, 4)
            steps = np.clip(np.rint(STEPS * score), NOTHING + 1, 127).astype(np.int8)
            labels = with_rims(candidates, score > self._least)
            scores[sign] = np.maximum(scores[sign], np.append(np.int8(NOTHING), steps)[labels])
        return {
            sign: _Seen(
                np.where(missing, np.int8(NOTHING), scores[sign])[inner],
                np.rint(100 * np.where(missing, 0, faint_scratches(scene.plane, sign))).astype(np.int8)[inner],
                certain[sign],
            )
            for sign in self._signs
        }

    def remember(self, tile: Tile, seen: dict[int, _Seen]) -> None:
        for sign, part in seen.items():
            self._scores[sign][tile] = part.scores
            self._scratches[sign][tile] = part.scratches
            self._certain[sign] += part.certain
        if seen:
            self._megapixels += self._missing[tile].size / 1e6

    def found(self) -> np.ndarray:
        """Return what was found, as :func:`csc_cogd.detect.shapes.components_of` takes it, (H, W) int8."""
        found = np.zeros(self._missing.shape, np.int8)
        for sign in self._signs if self._megapixels else ():
            shift = prior_shift(self._certain[sign], self._megapixels)
            logits = np.arange(NOTHING, 128) / STEPS + shift
            percent = np.where(logits >= self._least, np.rint(100 / (1 + np.exp(-logits))), 0).astype(np.int8)
            percent[0] = 0
            marked = percent[self._scores[sign].astype(np.int16) - NOTHING]
            scratches = self._scratches[sign]
            marked = np.maximum(marked, np.where(scratches >= 100 / (1 + np.exp(-self._least)), scratches, np.int8(0)))
            found = np.where(marked > abs(found), np.int8(sign) * marked, found)
        return found

    def _around(self, tile: Tile) -> Tile:
        rows, columns = (slice(max(side.start - HALO, 0), side.stop + HALO) for side in tile)
        return rows, columns


def with_rims(candidates: Candidates, accepted: np.ndarray) -> np.ndarray:
    """Return the labels of the accepted candidates, grown to the rims of their soft edges, (H, W)."""
    numbers = np.append(0, np.where(accepted, np.arange(1, candidates.count + 1), 0)).astype(np.int32)
    labels = numbers[candidates.labels]
    highest = np.zeros(candidates.count + 1)
    inside = np.flatnonzero(labels)
    np.maximum.at(highest, labels.ravel()[inside], candidates.height.ravel()[inside])
    highest[0] = np.inf
    for _ in range(RIM_WIDTH):
        beside = window_maximum(labels, 3)
        rim = (candidates.height > RIM * highest[beside]) & (candidates.height > candidates.usual)
        labels = np.where((labels == 0) & rim, beside, labels)
    return labels


def _mostly_in(inner: Tile, candidates: Candidates) -> np.ndarray:
    """Return for each candidate whether most of it is in a part of the picture."""
    inside, whole = (
        np.bincount(labels.ravel(), minlength=candidates.count + 1)[1:]
        for labels in (candidates.labels[inner], candidates.labels)
    )
    return np.asarray(2 * inside >= whole)


def _completed(planes: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return planes with the nearest known values where they are missing."""
    if not missing.any():
        return planes
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return planes[:, *nearest]
