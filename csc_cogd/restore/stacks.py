"""Stacks, and images on a GPU: what is done to one image of NumPy's, done to every frame of many, and to one of CuPy's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from csc_cogd.backend import beside, check_unmasked, device_of, from_gpu, on_gpu, with_mask
from csc_cogd.errors import InputError

Restoring = TypeVar("Restoring", bound=Callable[..., Any])


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
        raise InputError(f"stack_axis: {stack_axis} isn't an axis of frames of an image of shape {image.shape}")
    if channel_axis is not None:
        stack_axis, channel_axis = stack_axis % image.ndim, channel_axis % image.ndim
        if stack_axis == channel_axis:
            raise InputError("stack_axis: it is the axis of the channels: name another one")
        channel_axis -= channel_axis > stack_axis
    return np.moveaxis(image, stack_axis, 0), channel_axis


def takes_stacks_and_gpu_arrays(function: Restoring) -> Restoring:
    """Let a function that restores an image honour its argument `stack_axis`, and restore arrays on a GPU.

    Stacks are restored frame by frame, memory maps too. The mask is one for all frames, or a stack of them, along the same
    axis. The report becomes a list. An image on a GPU is restored on that GPU, and so is the result there: an array of CuPy.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def restore(*arguments: Any, **options: Any) -> Any:
        bound = signature.bind(*arguments, **options)
        image, mask, axis = (bound.arguments.get(name) for name in ("image", "mask", "stack_axis"))
        if on_gpu(image) or on_gpu(mask):
            device = device_of(image, bound.arguments.get("device", "auto"), "image")
            bound.arguments |= {"image": from_gpu(image), "mask": from_gpu(mask), "device": device}
            found = restore(*bound.args, **bound.kwargs)
            return (beside(found[0], image), found[1]) if isinstance(found, tuple) else beside(found, image)
        if axis is None:
            return function(*arguments, **options)
        if bound.arguments.get("trace") is not None:
            raise InputError("trace: it follows one image, not a stack: leave it out")
        frames, channel_axis = frames_of(image, axis, bound.arguments.get("channel_axis"))
        check_unmasked(mask, "mask")
        masks = np.moveaxis(np.asarray(mask), axis, 0) if mask is not None and np.ndim(mask) == frames.ndim else None
        if masks is not None and len(masks) != len(frames):
            raise InputError(f"mask: it has {len(masks)} frames along stack_axis={axis}, the image {len(frames)}")
        bound.arguments |= {"channel_axis": channel_axis, "return_report": True}
        stack: Any = None
        reports = []
        for number, frame in enumerate(frames):
            bound.arguments |= {"image": frame, "mask": mask if masks is None else masks[number]}
            try:
                restored, report = function(*bound.args, **bound.kwargs)
            except InputError as error:
                raise InputError(f"frame {number}: {error}") from error
            if stack is None:
                stack = np.empty((len(frames), *restored.shape), restored.dtype)
            stack[number] = restored
            reports.append(report)
        stack = np.ascontiguousarray(np.moveaxis(stack, 0, axis))
        return (stack, reports) if options.get("return_report") else stack

    return cast(Restoring, restore)
