"""Large images in overlapping tiles: what is far from the damage isn't computed, and memory is bounded.

An image is cut into cores; of each, the part around its damage is restored with a margin on which the result depends, and
the results of neighbors are blended over a few pixels on either side of the cores' borders, so that no seam shows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np

from csc_cogd.backend import Backend
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.errors import InputError
from csc_cogd.restore.extents import damaged_blocks, greatest_depth
from csc_cogd.restore.settings import Tiling

SIDES = (128, 256, 512)
"""Of the cores, in pixels, from which the cheapest are chosen."""
MARGIN = 32
"""Context around what is restored: two of the largest shipped filters, and further than similar patches are looked for."""
BLEND = 16
"""On either side of a border between cores."""
TILE_PER_HOLE_DEPTH = 4  # sides at least, times the distance of a missing pixel from the next known one
MAX_MEMORY = 2_000_000_000
GPU_MEMORY_FRACTION = 0.8  # of a device's free memory that is planned with
TILE_OVERHEAD_PIXELS = 64 * 64  # that take as long as what every tile costs whatever its size
INTERPRETER_BYTES = 250_000_000  # of the interpreter with what it has imported

Result = TypeVar("Result")
Item = TypeVar("Item")


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
        rows = _around(core_rows.start, core_rows.stop, blend, H)
        marked = np.asarray(damaged[rows].any(axis=0))
        for core_columns in _cores(W, side) if marked.any() else ():
            columns = _around(core_columns.start, core_columns.stop, blend, W)
            marked_columns = np.flatnonzero(marked[columns])
            if marked_columns.size:
                marked_rows = np.flatnonzero(damaged[rows, columns].any(axis=1))
                (top, bottom), (left, right) = rows.start + marked_rows[[0, -1]], columns.start + marked_columns[[0, -1]]
                window = _around(top, bottom + 1, margin, H), _around(left, right + 1, margin, W)
                weights = (_ramp(core_rows, window[0], H, blend), _ramp(core_columns, window[1], W, blend))
                tiles.append(Tile(window, *weights))
    return tiles


def _cores(length: int, side: int) -> list[slice]:
    edges = np.linspace(0, length, (-(-length // side) if side else 1) + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _around(start: int, stop: int, by: int, length: int) -> slice:
    """Return a part of an axis with so many pixels more at both ends, as far as the picture goes."""
    return slice(max(int(start) - by, 0), min(int(stop) + by, length))


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
    apart = n_channels if C == 1 else 1  # over a gray dictionary, channels are coded beside one another
    return int(size * max(apart * K * itemsize * (1.5 + 1.4 * C), 450 + 50 * n_channels))


def patches_memory(n_channels: int, shape: tuple[int, ...], share: float) -> int:
    """Bytes that filling channels of a shape (H, W) takes without a code, of which at most a share is missing.

    As measured, and a quarter more: what is missing takes the factors of biharmonic interpolation.
    """
    return int((shape[0] + 16) * (shape[1] + 16) * (30 + 80 * n_channels + share * (500 + 400 * n_channels)))


def largest_share(damaged: np.ndarray) -> float:
    """Return the share of the damage (H, W bool) where it is densest, in squares as large as the smallest tiles."""
    side = SIDES[0]
    corners = side * np.argwhere(damaged_blocks(damaged, side))
    most = max([np.count_nonzero(damaged[i : i + side, j : j + side]) for i, j in corners], default=0)
    return float(most / np.prod(np.minimum(damaged.shape, side)))


def admm_memory(dictionary: Dictionary, itemsize: int, shape: tuple[int, ...], gradient_penalty: bool = False) -> int:
    """Bytes that coding a scene of a shape (H, W) by ADMM takes, with its base layer.

    The solver keeps the state, the filters' spectra and, for a gradient penalty, spectra of the state: a quarter more.
    """
    (h, w), K, C = dictionary.filter_shape, dictionary.n_filters, dictionary.n_channels
    arrays = 1 + C + gradient_penalty
    return int((shape[0] + h) * (shape[1] + w) * (1.25 * K * itemsize * arrays + 200 * C))


def image_memory(n_values: int, itemsize: int, n_restored: int | None = None) -> int:
    """Bytes of the program with a picture: as read and as restored, its mask, and the tiles' sum.

    `n_restored` values are restored of `n_values`, where that isn't all of them.
    """
    n_restored = n_values if n_restored is None else n_restored
    return INTERPRETER_BYTES + n_values * (itemsize + 4) + n_restored * (2 * itemsize + 4)


class Memory(NamedTuple):
    """Bytes: taken whatever the tiles are, taken by a tile of a shape, and those that there are in all."""

    base: int
    of_tile: Callable[[tuple[int, int]], int]
    budget: float


def memory_for(
    backend: Backend, image_bytes: int, of_tile: Callable[[tuple[int, int]], int], max_memory: float | None
) -> Memory:
    """Return the memory to plan with: a GPU's own memory doesn't hold the image."""
    free = backend.free_memory()
    if free is not None:
        return Memory(0, of_tile, GPU_MEMORY_FRACTION * free if max_memory is None else max_memory)
    return Memory(image_bytes, of_tile, MAX_MEMORY if max_memory is None else max_memory)


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
    damaged: np.ndarray, missing: np.ndarray, memory: Memory, tiling: Tiling, threads: int, overlap: Overlap = PLAIN
) -> Plan:
    """Choose the cheapest tiles that fit into memory, and are large beside the holes in the image.

    Parameters
    ----------
    damaged : (H, W) bool array
        Where anything is to be restored.
    missing : (C, H, W) bool array
    memory : Memory
    tiling : Tiling
    threads : int
    overlap : Overlap, optional

    Raises
    ------
    InputError
        If they don't fit, or the tiles that are asked for are too small for the holes.
    """
    depth = greatest_depth(missing)
    least, tile = TILE_PER_HOLE_DEPTH * depth, tiling.tile
    if tile not in ("auto", 0) and int(tile) < least:
        raise InputError("tile", f"must be at least {least} for holes of {2 * depth} pixels, got {tile}", "or use 0")
    plans = []
    for side in (0, *overlap.sides) if tile == "auto" else (int(tile),):
        if side == 0 or side >= least:
            tiles = plan_tiles(damaged, side, overlap)
            largest = max([memory.of_tile(t.shape) for t in tiles], default=0)
            jobs = max(min(threads, int((memory.budget - memory.base) // max(largest, 1)), len(tiles)), 1)
            plans.append(Plan(tiles, jobs, memory.base + jobs * largest))
    fitting = [plan for plan in plans if plan.memory <= memory.budget]
    if not fitting:
        smallest, by = min(plan.memory for plan in plans), ", the default," if memory.budget == MAX_MEMORY else ""
        advice = "allow more" if tile == "auto" else "allow more, or smaller tiles"
        raise InputError(
            "max_memory", f"of {memory.budget / 1e9:.3g} GB{by} doesn't suffice, {smallest / 1e9:.3g} GB do", advice
        )
    costs = [sum([t.size + TILE_OVERHEAD_PIXELS for t in plan.tiles]) for plan in fitting]
    return fitting[costs.index(min(costs))]


def in_less_memory(
    restore: Callable[[Plan], Result], plan_for: Callable[[Memory], Plan], memory: Memory, release: Callable[[], None]
) -> Result:
    """Return what is restored by a plan; where that raises MemoryError, by one for half of its tiles' memory, and so on.

    Parameters
    ----------
    restore : callable
    plan_for : callable
        Chooses tiles for a memory, or raises InputError where none fit.
    memory : Memory
    release : callable
        Called before another try, to give idle memory back.
    """
    plan = plan_for(memory)
    while True:
        try:
            return restore(plan)
        except MemoryError as error:
            memory = memory._replace(budget=(plan.memory + memory.base) / 2)
            try:
                plan = plan_for(memory)
            except InputError:
                raise error from None
        release()  # not before: the error held what was being computed with


def map_tiles(function: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> Generator[Result, None, None]:
    """Yield ``function(item)`` of every item in order, several at once; none is begun after the caller has stopped."""
    if jobs == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="csc-cogd-tile") as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            while futures:
                yield futures.pop(0).result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def blend_tiles(
    restore: Callable[[Tile], Any],
    plan: Plan,
    blended: Any,
    *,
    factor: int = 1,
    after: Callable[[int, Any], Any] = lambda number, state: None,
) -> None:
    """Restore every tile, and add its estimate to an image, by the tile's weight.

    Parameters
    ----------
    restore : callable
        Returns a state whose ``estimate`` is the tile restored, (C, factor * h, factor * w).
    plan : Plan
    blended : (C, factor * H, factor * W) array, or SparsePlanes
        Is added to.
    factor : int
        Pixels of the result to one of the tiles', in either direction.
    after : callable, optional
        Called with the number of tiles that are done, and the last one's state.
    """
    with ExitStack() as stack:
        states: Iterable[Any] = map(restore, plan.tiles)
        if plan.jobs > 1:
            states = stack.enter_context(closing(map_tiles(restore, plan.tiles, plan.jobs)))
        for number, (tile, state) in enumerate(zip(plan.tiles, states, strict=True), 1):
            placed = tile.finer(factor) if factor > 1 else tile
            blended[:, *placed.window] += placed.weight * state.estimate
            after(number, state)
