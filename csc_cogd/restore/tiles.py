"""Large pictures in overlapping tiles: what is far from the damage isn't solved, and memory is bounded.

A picture is cut into cores; of each, the part around its damage is restored with a margin on which the result depends, and
the results of neighbours are blended over a few pixels on either side of the cores' borders, so that no seam shows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.ndimage import distance_transform_cdt

from csc_cogd.backend import Backend
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.errors import InputError

SIDES = (128, 256, 512)
"""Of the cores, in pixels, from which the cheapest are chosen."""
MARGIN = 32
"""Context around what is restored: two of the largest shipped filters, and further than similar patches are looked for."""
BLEND = 16
"""On either side of a border between cores."""
LEAST, PER_DEPTH = 32, 4  # sides at least; in pixels, and times the distance of a missing pixel from the next known one
MAX_MEMORY = 2_000_000_000
FREE = 0.8  # of a device's free memory that is planned with
_SETUP = 64 * 64  # pixels that take as long as what every tile costs whatever its size
_PROGRAM = 250_000_000  # bytes of the interpreter with what it has imported


Result = TypeVar("Result")


class Overlap(NamedTuple):
    """How tiles lie, in the picture's pixels: context around what is restored, blending, and the cores' possible sides."""

    margin: int = MARGIN
    blend: int = BLEND
    sides: tuple[int, ...] = SIDES

    @classmethod
    def on_grid(cls, factor: int, reach: int) -> Overlap:
        """Of a picture that is restored with `factor` pixels to one of its own, each of which depends on `reach` more."""
        sides = tuple(max(side // factor, 8) for side in SIDES)
        return cls(-(-(MARGIN + reach) // factor), -(-BLEND // factor), sides)


PLAIN = Overlap()


class Tile(NamedTuple):
    """A piece of a picture, and the weight of its result in every pixel: `rows` times `columns`; all weights add up to 1."""

    window: tuple[slice, slice]
    rows: np.ndarray
    columns: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), len(self.columns)

    @property
    def weight(self) -> np.ndarray:
        return self.rows[:, None] * self.columns

    @property
    def size(self) -> int:
        return len(self.rows) * len(self.columns)

    def finer(self, factor: int) -> Tile:
        """The tile of a picture with `factor` x `factor` pixels to one of this tile's."""
        rows, columns = (slice(factor * part.start, factor * part.stop) for part in self.window)
        return Tile((rows, columns), np.repeat(self.rows, factor), np.repeat(self.columns, factor))


def plan_tiles(damaged: np.ndarray, side: int, overlap: Overlap = PLAIN) -> list[Tile]:
    """Tiles for the damage (H, W bool) of a picture, with cores of at most `side` pixels square; 0: a single one."""
    (H, W), (margin, blend, _) = damaged.shape, overlap
    tiles = []
    for core_rows in _cores(H, side):
        for core_columns in _cores(W, side):
            rows, columns = _widened(core_rows, blend, H), _widened(core_columns, blend, W)
            part = damaged[rows, columns]
            if part.any():
                marked_rows, marked_columns = (np.flatnonzero(part.any(axis=axis)) for axis in (1, 0))
                window = (
                    _widened(_extent(marked_rows, rows.start), margin, H),
                    _widened(_extent(marked_columns, columns.start), margin, W),
                )
                weights = (_ramp(core_rows, window[0], H, blend), _ramp(core_columns, window[1], W, blend))
                tiles.append(Tile(window, *weights))
    return tiles


