"""Generative adversarial learning of a pruned network: a student with soft masks follows a frozen teacher.

S. Lin et al., "Towards Optimal Structured CNN Pruning via Generative Adversarial Learning", CVPR 2019 (GAL); [CoGD,
algorithm 2 and eq. 29].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from csc_cogd.backend import device_of, on_gpu, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.functions import binary_cross_entropy_with_logits, cross_entropy, distillation, mse, relu
from csc_cogd.nn.layers import Linear
from csc_cogd.nn.module import Module
from csc_cogd.nn.pruning.masks import SparseMasks, masks_of
from csc_cogd.nn.tensor import Tensor, no_grad
from csc_cogd.nn.training.hooks import EpochHook
from csc_cogd.nn.training.sgd import SGD


@dataclass(frozen=True)
class AdversarialLoss:
    """Weights of the terms of the loss, and settings for the training of masks and discriminator.

        L = mse ||f_student - f_teacher||^2 / NK + adversarial BCE(D(f_student), 1) + sparsity sum_j m_j
            + label CE(f_student, labels) + distillation T^2 KL(f_teacher / T, f_student / T)

    Parameters
    ----------
    sparsity : float >= 0
    mse : float >= 0
    adversarial : float >= 0
    label : float >= 0
        GAL's own loss has no labels and no distillation; the authors' code of CoGD adds both.
    distillation : float >= 0
    temperature : float > 0, T
    mask_learning_rate : float > 0
    discriminator_learning_rate : float > 0
    mask_interval : int >= 1
        Batches whose mean gradient is used in a step of the masks.

    Raises
    ------
    InputError
        If one is out of range.

    Examples
    --------
    >>> AdversarialLoss(sparsity=0.2, label=1.0).adversarial
    1.0
    """

    sparsity: float = 0.1
    mse: float = 1.0
    adversarial: float = 1.0
    label: float = 0.0
    distillation: float = 0.0
    temperature: float = 10.0
    mask_learning_rate: float = 0.01
    discriminator_learning_rate: float = 0.001
    mask_interval: int = 1

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            least = 1 if name == "mask_interval" else 0
            if not (least <= value < np.inf) or (value == 0 and name.endswith(("rate", "temperature"))):
                bound = f">= {least}" if least or not name.endswith(("rate", "temperature")) else "> 0"
                raise InputError(name, f"must be finite and {bound}, got {value}")
        if not self.mse + self.adversarial + self.label + self.distillation > 0:
            fix = "increase {mse}, {adversarial}, {label} or {distillation}, so that the student learns something"
            raise InputError("", "all weights of the loss are 0", fix)


class Discriminator(Module):
    """A network that discriminates the teacher's logits (N, K) from the student's: K-128-256-128-1 with ReLU.

    It returns logits: the sigmoid is part of the loss.
    """

    def __init__(self, n_classes: int, rng: np.random.Generator):
        self.linear1 = Linear(n_classes, 128, rng)
        self.linear2 = Linear(128, 256, rng)
        self.linear3 = Linear(256, 128, rng)
        self.linear4 = Linear(128, 1, rng)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear4(relu(self.linear3(relu(self.linear2(relu(self.linear1(x)))))))


class AdversarialPruning(EpochHook):
    """The loss of GAL, and the training of masks and discriminator.

    Parameters
    ----------
    network : Module
        The student, with soft masks.
    teacher : Module
        A network with the same classes, which isn't trained.
    settings : AdversarialLoss
    n_classes : int
    seed : int
        Seed for the discriminator's weights.

    Raises
    ------
    InputError
        If the student has no soft masks.
    """

    def __init__(self, network: Module, teacher: Module, settings: AdversarialLoss, n_classes: int, seed: int = 0):
        masks = masks_of(network)
        if not masks:
            raise InputError("network", "must have soft masks", "add them by insert_masks")
        self.teacher, self.settings = teacher, settings
        self.masks = SparseMasks(
            list(masks.values()), settings.mask_learning_rate, settings.sparsity, interval=settings.mask_interval
        )
        like = next(iter(masks.values())).array
        where = device_of(like, "cuda") if on_gpu(like) else "cpu"
        self.discriminator = Discriminator(n_classes, np.random.default_rng(seed)).to(where, like.dtype)
        self.optimizer = SGD(dict(self.discriminator.named_parameters()), settings.discriminator_learning_rate)

    def __repr__(self) -> str:
        return f"AdversarialPruning({self.settings})"

    def loss(self, network: Module, x: Tensor, labels: Any) -> tuple[Tensor, Tensor]:
        """Return the student's loss, without the masks' norm, which the proximal step handles, and its logits."""
        settings = self.settings
        student = network(x)
        with no_grad(), self.teacher.evaluating():
            teacher = self.teacher(x)
        self._logits = student.array, teacher.array
        terms = []
        if settings.mse:
            terms.append(settings.mse * mse(student, teacher))
        if settings.adversarial:
            terms.append(settings.adversarial * binary_cross_entropy_with_logits(self.discriminator(student), 1.0))
        if settings.label:
            terms.append(settings.label * cross_entropy(student, labels))
        if settings.distillation:
            terms.append(settings.distillation * distillation(student, teacher.array, settings.temperature))
        return reduce(add, terms), student

    def begin_epoch(self, network: Module, epoch: int) -> None:
        self.masks.resume()
        self._losses: list[float] = []

    def after_backward(self, network: Module) -> None:
        """Take a step of the masks, whose gradients SGD doesn't see, and one of the discriminator."""
        self.masks.add_gradients()
        if not self.settings.adversarial:
            return
        student, teacher = self._logits
        self.discriminator.zero_grad()
        loss = binary_cross_entropy_with_logits(self.discriminator(Tensor(teacher)), 1.0)
        loss = 0.5 * (loss + binary_cross_entropy_with_logits(self.discriminator(Tensor(student)), 0.0))
        loss.backward()
        self.optimizer.step()
        self.discriminator.zero_grad()
        self._losses.append(float(loss))

    def end_epoch(self, network: Module, epoch: int) -> dict[str, float]:
        """Set the masks to FISTA's solution, for the hooks that follow."""
        self.masks.settle()
        values = np.concatenate([to_numpy(mask) for mask in self.masks.settled])
        figures = {"masks_at_zero": float((values == 0).mean()), "mask_mean": float(values.mean())}
        return figures | ({"discriminator_loss": float(np.mean(self._losses))} if self._losses else {})

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return what training needs to continue after an epoch: the discriminator and its momentum."""
        weights = {f"discriminator.{name}": array for name, array in self.discriminator.state_dict().items()}
        return weights | {f"optimizer.{name}": array for name, array in self.optimizer.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""

        def part(prefix: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}

        self.discriminator.load_state_dict(part("discriminator."))
        self.optimizer.load_state_dict(part("optimizer."))
