"""Arrays, FFT plans, fused kernels and threads: the only package that knows the libraries behind them.

The engine is written once against :class:`Backend`; which arrays it works on is decided by :func:`get_backend`.
"""

from csc_cogd.backend.arrays import (
    array_module,
    as_array,
    beside,
    check_unmasked,
    filled_like,
    from_gpu,
    is_masked,
    on_gpu,
    to_numpy,
    with_mask,
)
from csc_cogd.backend.blas import single_threaded_blas
from csc_cogd.backend.cpu import Backend, Index, Task, Workspace, borrowed
from csc_cogd.backend.dispatch import as_channels_last, kernels_for
from csc_cogd.backend.momentum import ParameterUpdate, momentum_step
from csc_cogd.backend.precision import check_precision, computing_in
from csc_cogd.backend.selection import choose_device, device_of, get_backend, usable_devices, usable_processors

__all__ = [
    "Backend", "Index", "ParameterUpdate", "Task", "Workspace", "array_module", "as_array", "as_channels_last", "beside",
    "borrowed", "check_precision", "check_unmasked", "choose_device", "computing_in", "device_of", "filled_like", "from_gpu",
    "get_backend", "is_masked", "kernels_for", "momentum_step", "on_gpu", "single_threaded_blas", "to_numpy",
    "usable_devices", "usable_processors", "with_mask",
]  # fmt: skip