def _cores(length: int, side: int) -> list[slice]:
    edges = np.linspace(0, length, (-(-length // side) if side else 1) + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _widened(part: slice, by: int, length: int) -> slice:
    return slice(max(part.start - by, 0), min(part.stop + by, length))


def _extent(places: np.ndarray, start: int) -> slice:
    return slice(start + int(places[0]), start + int(places[-1]) + 1)


def _ramp(core: slice, window: slice, length: int, blend: int) -> np.ndarray:
    """Weight of a core along one axis: 1 inside, falling linearly across its borders, but not at the picture's."""
    x = np.arange(window.start, window.stop) + 0.5

    def step(edge: int) -> np.ndarray:
        return np.clip((x - edge) / (2 * blend) + 0.5, 0, 1) if 0 < edge < length else np.full(len(x), float(edge == 0))

    return (step(core.start) - step(core.stop)).astype(np.float32)


def code_memory(dictionary: Dictionary, n_channels: int, itemsize: int, shape: tuple[int, ...]) -> int:
    """Bytes that inpainting or denoising channels of a shape (H, W) takes, by coordinate descent and similar patches.

    The code solve takes codes, the filters' spectra and sums; what else is done, above all biharmonic interpolation of a
    picture of which half is missing, takes more only where filters are few. As measured, and a quarter more.
    """
    size, K, C = (shape[0] + 16) * (shape[1] + 16), dictionary.n_filters, dictionary.n_channels
    apart = n_channels if C == 1 else 1  # over a grey dictionary, channels are coded beside one another
    return int(size * max(apart * K * itemsize * (1.5 + 1.4 * C), 500 + 200 * n_channels))


def admm_memory(dictionary: Dictionary, itemsize: int, shape: tuple[int, ...], gradient_penalty: bool = False) -> int:
    """Bytes that coding a scene of a shape (H, W) by ADMM takes, with its base layer.

    The solver keeps the state, the filters' spectra and, for a gradient penalty, spectra of the state: a quarter more.
    """
    (h, w), K, C = dictionary.filter_shape, dictionary.n_filters, dictionary.n_channels
    arrays = 1 + C + gradient_penalty
    return int((shape[0] + h) * (shape[1] + w) * (1.25 * K * itemsize * arrays + 200 * C))


def picture_memory(n_values: int, itemsize: int, n_restored: int | None = None) -> int:
    """Bytes of the program with a picture: as read and as restored, its mask, and the tiles' sum.

    `n_restored` values are restored of `n_values`, where that isn't all of them.
    """
    n_restored = n_values if n_restored is None else n_restored
    return _PROGRAM + n_values * (itemsize + 4) + n_restored * (2 * itemsize + 4)


def memory_to_plan_with(backend: Backend, picture: int, max_memory: float | None) -> tuple[int, float]:
    """Bytes that are taken whatever the tiles are, and that there are in all: a GPU's own memory holds no `picture`."""
    free = backend.free_memory()
    if free is not None:
        return 0, FREE * free if max_memory is None else max_memory
    return picture, MAX_MEMORY if max_memory is None else max_memory


class Plan(NamedTuple):
    """Tiles, how many are solved at once, and the bytes that this is expected to take at most."""

    tiles: list[Tile]
    jobs: int
    memory: int

    def __str__(self) -> str:
        high, wide = np.max([tile.shape for tile in self.tiles], axis=0)
        return (
            f"{len(self.tiles)} {'tile' if len(self.tiles) == 1 else 'tiles'} of {high} x {wide} at most, {self.jobs} at "
            f"once, in {self.memory / 1e9:.2g} GB at most"
        )


def choose_tiles(
    damaged: np.ndarray,
    missing: np.ndarray,
    solve: Callable[[tuple[int, int]], int],
    picture: int,
    *,
    tile: int | str,
    max_memory: float,
    threads: int,
    overlap: Overlap = PLAIN,
) -> Plan:
    """The cheapest tiles that fit into memory, and are large beside the holes in the picture.

    Parameters
    ----------
    damaged : (H, W) bool array
        Where anything is to be restored.
    missing : (C, H, W) bool array
    solve : callable
        Bytes that a tile of some shape takes.
    picture : int
        Bytes that are taken anyway.
    tile : "auto" or int
        Side of the cores; 0: the whole damage at once.
    max_memory : float
        In bytes.
    threads : int
    overlap : Overlap, optional

    Raises
    ------
    InputError
        If it doesn't fit, or `tile` isn't a side, or one too small for the holes.
    """
    if tile != "auto" and (
        isinstance(tile, bool) or not isinstance(tile, (int, np.integer)) or (tile != 0 and tile < LEAST)
    ):
        raise InputError(f"tile: {tile!r} isn't the side of a tile: use 'auto', {LEAST} or more, or 0 for all at once")
    depth = max((int(distance_transform_cdt(plane, "chessboard").max()) for plane in missing if plane.any()), default=0)
    if tile not in ("auto", 0) and int(tile) < PER_DEPTH * depth:
        raise InputError(f"tile: {tile} is too small for holes of {2 * depth}: use {PER_DEPTH * depth} or more, or 0")
    plans = []
    for side in (0, *overlap.sides) if tile == "auto" else (int(tile),):
        if side == 0 or side >= PER_DEPTH * depth:
            tiles = plan_tiles(damaged, side, overlap)
            largest = max((solve(t.shape) for t in tiles), default=0)
            jobs = max(min(threads, int((max_memory - picture) // max(largest, 1)), len(tiles)), 1)
            plans.append(Plan(tiles, jobs, picture + jobs * largest))
    fitting = [plan for plan in plans if plan.memory <= max_memory]
    if not fitting:
        least = min(plan.memory for plan in plans)
        advice = "allow more" if tile == "auto" else "allow more, or smaller tiles"
        by = ", the default," if max_memory == MAX_MEMORY else ""
        raise InputError(f"max_memory: {max_memory / 1e9:.3g} GB{by} don't suffice, {least / 1e9:.3g} GB do: {advice}")
    return min(fitting, key=lambda plan: sum(t.size + _SETUP for t in plan.tiles))


def retry_in_less_memory(
    work: Callable[..., Result], plan_for: Callable[[float], Plan], most: float, taken: float, release: Callable[[], None]
) -> Result:
    """``work(plan=plan)``; again by a plan for half of its tiles' memory, and so on, where that doesn't suffice after all.

    Parameters
    ----------
    work : callable
    plan_for : callable
        A plan that takes so many bytes at most, or InputError.
    most, taken : float
        Bytes, and how many of them are taken whatever the tiles are.
    release : callable
        Called before another try.

    Raises
    ------
    MemoryError
        If no smaller plan is left.
    """
    plan = plan_for(most)
    while True:
        try:
            return work(plan=plan)
        except MemoryError:
            smaller = _plan_or_none(plan_for, (plan.memory + taken) / 2)
            if smaller is None:
                raise
            plan = smaller
        release()  # not before: the error holds what was being computed with


def _plan_or_none(plan_for: Callable[[float], Plan], most: float) -> Plan | None:
    try:
        return plan_for(most)
    except InputError:
        return None


def map_tiles(function: Callable[[Any], Any], tasks: Sequence[Any], jobs: int) -> Generator[Any, None, None]:
    """``function(task)`` of every task in order, several at once; none is begun after the caller has stopped asking."""
    if jobs == 1:
        yield from map(function, tasks)
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="csc-cogd-tile") as pool:
        futures = [pool.submit(function, task) for task in tasks]
        try:
            while futures:
                yield futures.pop(0).result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
