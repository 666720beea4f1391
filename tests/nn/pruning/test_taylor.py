"""What the loss would do without a channel."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import ImageSet, Tensor, build_network, channel_groups, taylor_scores
from csc_cogd.nn.functions import cross_entropy
from tests.nn.training.small import HALF, small_images


def loss_of(network, images, factors):
    """The loss when kernels, by name, have the input channels scaled by these factors."""
    parameters = dict(network.named_parameters())
    kept = {name: parameters[name].array for name, _, _ in factors}
    for name, channel, factor in factors:
        parameters[name].array = parameters[name].array.copy()
        parameters[name].array[:, channel] *= factor
    with network.evaluating():
        x = Tensor(HALF(images.images, np.float64))
        loss = float(cross_entropy(network(x), images.labels))
    for name, array in kept.items():
        parameters[name].array = array
    return loss


@pytest.mark.parametrize(
    ("group", "kernels"),
    [
        ("layer2.1.conv1", ["layer2.1.conv2.weight"]),
        ("layer3.0.conv2", ["layer3.1.conv1.weight", "layer3.2.conv1.weight", "linear.weight"]),
    ],
)
def test_scores_are_squares_of_derivatives(group, kernels):
    network = build_network("resnet20", 2, seed=1).to("cpu", "float64")
    images, groups = small_images(6), channel_groups(network)
    found = taylor_scores(network, {group: groups[group]}, images, normalization=HALF, batch_size=6)[group]
    for channel in (0, 5):
        step = 1e-5
        up, down = (loss_of(network, images, [(name, channel, 1 + s) for name in kernels]) for s in (step, -step))
        assert found[channel] == pytest.approx(((up - down) / (2 * step)) ** 2, rel=1e-4)


def test_batches_are_averaged_and_the_network_stays_as_it_is():
    network = build_network("resnet20", 2, seed=1)
    before, images = network.state_dict(), small_images(8)
    groups = channel_groups(network, inner_only=True)
    order = np.random.default_rng(0).permutation(8)

    def scores(images, batch_size):
        return taylor_scores(network, groups, images, normalization=HALF, batch_size=batch_size)["layer1.0.conv1"]

    expected = np.mean([scores(images.take(order[i : i + 2]), 2) for i in (0, 2, 4, 6)], axis=0)
    np.testing.assert_allclose(scores(images, 2), expected, rtol=1e-4)
    assert all((before[name] == array).all() for name, array in network.state_dict().items())
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_gradients_that_are_not_finite_are_refused():
    network = build_network("resnet20", 2)
    groups = channel_groups(network)
    alone = ImageSet(np.zeros((2, 6, 6, 3), np.uint8), np.array([0, 1]), ("a", "b"))
    network.linear.weight.array[0, 0] = np.inf
    with pytest.raises(InputError, match="network must be finite, but the gradient of group"), np.errstate(invalid="ignore"):
        taylor_scores(network, groups, alone, normalization=HALF)
