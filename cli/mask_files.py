"""Masks and previews that are written by ``csc-cogd mask``: checked beforehand, and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from csc_cogd.cli.console import Console
from csc_cogd.errors import InputError, percent

if TYPE_CHECKING:
    import numpy as np

    from csc_cogd.imagefiles import ImageFile

MAGENTA = (255, 0, 255)
STRETCH = (0.5, 99.5)  # percentiles that become black and white in previews


def check_mask_output(path: Path, overwrite: bool, *inputs: Path | None) -> None:
    """Refuse a mask that can't be written, in a lossy format, or over an input."""
    from csc_cogd.imagefiles import SUFFIXES
    from csc_cogd.storage import check_writable

    lossless = [suffix for suffix, known in SUFFIXES.items() if not known.lossy]
    if path.suffix.lower() not in lossless:
        fix = f"end its name in {', '.join(lossless)}"
        raise InputError("", "a mask is written in a lossless format", fix, str(path))
    check_writable(path, overwrite=overwrite, inputs=tuple(filter(None, inputs)))


def write_mask(missing: np.ndarray, path: Path, overwrite: bool, console: Console) -> None:
    """Write (H, W) bool as 8 bits, 255 where true."""
    from csc_cogd.imagefiles import write_image

    write_image(mask_image(missing, path), path, overwrite=overwrite)
    console.say(f"{path}: written, {percent(missing.mean(), 2)} of {missing.shape[1]} x {missing.shape[0]} pixels missing")


def mask_image(missing: np.ndarray, path: Path) -> ImageFile:
    """Return (H, W) bool as an image of 8 bits, 255 where true."""
    import numpy as np

    from csc_cogd.imagefiles import ImageFile

    return ImageFile(missing.astype(np.uint8) * 255, path, "png")


def check_preview(path: Path | None, overwrite: bool, output: Path | None, *inputs: Path | None) -> None:
    """Refuse a preview that can't be written, or would be written over another file of the call."""
    from csc_cogd.imagefiles import ImageFile, check_output
    from csc_cogd.storage import check_distinct

    if path is not None:
        import numpy as np

        blank = ImageFile(np.empty((1, 1, 3), np.uint8), path, "png")
        check_output(path, blank, overwrite=overwrite, inputs=tuple(filter(None, inputs)))
        check_distinct(path, output)


def write_preview(image: ImageFile, missing: np.ndarray, path: Path | None, overwrite: bool, console: Console) -> None:
    """Draw an image in 8 bits, what is missing in magenta; other types than 8 bits are stretched from black to white."""
    import numpy as np

    from csc_cogd.imagefiles import ImageFile, write_image

    if path is None:
        return
    colors = image.colors if image.colors.ndim == 3 else image.colors[..., None]
    picture = colors[..., :3] if colors.shape[2] >= 3 else np.repeat(colors[..., :1], 3, axis=2)
    if picture.dtype != np.uint8:
        known = picture[~missing & np.isfinite(picture).all(axis=2)].astype(np.float64)
        low, high = np.percentile(known, STRETCH) if known.size else (0.0, 1.0)
        picture = np.nan_to_num((picture - low) / ((high - low) or 1.0), posinf=1.0, neginf=0.0)
        picture = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    picture = np.where(missing[..., None], np.array(MAGENTA, np.uint8), picture)
    for note in write_image(ImageFile(picture, path, "png"), path, overwrite=overwrite):
        console.warn(note)
    console.say(f"{path}: written, what is missing in magenta")
