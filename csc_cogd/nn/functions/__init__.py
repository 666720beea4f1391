"""Differentiable functions: they take tensors, compute on their arrays of NumPy or CuPy, and return tensors."""

from csc_cogd.nn.functions.activations import relu, relu6, soft_mask
from csc_cogd.nn.functions.convolution import conv2d
from csc_cogd.nn.functions.linear import linear
from csc_cogd.nn.functions.losses import binary_cross_entropy_with_logits, cross_entropy, distillation, mse
from csc_cogd.nn.functions.normalization import BatchStats, batch_norm, batch_statistics, update_running_stats
from csc_cogd.nn.functions.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from csc_cogd.nn.functions.shortcut import subsample_and_pad

__all__ = [
    "BatchStats", "avg_pool2d", "batch_norm", "batch_statistics", "binary_cross_entropy_with_logits", "conv2d",
    "cross_entropy", "distillation", "global_avg_pool2d", "linear", "max_pool2d", "mse", "relu", "relu6", "soft_mask",
    "subsample_and_pad", "update_running_stats",
]  # fmt: skip
