"""Cogradient descent in networks, against finite differences of the loss."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Tensor, build_network
from csc_cogd.nn.cogradient import KernelBacktracking, MaskBacktracking, pruning_rule, training_rule
from csc_cogd.nn.functions import cross_entropy
from csc_cogd.nn.scaled_convs import find_scaled_convs

EVERYWHERE = {"alpha_sparse": 1e9, "alpha_partner": 0.0, "max_beta": 1e9}


@pytest.fixture
def network():
    """Small, in double precision, in inference, so that batch norm stands still."""
    return build_network("resnet20", masked=True).to("cpu", "float64").eval()


@pytest.fixture
def batch(rng):
    return Tensor(rng.standard_normal((2, 3, 8, 8))), np.array([3, 7])


def loss_of(network, batch):
    return cross_entropy(network(batch[0]), batch[1])


def epoch(hook, network, batch, changes):
    """One batch's gradients, then changes of parameters in place of a step, then the hook's figures."""
    hook.begin_epoch(network, 0)
    network.zero_grad()
    loss_of(network, batch).backward()
    hook.after_backward(network)
    hook.after_step(network)
    for parameter, change in changes:
        parameter.array = parameter.array + change
    return hook.end_epoch(network, 0)


def derivative(function, parameter, direction, step=1e-5):
    """Of a function along a direction of a parameter, which is left as it was."""
    before, values = parameter.array, []
    for sign in (1, -1):
        parameter.array = before + sign * step * direction
        values.append(float(function()))
    parameter.array = before
    return (values[0] - values[1]) / (2 * step)


def settings(make, **others):
    """A rule with other settings than `make` gives."""
    return replace(make(), **others)


SIDES = pytest.mark.parametrize("side", ["following", "preceding"])


@SIDES
def test_masks_descend_along_the_coupled_gradient(side, network, batch, rng):
    """beta_j m_j = -eta dL/dm_j through W alone, if W follows m as it did over the epoch."""
    conv = find_scaled_convs(network, "soft_mask", side=side)[4]
    mask, kernels = conv.scale, conv.kernels
    mask.array = rng.uniform(0.2, 0.9, mask.shape)
    old_mask = mask.array
    dm, dW = rng.uniform(0.01, 0.1, mask.shape), 0.1 * rng.standard_normal(kernels.shape)
    j = 5
    ratio, met = np.zeros(kernels.shape), (slice(None), j) if side == "following" else j
    ratio[met] = dW[met] / dm[j]
    expected = -0.1 * derivative(lambda: loss_of(network, batch), kernels, ratio)
    hook = MaskBacktracking(settings(pruning_rule, **EVERYWHERE), kernels=side)
    figures = epoch(hook, network, batch, [(mask, dm), (kernels, dW)])
    assert figures["masks_backtracked"] > 0
    assert mask.array[j] - (old_mask + dm)[j] == pytest.approx(expected, rel=1e-6)


@SIDES
def test_kernels_descend_along_the_coupled_gradient(side, network, batch, rng):
    """beta_ij W_ij: the kernel times what the gradient with gamma taken out says of gamma's change with it."""
    conv = find_scaled_convs(network, "batch_norm", side=side)[4]
    gamma, kernels = conv.scale, conv.kernels
    gamma.array = rng.uniform(0.5, 1.5, gamma.shape)
    old_gamma, old = gamma.array, kernels.array
    dgamma, dW = rng.uniform(0.01, 0.1, gamma.shape), 0.1 * (1 + rng.uniform(size=kernels.shape))
    i, j = 2, 5
    direction, kernel = np.zeros(kernels.shape), (i, j) if side == "following" else (j, i)
    direction[kernel] = dgamma[j] / dW[kernel] / old_gamma[j]
    beta = -0.1 * derivative(lambda: loss_of(network, batch), kernels, direction)
    hook = KernelBacktracking(settings(training_rule, **EVERYWHERE), kernels=side)
    figures = epoch(hook, network, batch, [(gamma, dgamma), (kernels, dW)])
    assert figures["kernels_backtracked"] > 0
    np.testing.assert_allclose((kernels.array - old - dW)[kernel], beta * old[kernel], rtol=1e-6)


@pytest.mark.parametrize(("hook", "make"), [(MaskBacktracking, pruning_rule), (KernelBacktracking, training_rule)])
def test_a_step_of_zero_changes_nothing(hook, make, network, batch):
    kind = "soft_mask" if hook is MaskBacktracking else "batch_norm"
    twin = copy.deepcopy(network)
    for changed in (network, twin):
        found = find_scaled_convs(changed, kind)
        changes = [(one.scale, 0.1) for one in found] + [(one.kernels, 0.1) for one in found]
        if changed is network:
            figures = epoch(hook(make(eta=0.0)), network, batch, changes)
        else:
            for parameter, change in changes:
                parameter.array = parameter.array + change
    assert all((twin.state_dict()[name] == array).all() for name, array in network.state_dict().items())
    assert figures[f"{'masks' if kind == 'soft_mask' else 'kernels'}_backtracked"] == 0


