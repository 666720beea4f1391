import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from csc_cogd import InputError, psnr, ssim


def test_psnr_agrees_with_scikit_image_and_looks_where_it_is_told(rng):
    a, b = rng.random((2, 16, 17, 3))
    assert psnr(a, b, data_range=1) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1))
    where = rng.random((16, 17)) < 0.3
    expected = -10 * np.log10(((a - b)[where] ** 2).mean())
    assert psnr(a, b, data_range=1, where=where) == pytest.approx(expected)
    assert psnr(a, a, data_range=1) == np.inf
    assert np.isnan(psnr(a * np.nan, a, data_range=1))
    with pytest.raises(InputError, match="restored has no pixel"):
        psnr(a, b, data_range=1, where=np.zeros((16, 17)))
    with pytest.raises(InputError, match="data_range must be a positive number, such as 255, got -1"):
        psnr(a, b, data_range=-1)
    with pytest.raises(InputError, match="reference must be of the restored image's shape"):
        psnr(a, b[:-1], data_range=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_data_range_of_unsigned_integers_is_that_of_their_type(rng, dtype):
    most = np.iinfo(dtype).max
    reference, restored = rng.integers(0, most, (2, 16, 16), dtype, endpoint=True)
    assert psnr(restored, reference) == pytest.approx(peak_signal_noise_ratio(reference, restored), abs=1e-9)
    assert psnr(restored, reference) == psnr(restored, reference, data_range=most)
    assert ssim(restored, reference) == ssim(restored, reference, data_range=most)
    assert psnr(restored > 9, reference > 9) == psnr(restored > 9, reference > 9, data_range=1)


@pytest.mark.parametrize(
    ("first", "second", "types"),
    [(float, float, "float64"), (np.uint8, np.float32, "uint8 and float32"), (np.int32, np.int32, "int32")],
)
@pytest.mark.parametrize("compare", [psnr, ssim])
def test_where_the_type_says_no_data_range_it_is_asked_for(compare, first, second, types):
    with pytest.raises(InputError, match=f"^data_range doesn't follow from images of {types}: .* 1 for images in"):
        compare(np.zeros((16, 16), first), np.ones((16, 16), second))


def test_ssim_is_one_for_equal_images_and_less_otherwise(rng):
    a, b = rng.random((2, 16, 17, 3))
    assert ssim(a, a, data_range=1, channel_axis=-1) == pytest.approx(1)
    assert ssim(a, b, data_range=1, channel_axis=-1) < 0.5


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        ((np.zeros((12, 12)), np.zeros((12, 13))), {}, "reference must be of the restored image's shape"),
        ((np.zeros((12, 12)), np.zeros((12, 12))), {"data_range": 0}, "data_range must be .* got 0"),
        ((np.zeros((10, 12)), np.zeros((10, 12))), {}, "restored must be .* of 11 pixels or more"),
        ((np.zeros((12, 12, 3)), np.zeros((12, 12, 3))), {}, r"restored must be \(H, W\) .* got \(12, 12, 3\)"),
        (
            (np.zeros((12, 12)), np.zeros((12, 12))),
            {"channel_axis": 2},
            "channel_axis must be an axis of the image, .* got 2",
        ),
    ],
)
def test_ssim_says_what_it_cannot_compare(images, settings, message):
    with pytest.raises(InputError, match=message):
        ssim(*images, **{"data_range": 1.0} | settings)
