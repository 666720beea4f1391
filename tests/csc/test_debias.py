import numpy as np
import pytest

from csc_cogd import Dictionary, InputError, debias, reconstruct_images, sparse_code


@pytest.fixture
def dictionary(rng):
    return Dictionary(rng.standard_normal((3, 4, 3)))


def columns(filters, places, image_shape, boundary="free"):
    """What single codes of one show in an image (C, H, W), as columns; filters (K, C, h, w)."""
    if boundary == "circular":
        padded = np.pad(
            filters, [(0, 0), (0, 0)] + [(0, n - m) for n, m in zip(image_shape, filters.shape[2:], strict=True)]
        )
        return np.array([np.roll(padded[k], (i, j), (1, 2)).ravel() for k, i, j in places]).T
    C, (H, W), (h, w) = filters.shape[1], image_shape, filters.shape[2:]
    found = []
    for k, i, j in places:
        padded = np.zeros((C, H + 2 * h - 2, W + 2 * w - 2))
        padded[:, i : i + h, j : j + w] = filters[k]
        found.append(padded[:, h - 1 : h - 1 + H, w - 1 : w - 1 + W].ravel())
    return np.array(found).T


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("boundary", ["free", "circular"])
def test_is_least_squares_on_the_support(rng, masked, channels, boundary):
    filters = rng.standard_normal((3, 4, 3) if channels is None else (3, channels, 4, 3))
    dictionary = Dictionary(filters)
    images = rng.standard_normal((2, 9, 8) if channels is None else (2, channels, 9, 8))
    weights = rng.choice([0.0, 1.0, 2.0], images.shape) if masked else np.ones(images.shape)
    shape = (2, 3, 12, 10) if boundary == "free" else (2, 3, 9, 8)
    codes = np.where(rng.random(shape) < 0.04, rng.standard_normal(shape), 0)
    found = debias(images, codes, dictionary, weights=weights, max_iter=500, boundary=boundary, dtype="float64")
    assert not found[codes == 0].any()
    for x, expected_support, image, weight in zip(found, codes, images, weights, strict=True):
        A = weight.ravel()[:, None] * columns(dictionary.with_channels(), np.argwhere(expected_support), (9, 8), boundary)
        best = A @ np.linalg.lstsq(A, (weight * image).ravel(), rcond=None)[0]
        np.testing.assert_allclose(A @ x[expected_support != 0], best, atol=1e-4)


@pytest.mark.parametrize("boundary", ["free", "circular"])
def test_fits_better_than_the_code_it_starts_from_and_never_writes_to_it(rng, dictionary, boundary):
    images = rng.standard_normal((2, 20, 20))
    images[1] = 0  # and has no codes
    how = {"boundary": boundary}
    coded = sparse_code(images, dictionary, lmbda=2.0, **how)
    before = coded.codes.copy()
    refitted = debias(images, coded.codes, dictionary, **how)
    np.testing.assert_array_equal(coded.codes, before)
    assert refitted.dtype == np.float32
    assert np.count_nonzero(refitted) <= np.count_nonzero(before)
    stages = (before, debias(images, before, dictionary, max_iter=1, **how), refitted)
    errors = [np.sum((reconstruct_images(codes, dictionary, **how) - images) ** 2) for codes in stages]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.9 * errors[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.zeros((1, 3, 5, 5))}, r"codes must be real numbers of shape \(1, 3, 12, 10\)"),
        ({"codes": np.full((1, 3, 12, 10), np.nan)}, "codes must be finite"),
        ({"images": np.zeros((1, 2, 9, 8))}, "images are of 2 channels, but the filters have 1 channels"),
        ({"codes": np.ones((1, 3, 9, 8))}, "codes are those of the circular boundary: use boundary 'circular'"),
        ({"boundary": "circular"}, "codes are those of the free boundary: use boundary 'free'"),
        ({"boundary": "mirror"}, "boundary must be one of 'free', 'circular', got 'mirror'"),
        ({"codes": np.full((1, 3, 12, 10), None)}, "codes must be real numbers .* got object"),
        ({"max_iter": 0}, "max_iter must be .* got 0"),
        ({"weights": np.zeros((1, 9, 8))}, "weights must not all be zero"),
    ],
)
def test_what_does_not_fit_is_named(dictionary, change, message):
    arguments = {"images": np.ones((1, 9, 8)), "codes": np.ones((1, 3, 12, 10)), "dictionary": dictionary} | change
    with pytest.raises(InputError, match=message):
        debias(**arguments)


def test_few_iterations_suffice_unless_told(rng, dictionary):
    images = rng.standard_normal((1, 20, 20))
    codes = sparse_code(images, dictionary, lmbda=2.0).codes
    refitted = debias(images, codes, dictionary)
    best = debias(images, codes, dictionary, max_iter=500, dtype="float64")
    before, after, least = (np.sum((reconstruct_images(x, dictionary) - images) ** 2) for x in (codes, refitted, best))
    assert 0.99 < (before - after) / (before - least) <= 1


def test_weights_of_one_image_serve_all_and_hidden_pixels_do_not_count(rng, dictionary):
    images = rng.standard_normal((2, 9, 8))
    codes = np.where(rng.random((2, 3, 12, 10)) < 0.04, 1.0, 0)
    seen = rng.random((9, 8)) < 0.7
    other = np.where(seen, images, 1e3)
    one = debias(images, codes, dictionary, weights=seen[None], dtype="float64")
    np.testing.assert_array_equal(debias(other, codes, dictionary, weights=seen[None], dtype="float64"), one)
    np.testing.assert_array_equal(debias(images, codes, dictionary, weights=np.stack([seen] * 2), dtype="float64"), one)
    assert not np.allclose(debias(images, codes, dictionary, dtype="float64"), one)
