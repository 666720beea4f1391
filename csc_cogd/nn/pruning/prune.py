"""Pruning from beginning to end: which channels matter, the network without the others, and its fine-tuning."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.errors import InputError
from csc_cogd.nn.cogradient import MaskBacktracking
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet, check_labelled
from csc_cogd.nn.module import Module
from csc_cogd.nn.pruning.adversarial import AdversarialLoss, AdversarialPruning
from csc_cogd.nn.pruning.budget import FlopsModel, keep_within
from csc_cogd.nn.pruning.cost import Cost, measure_costs
from csc_cogd.nn.pruning.groups import channel_groups
from csc_cogd.nn.pruning.importance import channel_scores
from csc_cogd.nn.pruning.masks import insert_masks
from csc_cogd.nn.pruning.removal import masks_to_kept, remove_channels
from csc_cogd.nn.tracing import Shape
from csc_cogd.nn.training.history import History
from csc_cogd.nn.training.recipe import Recipe
from csc_cogd.nn.training.training import TrainingProgress, train

METHODS = ("cogd", "gal", "l1", "group")
"""Masks by cogradient descent, masks without it; norms of kernels, norms of all that belongs to a channel."""


@dataclass(frozen=True)
class PruningRecipe:
    """How to prune.

    Parameters
    ----------
    method : {"group", "l1", "gal", "cogd"}
        The last two train soft masks against the network as a teacher, without and with the rule; the others rank by
        norms (see :func:`~csc_cogd.nn.pruning.importance.channel_scores`).
    budget : float, optional
        FLOPs that are left; up to 1, a fraction of those of the network.
    threshold : float >= 0, optional
        Instead of a budget: remove channels whose masks end at or below it. 0 removes those that are off, exactly.
    masks : Recipe, optional
        Of the training of masks and weights, which "cogd" and "gal" need.
    fine_tuning : Recipe, optional
        Of the smaller network, by cross entropy; without one, it is left as it is.
    loss : AdversarialLoss
    cogd : CogradientRule, optional
        Of "cogd"; default: :func:`~csc_cogd.nn.cogradient.pruning_rule`.
    reset : float, optional
        See :class:`~csc_cogd.nn.cogradient.MaskBacktracking`.
    mask_start : {"ones", "uniform", "normal"}
    ranking : "uniform" or "global", optional
        See :func:`~csc_cogd.nn.pruning.budget.keep_within`. Default: uniform for "l1", whose norms can't be compared
        between layers, global for the others.
    everywhere : bool
        Whether "l1" and "group" may remove channels of residual paths, too; else of the inside of blocks only.
    at_least, multiple_of : int >= 1

    Raises
    ------
    InputError
        If settings are out of range, or don't belong together.

    Examples
    --------
    >>> PruningRecipe("l1", budget=0.5, fine_tuning=Recipe(epochs=20, learning_rate=0.01)).masked
    False
    """

    method: str = "group"
    budget: float | None = None
    threshold: float | None = None
    masks: Recipe | None = None
    fine_tuning: Recipe | None = None
    loss: AdversarialLoss = field(default_factory=AdversarialLoss)
    cogd: CogradientRule | None = None
    reset: float | None = None
    mask_start: str = "ones"
    ranking: str | None = None
    everywhere: bool = False
    at_least: int = 1
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method: {self.method!r} is unknown: choose one of {', '.join(METHODS)}")
        if (self.budget is None) == (self.threshold is None):
            raise InputError("budget, threshold: give one of them: what is left, or which masks are too small")
        if self.budget is not None and not 0 < self.budget < np.inf:
            raise InputError(f"budget: {self.budget} isn't a number of FLOPs, or a fraction of them")
        if self.threshold is not None and not (0 <= self.threshold < np.inf and self.masked):
            raise InputError(
                f"threshold: {self.threshold}: it is for masks, and not below 0: give a budget to {self.method}"
            )
        if self.masked and self.masks is None:
            raise InputError(f"masks: {self.method} trains masks: give a recipe for that")
        if not self.masked and self.masks is not None:
            raise InputError(f"masks: {self.method} has none to train: leave the recipe out")
        if self.method != "cogd" and (self.cogd is not None or self.reset is not None):
            raise InputError(f"cogd, reset: they belong to the method cogd: leave them out for {self.method}")
        if self.masked and self.everywhere:
            raise InputError(f"everywhere: the masks of {self.method} are inside of blocks: leave it out")

    @property
    def masked(self) -> bool:
        """Whether the method trains masks."""
        return self.method in ("cogd", "gal")


class Pruned(NamedTuple):
    """A pruned network, and how it came about.

    Attributes
    ----------
    network : Module
        Without masks.
    kept : dict of str to array of int
        The channels that stayed, by the names of their groups.
    before, after : Cost
    masks, fine_tuning : History, optional
        Of the trainings, if there were any.
    """

    network: Module
    kept: dict[str, np.ndarray]
    before: Cost
    after: Cost
    masks: History | None
    fine_tuning: History | None


def prune(
    network: Module, images: ImageSet, recipe: PruningRecipe, *, normalization: Normalization, test: ImageSet | None = None,
    checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
    overwrite: bool = False, progress: Callable[[TrainingProgress], Any] | None = None,
) -> Pruned:  # fmt: skip
    """Make a smaller network of a trained one, which isn't changed [CoGD, eqs. 25-29; GAL].

    Parameters
    ----------
    network : Module
        Made by :func:`csc_cogd.nn.build_network`, without masks.
    images : ImageSet
        To train on.
    recipe : PruningRecipe
    normalization : Normalization
        Of the pixels, as when the network was trained.
    test : ImageSet, optional
        Images to test on after each epoch. Nothing depends on how that ends.
    checkpoint : path, optional
        Beginning of the names of two files, see :func:`checkpoint_files`, by which `resume` goes on.
    resume, overwrite : bool
        See :func:`csc_cogd.nn.train`.
    progress : callable, optional
        Called after every batch with a :class:`TrainingProgress` of the stage "masks" or "fine-tuning".

    Returns
    -------
    Pruned

    Raises
    ------
    InputError
        If something of it can't be used, the budget can't be kept, or a loss becomes NaN or infinite.
    """
    check_labelled(images)
    shape = images.image_shape
    network.check_finite()

    def trained(stage: str, module: Module, how: Recipe, **extra: Any) -> History:
        path = None if checkpoint is None else checkpoint_files(checkpoint)[stage]
        watching = None if progress is None else lambda now: progress(replace(now, stage=stage))
        return train(
            module, images, how, normalization=normalization, test=test, checkpoint=path, resume=resume,
            overwrite=overwrite, progress=watching, **extra,
        )  # fmt: skip

    masked, masks = network, None
    if recipe.masks is not None:
        masked = insert_masks(network, mask_start=recipe.mask_start, seed=recipe.masks.seed)
        _choose(masked, recipe, shape)  # refuses now a budget that can't be kept
        adversarial = AdversarialPruning(masked, network, recipe.loss, len(images.class_names), recipe.masks.seed)
        hooks: list[Any] = [adversarial]
        if recipe.method == "cogd":
            hooks.append(MaskBacktracking(recipe.cogd, image_shape=shape, reset=recipe.reset))
        masks = trained("masks", masked, recipe.masks, loss=adversarial.loss, hooks=hooks)
    kept = _choose(masked, recipe, shape)
    smaller = remove_channels(masked, kept, image_shape=shape)
    tuned = None if recipe.fine_tuning is None else trained("fine-tuning", smaller, recipe.fine_tuning)
    before, after = measure_costs([network, smaller], image_shape=shape)
    return Pruned(smaller, kept, before, after, masks, tuned)


def checkpoint_files(checkpoint: str | os.PathLike[str]) -> dict[str, Path]:
    """The file of either stage of :func:`prune`, beside the network's."""
    names = {"masks": "masks", "fine-tuning": "tuning"}
    return {stage: Path(f"{os.fspath(checkpoint)}.{name}.safetensors") for stage, name in names.items()}


def _scored(network: Module, recipe: PruningRecipe, shape: Shape) -> dict[str, np.ndarray]:
    """The groups that may be pruned, and how much their channels matter."""
    groups = channel_groups(network, image_shape=shape, inner_only=not recipe.everywhere)
    if recipe.masked:
        with_masks = masks_to_kept(network, image_shape=shape)
        groups = {name: group for name, group in groups.items() if name in with_masks}
    return channel_scores(network, groups, "mask" if recipe.masked else recipe.method)


def _choose(network: Module, recipe: PruningRecipe, shape: Shape) -> dict[str, np.ndarray]:
    """The channels that stay."""
    if recipe.budget is None:
        return masks_to_kept(network, threshold=recipe.threshold or 0.0, image_shape=shape)
    ranking = recipe.ranking or ("uniform" if recipe.method == "l1" else "global")
    return keep_within(
        FlopsModel(network, image_shape=shape), _scored(network, recipe, shape), recipe.budget, ranking=ranking,
        at_least=recipe.at_least, multiple_of=recipe.multiple_of,
    )  # fmt: skip
