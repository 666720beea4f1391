"""What ``numpy.ma`` masks is missing where there is a word for it, and refused elsewhere: it is never used."""

import numpy as np
import pytest

import csc_cogd
from csc_cogd import Dictionary, InputError
from csc_cogd.restore.operators import Blur


@pytest.fixture
def values(rng):
    return rng.standard_normal((2, 16, 16))


@pytest.fixture
def masked(values):
    return np.ma.masked_where(values > 1.5, values)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("images", lambda m, v: csc_cogd.sparse_code(m, Dictionary(np.ones((1, 3, 3))), lmbda=1)),
        ("images", lambda m, v: csc_cogd.learn_dictionary(m, 1, 3, lmbda=1)),
        ("images", lambda m, v: csc_cogd.learn_dictionary_online(m, 1, 3, lmbda=1)),
        ("images", lambda m, v: csc_cogd.learn_dictionary_online(list(m), 1, 3, lmbda=1)),
        ("images", lambda m, v: csc_cogd.learn_dictionary_consensus([m], 1, 3, lmbda=1)),
        ("weights", lambda m, v: csc_cogd.sparse_code(v, Dictionary(np.ones((1, 3, 3))), lmbda=1, weights=abs(m))),
        ("codes", lambda m, v: csc_cogd.reconstruct_images(m[:, None], Dictionary(np.ones((1, 3, 3))))),
        ("filters", lambda m, v: Dictionary(m)),
        ("kernel", lambda m, v: Blur(abs(m[0]))),
        ("restored", lambda m, v: csc_cogd.psnr(m, v, data_range=1)),
        ("reference", lambda m, v: csc_cogd.psnr(v, m, data_range=1)),
        ("where", lambda m, v: csc_cogd.psnr(v, v, data_range=1, where=m)),
    ],
)
def test_masked_values_are_refused_by_the_name_of_the_argument(values, masked, argument, call):
    with pytest.raises(InputError, match=f"{argument} must not have masked values"):
        call(masked, values)


def test_what_is_masked_is_missing_in_images(values, masked):
    image = np.ma.array(np.where(masked.mask[0], 1e6, values[0]), mask=masked.mask[0])
    plain = csc_cogd.inpaint(np.where(masked.mask[0], 0, values[0]), masked.mask[0])
    np.testing.assert_array_equal(csc_cogd.inpaint(image), plain)


def test_arrays_whose_mask_is_empty_are_taken(values):
    plain = csc_cogd.learn_dictionary(values, 1, 3, lmbda=1, max_iter=1)
    np.testing.assert_array_equal(
        csc_cogd.learn_dictionary(np.ma.array(values), 1, 3, lmbda=1, max_iter=1).dictionary.filters,
        plain.dictionary.filters,
    )
