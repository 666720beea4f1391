"""Which files a batch takes, and where their results go."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from csc_cogd.errors import InputError
from csc_cogd.imagefiles import SUFFIXES, UNREAD_SUFFIXES, true_suffix
from csc_cogd.report.totals import some_of
from csc_cogd.storage import PREFIX

NAME = "name files, folders or patterns such as 'scans/*.tif'"


class Input(NamedTuple):
    """An image file, and its folder below the one that was named; None for a file that was named itself."""

    path: Path
    folder: Path | None = None


class Found(NamedTuple):
    """The images that were meant, and the files of folders that look like images, but whose formats aren't read."""

    images: list[Input]
    unread: list[Path]


def expand_inputs(
    patterns: Iterable[str | os.PathLike[str]], *, recursive: bool = False, files_from: str | os.PathLike[str] | None = None
) -> Found:
    """The files that are meant by names of files, patterns such as ``scans/**/*.tif``, and folders.

    Of a folder, the files whose suffix is that of a known format; with `recursive`, those of the folders below it too.
    Links to folders are followed, but not in circles. Hidden files are left out. A file that is meant twice is taken once.
    Those of a folder whose suffix is that of an image format that isn't read are told of.

    Parameters
    ----------
    patterns : names, patterns and folders
    recursive : bool
    files_from : path, optional
        A text file with more of them, one a line; ``"-"`` reads standard input.

    Raises
    ------
    InputError
        If a pattern or a folder has no image, or `files_from` can't be read.
    """
    found: dict[str, Input] = {}
    unread: dict[str, Path] = {}
    for pattern in [*patterns, *([] if files_from is None else _lines(files_from))]:
        images, others = _expand(os.fspath(pattern), recursive)
        for image in images:
            found.setdefault(os.path.abspath(image.path), image)
        for path in others:
            unread.setdefault(os.path.abspath(path), path)
    if not found:
        raise InputError("", "there is no image", NAME)
    return Found(list(found.values()), [path for place, path in unread.items() if place not in found])


def unread_notes(unread: list[Path]) -> list[str]:
    """What to say of files of folders whose formats aren't read."""
    if not unread:
        return []
    return [f"{len(unread)} of other formats left out: {some_of(map(str, unread))}: convert to TIFF or PNG"]


class Placed(NamedTuple):
    """Which of the inputs are to be restored, where each result goes, and whether that is a folder that has to be made."""

    inputs: list[Input]
    targets: list[Path]
    new_folder: bool


def place_outputs(inputs: list[Input], output: Path | None, ending: str, suffix: str | None = None) -> Placed:
    """Choose which of the inputs are to be restored, and where each result goes.

    Beside its input as ``<stem>_<ending>``, or under its input's name in the folder `output`, which has the same folders in
    it as the one that was named. An input of a folder that has the name of a result beside another one is left out: it is
    from an earlier run.

    Parameters
    ----------
    inputs : list of Input
    output : path, optional
        A folder; for a single file that was named itself, a file, unless it has no suffix or there is a folder of that name.
    ending : str
    suffix : str, optional
        Of all results; default: that of each input, where it fits the input's content.

    Raises
    ------
    InputError
        If two results would have the same name, or `output` is a file and there are several inputs.
    """
    new_folder = output is not None and not output.suffix and not os.path.lexists(output)  # it can't be meant otherwise
    if output is not None and not os.path.isdir(output):
        if len(inputs) == 1 and inputs[0].folder is None and not new_folder:
            if suffix is not None:
                raise InputError("suffix", f"of {suffix} isn't needed, as {output} says the format", "leave it out")
            return Placed(inputs, [output], new_folder)
        if os.path.lexists(output) or output.suffix.lower() in SUFFIXES:
            several = f"there are {len(inputs)} images" if len(inputs) > 1 else "the image is one of a folder"
            raise InputError("", f"is a file's name, but {several}", "name a folder", str(output))
    targets: dict[str, Input] = {}
    placed, earlier = [], set()
    for image in inputs:
        end = suffix or true_suffix(image.path)
        beside = image.path.with_name(f"{image.path.stem}_{ending}{end}")
        placed.append((image, output / (image.folder or Path()) / f"{image.path.stem}{end}" if output else beside))
        earlier.add(os.path.abspath(beside))
    kept = [
        (image, target) for image, target in placed
        if os.path.abspath(image.path) not in earlier or (output and image.folder is None)
    ]  # fmt: skip
    for image, target in kept:
        other = targets.setdefault(os.path.realpath(target), image)
        if other is not image:
            raise InputError(
                "", f"both {other.path} and {image.path} would be written there",
                "restore them one after the other, to different folders", str(target),
            )  # fmt: skip
    return Placed([image for image, _ in kept], [target for _, target in kept], new_folder)


