"""The numeric check of gradients."""

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.nn import Tensor


def check_gradients(function, arrays, xp=np, seed=0):
    """Compare what `backward` leaves at each tensor with central differences, along a random direction of each.

    `function` takes as many tensors as there are `arrays`, which become float64 and read-only.
    """
    rng = np.random.default_rng(seed)

    def tensors(values):
        made = []
        for value in values:
            value = np.array(value, np.float64)
            value.flags.writeable = False
            made.append(Tensor(xp.asarray(value), requires_grad=True))
        return made

    def projected(values):
        return float((to_numpy(function(*tensors(values)).array) * weights).sum())

    inputs = tensors(arrays)
    y = function(*inputs)
    weights = rng.standard_normal(y.shape)
    y.backward(xp.asarray(weights))
    for number, tensor in enumerate(inputs):
        direction = rng.standard_normal(tensor.shape)
        moved = [
            projected([a + step * direction if i == number else a for i, a in enumerate(arrays)]) for step in (1e-6, -1e-6)
        ]
        numeric = (moved[0] - moved[1]) / 2e-6
        assert tensor.grad.shape == tensor.shape
        assert tensor.grad.dtype == tensor.dtype
        analytic = float((to_numpy(tensor.grad) * direction).sum())
        assert abs(analytic - numeric) <= 1e-6 * (1 + abs(numeric)), f"tensor {number}: {analytic}, but {numeric}"
