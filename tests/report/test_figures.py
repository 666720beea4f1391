import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from csc_cogd import psnr, ssim
from csc_cogd.report import figures
from csc_cogd.report.figures import compare, data_range_of

SSIM = {"channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "full": True}


@settings(max_examples=15)
@given(st.integers(11, 150), st.integers(11, 30), st.integers(1, 3), st.integers(1, 3000), st.integers(0, 99))
def test_bands_agree_with_scikit_image_on_the_whole(height, width, channels, band, seed):
    rng = np.random.default_rng(seed)
    reference, restored = rng.random((2, height, width, channels))
    missing = rng.random(reference.shape) < 0.4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "BAND", band)
        found = compare(restored, reference, missing, data_range=1.0)
    mean, similarity = structural_similarity(restored, reference, data_range=1.0, **SSIM)
    error = np.abs(restored - reference)
    assert found == pytest.approx({
        "psnr": peak_signal_noise_ratio(reference, restored, data_range=1), "ssim": mean,
        "mae": error.mean(), "max_error": error.max(),
        "psnr_missing": psnr(restored, reference, data_range=1, where=missing), "ssim_missing": similarity[missing].mean(),
        "mae_missing": error[missing].mean(), "max_error_missing": error[missing].max(),
    })  # fmt: skip
    assert found["ssim"] == pytest.approx(ssim(restored, reference, data_range=1, channel_axis=-1))


def test_what_cannot_be_told_is_nan(rng):
    picture = rng.random((10, 40, 1))
    nothing = np.zeros(picture.shape, bool)
    found = compare(picture, picture, nothing, data_range=1.0)
    assert found["psnr"] == np.inf
    assert found["mae"] == found["max_error"] == 0
    assert np.isnan([found[name] for name in found if name.endswith("_missing") or name == "ssim"]).all()


def test_looks_away_where_the_reference_is_unknown_but_not_where_the_result_is(rng):
    reference = rng.random((20, 20, 1))
    restored = reference + 0.1
    holed = reference.copy()
    holed[3, 4] = np.nan
    missing = np.ones(reference.shape, bool)
    found = compare(restored, holed, missing, data_range=1.0)
    assert found["psnr"] == pytest.approx(20)
    assert np.isnan(found["ssim"])
    found = compare(holed, reference, missing, data_range=1.0)
    assert np.isnan([found[name] for name in ("psnr", "mae", "max_error", "ssim", "psnr_missing")]).all()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [([3, 9], "uint8", 255), ([3, 9], "uint16", 65535), ([3, 9], "int16", 6), ([-1, 0.5, np.nan], "float32", 1.5),
     ([0, 1], "bool", 1), ([2, 2], "float64", np.nan)],
)  # fmt: skip
def test_data_range(values, dtype, expected):
    assert data_range_of(np.array(values, dtype)) == pytest.approx(expected, nan_ok=True)
