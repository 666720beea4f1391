import re

import numpy as np
import pytest

from csc_cogd import Dictionary, psnr
from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, check_refused, save

SIZE = 48
SIGMA = 20


def quality(path, clean):
    return psnr(read_image(path).pixels, clean, data_range=255)


@pytest.fixture
def clean(photo):
    return photo[:SIZE, :SIZE]


@pytest.fixture
def folder(tmp_path, clean, rng, monkeypatch):
    """Files to denoise: noise.png, impulses.png (10 % salt and pepper, at spoilt.npy)."""
    noisy = clean + SIGMA * rng.standard_normal(clean.shape)
    save(tmp_path / "noise.png", np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    spoilt = rng.random(clean.shape) < 0.1
    save(tmp_path / "impulses.png", np.where(spoilt, rng.choice([0, 255], clean.shape), clean).astype(np.uint8))
    np.save(tmp_path / "spoilt.npy", spoilt)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_noise_falls_whether_its_sigma_is_given_or_estimated(folder, clean, capsys):
    assert call("denoise", "noise.png") == 0
    assert quality("noise_denoised.png", clean) > quality("noise.png", clean) + 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "noise.png: noise of " in captured.err
    assert "(estimated)" in captured.err
    assert call("denoise", "noise.png", "--noise-sigma", SIGMA, "--fast", "-o", "given.png") == 0
    assert quality("given.png", clean) > quality("noise.png", clean) + 3
    assert "noise.png: noise of 20 (given)" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--fast",)])
def test_impulses_are_found_and_all_else_comes_back_bit_for_bit(folder, clean, capsys, more):
    assert call("denoise", "impulses.png", "--noise", "impulse", *more) == 0
    before, after = (read_image(name).pixels for name in ("impulses.png", "impulses_denoised.png"))
    changed, spoilt = before != after, np.load("spoilt.npy")
    visibly = abs(before.astype(int) - clean) > 40
    assert changed[spoilt & visibly].mean() > 0.95
    assert changed[~spoilt].mean() < 0.05
    assert quality("impulses_denoised.png", clean) > quality("impulses.png", clean) + 8
    err = capsys.readouterr().err
    found, share = re.search(r"impulses\.png: impulses found: (\d+), ([\d.]+)% of the values", err).groups()
    assert changed.sum() <= int(found) < 1.2 * spoilt.sum()
    assert float(share) == pytest.approx(100 * int(found) / SIZE**2, abs=0.01)


def test_only_the_hot_pixels_and_gaps_of_a_float_picture_change(folder, capsys):
    stars = np.add.outer(np.linspace(0, 1, SIZE), np.linspace(0, 2, SIZE)).astype(np.float32)
    hot = stars.copy()
    hot[[5, 20, 33], [40, 9, 21]] = 90
    hot[30, 30:34] = np.nan
    np.save("stars.npy", hot)
    assert call("denoise", "stars.npy", "--noise", "impulse", "--mask-value", 90) == 0
    restored = np.load("stars_denoised.npy")
    assert restored.dtype == np.float32
    assert abs(restored - stars).max() < 0.2
    err = capsys.readouterr().err
    assert "stars.npy: 0.3% of the pixels missing (0.2% by NaN; 0.1% by value 90)" in err
    assert "stars.npy: impulses found: 0, 0.00% of the values" in err
    assert call("denoise", "stars.npy", "--noise", "impulse", "--overwrite") == 0
    assert "stars.npy: impulses found: 3, 0.13% of the values" in capsys.readouterr().err
    restored = np.load("stars_denoised.npy")
    same = hot == restored
    assert not same[[5, 20, 33, 30], [40, 9, 21, 31]].any()
    assert (~same).sum() == 7
    assert abs(restored - stars).max() < 0.2


def test_poisson_noise_of_counts(folder, clean, rng, capsys):
    np.save("counts.npy", rng.poisson(clean / 2.0).astype(np.float32) * 2)
    for more, told in (
        (["--gain", 0.5], "gain of 0.5 (given), in counts to one unit"),
        (["--overwrite"], "(estimated), in counts to one unit"),
    ):
        assert call("denoise", "counts.npy", "--noise", "poisson", "--fast", *more) == 0
        assert told in capsys.readouterr().err
        restored = np.load("counts_denoised.npy")
        assert psnr(restored, clean, data_range=255) > psnr(np.load("counts.npy"), clean, data_range=255) + 3
    assert call("denoise", "counts.npy", "--gain", 2, "--overwrite") == 2
    assert "--gain belongs to Poisson noise: leave it out, or use --noise 'poisson'" in capsys.readouterr().err


@pytest.mark.parametrize("noise", ["gaussian", "impulse"])
def test_sixteen_bits_alpha_and_profile_are_kept(folder, clean, rng, noise):
    noisy = (clean[:24, :20, None] + SIGMA * rng.standard_normal((24, 20, 3))) * 257
    alpha = rng.integers(0, 65536, (24, 20, 1))
    alpha[:4] = 0
    pixels = np.concatenate([np.clip(noisy, 0, 65535), alpha], axis=2).astype(np.uint16)
    for suffix in ("png", "tif"):
        save(folder / f"deep.{suffix}", pixels, icc_profile=b"profile" * 9, has_alpha=True)
        assert call("denoise", f"deep.{suffix}", "--noise", noise, "--fast", "-q") == 0
        restored = read_image(f"deep_denoised.{suffix}")
        assert restored.pixels.dtype == np.uint16
        assert (restored.pixels[..., :3] != pixels[..., :3]).any()
        np.testing.assert_array_equal(restored.pixels[..., 3], pixels[..., 3])
        assert restored.icc_profile == b"profile" * 9
    assert call("denoise", "deep.png", "--noise", noise, "--fast", "-q", "--mask-from-alpha", "-o", "opaque.png") == 0
    opacity = read_image("opaque.png").pixels[..., 3]
    assert (opacity[:4] == 65535).all()
    np.testing.assert_array_equal(opacity[4:], pixels[4:, :, 3])


def test_a_mask_is_filled_as_well(folder, clean, capsys):
    mask = np.zeros(clean.shape, np.uint8)
    mask[20:23, 5:40] = 1
    save(folder / "mask.png", mask)
    torn = np.where(mask, 0, read_image("noise.png").pixels).astype(np.uint8)
    save(folder / "torn.png", torn)
    assert call("denoise", "torn.png", "-m", "mask.png") == 0
    assert quality("torn_denoised.png", clean) > quality("noise.png", clean) + 3
    assert "torn.png: 4.6% of the pixels missing (4.6% by mask.png" in capsys.readouterr().err


def test_every_option_at_once_and_verbose_says_what_was_chosen(folder, capsys):
    Dictionary.default("gray").save("d.npz")
    save(folder / "mask.png", np.eye(SIZE, dtype=np.uint8))
    code = call(
        "denoise", "noise.png", "--noise", "gaussian", "--noise-sigma", 18.5, "-m", "mask.png", "--mask-polarity", "missing",
        "--mask-threshold", 0, "--mask-value", 3, "--mask-dilate", 1, "-o", "out.tif", "--overwrite", "--fast",
        "--dictionary", "d.npz", "--lmbda", 0.01, "--iterations", 5, "--tol", 1e-3, "--device", "cpu",
        "--dtype", "float64", "--threads", 1, "--fft", "scipy", "-v",
    )  # fmt: skip
    assert code == 0
    assert read_image("out.tif").pixels.shape == (SIZE, SIZE)
    err = capsys.readouterr().err
    assert "noise of 18.5 (given)" in err
    assert "noise 18.5; 96 filters up to 16 x 16, lmbda 0.01: 5 iterations" in err


def test_a_picture_without_noise_comes_back_as_it_was(folder, capsys):
    flat = np.full((20, 24, 3), 77, np.uint8)
    save(folder / "flat.png", flat)
    assert call("denoise", "flat.png", "-v") == 0
    np.testing.assert_array_equal(read_image("flat_denoised.png").pixels, flat)
    err = capsys.readouterr().err
    assert "flat.png: noise of 0 (estimated)" in err
    assert "flat.png: --noise-sigma was estimated to be 0, so no noise was removed" in err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([], "Missing argument 'IMAGE...'", 2),
        (["none.png"], "none.png: no such file", 2),
        (["text.png"], "text.png: isn't an image of a known format", 2),
        (["noise.png", "--noise-sigma", "-1"], "'--noise-sigma': '-1' is neither 'auto' nor a number", 2),
        (["noise.png", "--noise-sigma", "nan"], "'--noise-sigma': 'nan' is neither 'auto' nor a number", 2),
        (["noise.png", "--noise-sigma", "much"], "'--noise-sigma': 'much' is neither 'auto' nor a number", 2),
        (["noise.png", "--noise", "purple"], "'--noise': 'purple' is not one of 'auto', 'white', 'camera'", 2),
        (
            ["noise.png", "--noise", "impulse", "--noise-sigma", "3"],
            "error: --noise-sigma belongs to white noise: leave it out, or use --noise 'white'",
            2,
        ),
        (["noise.png", "--fast", "--best"], "error: effort can't be both fast and best: leave out --fast or --best", 2),
        (["noise.png", "--learn"], "No such option", 2),
        (["nan.npy"], "nan.npy: every pixel is missing", 2),
        (["channel.npy"], "channel.npy: every pixel of channel 1 is missing", 2),
        (["infinite.npy"], "infinite.npy: the image has infinite values", 2),
        (["infinite.npy", "--noise", "impulse"], "infinite.npy: the image has infinite values", 2),
        (["bilevel.npy"], "bilevel.npy: the image must not be bilevel", 2),
        (["noise.png", "-o", "noise.png"], "never overwritten", 2),
        (["noise.png", "-o", "noise.png", "--overwrite"], "never overwritten", 2),
        (["noise.png", "-m", "text.png", "-o", "text.png", "--overwrite"], "never overwritten", 2),
        (["noise.png", "-o", "taken.png"], "taken.png: exists already", 2),
        (["noise.png", "-o", "a.xyz"], "a.xyz: the output's format isn't known", 2),
        (["noise.png", "--lmbda", "-1"], "--lmbda", 2),
        (["noise.png", "--iterations", "0"], "--iterations", 2),
        (["noise.png", "--device", "cuda"], "CuPy isn't installed", 3),
        (["noise.png", "--dictionary", "none.npz"], "none.npz: no such dictionary", 2),
        (["noise.png", "--mask-dilate", "2"], "nothing says what is missing", 2),
        (
            ["noise.png", "--mask-polarity", "valid"],
            "--mask-polarity says how to read a mask file",
            2,
        ),
        (["noise.png", "-m", "none.png"], "none.png: no such file", 2),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(folder, capsys, arguments, message, code):
    (folder / "text.png").write_text("not a picture")
    (folder / "taken.png").write_bytes(b"precious")
    np.save("nan.npy", np.full((9, 9), np.nan))
    np.save("channel.npy", np.where(np.arange(3) == 1, np.nan, np.ones((9, 9, 3))))
    np.save("infinite.npy", np.where(np.eye(9), np.inf, 1.0))
    np.save("bilevel.npy", np.eye(9) > 0)
    check_refused(folder, capsys, ["denoise", "-q", *arguments], message, code)
