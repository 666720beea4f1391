"""The door between people's arrays and the channels that are restored: masks, NaN, types, stacks, arrays on a GPU."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce, wraps
from typing import Any, TypeVar, cast

import numpy as np

from csc_cogd.backend import beside, check_unmasked, device_of, from_gpu, on_gpu, with_mask
from csc_cogd.errors import InputError, check_names
from csc_cogd.restore.extents import shared_plane

POLARITIES = ("missing", "valid")
LARGEST = 10.0
"""Largest value that is computed with, where most are in [0, 1]."""
BAND = 1 << 20
"""Values that are looked at together, where all of a picture are."""
Restoring = TypeVar("Restoring", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Observation:
    """An image as it was observed.

    Attributes
    ----------
    planes : (C, H, W) array
        Of the image's own dtype.
    missing : (C, H, W) bool array
        Where all channels miss the same, a view of one plane.
    channel_axis : int, or None
        Where the image has its channels.
    """

    planes: np.ndarray
    missing: np.ndarray
    channel_axis: int | None = None

    @classmethod
    def of(
        cls,
        image: Any,
        mask: Any = None,
        *,
        channel_axis: int | None = None,
        mask_polarity: str = "missing",
        complete: bool = False,
    ) -> Observation:
        """Read an image and what is missing of it: NaN, what ``numpy.ma`` masks, and what `mask` marks.

        With `complete`, it may be nothing.

        Raises
        ------
        InputError
            If the image isn't one, the mask doesn't fit it, or nothing or everything is missing.
        """
        image = with_mask(image)
        hidden = np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else None
        planes = as_planes(np.ma.getdata(image), channel_axis)
        found = []
        if hidden is not None:
            found.append(as_planes(hidden, channel_axis))
        if planes.dtype.kind == "f" and any(np.isnan(planes[:, rows]).any() for rows in _bands(planes)):
            found.append(np.isnan(planes))
        if mask is not None:
            found.append(_mask_planes(mask, np.shape(image), planes.shape, channel_axis, mask_polarity))
        elif mask_polarity != "missing":
            raise InputError("mask_polarity", "says how to read a mask, but there is none", "leave it out, or give a {mask}")
        missing = _united(found, planes.shape)
        if _may_be_wrong(planes.dtype):
            for rows in _bands(planes):
                check_values(planes[:, rows][~missing[:, rows]])
        differing = missing if (shared := shared_plane(missing)) is None else shared[None]
        if not (differing.any() or complete):
            raise _wrong_mask("no pixel is missing", mask)
        if any(map(np.all, differing)):
            raise _wrong_mask("every pixel of a channel is missing", mask)
        return cls(planes, missing if shared is None else np.broadcast_to(shared, planes.shape), channel_axis)

    def without_copies(self) -> Observation:
        """Return an observation of one channel if all of them are the same: a gray picture kept in color.

        Their noise is the same, too, and no prior or patch of color takes that off.
        """
        first, *others = self.planes
        if not others or shared_plane(self.missing) is None:
            return self
        kept_nan = self.planes.dtype.kind == "f"
        if not all(np.array_equal(first, other, equal_nan=kept_nan) for other in others):
            return self
        return replace(self, planes=self.planes[:1], missing=self.missing[:1])

    def to_image(self, planes: np.ndarray) -> np.ndarray:
        """Lay (C, height, width) channels out as the image was; one restored channel serves for all that were the same."""
        planes = np.broadcast_to(planes, (len(self.planes), *planes.shape[1:]))
        return planes[0] if self.channel_axis is None else np.ascontiguousarray(np.moveaxis(planes, 0, self.channel_axis))

    def known_values(self, channels: slice = slice(None)) -> list[np.ndarray]:
        """The known values of each channel, (n,)."""
        return [plane[~gone] for plane, gone in zip(self.planes[channels], self.missing[channels], strict=True)]

    def also_missing(self, missing: np.ndarray) -> Observation:
        """Return the observation without values that are marked in a (C, H, W) bool array."""
        return replace(self, missing=self.missing | missing)


@dataclass(frozen=True, eq=False)
class ScaledPlanes:
    """Channels that are restored together, read window by window on a scale where `low` is 0 and `high` is 1.

    Attributes
    ----------
    planes : (C, H, W) array of any dtype
    missing : (C, H, W) bool array
    low, high : float
    largest : float
        On either side of zero, values beyond it are cut off: a single wild one would drown the others in single precision.
    """

    planes: np.ndarray
    missing: np.ndarray
    low: float
    high: float
    largest: float = LARGEST

    @property
    def range(self) -> float:
        return self.high - self.low

    def crop(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Values of a window, (C, h, w) of float64 and 0 where missing, and what is missing of it."""
        missing = self.missing[:, rows, columns]
        values = np.where(missing, self.low, self.planes[:, rows, columns].astype(np.float64))
        return np.clip((values - self.low) / self.range, -self.largest, self.largest), missing


