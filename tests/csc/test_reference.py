import numpy as np
import pytest

from csc_cogd import Dictionary, sparse_code
from csc_cogd.csc.reference import reference_admm


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    if request.param == "cuda":
        request.getfixturevalue("cuda")
    return request.param


@pytest.mark.parametrize("C", [1, 3])
@pytest.mark.parametrize("gradient_penalty", [0.0, 0.3])
def test_the_engine_takes_the_steps_of_the_reference(device, rng, C, gradient_penalty):
    """Not only the same optimum: the same codes after any number of iterations."""
    images, filters = rng.standard_normal((2, C, 12, 10)), rng.standard_normal((5, C, 3, 4))
    weights = (rng.random((2, C, 12, 10)) < 0.7) * rng.uniform(0.5, 2, (2, C, 12, 10))
    settings = {"lmbda": 0.2, "rho": 0.7, "rho_data": 1.3, "gradient_penalty": gradient_penalty}
    for n_iterations in (1, 2, 30):
        expected = reference_admm(images, weights, filters, **settings, n_iterations=n_iterations)
        result = sparse_code(
            images, Dictionary(filters), weights=weights, **settings, solver="admm", boundary="circular",
            max_iter=n_iterations, tol=0, dtype="float64", device=device,
        )  # fmt: skip
        assert np.count_nonzero(expected) or n_iterations == 1
        np.testing.assert_allclose(result.codes, expected, atol=1e-9)