def test_only_small_masks_before_large_kernels_move(network, batch, rng):
    conv = find_scaled_convs(network, "soft_mask")[0]
    mask, kernels = conv.scale, conv.kernels
    mask.array = np.where(np.arange(16) % 2, 0.3, 0.9)
    kernels.array = kernels.array * np.where(np.arange(16) < 8, 3.0, 0.1)[None, :, None, None]
    before = mask.array
    epoch(MaskBacktracking(pruning_rule(keep=0.5)), network, batch, [(kernels, 0.01 * rng.standard_normal(kernels.shape))])
    moved = np.flatnonzero(mask.array != before)
    assert set(moved) <= {1, 3, 5, 7}
    assert len(moved) > 0


def test_reset_sets_masks_that_are_out_of_step(network, batch):
    conv = find_scaled_convs(network, "soft_mask")[0]
    conv.scale.array = np.where(np.arange(16) % 2, 0.3, 0.9)
    conv.kernels.array = np.ones_like(conv.kernels.array)
    epoch(MaskBacktracking(reset_value=0.75), network, batch, [])
    np.testing.assert_array_equal(conv.scale.array, np.where(np.arange(16) % 2, 0.75, 0.9))


def test_masks_at_zero_stay_there(network, batch):
    conv = find_scaled_convs(network, "soft_mask")[0]
    conv.scale.array = np.zeros(16)
    epoch(MaskBacktracking(settings(pruning_rule, **EVERYWHERE)), network, batch, [(conv.kernels, 0.1)])
    np.testing.assert_array_equal(conv.scale.array, 0)


def test_an_epoch_without_batches_changes_nothing(network):
    hook, before = MaskBacktracking(), network.state_dict()
    hook.begin_epoch(network, 0)
    assert hook.end_epoch(network, 0) == {"masks_backtracked": 0, "mean_beta": 0.0}
    assert all((before[name] == array).all() for name, array in network.state_dict().items())


def test_a_network_without_masks_is_refused():
    with pytest.raises(InputError, match="network must have soft masks"):
        MaskBacktracking().begin_epoch(build_network("resnet20"), 0)


def test_on_a_gpu(xp, rng):
    """The same code moves arrays of CuPy, or of its double."""
    network = build_network("resnet20", masked=True)
    if xp is not np:
        network.to("cuda")
    conv = find_scaled_convs(network, "soft_mask")[0]
    conv.scale.array = xp.asarray(np.full(16, 0.3, np.float32))
    hook = MaskBacktracking()
    hook.begin_epoch(network, 0)
    loss = cross_entropy(network(Tensor(xp.asarray(rng.standard_normal((2, 3, 8, 8)).astype("f")))), xp.asarray([1, 2]))
    loss.backward()
    hook.after_backward(network)
    conv.kernels.array = conv.kernels.array * xp.float32(1.1)
    assert hook.end_epoch(network, 0)["masks_backtracked"] > 0


def test_the_other_reading_moves_kernels_behind_small_scales(network, batch, rng):
    """Where the scale is small and its kernels are large, in place of the contrary."""
    conv = find_scaled_convs(network, "batch_norm", (3, 8, 8))[0]
    conv.scale.array = np.where(np.arange(16) % 2, 0.1, 2.0)
    kernels = conv.by_channel(conv.kernels.array).copy()
    kernels[:8] *= 0.1
    conv.kernels.array = conv.as_kernels(kernels)
    moved = {}
    for small in ("kernels", "scales"):
        own = copy.deepcopy(network)
        hook = KernelBacktracking(training_rule(), image_shape=(3, 8, 8), small=small)
        found = dict(own.named_parameters())
        kernel, scale = (found[name] for name in (_name_of(network, conv.kernels), _name_of(network, conv.scale)))
        change = rng.standard_normal(kernel.shape) * 0.01
        expected = kernel.array + change
        epoch(hook, own, batch, [(kernel, change), (scale, 0.001 * rng.standard_normal(16))])
        moved[small] = np.flatnonzero((conv.by_channel(kernel.array) != conv.by_channel(expected)).any(axis=(1, 2)))
    assert moved["kernels"].tolist() == [0, 2, 4, 6]
    assert moved["scales"].tolist() == [9, 11, 13, 15]
    with pytest.raises(InputError, match="small must be one of kernels, scales, got 'x'"):
        KernelBacktracking(small="x")


def _name_of(network, parameter):
    return next(name for name, other in network.named_parameters() if other is parameter)


def test_the_bound_is_a_setting():
    assert training_rule(bound=0.3).max_beta == pruning_rule(bound=0.3).max_beta == 0.3
