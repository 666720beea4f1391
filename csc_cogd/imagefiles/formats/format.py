"""What a format of image files is: how its files are recognized, read and written, and what they can hold."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from csc_cogd.imagefiles.image import ImageFile


class Pages(ABC):
    """The pages of an open file, which is its opener's to close."""

    def __len__(self) -> int:
        return 1

    @abstractmethod
    def read(self, page: int) -> ImageFile:
        """Read a page, counted from 0."""

    def close(self) -> None:
        """Let go of what was opened besides the file: by default, of nothing."""
        return


class Encoder(ABC):
    """Writes images as the pages of an open file, which is its opener's to close."""

    @abstractmethod
    def write(self, image: ImageFile) -> list[str]:
        """Write the next page, and return what the user should be warned of."""

    def finish(self) -> None:
        """Write what stands behind the last page: by default, nothing."""
        return

    def close(self) -> None:
        """Let go of what was opened besides the file: by default, of nothing."""
        return


def _any_pixels(image: ImageFile) -> None:
    """Refuse nothing."""


def _no_caveats(image: ImageFile) -> list[str]:
    return []


@dataclass(frozen=True)
class Format:
    """A format of image files.

    Attributes
    ----------
    name : str
        As in :attr:`ImageFile.format`.
    title : str
        As users know it.
    suffixes : tuple of str
        Of the names of its files; the first one is given to new files. They all hold the same kinds of images: what depends
        on the suffix is a format of its own.
    signature : re.Pattern
        Matches the first twelve bytes of its files.
    open_pages : callable
        Open a file: ``open_pages(path, file, axes, template)``, as :func:`csc_cogd.imagefiles.open_images` takes them. Any
        exception is shown as "damaged or unsupported TITLE: ..." with the file's name.
    encoder : callable
        Begin a file: ``encoder(file, n_pages)``.
    check : callable
        Raise InputError for an image whose pixels it can't hold; this needn't name the file, either.
    carries : frozenset of str
        Fields of :class:`ImageFile` with metadata that it holds, besides the image's own layout.
    caveats : callable
        Return what the user should be warned of, in words, before an image is written.
    lossy : bool
        None of the written pixels is exact.
    multipage : bool
        A file holds any number of pages.
    takes_axes : bool
        The axes of its arrays or pages may be named.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    signature: re.Pattern[bytes]
    open_pages: Callable[[Path, BinaryIO, str | None, ImageFile | None], Pages]
    encoder: Callable[[BinaryIO, int], Encoder]
    check: Callable[[ImageFile], None] = _any_pixels
    carries: frozenset[str] = frozenset()
    caveats: Callable[[ImageFile], list[str]] = _no_caveats
    lossy: bool = False
    multipage: bool = False
    takes_axes: bool = False


@dataclass(frozen=True)
class SinglePage(Pages):
    """The only page of a file, which is decoded at once."""

    path: Path
    file: BinaryIO
    decode: Callable[[bytes, Path], ImageFile]

    @classmethod
    def opener(cls, decode: Callable[[bytes, Path], ImageFile]) -> Callable[..., Pages]:
        """Return what opens files by decoding their content."""
        return lambda path, file, axes, template: cls(path, file, decode)

    def read(self, page: int) -> ImageFile:
        """Decode the content of the file."""
        self.file.seek(0)
        return self.decode(self.file.read(), self.path)


@dataclass(frozen=True)
class SinglePageEncoder(Encoder):
    """Writes a file of one page, which is encoded at once."""

    file: BinaryIO
    encode: Callable[[ImageFile], tuple[bytes, list[str]]]

    @classmethod
    def opener(cls, encode: Callable[[ImageFile], tuple[bytes, list[str]]]) -> Callable[[BinaryIO, int], Encoder]:
        """Return what begins files of an encoded image."""
        return lambda file, n_pages: cls(file, encode)

    def write(self, image: ImageFile) -> list[str]:
        """Encode an image into the file."""
        content, remarks = self.encode(image)
        self.file.write(content)
        return remarks
