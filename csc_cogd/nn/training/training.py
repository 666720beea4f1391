"""The loop that trains a network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import as_channels_last, computing_in, on_gpu, single_threaded_blas
from csc_cogd.errors import InputError
from csc_cogd.nn.data.batches import Normalization, batches
from csc_cogd.nn.data.image_set import ImageSet, check_labeled
from csc_cogd.nn.functions import cross_entropy
from csc_cogd.nn.module import Module, Parameter
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.training.adamw import AdamW
from csc_cogd.nn.training.averaging import WeightAveraging
from csc_cogd.nn.training.checkpoint import Optimizer, TrainingCheckpoint, identity_of
from csc_cogd.nn.training.evaluate import unchecked_evaluate
from csc_cogd.nn.training.history import Epoch, History
from csc_cogd.nn.training.hooks import EpochHook
from csc_cogd.nn.training.recipe import SMALLEST_BATCH, Recipe
from csc_cogd.nn.training.sgd import SGD
from csc_cogd.nn.training.stopping import EarlyStopping

Loss = Callable[[Module, Tensor, Any], tuple[Tensor, Tensor]]
"""``loss, logits = f(network, x, labels)`` of a batch: the scalar to minimize, and what the accuracy is computed from."""


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training.

    Attributes
    ----------
    stage : {"training", "masks", "fine-tuning"}
        The last two are stages of :func:`csc_cogd.nn.prune`.
    epoch : int
        From 1.
    epochs : int
    batch : int
        From 1, in this epoch.
    batches : int
        In each epoch.
    learning_rate : float
        That of the batch.
    loss : float
        Mean over the epoch so far.
    accuracy : float
        Share of the epoch's images so far, in [0, 1].
    images_per_second : float
    """

    stage: str
    epoch: int
    epochs: int
    batch: int
    batches: int
    learning_rate: float
    loss: float
    accuracy: float
    images_per_second: float


def train(
    network: Module, images: ImageSet, recipe: Recipe, *, normalization: Normalization, test: ImageSet | None = None,
    hooks: Sequence[EpochHook] = (), loss: Loss | None = None, parameters: Mapping[str, Parameter] | None = None,
    metadata: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None, checkpoint_every: int = 1, resume: bool = False,
    overwrite: bool = False, progress: Callable[[TrainingProgress], Any] | None = None,
    callback: Callable[[Epoch], Any] | None = None,
) -> History:  # fmt: skip
    """Train a network, which changes in place, on its device and in its dtype.

    The network, the images, the recipe and the hooks decide the result: on one machine, the same run yields the same weights
    to the last bit, also when it is interrupted and resumed. BLAS is held to one thread.

    Parameters
    ----------
    network : Module
    images : ImageSet
        Images to train on.
    recipe : Recipe
    normalization : Normalization
        For training and test.
    test : ImageSet, optional
        Images to test on after each epoch. The result doesn't depend on the test.
    hooks : sequence of EpochHook
        Called in this order.
    loss : callable(network, x, labels), optional
        Returns the loss and the logits. Default: cross entropy with the recipe's label smoothing.
    parameters : mapping of str to Parameter, optional
        Parameters that the optimizer updates. Default: all that :func:`csc_cogd.nn.freeze` has left.
    metadata : mapping of str to anything that JSON can hold, optional
        Kept in the checkpoint; a run can be resumed with the same metadata only.
    checkpoint : str or path, optional
        A safetensors file, replaced every `checkpoint_every` epochs, and at the end, when it holds only the weights and
        buffers; see :mod:`csc_cogd.nn.training.checkpoint`.
    checkpoint_every : int >= 1
    resume : bool
        Continue from the checkpoint, or start, if there is none yet.
    overwrite : bool
        Whether to start again if there is a checkpoint.
    progress : callable, optional
        Called after every batch with a :class:`TrainingProgress`. An exception ends the training.
    callback : callable, optional
        Called after every epoch, when its checkpoint is saved, with a :class:`csc_cogd.nn.Epoch`; a true return value stops
        training.

    Returns
    -------
    History

    Raises
    ------
    InputError
        If the network has no parameters, or isn't on a device that has the recipe's precision, a checkpoint can't be used,
        or a loss or a weight becomes NaN or infinite; what is saved is finite.

    Examples
    --------
    >>> from csc_cogd.nn import ImageSet, Normalization, Recipe, build_network, train
    >>> images = ImageSet(np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1]), ("day", "night"))
    >>> half = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> history = train(build_network("resnet20", 2), images, Recipe(epochs=2, batch_size=2), normalization=half)
    >>> [f"{epoch.epoch}: {epoch.accuracy:.0%}" for epoch in history]
    ['1: 50%', '2: 50%']
    """
    network.array_kind()  # refuses one without parameters
    for given in (images,) if test is None else (images, test):
        check_labeled(given)
    for parameter in network.parameters():
        parameter.array = as_channels_last(parameter.array)  # once, and not at every step
    given_parameters = dict(network.named_parameters()) if parameters is None else parameters
    trained = {name: parameter for name, parameter in given_parameters.items() if parameter.requires_grad}
    optimizer = _optimizer(trained, recipe)
    if recipe.average:
        hooks = [*hooks, WeightAveraging(recipe.average)]
    if recipe.patience:
        images, held_out = images.split(recipe.validation, seed=recipe.seed)
        hooks = [*hooks, EarlyStopping(held_out, recipe.patience, normalization, recipe.batch_size)]
    file, history = None, History()
    if checkpoint is not None:
        identity = identity_of(network, images, recipe, normalization, hooks, metadata or {})
        file = TrainingCheckpoint(Path(checkpoint), checkpoint_every, identity, replace=resume or overwrite)
        history = file.load(network, optimizer, hooks) if resume else history
    run = _Run(network, images, recipe, normalization, hooks, loss or _smoothed(recipe.label_smoothing), optimizer, progress)
    with single_threaded_blas(), computing_in(recipe.precision, network.parameters()[0].array):
        over = file is not None and file.over
        while not over and len(history) < recipe.epochs:
            epoch = run.epoch(len(history))
            if test is not None:
                result = unchecked_evaluate(network, test, normalization=normalization, batch_size=recipe.batch_size)
                if not isfinite(result.loss):
                    raise _diverged(f"test loss is {result.loss} after epoch {epoch.epoch}", recipe)
                epoch = replace(epoch, test_loss=result.loss, test_accuracy=result.accuracy)
            if names := network.non_finite():
                raise _diverged(f"array {names[0]} holds NaN or infinity after epoch {epoch.epoch}", recipe)
            history = history.with_epoch(epoch)
            over = len(history) == recipe.epochs or any(hook.stops() for hook in hooks)
            for hook in hooks if over else ():
                hook.end_training(network)
            if file is not None:
                file.save(network, optimizer, hooks, history, over)
            if callback is not None and callback(epoch):
                break
    return history


