"""Small convolutional networks without PyTorch: functions with gradients, layers, networks, training, cost, files.

The public names are imported on first use. Everything computes on NumPy's arrays, and on CuPy's where they are on a GPU.

Compiled layers share a batch among threads of their own. What matrix products are left are small: two threads of BLAS are
no faster than one, and on a busy machine they wait for each other ten times as long as they compute. Training and evaluation
hold BLAS to one; elsewhere, :func:`csc_cogd.backend.single_threaded_blas` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csc_cogd.lazy import lazy_attributes

if TYPE_CHECKING:
    from csc_cogd.nn.checkpoints import load_checkpoint as load_checkpoint
    from csc_cogd.nn.checkpoints import save_checkpoint as save_checkpoint
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
    from csc_cogd.nn.pruning.prune import Pruned as Pruned
    from csc_cogd.nn.pruning.prune import PruningRecipe as PruningRecipe
    from csc_cogd.nn.pruning.prune import prune as prune
    from csc_cogd.nn.pruning.removal import masks_to_kept as masks_to_kept
    from csc_cogd.nn.pruning.removal import remove_channels as remove_channels
    from csc_cogd.nn.saving import load_network as load_network
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

_HOMES = {
    "Tensor": "tensor",
    "no_grad": "tensor",
    "Module": "module",
    "Parameter": "module",
    "Sequential": "module",
    "build_network": "networks",
    "count_flops": "flops",
    "count_parameters": "flops",
    "flops_by_layer": "flops",
    "ChannelGroup": "pruning.groups",
    "channel_groups": "pruning.groups",
    "masks_to_kept": "pruning.removal",
    "insert_masks": "pruning.masks",
    "AdversarialLoss": "pruning.adversarial",
    "PruningRecipe": "pruning.prune",
    "Pruned": "pruning.prune",
    "prune": "pruning.prune",
    "KernelBacktracking": "cogradient",
    "MaskBacktracking": "cogradient",
    "training_rule": "cogradient",
    "pruning_rule": "cogradient",
    "remove_channels": "pruning.removal",
    "Augmentation": "data.augmentation",
    "ImageSet": "data.image_set",
    "Normalization": "data.batches",
    "batches": "data.batches",
    "load_images": "data.reading",
    "measure_normalization": "data.batches",
    "save_network": "saving",
    "load_network": "saving",
    "channel_scores": "pruning.importance",
    "FlopsModel": "pruning.budget",
    "keep_share": "pruning.budget",
    "keep_within": "pruning.budget",
    "Cost": "pruning.cost",
    "measure_costs": "pruning.cost",
    "export_onnx": "export.onnx",
    "load_checkpoint": "checkpoints",
    "save_checkpoint": "checkpoints",
    "train": "training.training",
    "Recipe": "training.recipe",
    "SGD": "training.sgd",
    "predict": "training.evaluate",
    "evaluate": "training.evaluate",
    "Evaluation": "training.evaluate",
    "Epoch": "training.history",
    "History": "training.history",
    "EpochHook": "training.hooks",
    "TrainingProgress": "training.training",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
