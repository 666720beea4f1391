"""Learning a prior: an unrolled network learns to take noise off photographs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, array_module, on_gpu, single_threaded_blas, to_numpy
from csc_cogd.cogd.optimizers import Adam
from csc_cogd.errors import InputError
from csc_cogd.storage import Json, check_writable, digest, read_arrays, write_arrays
from csc_cogd.unrolled.cameras import MARGIN, degraded, softened
from csc_cogd.unrolled.inference import denoise_planes
from csc_cogd.unrolled.network import Network, Shape, Trail, Weights
from csc_cogd.unrolled.photographs import Photographs
from csc_cogd.unrolled.pieces import Piece, camera_piece, camera_test, fill_piece, fill_test, white_piece, white_test

FORMAT = 1
CHECK_EVERY = 100
"""Steps from one look at the loss to the next."""
DIVERGED = 2.0
"""Times the least loss seen, from which on a run has diverged and steps back."""
LEAST_RATE = 0.01
TEST_LEVELS = {"white": (15, 25, 50), "camera": (3e-4, 1e-3, 3e-3), "missing": (0.5, 0.8, 0.0)}
"""Kinds of noise that a network learns to take off, and of what levels photographs held out have it: standard deviations, of
255, and variances of the noise of photons, see :mod:`csc_cogd.unrolled.cameras`."""


@dataclass(frozen=True)
class Recipe:
    """How a prior is learned.

    Attributes
    ----------
    steps : int, optional
        After which the learning ends,
    minutes : float, optional
        or of time, whichever comes first; the learning rate falls accordingly.
    batch_size : int
        Pieces of photographs a step.
    crop : int
        Their side in pixels.
    learning_rate : float > 0
    warm_up : int
        Steps over which the rate rises from 0.
    clip : float > 0
        Norm to which gradients are clipped.
    sigma_range : two floats
        Standard deviations of white noise, of 255, from which each piece's is drawn.
    noise : {"white", "camera", "missing"}
        "camera" is that of :mod:`csc_cogd.unrolled.cameras`; of "missing", pixels are to be filled.
    seed : int

    Raises
    ------
    InputError
        If one is out of range, or nothing says when to end.
    """

    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 8
    crop: int = 64
    learning_rate: float = 1e-3
    warm_up: int = 200
    clip: float = 0.05
    sigma_range: tuple[float, float] = (3.0, 60.0)
    noise: str = "white"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise InputError("steps", "must say when to end", "give it, or {minutes}")
        for name in ("steps", "batch_size", "warm_up", "seed", "crop"):
            value, least = getattr(self, name), {"warm_up": 0, "seed": 0, "crop": 16}.get(name, 1)
            if value is not None and (not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least):
                raise InputError(name, f"must be a whole number of at least {least}, got {value!r}")
        for name in ("minutes", "learning_rate", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(name, f"must be a finite number above 0, got {value!r}")
        low, high = self.sigma_range
        if not 0 <= low <= high <= 255:
            raise InputError("sigma_range", f"must be two numbers from 0 to 255, the larger last, got {self.sigma_range}")
        if self.noise not in TEST_LEVELS:
            raise InputError("noise", f"must be one of {', '.join(map(repr, TEST_LEVELS))}, got {self.noise!r}")

    @property
    def drawn(self) -> int:
        """Side in pixels of what is drawn to make a piece of."""
        return self.crop + (MARGIN if self.noise == "camera" else 0)

    def done(self, step: int, seconds: float) -> float:
        """Return how much of the learning is done, from 0 to 1."""
        by_steps = step / self.steps if self.steps else 0.0
        return min(max(by_steps, seconds / 60 / self.minutes if self.minutes else 0.0), 1.0)

    def rate(self, step: int, done: float) -> float:
        """Return the learning rate: warm-up, then a cosine to a hundredth."""
        falling = LEAST_RATE + (1 - LEAST_RATE) * (1 + np.cos(np.pi * done)) / 2
        return float(self.learning_rate * falling * min((step + 1) / max(self.warm_up, 1), 1))


@dataclass(frozen=True)
class LearningProgress:
    """What a callback is told.

    Attributes
    ----------
    step : int
    done : float
        How much of the learning is done, from 0 to 1.
    loss : float
        Mean of the last steps.
    psnr : tuple of float
        In dB, on the photographs held out, at noise of 15, 25 and 50 of 255; empty where none are, or before the first look.
    seconds : float
    setbacks : int
        How often the run diverged and stepped back.
    """

    step: int
    done: float
    loss: float
    psnr: tuple[float, ...]
    seconds: float
    setbacks: int


@dataclass
class State:
    """All of a run that goes on: its arrays, and numbers."""

    vector: Any
    moments: tuple[int, Any, Any]
    good: tuple[Any, int, Any, Any] = field(default=None)  # type: ignore[assignment]  # set at once
    step: int = 0
    seconds: float = 0.0
    slowing: float = 1.0
    losses: list[float] = field(default_factory=list)
    least: float = float("inf")
    setbacks: int = 0
    psnr: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.good is None:
            self.keep()

    def keep(self) -> None:
        """Take the weights and moments for good ones."""
        count, first, second = self.moments
        self.good = (self.vector.copy(), count, first.copy(), second.copy())

    def step_back(self) -> None:
        """Return to the last good weights, with a lower rate from now on."""
        vector, count, first, second = self.good
        self.vector[:], self.moments = vector, (count, first.copy(), second.copy())
        self.slowing, self.setbacks, self.losses = self.slowing / 2, self.setbacks + 1, []

    def save(self, path: Path, identity: dict[str, Json]) -> None:
        names = {name: getattr(self, name) for name in _NUMBERS}
        arrays = {
            "vector": self.vector, "first": self.moments[1], "second": self.moments[2],
            "good": self.good[0], "good_first": self.good[2], "good_second": self.good[3],
        }  # fmt: skip
        arrays = {name: to_numpy(array) for name, array in arrays.items()}
        counts = {"count": self.moments[0], "good_count": self.good[1]}
        about = {"format": FORMAT, "kind": "learn_prior", "identity": identity, **names, **counts}
        write_arrays(path, arrays, about, overwrite=True, compress=False)

    @classmethod
    def load(cls, path: Path, identity: dict[str, Any], n_numbers: int, xp: Any = np) -> State:
        """Return the state of a file, as arrays of NumPy or CuPy.

        Raises
        ------
        InputError
            Where the file is of another run, or damaged.
        """
        arrays, about = read_arrays(path, "checkpoint")
        if about.get("kind") != "learn_prior" or about.get("format") != FORMAT:
            raise InputError("", "not a checkpoint of learning a prior", "delete it, or name another file", str(path))
        saved = about.get("identity") or {}
        if other := sorted(key for key in identity.keys() | saved.keys() if saved.get(key) != identity.get(key)):
            what = f"a checkpoint of another run ({', '.join(other)} differ)"
            raise InputError("", what, "delete it, or name another file", str(path))
        names = ("vector", "first", "second", "good", "good_first", "good_second")
        whole = all(name in arrays and arrays[name].shape == (n_numbers,) for name in names)
        if not whole or not all(name in about for name in (*_NUMBERS, "count", "good_count")):
            raise InputError("", "a damaged checkpoint", "delete it", str(path))
        vector, first, second, *good = (xp.asarray(arrays[name].astype(np.float32)) for name in names)
        numbers = {name: about[name] for name in _NUMBERS} | {"psnr": tuple(about["psnr"])}
        return cls(vector, (about["count"], first, second), (good[0], about["good_count"], good[1], good[2]), **numbers)


_NUMBERS = ("step", "seconds", "slowing", "losses", "least", "setbacks", "psnr")


def train(
    network: Network,
    photographs: Photographs,
    recipe: Recipe,
    backend: Backend,
    *,
    held_out: list[np.ndarray] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    callback: Callable[[LearningProgress], Any] | None = None,
) -> State:
    """Learn a network's weights, in place.

    Every step draws anew by a generator of its own. So a run that goes on from its checkpoint gives the same weights, bit
    for bit, as one that wasn't interrupted, as long as steps, not minutes, end it.

    Parameters
    ----------
    network : Network
        Its vector changes.
    photographs : Photographs
    recipe : Recipe
    backend : Backend
        Its threads share the pieces of a step; the results don't depend on how many there are. A GPU takes the pieces of a
        step together, which main memory draws.
    held_out : list of (C, h, w) float32 arrays in [0, 1], optional
        On which the PSNR is taken whenever a checkpoint is due.
    checkpoint : Path, optional
        Where the run is saved to, and goes on from.
    checkpoint_every : int
        Steps.
    callback : callable, optional
        Is called with a :class:`LearningProgress` after every look at the loss; a true return value ends the learning.
    """
    identity = _identity(network.shape, photographs, recipe, network.vector)
    given, network, xp = network, network.on(backend), backend.xp
    state = State(network.vector, (0, xp.zeros_like(network.vector), xp.zeros_like(network.vector)))
    if checkpoint is not None:
        check_writable(checkpoint, overwrite=True)
        if checkpoint.exists():
            state = State.load(checkpoint, identity, network.shape.n_numbers, xp)
            network.vector[:] = state.vector
            state.vector = network.vector
    begun, stop = time.monotonic() - state.seconds, False
    with single_threaded_blas():
        while not stop and (done := recipe.done(state.step, state.seconds)) < 1:
            loss, gradient = _batch_gradient(network, photographs, recipe, state.step, backend)
            _update(network, state, recipe, gradient, done)
            state.losses.append(loss)
            state.step += 1
            state.seconds = time.monotonic() - begun
            due = state.step % checkpoint_every == 0
            if due and held_out:
                state.psnr = psnr_at(network, held_out, backend, recipe.noise)
            if state.step % CHECK_EVERY == 0 or not np.isfinite(loss):
                stop = _look(state, callback, done)
            if due and checkpoint is not None:
                state.save(checkpoint, identity)
        if held_out:
            state.psnr = psnr_at(network, held_out, backend, recipe.noise)
    if checkpoint is not None:
        state.save(checkpoint, identity)
    given.vector[:] = backend.to_host(network.vector)
    return state


def _look(state: State, callback: Callable[[LearningProgress], Any] | None, done: float) -> bool:
    """See whether the run has diverged, and say how it goes; return whether it is to end."""
    loss = float(np.mean(state.losses))
    if not loss < DIVERGED * state.least:
        state.step_back()
    else:
        state.least, state.losses = min(state.least, loss), []
        state.keep()
    if callback is None:
        return False
    return bool(callback(LearningProgress(state.step, done, loss, state.psnr, state.seconds, state.setbacks)))


def _update(network: Network, state: State, recipe: Recipe, gradient: Any, done: float) -> None:
    """Take a step of Adam with a clipped gradient."""
    norm = float(np.linalg.norm(gradient))
    if not np.isfinite(norm):
        return  # the loss isn't finite either, which the next look sees
    gradient *= np.float32(min(recipe.clip / max(norm, 1e-12), 1))
    adam = Adam(state.slowing * recipe.rate(state.step, done))
    vector, state.moments = adam.step(network.vector, gradient, state.moments)
    network.vector[:] = vector
    network.weights.project()


def _batch_gradient(
    network: Network, photographs: Photographs, recipe: Recipe, step: int, backend: Backend
) -> tuple[float, Any]:
    """Return loss and gradient of the step's batch: the sum of its pieces' in their order, or on a GPU of all at once."""
    rng = np.random.default_rng((recipe.seed, step))
    pieces = [draw_piece(photographs, recipe, rng) for _ in range(recipe.batch_size)]
    together = on_gpu(network.vector) and recipe.noise != "camera"  # each of whose pieces has a correlation of its own
    groups = [pieces] if together else [[piece] for piece in pieces]
    total, gradient = 0.0, array_module(network.vector).zeros_like(network.vector)
    for loss, part in backend.each(lambda group: pieces_gradient(network, group), groups):
        total += loss / recipe.batch_size
        gradient += part / np.float32(recipe.batch_size)
    return total, gradient


def draw_piece(photographs: Photographs, recipe: Recipe, rng: np.random.Generator) -> Piece:
    """Draw one of a step's pieces."""
    clean, mean = photographs.draw(rng)
    if recipe.noise == "missing":
        return fill_piece(clean, mean, rng)
    if recipe.noise == "camera":
        clean = softened(clean, rng)
        return camera_piece(clean, degraded(clean, rng), mean, recipe.crop, rng)
    return white_piece(clean, mean, recipe.sigma_range, rng)