def _optimizer(parameters: Mapping[str, Parameter], recipe: Recipe) -> Optimizer:
    if recipe.optimizer == "adamw":
        return AdamW(
            parameters, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay,
            decay_vectors=recipe.decay_vectors,
        )  # fmt: skip
    return SGD(
        parameters, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay, decay_vectors=recipe.decay_vectors,
    )  # fmt: skip


def _smoothed(label_smoothing: float) -> Loss:
    def loss(network: Module, x: Tensor, labels: Any) -> tuple[Tensor, Tensor]:
        logits = network(x)
        return cross_entropy(logits, labels, label_smoothing=label_smoothing), logits

    return loss


class _Step(NamedTuple):
    """The results of a step, which a GPU may still be computing."""

    loss: Any
    correct: Any
    images: int
    learning_rate: float


@dataclass(frozen=True)
class _Run:
    network: Module
    images: ImageSet
    recipe: Recipe
    normalization: Normalization
    hooks: Sequence[EpochHook]
    loss: Loss
    optimizer: Optimizer
    progress: Callable[[TrainingProgress], Any] | None

    def epoch(self, number: int) -> Epoch:
        """Train for an epoch, whose number counts from 0."""
        started = perf_counter()
        self.network.train()
        for hook in self.hooks:
            hook.begin_epoch(self.network, number)
        loss, correct, images = 0.0, 0, 0
        steps = self._steps(number)
        behind = on_gpu(self.network.parameters()[0].array)
        for batch, step in enumerate(_one_behind(steps) if behind else steps, start=1):
            if not isfinite(value := float(step.loss)):
                raise _diverged(f"loss is {value} in epoch {number + 1}, batch {batch}", self.recipe)
            loss, correct, images = loss + value * step.images, correct + int(step.correct), images + step.images
            if self.progress is not None:
                self.progress(
                    TrainingProgress(
                        "training", number + 1, self.recipe.epochs, batch, self.recipe.batches(len(self.images)),
                        step.learning_rate, loss / images, correct / images, images / (perf_counter() - started),
                    )
                )  # fmt: skip
        figures: dict[str, float] = {}
        for hook in self.hooks:
            figures |= hook.end_epoch(self.network, number)
        seconds = perf_counter() - started
        return Epoch(number + 1, step.learning_rate, loss / images, correct / images, None, None, seconds, figures)

    def _steps(self, number: int) -> Iterator[_Step]:
        """Take the steps of an epoch."""
        recipe, network, (xp, dtype) = self.recipe, self.network, self.network.array_kind()
        fed = batches(
            self.images, recipe.batch_size, normalization=self.normalization,
            rng=np.random.default_rng([recipe.seed, number]), augmentation=recipe.augmentation, at_least=SMALLEST_BATCH,
            dtype=dtype,
        )  # fmt: skip
        for batch, (x, labels) in enumerate(fed):
            self.optimizer.learning_rate = recipe.learning_rate_at(number + batch / recipe.batches(len(self.images)))
            labels = xp.asarray(labels)
            network.zero_grad()
            loss, logits = self.loss(network, Tensor(xp.asarray(x)), labels)
            loss.backward(release=True)
            for hook in self.hooks:
                hook.after_backward(network)
            self.optimizer.step()
            for hook in self.hooks:
                hook.after_step(network)
            correct = (logits.array.argmax(axis=1) == labels).sum()
            step = _Step(loss.array, correct, len(labels), self.optimizer.learning_rate)
            del loss, logits  # and with them the tape, before the next step records its own
            yield step


def _one_behind(steps: Iterator[_Step]) -> Iterator[_Step]:
    """Yield each step when the next one is under way: a GPU computes while the results of the previous one are read."""
    before = next(steps)
    for step in steps:
        yield before
        before = step
    yield before


def _diverged(what: str, recipe: Recipe) -> InputError:
    fix = f"use less than {recipe.learning_rate:g}" + ("" if recipe.warm_up else ", or add {warm_up}")
    return InputError("learning_rate", f"may be too high, as the {what}", fix)
