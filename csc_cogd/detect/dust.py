"""Finding dust, hairs and scratches on a photograph.

What stands out from its surroundings, at three sizes, is measured, and gradient-boosted trees say how likely it is damage;
see :mod:`csc_cogd.detect.candidates`, :mod:`csc_cogd.detect.features` and :mod:`csc_cogd.detect.trees`. Those that aren't
ruled out are looked at again, by other trees, among what else is suspected; see :mod:`csc_cogd.detect.context`. What both
say is averaged: by itself, the second look takes rain and the lights of cities for much damage more often. Faint scratches
are added up along their length; see :mod:`csc_cogd.detect.scratches`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from numbers import Real
from typing import Any, NamedTuple, overload

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.special import ndtr

from csc_cogd.backend import from_gpu
from csc_cogd.backend.windows import window_maximum
from csc_cogd.detect.candidates import Candidates, smoothing_of
from csc_cogd.detect.context import Suspects, in_context
from csc_cogd.detect.detection import POLARITIES, DustDetection
from csc_cogd.detect.features import UNTOLD, Scene, Zone, quality_told, scaled
from csc_cogd.detect.frames import look_at_frame
from csc_cogd.detect.infrared import Sight, find_by_infrared
from csc_cogd.detect.scratches import faint_scratches
from csc_cogd.detect.shapes import components_of
from csc_cogd.detect.trees import Trees
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, Remark, with_hints
from csc_cogd.restore.observation import Observation, as_planes, frames_of, intensity_range
from csc_cogd.restore.report import Progress, Reporter

TILE, HALO = 960, 64  # side of a tile, and of what is looked at around it
USUAL_CONFIDENCE = 0.27  # of what is marked at the usual sensitivity
SPAN = 8.0  # by which the least logit of the confidence falls from sensitivity 0 to 1
HOPELESS = -5.0  # logit after a few trees, of candidates that the others needn't look at
SUSPECTED = -4.0  # logit of the first look, from which a candidate is looked at again
CERTAIN = 5.0  # logit of candidates that are counted, to tell how much damage there is
USUAL_COUNT = 60.0  # of them, of one polarity, in a megapixel that was learned from
FEW = 4.0  # candidates, of which there are usually so many where their number tells all
MOST_SHIFT = 5.0  # of the logits of a picture with less
LOG_AREA, USUAL_LOG_AREA, SIZE_COST = 0, 3.0, 0.2  # a feature; logits that a candidate e times as large must have more
JPEG_COST = 0.5  # logits that a candidate must have more in a JPEG, for as few false alarms in photographs not learned from
RIM, RIM_WIDTH = 0.7, 2  # pixels beyond a sharp edge up to which smoothing spreads a thing visibly, and is looked for

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
@with_hints()
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
            "name the axis of the channels, {channel_axis}=-1, or that of frames whose scene stands still, {stack_axis}=0",
        )  # fmt: skip
    observation = Observation.of(from_gpu(image), channel_axis=channel_axis, complete=True)
    if observation.planes.dtype.kind == "b":
        raise InputError("image", "must not be bilevel", "convert it to 8 bits first")
    search = Search(observation, POLARITIES[polarity])

    def seen() -> Sight:
        search.run(threads, Reporter(callback))
        return Sight(search.found(float(sensitivity)), search.dark_suspects())

    remarks: tuple[Remark, ...] = ()
    if infrared is not None:
        light = from_gpu(infrared)
        by_light = find_by_infrared(observation.planes, light, sensitivity=float(sensitivity), seen=seen)
        if not by_light.remarks:
            return by_light
        remarks = by_light.remarks
    found = seen().found
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
def _trees() -> tuple[Trees, Trees]:
    """Return those of the first look, and those of the second."""
    return Trees.load("dust"), Trees.load("dust_in_context")


class _Seen(NamedTuple):
    """What is suspected in a tile.

    Attributes
    ----------
    suspects : Suspects
    pixels : (N,) array of unsigned integers
        Of one suspect after the other, flat indices in the picture,
    counts : (n,) int array
        and how many each has.
    scratches : dict
        For each sign, the probabilities of faint ones, in percent, (h, w) int8.
    """

    suspects: Suspects
    pixels: np.ndarray
    counts: np.ndarray
    scratches: dict[int, np.ndarray]


class Search:
    """Looks at an image, tile by tile, and then at all that is suspected together.

    Both polarities are looked at, as either tells of the other what is texture; `signs` are those that are marked.
    """

    def __init__(self, observation: Observation, signs: tuple[int, ...]):
        self._planes, self._signs = observation.planes, signs
        self._missing: np.ndarray = np.asarray(observation.missing.any(axis=0))
        known = [plane.ravel() for plane in self._planes] if not self._missing.any() else observation.known_values()
        self._low, self._high = intensity_range(known)
        self._quality = quality_told(self._planes) if self._planes.dtype == np.uint8 else UNTOLD
        self._scratches = {sign: np.zeros(self._missing.shape, np.int8) for sign in signs}
        self._seen: list[_Seen] = []
        self._megapixels = 0.0

    def run(self, threads: int | None, reporter: Reporter) -> None:
        """Look at all tiles, or as many as the reporter lets it."""
        tiles = self.tiles()
        reporter.report("tiles", 0, len(tiles))
        looks = Engine(device="cpu", threads=threads).backend.each(self.look, tiles)
        for done, (tile, of_tile) in enumerate(zip(tiles, looks, strict=True), 1):
            self.remember(tile, of_tile)
            if reporter.report("tiles", done, len(tiles)):
                break

    def tiles(self) -> list[Tile]:
        starts = (range(0, side, TILE) for side in self._missing.shape)
        return [(slice(top, top + TILE), slice(left, left + TILE)) for top, left in itertools.product(*starts)]

    def gray(self) -> np.ndarray:
        """Return the mean of the channels, (H, W) float32, on the image's scale."""
        return np.asarray(self._planes.mean(axis=0, dtype=np.float32))

    def look(self, tile: Tile) -> _Seen | None:
        """Look at a tile and what is around it; None if nothing of that is known."""
        window = self._around(tile)
        inner = tuple(slice(side.start - own.start, side.stop - own.start) for side, own in zip(tile, window, strict=True))
        missing = self._missing[window]
        if missing.all():
            return None
        scene = Scene.of(scaled(_completed(self._planes[:, *window], missing), self._low, self._high), self._quality)
        usable = np.zeros(missing.shape, bool)
        usable[inner] = ~missing[inner]
        parts = [_suspected(sign, candidates, features, usable) for sign, candidates, features in scene.candidates()]
        corner = np.array([side.start for side in window])
        suspects = Suspects(*(np.concatenate(field) for field in zip(*(part.suspects for part in parts), strict=True)))
        down, across = np.divmod(np.concatenate([part.pixels for part in parts]), missing.shape[1])
        return _Seen(
            suspects._replace(places=suspects.places + corner),
            ((down + corner[0]) * self._missing.shape[1] + across + corner[1]).astype(
                np.min_scalar_type(self._missing.size)
            ),
            np.concatenate([part.counts for part in parts]),
            {
                sign: np.rint(100 * np.where(missing, 0, faint_scratches(scene.plane, sign))).astype(np.int8)[inner]
                for sign in self._signs
            },
        )

    def remember(self, tile: Tile, seen: _Seen | None) -> None:
        if seen is not None:
            for sign, part in seen.scratches.items():
                self._scratches[sign][tile] = part
            self._seen.append(seen._replace(scratches={}))
            self._megapixels += self._missing[tile].size / 1e6

    def found(self, sensitivity: float) -> np.ndarray:
        """Return what was found, as :func:`csc_cogd.detect.shapes.components_of` takes it, (H, W) int8."""
        found = np.zeros(self._missing.shape, np.int8)
        if not self._seen:
            return found
        least = least_logit(sensitivity)
        suspects = Suspects(*(np.concatenate(field) for field in zip(*(seen.suspects for seen in self._seen), strict=True)))
        logit = (self._shifted(suspects) + _trees()[1].logit(in_context(suspects, self._megapixels))) / 2
        logit -= SIZE_COST * np.clip(suspects.features[:, LOG_AREA] - USUAL_LOG_AREA, -2, 4)
        logit -= JPEG_COST * (self._quality < UNTOLD)
        percent = np.where(logit >= least, np.clip(np.rint(100 / (1 + np.exp(-logit))), 1, 100), 0).astype(np.int8)
        for sign in self._signs:
            scratches = self._scratches[sign]
            marked = np.where(scratches >= 100 / (1 + np.exp(-least)), scratches, np.int8(0))
            first = 0
            for seen in self._seen:
                own = slice(first, first + len(seen.counts))
                used = np.where(suspects.signs[own] == sign, percent[own], np.int8(0))
                np.maximum.at(marked.ravel(), seen.pixels, np.repeat(used, seen.counts))
                first = own.stop
            found = np.where(marked > abs(found), np.int8(sign) * marked, found)
        return found

    def dark_suspects(self) -> Iterator[np.ndarray]:
        """Yield the flat indices of the pixels of each dark suspect, with its rim."""
        for seen in self._seen:
            stops = np.cumsum(seen.counts)
            for number in np.flatnonzero((seen.suspects.signs > 0) & (seen.counts > 0)):
                yield seen.pixels[stops[number] - seen.counts[number] : stops[number]]

    def _shifted(self, suspects: Suspects) -> np.ndarray:
        """Return the logits of the first look, as they are in a picture with as much damage as is certain."""
        shifts = {
            sign: prior_shift(int((suspects.logit[suspects.signs == sign] > CERTAIN).sum()), self._megapixels)
            for sign in (1, -1)
        }
        return suspects.logit + np.where(suspects.signs > 0, shifts[1], shifts[-1])

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
    least = ndtr(-RIM / smoothing_of(candidates.radius))  # share of its height
    for _ in range(RIM_WIDTH):
        beside = window_maximum(labels, 3)
        rim = (candidates.height > least * highest[beside]) & (candidates.height > candidates.usual)
        labels = np.where((labels == 0) & rim, beside, labels)
    return labels


def _suspected(sign: int, candidates: Candidates, features: np.ndarray, usable: np.ndarray) -> _Seen:
    """Return the candidates that the first look doesn't rule out, of which pixels are usable, with their rims' pixels."""
    logit = _trees()[0].logit(features, HOPELESS)
    inside = Zone(candidates.labels, candidates.count)
    suspected = (logit > SUSPECTED) & (np.bincount(inside.numbers, usable.ravel()[inside.places], candidates.count) > 0)
    labels = np.where(usable, with_rims(candidates, suspected), 0).ravel()
    pixels = np.flatnonzero(labels)
    pixels = pixels[np.argsort(labels[pixels], kind="stable")]
    counts = np.bincount(labels[pixels], minlength=candidates.count + 1)[1:][suspected]
    places = np.stack([inside.mean(at) for at in inside.coordinates()], axis=1)[suspected]
    signs = np.full(len(counts), sign)
    return _Seen(Suspects(features[suspected], logit[suspected], places, signs), pixels, counts, {})


def _completed(planes: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return planes with the nearest known values where they are missing."""
    if not missing.any():
        return planes
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return planes[:, *nearest]
