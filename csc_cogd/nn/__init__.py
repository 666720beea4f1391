"""Small convolutional networks without PyTorch: functions with gradients, layers, networks, training, cost, files.

The public names are imported on first use. Everything computes on NumPy's arrays, and on CuPy's where they are on a GPU.

Compiled layers share a batch among threads of their own. The remaining matrix products are small: two threads of BLAS are no
faster than one, and on a busy machine they wait for each other ten times as long as they compute. Training and evaluation
hold BLAS to one thread; elsewhere, :func:`csc_cogd.backend.single_threaded_blas` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csc_cogd.lazy import lazy_attributes

if TYPE_CHECKING:
    from csc_cogd.nn.cogradient import KernelBacktracking as KernelBacktracking
    from csc_cogd.nn.cogradient import MaskBacktracking as MaskBacktracking
    from csc_cogd.nn.cogradient import pruning_rule as pruning_rule
    from csc_cogd.nn.cogradient import training_rule as training_rule
    from csc_cogd.nn.data.augmentation import Augmentation as Augmentation
    from csc_cogd.nn.data.batches import Normalization as Normalization
    from csc_cogd.nn.data.batches import batches as batches
    from csc_cogd.nn.data.batches import measure_normalization as measure_normalization
    from csc_cogd.nn.data.image_set import ImageSet as ImageSet
    from csc_cogd.nn.data.reading import load_images as load_images
    from csc_cogd.nn.export.onnx import export_onnx as export_onnx
    from csc_cogd.nn.flops import count_flops as count_flops
    from csc_cogd.nn.flops import count_parameters as count_parameters
    from csc_cogd.nn.flops import flops_by_layer as flops_by_layer
    from csc_cogd.nn.module import Module as Module
    from csc_cogd.nn.module import Parameter as Parameter
    from csc_cogd.nn.module import Sequential as Sequential
    from csc_cogd.nn.networks import build_network as build_network
    from csc_cogd.nn.pruning.adversarial import AdversarialLoss as AdversarialLoss
    from csc_cogd.nn.pruning.budget import FlopsModel as FlopsModel
    from csc_cogd.nn.pruning.budget import keep_share as keep_share
    from csc_cogd.nn.pruning.budget import keep_within as keep_within
    from csc_cogd.nn.pruning.cost import Cost as Cost
    from csc_cogd.nn.pruning.cost import measure_costs as measure_costs
    from csc_cogd.nn.pruning.groups import ChannelGroup as ChannelGroup
    from csc_cogd.nn.pruning.groups import channel_groups as channel_groups
    from csc_cogd.nn.pruning.importance import channel_scores as channel_scores
    from csc_cogd.nn.pruning.masks import insert_masks as insert_masks
    from csc_cogd.nn.pruning.prune import PruningRecipe as PruningRecipe
    from csc_cogd.nn.pruning.prune import PruningResult as PruningResult
    from csc_cogd.nn.pruning.prune import prune as prune
    from csc_cogd.nn.pruning.removal import masks_to_kept as masks_to_kept
    from csc_cogd.nn.pruning.removal import remove_channels as remove_channels
    from csc_cogd.nn.saving import load_checkpoint as load_checkpoint
    from csc_cogd.nn.saving import load_network as load_network
    from csc_cogd.nn.saving import save_checkpoint as save_checkpoint
    from csc_cogd.nn.saving import save_network as save_network
    from csc_cogd.nn.tensor import Tensor as Tensor
    from csc_cogd.nn.tensor import no_grad as no_grad
    from csc_cogd.nn.training.evaluate import Evaluation as Evaluation
    from csc_cogd.nn.training.evaluate import evaluate as evaluate
    from csc_cogd.nn.training.evaluate import predict as predict
    from csc_cogd.nn.training.history import Epoch as Epoch
    from csc_cogd.nn.training.history import History as History
    from csc_cogd.nn.training.hooks import EpochHook as EpochHook
    from csc_cogd.nn.training.recipe import Recipe as Recipe
    from csc_cogd.nn.training.sgd import SGD as SGD
    from csc_cogd.nn.training.training import TrainingProgress as TrainingProgress
    from csc_cogd.nn.training.training import train as train

_NAMES = {
    "cogradient": ("KernelBacktracking", "MaskBacktracking", "pruning_rule", "training_rule"),
    "data.augmentation": ("Augmentation",),
    "data.batches": ("Normalization", "batches", "measure_normalization"),
    "data.image_set": ("ImageSet",),
    "data.reading": ("load_images",),
    "export.onnx": ("export_onnx",),
    "flops": ("count_flops", "count_parameters", "flops_by_layer"),
    "module": ("Module", "Parameter", "Sequential"),
    "networks": ("build_network",),
    "pruning.adversarial": ("AdversarialLoss",),
    "pruning.budget": ("FlopsModel", "keep_share", "keep_within"),
    "pruning.cost": ("Cost", "measure_costs"),
    "pruning.groups": ("ChannelGroup", "channel_groups"),
    "pruning.importance": ("channel_scores",),
    "pruning.masks": ("insert_masks",),
    "pruning.prune": ("PruningRecipe", "PruningResult", "prune"),
    "pruning.removal": ("masks_to_kept", "remove_channels"),
    "saving": ("load_checkpoint", "load_network", "save_checkpoint", "save_network"),
    "tensor": ("Tensor", "no_grad"),
    "training.evaluate": ("Evaluation", "evaluate", "predict"),
    "training.history": ("Epoch", "History"),
    "training.hooks": ("EpochHook",),
    "training.recipe": ("Recipe",),
    "training.sgd": ("SGD",),
    "training.training": ("TrainingProgress", "train"),
}
"""The public names, by the modules that define them."""
_HOMES = {name: home for home, names in _NAMES.items() for name in names}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
