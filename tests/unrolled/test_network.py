"""The unrolled network: against dense linear algebra, and its gradients against finite differences."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.unrolled.network import Network, Shape, Trail, Weights

SHAPES = [Shape(1, 5, 4, 2, 3), Shape(3, 4, 3, 1, 2), Shape(1, 3, 7, 3, 1), Shape(2, 6, 5, 2, 2)]


def random_network(shape, rng):
    """In double precision, all filters and thresholds different."""
    network = Network.random(shape, rng, np.float64)
    n_filters = shape.n_numbers - 2 * shape.n_iter * shape.n_filters
    network.vector[:n_filters] += rng.normal(0, 0.03, n_filters)
    network.vector[n_filters:] = rng.uniform(0.01, 0.2, shape.n_numbers - n_filters)
    return network


def problem(network, rng, size=(9, 11), known=0.8):
    planes = rng.standard_normal((network.shape.channels, *size))
    mask = (rng.random(planes.shape) < known).astype(float)
    h, w = network.code_shape(network.to_phases(planes))
    return planes, mask, rng.random(h * w) * 0.3


def dense_synthesis(shape, filters, size, codes_size):
    """The matrix from codes (M h w) to pixels (C H W), entry by entry."""
    (H, W), (h, w), P = size, codes_size, shape.size
    matrix = np.zeros((shape.channels, H, W, shape.n_filters, h, w))
    first = (P - shape.stride) // 2
    for m, filter_ in enumerate(filters.reshape(-1, shape.channels, P, P)):
        for i in range(h):
            for j in range(w):
                for a in range(P):
                    for b in range(P):
                        y, x = i * shape.stride + a - first, j * shape.stride + b - first
                        if 0 <= y < H and 0 <= x < W:
                            matrix[:, y, x, m, i, j] += filter_[:, a, b]
    return matrix.reshape(shape.channels * H * W, -1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_computes_what_the_equations_say(rng, shape):
    network = random_network(shape, rng)
    planes, mask, sigma = problem(network, rng)
    size, phases = planes.shape[1:], network.to_phases(planes)
    weights, codes_size = network.weights, network.code_shape(phases)
    z, y, known = np.zeros(shape.n_filters * sigma.size), planes.ravel(), mask.ravel()
    for k in range(shape.n_iter):
        A = dense_synthesis(shape, weights.A[k], size, codes_size)
        B = dense_synthesis(shape, weights.B[k - 1], size, codes_size) if k else np.zeros_like(A)
        v = z - A.T @ ((known if k else 1) * (B @ z - y))
        tau = (weights.t0[k][:, None] + weights.t1[k][:, None] * sigma).ravel()
        z = np.sign(v) * np.maximum(abs(v) - tau, 0)
    x = dense_synthesis(shape, weights.D, size, codes_size) @ z
    codes = network.encode(phases, network.to_phases(mask), sigma)
    np.testing.assert_allclose(codes.ravel(), z, atol=1e-12)
    image = network.from_phases(network.decode(codes, codes_size), size)
    np.testing.assert_allclose(image.ravel(), x, atol=1e-12)
    assert 0 < np.count_nonzero(z) < z.size


@pytest.mark.parametrize("kernels", ["numba", "numpy"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_are_finite_differences(rng, shape, kernels, monkeypatch):
    monkeypatch.setenv("CSC_COGD_KERNELS", kernels)
    network = random_network(shape, rng)
    planes, mask, sigma = problem(network, rng)
    image, known, inside = (network.to_phases(each) for each in (planes, mask, np.ones_like(planes)))
    target = network.to_phases(rng.standard_normal(planes.shape))

    def loss(vector, trail=None):
        at = Network(shape, vector)
        error = (at.decode(at.encode(image, known, sigma, trail), at.code_shape(image)) - target) * inside
        return 0.5 * (error**2).sum(), error

    trail, gradient = Trail([], []), Weights(shape, np.zeros(shape.n_numbers))
    network.gradient(trail, known, sigma, loss(network.vector, trail)[1], gradient)
    chosen = rng.choice(shape.n_numbers, 60, replace=False)
    for number in [*chosen, *range(shape.n_numbers - 2 * shape.n_iter * shape.n_filters, shape.n_numbers)]:
        step = 1e-6 * (np.arange(shape.n_numbers) == number)
        difference = (loss(network.vector + step)[0] - loss(network.vector - step)[0]) / 2e-6
        assert gradient.vector[number] == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_a_guess_of_missing_pixels_counts_in_the_first_iteration_only(rng):
    network = random_network(SHAPES[0], rng)
    planes, mask, sigma = problem(network, rng)
    guesses = [np.where(mask == 1, planes, guess) for guess in (0.0, 0.3)]

    def codes():
        return [network.encode(network.to_phases(each), network.to_phases(mask), sigma) for each in guesses]

    assert abs(np.subtract(*codes())).max() > 0.01
    network.weights.A[0] = 0  # nothing comes of the first iteration
    np.testing.assert_array_equal(*codes())


def test_it_begins_as_a_descent_that_approaches_the_image(rng):
    """Filters of such a norm that iterations converge: without thresholds, more of them come nearer."""
    planes, errors = rng.standard_normal((1, 32, 32)), []
    for n_iter in (1, 4, 16):
        network = Network.random(Shape(1, 64, 7, 2, n_iter), np.random.default_rng(1), np.float64)
        network.weights.t0[:] = network.weights.t1[:] = 0
        image = network.to_phases(planes)
        codes = network.encode(image, network.to_phases(np.ones_like(planes)), np.zeros(256))
        errors.append(np.linalg.norm(network.from_phases(network.decode(codes, (16, 16)), (32, 32)) - planes))
    assert errors[0] > errors[1] > errors[2]


def test_phases_and_back(rng):
    for shape in SHAPES:
        network = Network.random(shape, rng)
        for size in [(1, 1), (7, 12), (20, 5)]:
            planes = rng.standard_normal((shape.channels, *size))
            phases = network.to_phases(planes)
            np.testing.assert_array_equal(network.from_phases(phases, size), planes)
            assert phases.sum() == pytest.approx(planes.sum())


def test_projection_leaves_filters_in_the_unit_ball_and_thresholds_not_negative(rng):
    shape = SHAPES[1]
    weights = Weights(shape, rng.standard_normal(shape.n_numbers) * 2)
    inside = weights.A[0, 0] = 0.1
    weights.project()
    for filters in (weights.A, weights.B, weights.D):
        assert (np.linalg.norm(filters, axis=-1) <= 1 + 1e-12).all()
    assert (weights.A[0, 0] == inside).all()
    assert weights.t0.min() == weights.t1.min() == 0
    assert weights.t0.max() > 0


@pytest.mark.parametrize(
    "wrong", [{"n_filters": 0}, {"size": 2.5}, {"stride": 8}, {"n_iter": True}, {"channels": -1}, {"n_iter": 1000}]
)
def test_shapes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Shape(**wrong)


def test_weights_of_another_size_are_refused():
    with pytest.raises(InputError, match="vector"):
        Network(Shape(), np.zeros(7))
