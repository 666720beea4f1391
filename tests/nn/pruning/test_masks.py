"""Soft masks: where they are put, and FISTA on them."""

import numpy as np
import pytest
from scipy.optimize import nnls

from csc_cogd import InputError
from csc_cogd.nn import Parameter, Tensor, build_network
from csc_cogd.nn.pruning.masks import SparseMasks, insert_masks, masks_of


def test_masks_of_one_change_nothing(rng):
    network = build_network("resnet20").eval()
    masked = insert_masks(network)
    x = Tensor(rng.standard_normal((2, 3, 16, 16)).astype(np.float32))
    np.testing.assert_array_equal(masked(x).array, network(x).array)
    assert list(masks_of(masked)) == [f"layer{stage}.{block}.mask" for stage in (1, 2, 3) for block in range(3)]
    assert not masks_of(network)


@pytest.mark.parametrize(("start", "mean"), [("uniform", 0.5), ("normal", 0.399)])
def test_masks_that_start_at_random(start, mean):
    masks = [mask.array for mask in masks_of(insert_masks(build_network("resnet18"), mask_start=start)).values()]
    values = np.concatenate(masks)
    assert values.min() >= 0
    assert values.mean() == pytest.approx(mean, abs=0.05)


def test_masks_are_put_in_once():
    masked = insert_masks(build_network("resnet20"))
    with pytest.raises(InputError, match="has soft masks already"):
        insert_masks(masked)
    with pytest.raises(InputError, match="network must have blocks with a place for a mask"):
        insert_masks(build_network("resnet20").conv1)
    with pytest.raises(InputError, match=r"mask_start must be one of .*got 'zeros'"):
        insert_masks(build_network("resnet20"), mask_start="zeros")


def least_squares(rng, n=30):
    A = rng.standard_normal((60, n))
    b = A @ np.where(rng.uniform(size=n) < 0.3, 1.0, 0.0) + 0.1 * rng.standard_normal(60)
    return A, b


def iterate(masks, A, b, count):
    """Masks, in two pieces, after `count` gradients of half the squared residual."""
    fista = SparseMasks(masks, 1 / np.linalg.norm(A, 2) ** 2, 3.0)
    for _ in range(count):
        z = np.concatenate([mask.array for mask in masks])
        gradient = A.T @ (A @ z - b)
        masks[0].grad, masks[1].grad = gradient[:10], gradient[10:]
        fista.add_gradients()
    fista.settle()
    return fista


def test_fista_finds_what_nonnegative_least_squares_finds(rng):
    """With A of full rank, a linear term is a shift of b."""
    A, b = least_squares(rng)
    shifted = b - 3.0 * A @ np.linalg.solve(A.T @ A, np.ones(30))
    expected, _ = nnls(A, shifted)
    masks = [Parameter(np.ones(10)), Parameter(np.ones(20))]
    fista = iterate(masks, A, b, 400)
    np.testing.assert_allclose(np.concatenate([mask.array for mask in masks]), expected, atol=1e-8)
    assert fista.restarts > 0
    assert (expected == 0).any()
    assert all(mask.grad is None for mask in masks)


def test_a_step_takes_the_mean_of_several_gradients():
    mask = Parameter(np.array([1.0, 0.05]))
    fista = SparseMasks([mask], 0.1, 0.5, interval=2)
    for gradient in (1.0, 3.0):
        np.testing.assert_array_equal(mask.array, [1.0, 0.05])
        mask.grad = np.full(2, gradient)
        fista.add_gradients()
    np.testing.assert_allclose(mask.array, [1 - 0.1 * (2 + 0.5), 0.0])


def test_restarts_keep_momentum_from_driving_masks_away():
    """A gradient that turns: the mask should come back to 1."""
    mask = Parameter(np.array([5.0]))
    fista = SparseMasks([mask], 0.01, 0.0)
    lowest = 5.0
    for _ in range(260):
        mask.grad = mask.array - 1.0
        fista.add_gradients()
        lowest = min(lowest, float(mask.array[0]))
    assert fista.restarts > 0
    assert 0.95 < lowest < 1.05
