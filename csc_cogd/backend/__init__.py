"""Arrays, FFT plans, fused kernels and threads: the only package that knows the libraries behind them.

The engine is written once against :class:`Backend`; which arrays it works on is decided by :func:`get_backend`.
"""

from csc_cogd.backend.cpu import Backend, Workspace, borrowed, get_backend
from csc_cogd.backend.kernels import STATISTICS

__all__ = ["STATISTICS", "Backend", "Workspace", "borrowed", "get_backend"]
