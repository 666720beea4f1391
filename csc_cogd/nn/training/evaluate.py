"""Predictions of a network for images, and how often they are right."""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

import numpy as np

from csc_cogd.backend import single_threaded_blas, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.data.batches import Normalization, batches
from csc_cogd.nn.data.image_set import ImageSet, check_labeled
from csc_cogd.nn.functions import cross_entropy
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor, no_grad

TOP = 5


class Evaluation(NamedTuple):
    """Loss and accuracies of a network, means over images.

    Attributes
    ----------
    loss : float
        Cross entropy, without label smoothing.
    accuracy : float
        Share of the images, in [0, 1], whose largest logit is that of their label.
    top5_accuracy : float
        Share of the images whose label is among the five largest logits: 1 where there are no more than five classes.
    """

    loss: float
    accuracy: float
    top5_accuracy: float


def predict(
    network: Module, images: ImageSet | np.ndarray, *, normalization: Normalization, batch_size: int = 250
) -> np.ndarray:
    """Return the logits of images, in inference, on the network's device.

    Parameters
    ----------
    network : Module
    images : ImageSet, or (N, H, W, 3) uint8 array
    normalization : Normalization
        As the network was trained with.
    batch_size : int
        Images that are computed together.

    Returns
    -------
    (N, K) array of the network's dtype, in main memory

    Raises
    ------
    InputError
        If the network has no parameters, the images have another shape or type, or one can't be read.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> half = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> predict(build_network("resnet20", 2), np.zeros((2, 8, 8, 3), np.uint8), normalization=half).shape
    (2, 2)
    """
    xp, dtype = network.array_kind()
    if not isinstance(images, ImageSet):
        images = ImageSet(images, np.zeros(np.shape(images)[:1], int), ("unknown",))
    found = []
    with single_threaded_blas(), network.evaluating(), no_grad():
        for x, _ in batches(images, batch_size, normalization=normalization, dtype=dtype):
            found.append(to_numpy(network(Tensor(xp.asarray(x))).array))
    return np.concatenate(found)


def evaluate(network: Module, images: ImageSet, *, normalization: Normalization, batch_size: int = 250) -> Evaluation:
    """Return loss and accuracy of a network in inference.

    Parameters
    ----------
    network : Module
    images : ImageSet
    normalization : Normalization
        As the network was trained with.
    batch_size : int
        Images that are computed together.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If the network has no parameters, the images have no labels, one can't be read, or the loss is NaN or infinite.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> images = ImageSet(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]), ("day", "night"))
    >>> half = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> evaluate(build_network("resnet20", 2), images, normalization=half).accuracy  # they look alike
    0.5
    """
    result = unchecked_evaluate(network, images, normalization=normalization, batch_size=batch_size)
    if not isfinite(result.loss):
        fix = "use other weights, as these are damaged or their training diverged"
        raise InputError("network", f"must have a finite loss for the images, got {result.loss}", fix)
    return result


def unchecked_evaluate(network: Module, images: ImageSet, *, normalization: Normalization, batch_size: int) -> Evaluation:
    """Return loss and accuracy as :func:`evaluate` does, also where the loss is NaN or infinite."""
    check_labeled(images)
    return scored(predict(network, images, normalization=normalization, batch_size=batch_size), images.labels)


def scored(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Return loss and accuracies of logits (N, K) for labels (N,)."""
    with np.errstate(invalid="ignore"):  # of infinite logits
        loss = cross_entropy(Tensor(np.asarray(logits, np.float64)), labels)
    right = logits.argmax(axis=1) == labels
    top = np.argsort(-logits, axis=1, kind="stable")[:, :TOP]
    return Evaluation(float(loss), float(right.mean()), float((top == labels[:, None]).any(axis=1).mean()))
