"""Small convolutional networks without PyTorch: functions with gradients, layers, networks, their cost, their files.

The public names are imported on first use. Everything computes on NumPy's arrays, and on CuPy's where they are on a GPU.

Their matrix products are small: two threads of BLAS are no faster than one, and on a busy machine they wait for each other
ten times as long as they compute. Hold BLAS to one by :func:`csc_cogd.backend.single_threaded_blas`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csc_cogd.lazy import lazy_attributes

if TYPE_CHECKING:
    from csc_cogd.nn.checkpoints import load_checkpoint as load_checkpoint
    from csc_cogd.nn.checkpoints import save_checkpoint as save_checkpoint
    from csc_cogd.nn.flops import count_flops as count_flops
    from csc_cogd.nn.flops import count_parameters as count_parameters
    from csc_cogd.nn.flops import flops_by_layer as flops_by_layer
    from csc_cogd.nn.module import Module as Module
    from csc_cogd.nn.module import Parameter as Parameter
    from csc_cogd.nn.module import Sequential as Sequential
    from csc_cogd.nn.networks import build_network as build_network
    from csc_cogd.nn.tensor import Tensor as Tensor
    from csc_cogd.nn.tensor import no_grad as no_grad

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
    "load_checkpoint": "checkpoints",
    "save_checkpoint": "checkpoints",
}
__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
