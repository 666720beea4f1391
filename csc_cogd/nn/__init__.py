"""Small convolutional networks without PyTorch: functions with gradients, layers, networks, training, cost, files.

The public names, which ``__init__.pyi`` lists, are imported on first use. Everything computes on NumPy's arrays, and on
CuPy's where they are on a GPU.

Compiled layers share a batch among threads of their own. The remaining matrix products are small: two threads of BLAS are no
faster than one, and on a busy machine they wait for each other ten times as long as they compute. Training and evaluation
hold BLAS to one thread; elsewhere, :func:`csc_cogd.backend.single_threaded_blas` does.
"""

from csc_cogd.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