def _text_of(path: str | os.PathLike[str]) -> str:
    """The names in a file in UTF-8, as this system's functions take them in any locale."""
    return os.fsdecode(Path(path).read_text("utf-8").encode())


def _lines(files_from: str | os.PathLike[str]) -> list[str]:
    if os.fspath(files_from) == "-" and (sys.stdin is None or sys.stdin.closed):
        raise InputError("", "standard input is closed", "pipe the names of files into it, or name a file that lists them")
    try:
        text = sys.stdin.read() if os.fspath(files_from) == "-" else _text_of(files_from)
    except FileNotFoundError:
        raise InputError("", "no such list of files", subject=str(files_from)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it isn't text in UTF-8"
        raise InputError("", f"can't be read as a list of files: {reason}", subject=str(files_from)) from None
    lines = text.removeprefix("\ufeff").split("\n")  # the mark is by editors on Windows
    return [line for line in lines if line.strip()]


def _expand(pattern: str, recursive: bool) -> tuple[list[Input], list[Path]]:
    """The images that a pattern means, and what else in its folder looks like some."""
    path = Path(pattern)
    if not pattern:
        raise InputError("", "'' isn't the name of a file", NAME)
    if os.path.isdir(path):  # which unlike pathlib takes names that are too long, or out of reach
        files = list(_walk(path, () if recursive else None))
        unread = [file for file in files if file.suffix.lower() in UNREAD_SUFFIXES and not file.is_dir()]
        others = set(unread)
        images = [Input(file, file.parent.relative_to(path)) for file in files if file not in others]
        if not images:
            unknown = f", but {some_of(map(str, unread))}" if unread else ""
            deeper = "" if recursive else ", or use {recursive} to look below it"
            problem = f"the folder has no image ({', '.join(SUFFIXES)}){unknown}"
            raise InputError("", problem, f"name another{deeper}", str(path))
        return images, unread
    if os.path.lexists(path) or not glob.has_magic(pattern):
        return [Input(path)], []  # if it isn't there, that is said when it is read
    root = Path(*_before_magic(path))
    if ".." in path.parts[len(root.parts) :]:
        raise InputError("", "'..' behind a wildcard would lead out of the tree", "name the folder itself", pattern)
    names = sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))
    if not names:
        raise InputError("", "no file has such a name", subject=pattern)
    return [Input(name, name.parent.relative_to(root)) for name in map(Path, names)], []


def _before_magic(path: Path) -> list[str]:
    """The folders of a pattern above the first one with a wildcard in it."""
    parts = []
    for part in path.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return parts


def _walk(folder: Path, above: tuple[tuple[int, int], ...] | None) -> Iterator[Path]:
    """Image files of a folder in the order of their names, and of those below; `above` are the folders it is in.

    With None, folders below aren't looked into. One of them that can't be read is given itself, so that reading it says why,
    and only its results are missing.
    """
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        if above:
            yield folder
            return
        raise InputError("", f"the folder can't be read: {error.strerror}", subject=str(folder)) from None
    here = (status.st_dev, status.st_ino)
    if above and here in above:
        return
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith((".", PREFIX)):
            continue
        if os.path.isdir(path):
            if above is not None:
                yield from _walk(path, (*above, here))
        elif path.suffix.lower() in SUFFIXES.keys() | UNREAD_SUFFIXES:
            yield path
