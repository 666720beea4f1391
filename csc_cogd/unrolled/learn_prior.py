"""Learning a prior from photographs: the door."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.storage import Json
from csc_cogd.unrolled.network import Network, Shape
from csc_cogd.unrolled.photographs import Photographs, as_planes, reduced
from csc_cogd.unrolled.prior import Prior
from csc_cogd.unrolled.training import TEST_LEVELS, LearningProgress, Recipe, State, train

_LEVELS = {"white": "sigma", "camera": "shot", "missing": "share"}
TEST_SIDE = 256
"""Of the middle of each photograph held out, at half its size, on which the PSNR is taken."""


def learn_prior(
    images: Sequence[Any],
    *,
    color: bool = False,
    noise: str = "white",
    n_filters: int | None = None,
    filter_size: int | None = None,
    stride: int | None = None,
    n_iter: int | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    batch_size: int = 8,
    crop: int = 64,
    learning_rate: float = 1e-3,
    held_out: Sequence[Any] = (),
    seed: int = 0,
    start: Prior | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 500,
    device: str = "auto",
    threads: int | None = None,
    callback: Callable[[LearningProgress], Any] | None = None,
) -> Prior:
    """Learn a prior from photographs without noise.

    An unrolled convolutional sparse coder, see :mod:`csc_cogd.unrolled.network`, learns to take white Gaussian noise, or
    that of cameras, off pieces of the photographs, drawn by their detail, at several scales, turned and mirrored, with noise
    drawn anew for each: white noise of 3 to 60 of 255, or that of a camera of any sensitivity, or of film. The loss is the
    squared error over the noise's standard deviation. The optimizer is Adam with clipped gradients, whose rate rises over
    200 steps and falls by a cosine; where the loss doubles, it goes back to the last good weights, at half the rate.

    Parameters
    ----------
    images : sequence of (H, W) or (H, W, 3) arrays
        At least `crop` pixels in height and width; integers, or floats in [0, 1]. Noise and compression that can be seen are
        learned as if they were detail: reduce such photographs to half their size.
    color : bool
        For color images; else for gray ones, and color photographs become gray.
    noise : {"white", "camera", "missing"}
        What it learns to take off; "camera" is made as :mod:`csc_cogd.unrolled.cameras` says. Of "missing", it learns to
        fill pixels that are missing one by one, in lines or in blocks, from what biharmonic interpolation makes of them.
        Both are best learned by going on from a prior for white noise. What fills is gray, and serves color, too.
    n_filters, filter_size, stride, n_iter : int, optional
        Filters, their side in pixels, the distance of their places, and iterations. Default: those of `start`, else 64 of
        7 x 7 at every second pixel, and 8.
    steps : int, optional
        After which the learning ends. Default: 20,000, if `minutes` doesn't say when.
    minutes : float, optional
        After which it ends, if not before.
    batch_size : int
        Pieces a step.
    crop : int
        Side of a piece in pixels.
    learning_rate : float > 0
        The highest.
    held_out : sequence of arrays, optional
        Photographs to measure the PSNR on.
    seed : int
        Of the first filters and all that is drawn.
    start : Prior, optional
        Go on from its weights.
    checkpoint : path, optional
        Save the run there, and go on from it if it is there already: after the same number of steps, to the same weights,
        bit for bit.
    checkpoint_every : int
        Steps.
    device : {"auto", "cpu", "cuda", "cuda:N"}
        ``"auto"`` is a GPU where CuPy is installed and one answers, unless `threads` are given. What is drawn is the same on
        all devices, and drawn by the CPU; weights differ by rounding.
    threads : int, optional
        Of the CPU; default: all processors. The weights don't depend on it.
    callback : callable, optional
        Is called with a :class:`csc_cogd.unrolled.training.LearningProgress` every hundred steps; a true return value ends
        the learning.

    Returns
    -------
    Prior

    Raises
    ------
    InputError
        If a photograph isn't one or is too small, or an argument doesn't fit.
    DeviceError
        If a GPU is asked for that can't be used.

    Examples
    --------
    >>> photo = np.random.default_rng(0).random((40, 40))
    >>> learn_prior([photo], n_filters=4, filter_size=5, n_iter=2, crop=32, batch_size=2, steps=3)
    Prior(gray: 2 iterations, 4 filters of 5 x 5, stride 2)
    """
    backend = Engine(device=device, threads=threads).backend
    if not len(images):
        raise InputError("images", "must have at least one photograph")
    if color and noise == "missing":
        raise InputError("color", "isn't learned to be filled: a gray prior fills each channel", "leave it out")
    shape = _shape(3 if color else 1, start, (n_filters, filter_size, stride, n_iter))
    recipe = Recipe(
        20_000 if steps is None and minutes is None else steps, minutes, batch_size, crop, learning_rate, noise=noise,
        seed=seed,
    )  # fmt: skip
    photographs = Photographs(images, shape.channels, recipe.drawn)
    network = Network.random(shape, np.random.default_rng(seed))
    if start is not None:
        network.vector[:] = start.network.vector
    state = train(
        network, photographs, recipe, backend,
        held_out=[_middle(image, shape.channels, number) for number, image in enumerate(held_out)],
        checkpoint=None if checkpoint is None else Path(checkpoint), checkpoint_every=checkpoint_every, callback=callback,
    )  # fmt: skip
    return Prior(network, _provenance(state, len(images), start, noise))


def _shape(channels: int, start: Prior | None, given: tuple[int | None, ...]) -> Shape:
    """Return the shape asked for, by the fields behind its channels; beside a `start`, it must be that one's."""
    known = Shape(channels) if start is None else start.network.shape
    defaults = (known.n_filters, known.size, known.stride, known.n_iter)
    shape = Shape(channels, *(own if value is None else value for value, own in zip(given, defaults, strict=True)))
    if start is not None and shape != known:
        raise InputError("start", f"is {start}, which isn't what is asked for", "leave out what differs, or {start}")
    return shape


def _middle(image: Any, channels: int, number: int) -> np.ndarray:
    """Return the middle of a photograph at half its size, (C, h, w) in [0, 1]."""
    planes = reduced(as_planes(image, channels, f"held_out[{number}]"), 0.5)
    (top, h), (left, w) = ((max(n - TEST_SIDE, 0) // 2, min(n, TEST_SIDE)) for n in planes.shape[1:])
    return planes[:, top : top + h, left : left + w].astype(np.float32) / np.float32(255)


def _provenance(state: State, n_images: int, start: Prior | None, noise: str) -> dict[str, Json]:
    from csc_cogd import __version__

    levels = f"{_LEVELS[noise]} {', '.join(f'{level:g}' for level in TEST_LEVELS[noise])}"
    about: dict[str, Json] = {
        "version": __version__, "photographs": n_images, "noise": noise, "steps": state.step,
        "minutes": round(state.seconds / 60, 1), "psnr": {levels: [round(value, 2) for value in state.psnr]},
    }  # fmt: skip
    return about if start is None else {**about, "start": dict(start.provenance)}
