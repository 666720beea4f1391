"""Pieces of an array in a file, read and written without a memory map.

Where somebody cuts a mapped file short meanwhile, or its disk or network doesn't give it back, the process would end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

_BLOCK = 2**24  # bytes that are read at once where a piece is scattered over the file
_WHOLE = slice(None)

Index = tuple[int | slice, ...]


@dataclass(frozen=True)
class _Block:
    """Neighboring values: how many come before them in the file, their shape, which are wanted, and where in the piece."""

    start: int
    shape: tuple[int, ...]
    index: Index
    place: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        return all(part == _WHOLE for part in self.index)


class ArrayInFile:
    """An array whose bytes are in an open file from `offset` on.

    An index of a piece has, for each axis, a position, or ``slice(None)`` for all of it.
    """

    def __init__(self, file: BinaryIO, offset: int, shape: tuple[int, ...], dtype: np.dtype, fortran: bool = False):
        self._file, self._offset, self._dtype, self._fortran = file, offset, dtype, fortran
        self._shape = shape[::-1] if fortran else shape  # in the order of the file

    def read(self, index: Index) -> np.ndarray:
        """Return a copy of a piece. Raises ValueError where the file has become too short."""
        index = index[::-1] if self._fortran else index
        lengths = [length for length, part in zip(self._shape, index, strict=True) if part == _WHOLE]
        piece: Any = np.empty(lengths, self._dtype)
        for block in self._blocks(self._shape, index):
            target = piece[(*block.place, ...)]
            if block.is_whole:
                self._fill(target, block.start)
            else:
                target[...] = self._neighbors(block)[block.index]
        upright: np.ndarray = piece.transpose() if self._fortran else piece
        return upright

    def write(self, index: Index, values: np.ndarray) -> None:
        """Replace a piece. Raises ValueError where the file has become too short."""
        index = index[::-1] if self._fortran else index
        values = values.transpose() if self._fortran else values
        for block in self._blocks(self._shape, index):
            changed: Any = values[(*block.place, ...)]  # type: ignore[arg-type]
            if not block.is_whole:
                neighbors = self._neighbors(block)
                neighbors[block.index] = changed
                changed = neighbors
            self._file.seek(self._offset + block.start * self._dtype.itemsize)
            self._file.write(np.ascontiguousarray(changed, self._dtype).data.cast("B"))

    def _neighbors(self, block: _Block) -> np.ndarray:
        values = np.empty(block.shape, self._dtype)
        self._fill(values, block.start)
        return values

    def _fill(self, values: np.ndarray, start: int) -> None:
        """Read as many values, which are contiguous in memory as in the file."""
        self._file.seek(self._offset + start * self._dtype.itemsize)
        if self._file.readinto(values.reshape(-1).view(np.uint8).data) != values.nbytes:  # type: ignore[attr-defined]
            raise ValueError("the file ends too early")

    def _blocks(self, shape: tuple[int, ...], index: Index, start: int = 0, place: tuple[int, ...] = ()) -> Iterator[_Block]:
        """Yield the largest blocks of a piece that are read at once, in their order."""
        fixed = bool(index) and not isinstance(index[0], slice)
        whole = all(part == _WHOLE for part in index)
        if whole or (not fixed and math.prod(shape) * self._dtype.itemsize <= _BLOCK):
            yield _Block(start, shape, index, place)
            return
        size = math.prod(shape[1:])
        for position in [index[0]] if fixed else range(shape[0]):
            inner = place if fixed else (*place, position)
            yield from self._blocks(shape[1:], index[1:], start + position * size, inner)  # type: ignore[operator,arg-type]
