"""The whole of pruning: the choice of channels, the removal of the others, and fine-tuning."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.errors import InputError
from csc_cogd.nn.cogradient import MaskBacktracking
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet, check_labeled
from csc_cogd.nn.module import Module
from csc_cogd.nn.pruning.adversarial import AdversarialLoss, AdversarialPruning
from csc_cogd.nn.pruning.budget import FlopsModel, keep_within
from csc_cogd.nn.pruning.cost import Cost, measure_costs
from csc_cogd.nn.pruning.groups import channel_groups
from csc_cogd.nn.pruning.importance import channel_scores
from csc_cogd.nn.pruning.masks import insert_masks
from csc_cogd.nn.pruning.removal import masks_to_kept, remove_channels
from csc_cogd.nn.pruning.taylor import taylor_scores
from csc_cogd.nn.pruning.teaching import taught_by
from csc_cogd.nn.scaled_convs import SIDES, check_side
from csc_cogd.nn.training.history import Epoch, History
from csc_cogd.nn.training.hooks import EpochHook
from csc_cogd.nn.training.recipe import Recipe
from csc_cogd.nn.training.training import Loss, TrainingProgress, train

METHODS = ("cogd", "gal", "l1", "group", "taylor")
"""Masks with cogradient descent, and without; norms of kernels, and of all weights of a channel; effect on the loss."""


@dataclass(frozen=True)
class PruningRecipe:
    """The settings of pruning.

    Parameters
    ----------
    method : {"group", "taylor", "l1", "gal", "cogd"}
        The last two train soft masks with the network as a teacher, without and with the rule; "group" and "l1" rank
        channels by norms (see :func:`~csc_cogd.nn.pruning.importance.channel_scores`), "taylor" by their effect on the loss
        (see :func:`~csc_cogd.nn.pruning.taylor.taylor_scores`).
    budget : float, optional
        FLOPs of the smaller network; up to 1, a fraction of those of the network.
    threshold : float >= 0, optional
        Instead of a budget: remove channels whose masks end at or below it. 0 removes those that are off, exactly.
    masks : Recipe, optional
        For the training of masks and weights, which "cogd" and "gal" need.
    fine_tuning : Recipe, optional
        For the smaller network; without one, it isn't fine-tuned.
    teacher : float in [0, 1]
        Share of the network's own softened predictions in the loss of fine-tuning, beside the labels; see
        :func:`~csc_cogd.nn.pruning.teaching.taught_by`.
    loss : AdversarialLoss
        For the training of masks.
    cogd : CogradientRule, optional
        For "cogd"; default: :func:`~csc_cogd.nn.cogradient.pruning_rule`.
    reset_value : float, optional
        For "cogd"; see :class:`~csc_cogd.nn.cogradient.MaskBacktracking`.
    kernels : str, optional
        For "cogd": which kernels masks are paired with, "following" or "preceding"; default: the first; see the same.
    mask_start : {"ones", "uniform", "normal"}
        Initial masks; see :func:`~csc_cogd.nn.pruning.masks.insert_masks`.
    ranking : "uniform" or "global", optional
        See :func:`~csc_cogd.nn.pruning.budget.keep_within`. Default: "uniform" for "l1", whose norms can't be compared
        between layers, "global" for the others.
    include_residual : bool
        Whether "l1", "group" and "taylor" may remove channels of residual paths, too; else only those inside of blocks.
    at_least : int >= 1
        Fewest channels of a group.
    multiple_of : int >= 1
        Widths are multiples of it; see :func:`~csc_cogd.nn.pruning.budget.keep_share`.

    Raises
    ------
    InputError
        If settings are out of range, or don't fit each other.

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
    teacher: float = 0.0
    loss: AdversarialLoss = field(default_factory=AdversarialLoss)
    cogd: CogradientRule | None = None
    reset_value: float | None = None
    kernels: str | None = None
    mask_start: str = "ones"
    ranking: str | None = None
    include_residual: bool = False
    at_least: int = 1
    multiple_of: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError("method", f"must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.budget is None and self.threshold is None:
            raise InputError("budget", "is needed", "add {budget}, or {threshold} for masks")
        if self.budget is not None and self.threshold is not None:
            raise InputError("budget", "can't be combined with a threshold", "give {budget} or {threshold}")
        if self.budget is not None and not 0 < self.budget < np.inf:
            raise InputError("budget", f"must be a number of FLOPs, or a fraction of them, above 0, got {self.budget}")
        if self.threshold is not None and not self.masked:
            raise InputError("threshold", f"is for masks, which method {self.method!r} hasn't", "add {budget} instead")
        if self.threshold is not None and not 0 <= self.threshold < np.inf:
            raise InputError("threshold", f"must be a finite number >= 0, got {self.threshold}")
        if not 0 <= self.teacher <= 1:
            raise InputError("teacher", f"must be in [0, 1], got {self.teacher}")
        if self.teacher and self.fine_tuning is None:
            raise InputError("teacher", "is for fine-tuning, which is off", "omit it, or add {fine_tuning}")
        if self.masked and self.masks is None:
            raise InputError("masks", f"must be a recipe for the masks that method {self.method!r} trains")
        of_the_rule = () if self.method == "cogd" else ("cogd", "reset_value", "kernels")
        for name in (*(() if self.masked else ("masks",)), *of_the_rule):
            if getattr(self, name) is not None:
                raise InputError(name, f"has no effect with method {self.method!r}", "omit it")
        if self.kernels is not None:
            check_side(self.kernels)
        if self.masked and self.include_residual:
            raise InputError(
                "include_residual", f"has no effect with method {self.method!r}, whose masks are inside of blocks"
            )

    @property
    def masked(self) -> bool:
        """Whether the method trains masks."""
        return self.method in ("cogd", "gal")


class PruningResult(NamedTuple):
    """A pruned network, and how it was obtained.

    Attributes
    ----------
    network : Module
        Without masks.
    kept : dict of str to array of int
        The channels that were kept, by the names of their groups.
    before : Cost
    after : Cost
    masks : History or None
        History of the training of masks.
    fine_tuning : History or None
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
    epoch_done: Callable[[str, Epoch], Any] | None = None,
) -> PruningResult:  # fmt: skip
    """Derive a smaller network from a trained one, which isn't changed [CoGD, eqs. 25-29; GAL].

    Parameters
    ----------
    network : Module
        Built by :func:`csc_cogd.nn.build_network`, without masks.
    images : ImageSet
        Images to train on.
    recipe : PruningRecipe
    normalization : Normalization
        As the network was trained with.
    test : ImageSet, optional
        Images to test on after each epoch. The result doesn't depend on the test.
    checkpoint : str or path, optional
        Prefix of two files, see :func:`checkpoint_files`, from which `resume` continues.
    resume : bool
        Continue from the checkpoint, or start, if there is none yet.
    overwrite : bool
        Whether to start again if there is a checkpoint.
    progress : callable, optional
        Called after every batch with a :class:`TrainingProgress` of the stage "masks" or "fine-tuning".
    epoch_done : callable, optional
        Called after every epoch with the name of its stage and its :class:`Epoch`; a true return value ends the stage.

    Returns
    -------
    PruningResult

    Raises
    ------
    InputError
        If an argument can't be used, the budget can't be met, or a loss becomes NaN or infinite.
    """
    check_labeled(images)
    shape = images.image_shape
    network.check_finite()

    def train_stage(
        stage: str, module: Module, settings: Recipe, hooks: Sequence[EpochHook] = (), loss: Loss | None = None,
        teacher: float = 0.0,
    ) -> History:  # fmt: skip
        return train(
            module, images, settings, normalization=normalization, test=test, hooks=hooks, loss=loss,
            metadata={"teacher": teacher} if teacher else None,
            checkpoint=None if checkpoint is None else checkpoint_files(checkpoint)[stage], resume=resume,
            overwrite=overwrite, progress=None if progress is None else lambda now: progress(replace(now, stage=stage)),
            callback=None if epoch_done is None else lambda epoch: epoch_done(stage, epoch),
        )  # fmt: skip

    masked, masks = network, None
    if recipe.masks is not None:
        masked = insert_masks(network, mask_start=recipe.mask_start, seed=recipe.masks.seed)
        _choose(masked, images, recipe, normalization)  # refuses a budget that can't be met before anything is trained
        adversarial = AdversarialPruning(masked, network, recipe.loss, len(images.class_names), recipe.masks.seed)
        hooks: list[EpochHook] = [adversarial]
        if recipe.method == "cogd":
            hooks.append(
                MaskBacktracking(
                    recipe.cogd, image_shape=shape, reset_value=recipe.reset_value, kernels=recipe.kernels or SIDES[0]
                )
            )  # fmt: skip
        masks = train_stage("masks", masked, recipe.masks, hooks, adversarial.loss)
    kept = _choose(masked, images, recipe, normalization)
    smaller = remove_channels(masked, kept, image_shape=shape)
    tuned = None
    if (tuning := recipe.fine_tuning) is not None:
        loss = taught_by(network, recipe.teacher, tuning.label_smoothing) if recipe.teacher else None
        tuned = train_stage("fine-tuning", smaller, tuning, loss=loss, teacher=recipe.teacher)
    before, after = measure_costs([network, smaller], image_shape=shape)
    return PruningResult(smaller, kept, before, after, masks, tuned)


def checkpoint_files(checkpoint: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the checkpoint of each stage of :func:`prune`, by the names of stages."""
    names = {"masks": "masks", "fine-tuning": "tuning"}
    return {stage: Path(f"{os.fspath(checkpoint)}.{name}.safetensors") for stage, name in names.items()}


def _choose(
    network: Module, images: ImageSet, recipe: PruningRecipe, normalization: Normalization
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the channels that are kept."""
    shape = images.image_shape
    if recipe.budget is None:
        return masks_to_kept(network, threshold=recipe.threshold or 0.0, image_shape=shape)
    groups = channel_groups(network, image_shape=shape, inner_only=not recipe.include_residual)
    if recipe.masked:
        with_masks = masks_to_kept(network, image_shape=shape)
        groups = {name: group for name, group in groups.items() if name in with_masks}
    if recipe.method == "taylor":
        scores = taylor_scores(network, groups, images, normalization=normalization)
    else:
        scores = channel_scores(network, groups, "mask" if recipe.masked else recipe.method)
    ranking = recipe.ranking or ("uniform" if recipe.method == "l1" else "global")
    return keep_within(
        FlopsModel(network, image_shape=shape), scores, recipe.budget, ranking=ranking, at_least=recipe.at_least,
        multiple_of=recipe.multiple_of,
    )  # fmt: skip
