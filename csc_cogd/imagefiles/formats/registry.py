"""The known formats: a new one is a module with a :class:`Format` in it, and its name here."""

from __future__ import annotations

from csc_cogd.imagefiles.formats.bmp import BMP
from csc_cogd.imagefiles.formats.format import Format
from csc_cogd.imagefiles.formats.jpeg import JPEG
from csc_cogd.imagefiles.formats.npy import NPY
from csc_cogd.imagefiles.formats.npz import NPZ
from csc_cogd.imagefiles.formats.png import PNG
from csc_cogd.imagefiles.formats.tiff import TIFF
from csc_cogd.imagefiles.formats.webp import WEBP

FORMATS: dict[str, Format] = {known.name: known for known in (PNG, JPEG, TIFF, WEBP, BMP, NPY, NPZ)}
"""The formats by their names."""

SUFFIXES: dict[str, Format] = {suffix: known for known in FORMATS.values() for suffix in known.suffixes}
"""The formats by the suffixes of their files, in lower case."""
