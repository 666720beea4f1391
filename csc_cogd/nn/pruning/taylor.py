"""Importance of channels, estimated from what the loss would do without them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from csc_cogd.backend import single_threaded_blas, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.data.batches import Normalization, batches
from csc_cogd.nn.data.image_set import ImageSet, check_labeled
from csc_cogd.nn.functions import cross_entropy
from csc_cogd.nn.functions.checks import check_positive
from csc_cogd.nn.layers import PaddedShortcut
from csc_cogd.nn.module import Module, not_finite
from csc_cogd.nn.pruning.groups import ChannelGroup, Member
from csc_cogd.nn.pruning.importance import Scores
from csc_cogd.nn.tensor import Tensor

IMAGES = 2048
"""Most images that importance is estimated from."""


def taylor_scores(
    network: Module, groups: Mapping[str, ChannelGroup], images: ImageSet, *, normalization: Normalization,
    batch_size: int = 16,
) -> Scores:  # fmt: skip
    """Score how much the loss would change, to first order, without each channel.

        I_c = mean_b (sum_k <W_k[:, c], dL_b/dW_k[:, c]>)^2

    over batches b and over the kernels k that meet the channel: the square of the derivative in a gate of 1 on what they
    are given. P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, "Importance Estimation for Neural Network Pruning",
    CVPR 2019, eq. 8, which puts the gate behind batch norm; where a ReLU follows that, it is the same gate.

    Parameters
    ----------
    network : Module
        In inference, so that its statistics stay as they are.
    groups : mapping of str to ChannelGroup
        Some of :func:`~csc_cogd.nn.pruning.groups.channel_groups`.
    images : ImageSet
        2048 of them at most are used, drawn by the same seed each time.
    normalization : Normalization
        As the network was trained with.
    batch_size : int
        Images a gradient.

    Returns
    -------
    dict of str to (C,) array
        By the names of groups, a number >= 0 for each channel, larger where it matters more; comparable among all groups.

    Raises
    ------
    InputError
        If no kernels meet the channels of a group, or a gradient is NaN or infinite.

    Examples
    --------
    >>> from csc_cogd.nn import build_network, channel_groups
    >>> network = build_network("resnet20", 2)
    >>> images = ImageSet(np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1]), ("day", "night"))
    >>> groups = channel_groups(network, inner_only=True)
    >>> half = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> taylor_scores(network, groups, images, normalization=half)["layer1.0.conv1"].shape
    (16,)
    """
    check_labeled(images)
    check_positive("batch_size", batch_size)
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    meeting: dict[str, list[Member]] = {}
    for name, group in groups.items():
        inputs = group.of_role("input")
        meeting[name] = [member for member in inputs if not isinstance(modules[member.layer], PaddedShortcut)]
        if not meeting[name]:
            raise InputError("criterion", f"'taylor' has no kernels that meet group {name}", "choose another")
    xp, dtype = network.array_kind()
    scores = {name: np.zeros(group.n_channels) for name, group in groups.items()}
    some = images.take(np.random.default_rng(0).permutation(len(images))[:IMAGES])
    with single_threaded_blas(), network.evaluating():
        for x, labels in batches(some, batch_size, normalization=normalization, dtype=dtype):
            network.zero_grad()
            loss = cross_entropy(network(Tensor(xp.asarray(x))), xp.asarray(labels))
            loss.backward()
            for name, members in meeting.items():
                gate = np.sum([_gate(parameters[member.key], member, groups[name].n_channels) for member in members], axis=0)
                scores[name] += gate**2 * (len(labels) / len(some))
    network.zero_grad()
    for name, values in scores.items():
        if not np.isfinite(values).all():
            raise not_finite("network", f"the gradient of group {name}")
    return scores


def _gate(weight: Tensor, member: Member, n_channels: int) -> np.ndarray:
    """Return the derivative of the loss in a gate on each channel that kernels meet."""
    return member.by_channel(to_numpy(weight.array).astype(float) * to_numpy(weight.grad), n_channels).sum(axis=1)
