"""What numpy.ma masks counts as missing where pictures are restored and compared, and is refused in words elsewhere."""

import numpy as np
import pytest

import csc_cogd
from csc_cogd import Blur, Decimation, Dictionary, InputError, nn

RUN = {"lmbda": 0.3, "max_iter": 2, "threads": 1}
DICTIONARY = Dictionary(np.eye(3)[None])
PLAIN = np.random.default_rng(0).standard_normal((2, 20, 20))
CODES = np.zeros((2, 1, 22, 22))


def masked(array):
    """The array, with one of its values masked."""
    hidden = np.zeros(np.shape(array), bool)
    hidden.flat[len(hidden.flat) // 2] = True
    return np.ma.masked_array(array, hidden)


class OneByOne:
    """Images that are made when they are asked for."""

    def __len__(self):
        return len(PLAIN)

    def __getitem__(self, n):
        return masked(PLAIN[n])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("images", lambda: csc_cogd.sparse_code(masked(PLAIN), DICTIONARY, **RUN)),
        ("images", lambda: csc_cogd.sparse_code(list(masked(PLAIN)), DICTIONARY, **RUN)),
        ("images", lambda: csc_cogd.sparse_code([list(image) for image in masked(PLAIN)], DICTIONARY, **RUN)),
        ("weights", lambda: csc_cogd.sparse_code(PLAIN, DICTIONARY, weights=masked(np.ones((20, 20))), **RUN)),
        ("l1_weights", lambda: csc_cogd.sparse_code(PLAIN, DICTIONARY, l1_weights=masked([1.0]), **RUN)),
        ("start", lambda: csc_cogd.sparse_code(PLAIN, DICTIONARY, start=masked(CODES), **RUN)),
        (
            "background",
            lambda: csc_cogd.sparse_code(abs(PLAIN), DICTIONARY, fidelity="poisson", background=masked(PLAIN), **RUN),
        ),
        ("images", lambda: csc_cogd.lambda_max(masked(PLAIN), DICTIONARY)),
        ("images", lambda: csc_cogd.debias(masked(PLAIN), CODES, DICTIONARY)),
        ("codes", lambda: csc_cogd.debias(PLAIN, masked(CODES), DICTIONARY)),
        ("codes", lambda: csc_cogd.solve_filters(PLAIN, masked(CODES), DICTIONARY)),
        ("codes", lambda: csc_cogd.reconstruct_images(masked(CODES), DICTIONARY)),
        ("codes", lambda: csc_cogd.save_codes(masked(CODES), "codes.npz")),
        ("images", lambda: csc_cogd.learn_dictionary(masked(PLAIN), 2, 3, **RUN)),
        ("images", lambda: csc_cogd.learn_dictionary_online(masked(PLAIN), 2, 3, **RUN)),
        ("images", lambda: csc_cogd.learn_dictionary_online(list(masked(PLAIN)), 2, 3, **RUN)),
        ("images", lambda: csc_cogd.learn_dictionary_online(OneByOne(), 2, 3, **RUN)),
        ("weights", lambda: csc_cogd.learn_dictionary_online(PLAIN, 2, 3, weights=list(masked(PLAIN > -9)), **RUN)),
        ("images", lambda: csc_cogd.learn_dictionary_consensus([PLAIN, masked(PLAIN)], 2, 3, **RUN)),
        ("weights", lambda: csc_cogd.learn_dictionary_consensus([(PLAIN, masked(PLAIN > -9))], 2, 3, **RUN)),
        ("images", lambda: csc_cogd.ConvolutionalDictionaryLearner(2, 3, lmbda=0.3).fit(masked(PLAIN))),
        ("filters", lambda: Dictionary(masked(np.ones((1, 3, 3))))),
        ("filters", lambda: Dictionary.from_sporco(masked(np.ones((3, 3, 1))))),
        ("kernel", lambda: Blur(masked(np.ones((3, 3))))),
        ("kernel", lambda: Decimation(2, masked(np.ones((2, 2))))),
        ("mask", lambda: csc_cogd.inpaint(PLAIN[0], masked(PLAIN[0] > 1))),
        ("mask", lambda: csc_cogd.inpaint(PLAIN, masked(PLAIN > 1), stack_axis=0)),
        ("where", lambda: csc_cogd.psnr(PLAIN, PLAIN + 1, data_range=1, where=masked(PLAIN > 0))),
        ("reference", lambda: csc_cogd.ssim(PLAIN[0], masked(PLAIN[0]), data_range=1)),
        ("array", lambda: nn.Tensor(masked(PLAIN))),
        ("labels", lambda: nn.ImageSet(np.zeros((3, 8, 8, 3), np.uint8), masked([0, 1, 2]), tuple("abc"))),
    ],
)
def test_masks_that_would_be_lost_are_refused(name, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{name}.* must not have masked values here"):
        call()


def test_masked_arrays_that_mask_nothing_are_arrays_like_others():
    whole = np.ma.masked_array(PLAIN, np.zeros(PLAIN.shape, bool))
    expected = csc_cogd.sparse_code(PLAIN, DICTIONARY, **RUN).codes
    np.testing.assert_array_equal(csc_cogd.sparse_code(whole, DICTIONARY, **RUN).codes, expected)
    assert csc_cogd.learn_dictionary_online(list(whole), 2, 3, **RUN).dictionary.n_filters == 2


def test_psnr_leaves_out_what_is_masked_on_either_side():
    restored, reference = np.zeros((2, 8, 8, 3))
    restored[2, 3], restored[5, 5], reference[6, 1] = 0.5, 9, np.nan
    hidden = np.zeros((2, 8, 8, 3), bool)
    hidden[0, 5, 5] = hidden[1, 6, 1] = True
    sides = np.ma.masked_array(restored, hidden[0]), np.ma.masked_array(reference, hidden[1])
    assert csc_cogd.psnr(*sides, data_range=1) == pytest.approx(-10 * np.log10(0.25 / 62))
    top = np.arange(8)[:, None] < np.full(8, 4)
    assert csc_cogd.psnr(*map(list, sides), data_range=1, where=top) == pytest.approx(-10 * np.log10(0.25 / 32))
    with pytest.raises(InputError, match="has no pixel to compare"):
        csc_cogd.psnr(np.ma.masked_all((4, 4)), np.zeros((4, 4)), data_range=1)


def test_a_list_of_masked_frames_or_rows_keeps_their_masks():
    stack = np.random.default_rng(1).random((2, 40, 40))
    hidden = np.zeros(stack.shape, bool)
    hidden[:, 18:21, 10:30] = True
    frames = [np.ma.masked_array(frame, gone) for frame, gone in zip(np.where(hidden, 7, stack), hidden, strict=True)]
    run = {"effort": "fast", "max_iter": 1, "threads": 1}
    expected = csc_cogd.inpaint(stack, hidden, stack_axis=0, **run)
    np.testing.assert_array_equal(csc_cogd.inpaint(frames, stack_axis=0, **run), expected)
    np.testing.assert_array_equal(csc_cogd.inpaint(list(frames[0]), **run), expected[0])
    detail = csc_cogd.reconstruct([list(frame) for frame in frames], DICTIONARY).codes
    for codes, plain in zip(detail, csc_cogd.reconstruct(frames, DICTIONARY).codes, strict=True):
        np.testing.assert_array_equal(codes, plain)