def pieces_gradient(network: Network, pieces: list[Piece]) -> tuple[float, Any]:
    """Return the sum of the losses of pieces of one size, each ``weight * mean((x - clean)^2)``, and its gradient (n,).

    Several are worked on at a time, where the network's weights are; what the network is told of the noise's correlation
    must be the same for all of them.
    """
    xp, gains, n = array_module(network.vector), pieces[0].gains(network), len(pieces)
    network = network.together(n).with_gains(gains)

    def phases(parts: Iterable[Any]) -> Any:
        return xp.asarray(np.concatenate([network.to_phases(part) for part in parts], axis=1))

    known = [np.ones_like(p.noisy) if p.missing is None else (~p.missing).astype(p.noisy.dtype) for p in pieces]
    image, target = phases(p.noisy - p.mean for p in pieces), phases(p.clean - p.mean for p in pieces)
    mask = counted = phases(known)
    if pieces[0].missing is not None:
        counted = phases(1 - part for part in known)
    size = network.code_shape(image)
    sigmas = xp.asarray(np.repeat(np.array([p.sigma for p in pieces], image.dtype), size[0] * size[1] // n))
    trail = Trail([], [])
    error = network.decode(network.encode(image, mask, sigmas, trail), size)
    error -= target
    error *= counted
    weights = xp.asarray([p.weight / (p.noisy.size if p.missing is None else np.count_nonzero(p.missing)) for p in pieces])
    apart = error.reshape(len(error), n, -1, error.shape[2])
    loss = float((weights * (apart * apart).sum(axis=(0, 2, 3), dtype=np.float64)).sum())
    apart *= (2 * weights).astype(error.dtype)[:, None, None]
    gradient = Weights(network.shape, xp.zeros_like(network.vector))
    network.gradient(trail, mask, sigmas, error, gradient)
    gradient.t1[...] *= xp.asarray(gains)
    return loss, gradient.vector


TESTS = {"white": white_test, "camera": camera_test, "missing": fill_test}


def psnr_at(network: Network, images: list[np.ndarray], backend: Backend, noise: str = "white") -> tuple[float, ...]:
    """Return the mean PSNR in dB of images (C, h, w) in [0, 1] after noise of each of three levels was taken off."""

    def psnr(level: float, number: int) -> float:
        test = TESTS[noise](images[number], level, number)
        heard = network.with_gains(test.gains(network))
        error = np.clip(denoise_planes(heard, test.noisy, test.sigma, backend, missing=test.missing), 0, 1) - test.clean
        if test.missing is not None:
            error = error[test.missing]
        return float(-10 * np.log10(max(float((error**2).mean()), 1e-12)))

    levels = TEST_LEVELS[noise]
    return tuple(float(np.mean([psnr(level, number) for number in range(len(images))])) for level in levels)


def _identity(shape: Shape, photographs: Photographs, recipe: Recipe, start: np.ndarray) -> dict[str, Json]:
    """Return what two runs must share for one to go on with the other's state; when they end isn't among it."""
    known = {name: getattr(recipe, name) for name in recipe.__dataclass_fields__ if name not in ("steps", "minutes")}
    known["sigma_range"] = list(recipe.sigma_range)
    if recipe.noise == "white":
        del known["noise"]  # which older checkpoints don't name
    return {**vars(shape), **known, "photographs": digest(*photographs.pictures), "start": digest(start)}
