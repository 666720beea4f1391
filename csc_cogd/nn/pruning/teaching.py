"""Fine-tuning with the network that was pruned as a teacher."""

from __future__ import annotations

from typing import Any

from csc_cogd.nn.functions import cross_entropy, distillation
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor, no_grad
from csc_cogd.nn.training.training import Loss

TEMPERATURE = 4.0
"""Temperature at which predictions are compared [Hinton et al. 2015 use 1 to 20, more the larger the student is]."""


def taught_by(teacher: Module, share: float, label_smoothing: float = 0.0) -> Loss:
    """Return the loss ``(1 - share) CE(f, labels) + share T^2 KL(f_teacher / T, f / T)``, T = 4.

    Parameters
    ----------
    teacher : Module
        A network with the same classes, which isn't trained.
    share : float in [0, 1]
    label_smoothing : float in [0, 1)
        Of the cross entropy.

    Returns
    -------
    callable
        For :func:`csc_cogd.nn.train`.
    """

    def loss(network: Module, x: Tensor, labels: Any) -> tuple[Tensor, Tensor]:
        with no_grad(), teacher.evaluating():
            wanted = teacher(x).array
        logits = network(x)
        taught = share * distillation(logits, wanted, TEMPERATURE)
        return (1 - share) * cross_entropy(logits, labels, label_smoothing=label_smoothing) + taught, logits

    return loss