def as_planes(image: Any, channel_axis: int | None, name: str = "image") -> np.ndarray:
    """Return an image as (C, H, W), after checking that it is one, not masked by ``numpy.ma``; errors speak of `name`."""
    check_unmasked(image, name)
    image = np.asarray(image)
    if image.dtype.kind not in "iufb" or image.dtype.itemsize > 8:
        raise InputError(name, f"must have integers or floats of up to 64 bits, got {image.dtype}")
    if 0 in image.shape:
        raise InputError(name, f"has no pixels: its shape is {image.shape}")
    if channel_axis is None:
        if image.ndim != 2:
            raise InputError(
                name, f"must be of shape (H, W), got {image.shape}",
                "for color, name the axis of the channels, {channel_axis}=-1; for stacks that of the frames, {stack_axis}=0",
            )  # fmt: skip
        return image[None]
    if image.ndim == 3 and not -3 <= channel_axis < 3:
        raise InputError("channel_axis", f"must be from -3 to 2, got {channel_axis}")
    if image.ndim != 3:
        raise InputError(name, f"must have three axes with channel_axis={channel_axis}, got shape {image.shape}")
    return np.moveaxis(image, channel_axis, 0)


def check_values(known: np.ndarray, name: str = "image") -> None:
    """Raise InputError, which speaks of `name`, for values that can't be computed with."""
    if not known.size or not _may_be_wrong(known.dtype):
        return
    if not np.isfinite(known).all():
        fix = "set them to NaN, which means missing, or clip them to finite ones"
        raise InputError(name, "has infinite values", fix)
    if known.dtype.itemsize == 8 and known.dtype.kind in "iu" and (known > 2**53).any() | (known < -(2**53)).any():
        raise InputError(
            name, "has integers beyond 2**53, which aren't computed exactly", "convert it to another type first"
        )
    if known.dtype.kind == "f" and float(abs(known.astype(np.float64)).max()) > 1e150:
        raise InputError(name, "has values beyond 1e150, which can't be computed with", "scale it first")


def _may_be_wrong(dtype: np.dtype) -> bool:
    """Whether there are values of a dtype that can't be computed with."""
    return dtype.kind == "f" or dtype.itemsize == 8


