"""Dictionaries: filters with their supports and where they came from, saved without pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend import check_unmasked, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.storage import read_arrays, write_arrays

_FORMAT = 1
_SPECTRUM = 2**24  # values of filters' spectra that are held at once
_MOST_FILTERS, _LARGEST = 2**16, 512  # of a file: with more, no image would be done in any time or memory


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Filters of a convolutional sparse code.

    Parameters
    ----------
    filters : (K, h, w) or (K, C, h, w) array of float
        K filters, gray or with C channels. Smaller filters stand in the top left corner of h x w, zeros around them.
    shapes : (K, 2) array of int, optional
        Height and width of each filter; default: h x w for all.
    provenance : mapping, optional
        What the filters were learned from, by which settings and which version; anything JSON can hold.

    Raises
    ------
    InputError
        If the filters aren't three- or four-dimensional, finite, or one of them is zero or leaves its support.

    Examples
    --------
    >>> import numpy as np
    >>> d = Dictionary(np.ones((2, 3, 3)) / 3)
    >>> d.n_filters, d.n_channels, d.filter_shape
    (2, 1, (3, 3))
    """

    filters: np.ndarray
    shapes: np.ndarray = None  # type: ignore[assignment]  # filled in below
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        filters = to_numpy(self.filters, "filters")
        if filters.dtype.kind not in "fiu":
            raise InputError("filters", f"must be real numbers, got {filters.dtype}")
        filters = filters.astype(filters.dtype if filters.dtype.kind == "f" else np.float64)
        if filters.ndim not in (3, 4) or 0 in filters.shape:
            raise InputError("filters", f"must be of shape (K, h, w) or (K, C, h, w), got {filters.shape}")
        if not np.isfinite(filters).all():
            raise InputError("filters", "must be finite, but have NaN or infinite values")
        if not np.any(filters.reshape(len(filters), -1), axis=1).all():
            raise InputError("filters", "must not be zero, but at least one is", "leave it out")
        size = filters.shape[-2:]
        shapes = np.broadcast_to(size, (len(filters), 2)) if self.shapes is None else to_numpy(self.shapes, "shapes")
        if shapes.dtype.kind not in "iu" or shapes.shape != (len(filters), 2) or (shapes < 1).any() or (shapes > size).any():
            raise InputError("shapes", f"must be a (height, width) within {size} for each of the {len(filters)} filters")
        rows, columns = np.ogrid[: size[0], : size[1]]
        outside = (rows >= shapes[:, :1, None]) | (columns >= shapes[:, 1:, None])
        values = filters.reshape(len(filters), -1, *size).any(axis=1)
        if (wrong := np.flatnonzero((values & outside).any(axis=(1, 2)))).size:
            (height, width), number = shapes[wrong[0]], wrong[0]
            raise InputError(
                "filters", f"must be zero outside their shapes, but filter {number} isn't, of {height} x {width}"
            )
        filters.setflags(write=False)
        shapes = np.array(shapes, dtype=np.int64)
        shapes.setflags(write=False)
        object.__setattr__(self, "filters", filters)
        object.__setattr__(self, "shapes", shapes)

    def __repr__(self) -> str:
        channels = "" if self.filters.ndim == 3 else f", {self.n_channels} channels"
        return f"Dictionary({self.sizes()}{channels})"

    @property
    def n_filters(self) -> int:
        """Number of filters."""
        return len(self.filters)

    @property
    def n_channels(self) -> int:
        """Channels of each filter; 1 for gray ones."""
        return 1 if self.filters.ndim == 3 else self.filters.shape[1]

    @property
    def filter_shape(self) -> tuple[int, int]:
        """Height and width of the largest filters."""
        return self.filters.shape[-2], self.filters.shape[-1]

    def sizes(self) -> str:
        """Return number and sizes of the filters, such as ``"16 of 8 x 8, 32 of 12 x 12"``."""
        sizes, counts = np.unique(self.shapes, axis=0, return_counts=True)
        return ", ".join(f"{count} of {h} x {w}" for (h, w), count in zip(sizes, counts, strict=True))

    def with_channels(self) -> np.ndarray:
        """Return the filters as (K, C, h, w), C = 1 for gray ones."""
        return self.filters if self.filters.ndim == 4 else self.filters[:, None]

    def center_frequencies(self) -> np.ndarray:
        """Return the root mean square frequency of each filter, (K,), in cycles per pixel (0 to 0.71)."""
        size = 4 * max(self.filter_shape)
        frequencies = np.fft.fftfreq(size)
        squared = frequencies[:, None] ** 2 + frequencies**2
        at_once, moments = max(_SPECTRUM // size**2, 1), []
        for first in range(0, self.n_filters, at_once):
            channels = self.with_channels()[first : first + at_once].swapaxes(0, 1)
            power: Any = sum(np.abs(np.fft.fft2(channel, (size, size))) ** 2 for channel in channels)
            moments.append((power * squared).sum(axis=(1, 2)) / power.sum(axis=(1, 2)))
        return np.sqrt(np.concatenate(moments))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write an npz file, without pickle, in one step or not at all."""
        arrays = {"filters": self.filters, "shapes": self.shapes}
        about = {"format": _FORMAT, "provenance": dict(self.provenance)}
        write_arrays(Path(path), arrays, about, overwrite=overwrite, compress=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Dictionary:
        """Load a dictionary of :meth:`save`, or filters (K, h, w) or (K, C, h, w) in an npz's ``filters`` or an npy file.

        Raises
        ------
        InputError
            If the file is missing, not such a file, or needs unpickling (which is refused).
        """
        arrays, about = read_arrays(path, "dictionary")
        if "" in arrays:
            arrays["filters"] = arrays.pop("")
        if "filters" not in arrays:
            raise InputError("", "no array 'filters' in it", "is it a dictionary?", str(path))
        shape = arrays["filters"].shape
        if "shapes" not in arrays and len(shape) > 2 and shape[0] == shape[1] and shape[-2] != shape[-1]:
            wrong = f"shape {shape} looks like (h, w, .., K), but must be (K, h, w) or (K, C, h, w)"
            raise InputError("", wrong, "convert it, Dictionary.from_sporco(array).save(path)", str(path))
        if not isinstance(about.get("format", _FORMAT), int) or about.get("format", _FORMAT) > _FORMAT:
            raise InputError("", "written by a newer version of csc-cogd", "upgrade to read it", str(path))
        if len(shape) > 2 and (shape[0] > _MOST_FILTERS or max(shape[-2:]) > _LARGEST):
            most = f"{_MOST_FILTERS} of {_LARGEST} x {_LARGEST} at most can be worked with"
            raise InputError("", f"{shape[0]} filters of {shape[-2]} x {shape[-1]}: {most}", subject=str(path))
        try:
            return cls(arrays["filters"], arrays.get("shapes"), dict(about.get("provenance", {})))  # type: ignore[arg-type]
        except InputError as error:
            raise error.about(str(path)) from None
        except (TypeError, ValueError):
            wrong = "not a dictionary file: its provenance isn't a table of names and values"
            raise InputError("", wrong, subject=str(path)) from None

    @classmethod
    def from_sporco(cls, filters: Any) -> Dictionary:
        """Convert filters as SPORCO has them, (h, w, K) or (h, w, C, K).

        ``lmbda`` means the same as there. Its ``ConvBPDN`` is circular: :func:`csc_cogd.sparse_code` minimizes that
        objective with ``boundary="circular"``.

        Examples
        --------
        >>> import numpy as np
        >>> Dictionary.from_sporco(np.ones((8, 8, 3, 36)))
        Dictionary(36 of 8 x 8, 3 channels)
        """
        check_unmasked(filters, "filters")
        filters = np.asarray(filters)
        if filters.ndim not in (3, 4):
            raise InputError("filters", f"must be of shape (h, w, K) or (h, w, C, K), got {filters.shape}")
        return cls(np.ascontiguousarray(np.moveaxis(filters, -1, 0) if filters.ndim == 3 else filters.transpose(3, 2, 0, 1)))

    @classmethod
    def default(cls, kind: str = "gray") -> Dictionary:
        """Return the dictionary that ships with the package: ``"gray"`` or ``"color"`` (RGB)."""
        if kind not in ("gray", "color"):
            raise InputError("kind", f"must be 'gray' or 'color', got {kind!r}")
        return _load_default(kind)

    def mosaic(self, columns: int | None = None) -> np.ndarray:
        """Return all filters in one image, each stretched to its own range, (H, W) or (H, W, 3), uint8."""
        filters = self.with_channels()
        K, C, h, w = filters.shape
        channels = 3 if C == 3 else 1
        columns = columns or int(np.ceil(np.sqrt(K)))
        rows = -(-K // columns)
        picture = np.full((rows * (h + 1) + 1, columns * (w + 1) + 1, channels), 255, np.uint8)
        for k in range(K):
            height, width = self.shapes[k]
            tile = filters[k, :channels, :height, :width]
            scaled = 127.5 + 127.5 * tile / np.abs(tile).max(initial=1e-30)
            top, left = (k // columns) * (h + 1) + 1, (k % columns) * (w + 1) + 1
            picture[top : top + height, left : left + width] = np.moveaxis(scaled, 0, -1).round()
        return picture if channels == 3 else picture[..., 0]


def check_dictionary(dictionary: Any, name: str = "dictionary") -> None:
    """Raise InputError about the argument `name` if it isn't a :class:`Dictionary`."""
    if not isinstance(dictionary, Dictionary):
        named = isinstance(dictionary, (str, os.PathLike))
        way = (
            "load it, Dictionary.load(path)"
            if named
            else "make one: Dictionary(D) of (K, h, w), Dictionary.from_sporco(D) of (h, w, K)"
        )
        raise InputError(name, f"must be a csc_cogd.Dictionary, got {type(dictionary).__name__}", way)


@lru_cache
def _load_default(kind: str) -> Dictionary:
    with resources.as_file(resources.files("csc_cogd.data") / f"{kind}.npz") as path:
        return Dictionary.load(path)
