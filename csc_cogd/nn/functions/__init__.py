"""Differentiable functions: they take tensors, compute on their arrays of NumPy or CuPy, and return tensors."""

from csc_cogd.nn.functions.activations import clip, fake_quantize, hard_sigmoid, hard_swish, relu, relu6, sigmoid, soft_mask
from csc_cogd.nn.functions.convolution import conv2d
from csc_cogd.nn.functions.joining import concatenate, flatten, pad2d, product, select, upsample
from csc_cogd.nn.functions.linear import linear
from csc_cogd.nn.functions.losses import binary_cross_entropy_with_logits, cross_entropy, distillation, mse
from csc_cogd.nn.functions.normalization import BatchStats, batch_norm, batch_statistics, update_running_stats
from csc_cogd.nn.functions.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from csc_cogd.nn.functions.shortcut import subsample_and_pad

__all__ = [
    "BatchStats", "avg_pool2d", "batch_norm", "batch_statistics", "binary_cross_entropy_with_logits", "clip", "concatenate",
    "conv2d", "cross_entropy", "distillation", "fake_quantize", "flatten", "global_avg_pool2d", "hard_sigmoid", "hard_swish",
    "linear", "max_pool2d", "mse", "pad2d", "product", "relu", "relu6", "select", "sigmoid", "soft_mask",
    "subsample_and_pad", "update_running_stats", "upsample",
]  # fmt: skip