def _bands(planes: np.ndarray) -> list[slice]:
    """Return slices of the rows of planes (C, H, W), of about a million values each."""
    step = max(BAND // (planes.shape[0] * planes.shape[2]), 1)
    return [slice(top, top + step) for top in range(0, planes.shape[1], step)]


def _united(masks: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return what any mask marks, of a shape (C, H, W): a view of one plane, where all masks are."""
    if not masks:
        return np.broadcast_to(np.zeros(shape[1:], bool), shape)
    if {mask.strides[0] for mask in masks} == {0}:
        masks = [mask[:1] for mask in masks]
    return np.broadcast_to(reduce(np.logical_or, masks), shape)


def as_pixels(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values in an image's dtype: rounded if it is whole, and at the ends of its range where they lie beyond."""
    if dtype.kind == "b":
        return values >= 0.5
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.clip(values if dtype.kind == "f" else np.rint(values), limits.min, limits.max).astype(dtype)


def intensity_range(known_values: list[np.ndarray]) -> tuple[float, float]:
    """Return the range of known values without the outermost thousandth: single hot pixels don't set the scale."""
    samples = (values[:: max(len(values) >> 20, 1)] for values in known_values)  # a million tell as much as all
    ranges = np.array([np.quantile(values.astype(np.float64), (0.001, 0.999)) for values in samples])
    low, high = ranges[:, 0].min(), ranges[:, 1].max()
    if high <= low:
        low = float(min(values.min() for values in known_values))
        high = float(max(values.max() for values in known_values))
    return float(low), float(high if high > low else low + max(abs(low), 1.0))


def known_range(planes: np.ndarray, missing: np.ndarray) -> tuple[float, float]:
    """Return the range of the known values of planes (C, H, W), see :func:`intensity_range`; of large ones, by some rows."""
    step = max(planes[0].size >> 20, 1) | 1  # odd: fields of interlaced pictures count alike
    if planes.dtype in (np.uint8, np.uint16):
        ends = [_tails(plane[::step], gone[::step]) for plane, gone in zip(planes, missing, strict=True)]
        low, high = min(ends)[0], max([high for _, high in ends])
        if low < high and np.isfinite(ends).all():
            return low, high
        step = 1
    samples = [plane[::step][~gone[::step]] for plane, gone in zip(planes, missing, strict=True)]
    if not all(values.size for values in samples):  # all that is known of a channel lies between these rows
        samples = [plane[~gone] for plane, gone in zip(planes, missing, strict=True)]
    return intensity_range(samples)


def _tails(plane: np.ndarray, missing: np.ndarray) -> tuple[float, float]:
    """Return the quantiles that :func:`intensity_range` takes, of whole numbers, by counting them.

    They are infinite where nothing is known.
    """
    n_values = np.iinfo(plane.dtype).max + 1
    counts = np.bincount(plane.ravel(), minlength=n_values) - np.bincount(plane[missing], minlength=n_values)
    sums = np.cumsum(counts)
    if not sums[-1]:
        return np.inf, -np.inf
    places = np.array([0.001, 0.999]) * (sums[-1] - 1)
    before = np.floor(places)
    below, above = np.searchsorted(sums, [before, np.ceil(places)], "right")
    low, high = below + (places - before) * (above - below)
    return float(low), float(high)


def clipped_to_known(values: np.ndarray, plane: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return values (n,) clipped to the range of what is known of a plane (H, W).

    The plane is looked at only as far as that matters.
    """
    limits = np.iinfo(plane.dtype) if plane.dtype.kind in "iu" else None
    least, most = float(values.min()), float(values.max())
    if limits is not None:  # beyond these, no value is known
        least, most = max(least, limits.min), min(most, limits.max)
    low, high = np.inf, -np.inf
    for rows in _bands(plane[None]):
        known = plane[rows][~missing[rows]]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
        if low <= least and most <= high:
            break
    return np.clip(values, low, high)


def _mask_planes(
    mask: Any, image_shape: tuple[int, ...], planes: tuple[int, ...], channel_axis: int | None, polarity: str
) -> np.ndarray:
    if polarity not in POLARITIES:
        raise InputError("mask_polarity", f"must be 'missing' or 'valid', got {polarity!r}")
    check_unmasked(mask, "mask")
    mask = np.asarray(mask)
    if mask.dtype.kind not in "iufb" or (mask.dtype.kind == "f" and not np.isfinite(mask).all()):
        raise InputError("mask", "must have finite numbers or booleans")
    marked = mask if mask.dtype.kind == "b" else mask != 0
    if marked.shape == image_shape:
        marked = marked[None] if channel_axis is None else np.moveaxis(marked, channel_axis, 0)
    elif marked.shape == planes[1:] or (marked.ndim == 3 and _without_channel(marked.shape, planes[1:])):
        marked = np.broadcast_to(marked.reshape(planes[1:]), planes)
    else:
        raise InputError("mask", f"must be of shape {planes[1:]}, or of the image's {image_shape}, got {mask.shape}")
    return marked if polarity == "missing" else ~marked


def _without_channel(shape: tuple[int, ...], sides: tuple[int, ...]) -> bool:
    """Whether a shape is (height, width), and beside them an axis of a single channel."""
    return sides in [shape[:axis] + shape[axis + 1 :] for axis, length in enumerate(shape) if length == 1]


def _wrong_mask(problem: str, mask: Any) -> InputError:
    if mask is None:
        return InputError("image", f"can't be filled, as {problem}", "give a {mask}, or set missing values to NaN")
    fix = "non-zero means missing; if yours means known, use {mask_polarity} 'valid'"
    return InputError("mask", f"leaves nothing to do, as {problem}", fix)


# -- stacks, and images on a GPU ---------------------------------------------------------------------------------------


def frames_of(image: Any, stack_axis: int, channel_axis: int | None) -> tuple[Any, int | None]:
    """The frames of a stack, along axis 0, and the axis of the channels of one; both axes count those of the stack.

    Raises
    ------
    InputError
        If `stack_axis` isn't an axis of frames.
    """
    image = with_mask(image)
    image = image if isinstance(image, np.ma.MaskedArray) else np.asarray(image)
    if not -image.ndim <= stack_axis < image.ndim or not image.shape[stack_axis]:
        raise InputError("stack_axis", f"must be an axis of the image, of shape {image.shape}, got {stack_axis}")
    if channel_axis is not None:
        stack_axis, channel_axis = stack_axis % image.ndim, channel_axis % image.ndim
        if stack_axis == channel_axis:
            raise InputError("stack_axis", "must not be the axis of the channels")
        channel_axis -= channel_axis > stack_axis
    return np.moveaxis(image, stack_axis, 0), channel_axis


def over_frames(function: Restoring) -> Restoring:
    """Let a function that restores an image honor its argument `stack_axis`, and restore arrays on a GPU.

    Stacks are restored frame by frame, memory maps too. The mask is one for all frames, or a stack of them, along the same
    axis. The report becomes a list. An image on a GPU is restored on that GPU, and so is the result there: an array of CuPy.
    Where no report is asked for, its remarks are warnings of Python's.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def restore(*arguments: Any, **options: Any) -> Any:
        check_names(options, signature.parameters)
        bound = signature.bind(*arguments, **options)
        image, mask, axis = (bound.arguments.get(name) for name in ("image", "mask", "stack_axis"))
        reported = bound.arguments.get("return_report", False)
        bound.arguments["return_report"] = True
        if on_gpu(image) or on_gpu(mask):
            engine = bound.arguments.get("engine")
            device = device_of(image, bound.arguments.get("device", "auto") if engine is None else engine.device, "image")
            there = {"device": device} if engine is None else {"engine": replace(engine, device=device)}
            bound.arguments |= {"image": from_gpu(image), "mask": from_gpu(mask)} | there
            restored, report = _call(restore, bound)
            restored = beside(restored, image)
        elif axis is None:
            restored, report = _call(function, bound)
        else:
            restored, report = _each_frame(function, bound, axis)
        if reported:
            return restored, report
        for remark in dict.fromkeys(remark for one in (report if axis is not None else [report]) for remark in one.warnings):
            warnings.warn(remark, stacklevel=2)
        return restored

    return cast(Restoring, restore)


def _call(function: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
    return function(*bound.args, **bound.kwargs)


def _each_frame(function: Callable[..., Any], bound: inspect.BoundArguments, axis: int) -> tuple[Any, list[Any]]:
    """Restore a stack frame by frame along `axis`; with the reports."""
    image, mask = (bound.arguments.get(name) for name in ("image", "mask"))
    if bound.arguments.get("trace") is not None:
        raise InputError("trace", "follows one image, not a stack", "leave it out")
    frames, channel_axis = frames_of(image, axis, bound.arguments.get("channel_axis"))
    check_unmasked(mask, "mask")
    shape = () if mask is None else np.shape(mask)
    if channel_axis is None and shape == (*frames.shape[1:], 1) and shape[axis] != len(frames):
        mask = np.asarray(mask)[..., 0]  # one for all, with a channel
    masks = np.moveaxis(np.asarray(mask), axis, 0) if mask is not None and np.ndim(mask) == frames.ndim else None
    if masks is not None and len(masks) != len(frames):
        raise InputError("mask", f"has {len(masks)} frames along stack_axis={axis}, but the image has {len(frames)}")
    bound.arguments["channel_axis"] = channel_axis
    stack: Any = None
    reports = []
    for number, frame in enumerate(frames):
        bound.arguments |= {"image": frame, "mask": mask if masks is None else masks[number]}
        try:
            restored, report = _call(function, bound)
        except InputError as error:
            raise error.about(f"frame {number}") from error
        if stack is None:
            stack = np.empty((len(frames), *restored.shape), restored.dtype)
        stack[number] = restored
        reports.append(report)
    return np.ascontiguousarray(np.moveaxis(stack, 0, axis)), reports
