"""Exported networks in integers of 8 bits, and what onnxruntime makes of exported networks."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from csc_cogd.backend.parallel import thread_count
from csc_cogd.errors import InputError
from csc_cogd.nn.data.batches import Normalization, batches
from csc_cogd.nn.data.image_set import ImageSet, check_labeled
from csc_cogd.nn.export.onnx import onnx_bytes
from csc_cogd.nn.module import Module
from csc_cogd.nn.tracing import Shape
from csc_cogd.nn.training.evaluate import Evaluation, scored
from csc_cogd.storage import check_writable, write_whole

CALIBRATION = 256
"""Most images that ranges are calibrated on."""


def quantize_onnx(
    source: str | os.PathLike[str], path: str | os.PathLike[str], images: ImageSet, *, normalization: Normalization,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a network in an ONNX file with weights and values of 8 bits, by onnxruntime's static quantization.

    The range of each value is that which it has for some images; kernels have a scale an output channel. B. Jacob et al.,
    "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018.

    Parameters
    ----------
    source : str or path
        As :func:`export_onnx` writes it.
    path : str or path
        The new file.
    images : ImageSet
        To calibrate on: 256 of them at most, drawn by the same seed each time. Labels aren't used.
    normalization : Normalization
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If onnxruntime is missing, or the file exists and may not be replaced, or can't be written.
    """
    check_labeled(images)
    check_runtime()
    check_writable(Path(path), overwrite=overwrite, inputs=(Path(source),))
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    some = images.take(np.random.default_rng(0).permutation(len(images))[:CALIBRATION])
    fed = ({"images": x} for x, _ in batches(some, 16, normalization=normalization))

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(fed, None)

    with tempfile.TemporaryDirectory() as folder, _quiet():
        made = Path(folder, "int8.onnx")
        quantize_static(
            os.fspath(source), os.fspath(made), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        content = made.read_bytes()
    write_whole(Path(path), content, overwrite=overwrite)


def evaluate_onnx(
    path: str | os.PathLike[str], images: ImageSet, *, normalization: Normalization, batch_size: int = 250
) -> Evaluation:
    """Return loss and accuracies of a network in an ONNX file, computed by onnxruntime.

    Parameters
    ----------
    path : str or path
    images : ImageSet
    normalization : Normalization
    batch_size : int
        Images that are computed together.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If onnxruntime is missing.
    """
    check_labeled(images)
    session = _session(os.fspath(path))
    (name,) = [one.name for one in session.get_inputs()]
    found = [session.run(None, {name: x})[0] for x, _ in batches(images, batch_size, normalization=normalization)]
    return scored(np.concatenate(found), images.labels)


def onnxruntime_seconds(network: Module, image_shape: Shape, repeats: int = 15) -> float | None:
    """Return the median time of one image by onnxruntime with one thread.

    None where it, or onnx, isn't installed, or ONNX has no counterpart to what the network computes.
    """
    if not has_runtime():
        return None
    try:
        session = _session(onnx_bytes(network, image_shape=image_shape), threads=1)
    except InputError:
        return None
    image = np.random.default_rng(0).standard_normal((1, *image_shape), np.float32)
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        session.run(None, {"images": image})
        times.append(perf_counter() - start)
    return median(times[1:])


def has_runtime() -> bool:
    """Return whether onnx and onnxruntime are installed."""
    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


def check_runtime() -> None:
    """Raise InputError unless onnx and onnxruntime are installed."""
    if not has_runtime():
        raise InputError("", "the packages onnx and onnxruntime are missing", "pip install 'csc-cogd[onnx]'")


def _session(model: str | bytes, threads: int | None = None) -> Any:
    check_runtime()
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = threads or thread_count(), 3
    return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what onnxruntime's tool advises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
