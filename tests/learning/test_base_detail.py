import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.learning.base_detail import decompose


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_base_and_detail_make_the_picture_again(photo, dtype):
    picture = photo[:40, :30].astype(dtype) * (3 if np.dtype(dtype).itemsize > 1 else 1)
    layer = decompose([picture], None)[0]
    rebuilt = layer.compose(layer.detail)
    assert rebuilt.dtype == dtype
    np.testing.assert_allclose(rebuilt, picture, rtol=1e-6)
    assert abs(layer.detail).max() < 1
    assert abs(layer.detail.mean()) < 0.01


def test_each_picture_has_a_scale_of_its_own(photo):
    dark, bright = decompose([photo[:40, :40], photo[:40, :40].astype(np.float64) * 1000 - 7], None)
    np.testing.assert_allclose(dark.detail, bright.detail, atol=1e-12)


def test_channels_may_stand_on_any_axis(photo):
    color = np.stack([photo[:20, :24], photo[20:40, :24], photo[40:60, :24]])
    first, last = decompose([color], 0)[0], decompose([np.moveaxis(color, 0, -1)], -1)[0]
    np.testing.assert_array_equal(first.detail, last.detail)
    assert first.compose(first.detail).shape == (3, 20, 24)
    assert last.compose(last.detail).shape == (20, 24, 3)


def test_what_is_missing_has_no_detail(photo):
    picture = photo[:40, :40].astype(float)
    hidden = np.zeros(picture.shape, bool)
    hidden[5:8, 9:15] = True
    by_nan = decompose([np.where(hidden, np.nan, picture)], None)[0]
    by_mask = decompose([np.ma.masked_array(picture, hidden)], None)[0]
    for layer in (by_nan, by_mask):
        np.testing.assert_array_equal(layer.known[0], ~hidden)
        assert not layer.detail[0][hidden].any()
    np.testing.assert_array_equal(by_nan.base, by_mask.base)


def test_integers_stay_in_their_range(photo):
    layer = decompose([photo[:20, :20]], None)[0]
    assert layer.compose(layer.detail + 5).min() == 255
    assert layer.compose(layer.detail - 5).max() == 0


def test_few_bright_pixels_and_none_set_a_scale():
    stars = np.zeros((50, 50), np.uint16)
    stars[7, 9] = 60000
    assert decompose([stars], None)[0].high == 60000
    flat = decompose([np.full((5, 5), 200, np.uint8)], None)[0]
    assert flat.high > flat.low == 200
    assert (flat.compose(flat.detail) == 200).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "images must be one or more, got none"),
        (np.zeros((5, 5)), "images must be several, got one of shape"),
        ([np.zeros((5, 5)), np.zeros((5, 5), complex)], r"images\[1\] must have integers or floats"),
        ([np.zeros((5, 5, 3))], r"images\[0\] must be of shape \(H, W\), .*channel_axis"),
        ([np.zeros((5, 5), bool)], r"images\[0\] must not be bilevel"),
        ([np.full((5, 5), np.nan)], r"images\[0\] has a channel without any known pixel"),
        ([np.full((5, 5), np.inf)], r"images\[0\] has infinite values"),
    ],
)
def test_what_is_no_picture_is_named(images, message):
    with pytest.raises(InputError, match=message):
        decompose(images, None)


def test_the_outermost_thousandth_is_no_part_of_the_scale():
    ramp = np.arange(1000.0).reshape(25, 40)
    layer = decompose([ramp], None)[0]
    assert (layer.low, layer.high) == pytest.approx((0.999, 998.001))
    ramp[-1, -1] = 1e6  # one hot pixel
    assert decompose([ramp], None)[0].high < 2000
    np.testing.assert_allclose(layer.compose(layer.detail), np.arange(1000.0).reshape(25, 40), atol=1e-9)
