import numpy as np
import pytest
from scipy.signal import convolve2d

from csc_cogd import Dictionary
from csc_cogd.imagefiles import read_image
from csc_cogd.restore.operators import gaussian_kernel
from tests.cli.calling import call, check_refused, save

SIZE = 64


@pytest.fixture
def folder(tmp_path, photo, monkeypatch):
    blurred = convolve2d(photo[:SIZE, :SIZE], gaussian_kernel(1.6), mode="same", boundary="symm")
    noisy = blurred + np.random.default_rng(0).standard_normal(blurred.shape)
    save(tmp_path / "photo.png", np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    np.save(tmp_path / "kernel.npy", gaussian_kernel(1.6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mse(path, photo):
    return ((read_image(path).pixels.astype(float) - photo[:SIZE, :SIZE]) ** 2).mean()


def test_sharpens_a_photograph_beside_the_input(folder, photo, capsys):
    assert call("deblur", "photo.png", "--kernel", "gaussian:1.6") == 0
    assert mse("photo_deblurred.png", photo) < 0.6 * mse("photo.png", photo)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "photo.png: kernel of 15 x 15, noise of " in captured.err
    assert "(estimated)" in captured.err
    assert call("deblur", "photo.png", "-k", "kernel.npy", "-o", "other.png", "-q") == 0
    assert (folder / "other.png").read_bytes() == (folder / "photo_deblurred.png").read_bytes()


def test_every_option_at_once(folder, capsys):
    Dictionary.default("gray").save("d.npz")
    save(folder / "mask.png", np.eye(SIZE, dtype=np.uint8))
    code = call(
        "deblur", "photo.png", "-k", "motion:5,30", "--noise", "gaussian", "--noise-sigma", 1.5, "-m", "mask.png",
        "--mask-polarity", "missing", "--mask-threshold", 0, "--mask-value", 3, "--mask-dilate", 1, "-o", "out.tif",
        "--overwrite", "--dictionary", "d.npz", "--lmbda", 0.01, "--iterations", 5, "--tol", 1e-3, "--device", "cpu",
        "--dtype", "float64", "--threads", 1, "--fft", "scipy", "-v", "--tile", 32, "--max-memory", "1GB",
    )  # fmt: skip
    assert code == 0
    assert read_image("out.tif").pixels.shape == (SIZE, SIZE)
    err = capsys.readouterr().err
    assert "4 tiles of " in err
    assert "of the pixels missing (" in err
    assert "noise of 1.5 (given)" in err
    assert "96 filters up to 16 x 16, lmbda 0.01: 5 iterations" in err


def test_a_dry_run_says_how_much_memory_it_takes_and_writes_nothing(folder, capsys):
    assert call("deblur", "photo.png", "-k", "uniform:3", "--dry-run") == 0
    err = capsys.readouterr().err
    assert "1 tile of 64 x 64 at most, 1 at once, in 0." in err
    assert "photo_deblurred.png: not written" in err
    assert not (folder / "photo_deblurred.png").exists()


@pytest.mark.parametrize("name", ["k.png", "k.tif", "k.npy"])
def test_kernel_files_are_scaled_to_sum_one(folder, name):
    kernel = np.zeros((5, 7), np.uint8)
    kernel[2, 1:6] = 51
    save(folder / name, kernel)
    assert call("deblur", "photo.png", "-k", name, "-q", "--iterations", 3) == 0
    assert call("deblur", "photo.png", "-k", "motion:5,0", "-q", "--iterations", 3, "-o", "by_name.png") == 0
    one, other = (read_image(path).pixels for path in ("photo_deblurred.png", "by_name.png"))
    np.testing.assert_array_equal(one, other)


def test_depth_alpha_and_profile_are_kept(folder, rng):
    pixels = rng.integers(0, 65535, (24, 20, 4)).astype(np.uint16)
    pixels[:4, :, 3] = 0
    save(folder / "deep.png", pixels, icc_profile=b"profile" * 9, has_alpha=True)
    assert call("deblur", "deep.png", "-k", "uniform:3", "-q", "--iterations", 3) == 0
    restored = read_image("deep_deblurred.png")
    assert restored.pixels.dtype == np.uint16
    np.testing.assert_array_equal(restored.pixels[..., 3], pixels[..., 3])
    assert restored.icc_profile == b"profile" * 9
    assert call("deblur", "deep.png", "-k", "uniform:3", "-q", "--iterations", 3, "--mask-from-alpha", "--overwrite") == 0
    assert (read_image("deep_deblurred.png").pixels[:4, :, 3] == 65535).all()


def test_counts_with_gaps_are_restored_as_counts(folder, photo, rng, capsys):
    counts = rng.poisson(photo[:40, :40] / 2.0).astype(np.float32)
    counts[3:5] = np.nan
    np.save("counts.npy", counts)
    assert call("deblur", "counts.npy", "-k", "gaussian:1", "--noise", "poisson", "--gain", 0.5, "--iterations", 5) == 0
    restored = np.load("counts_deblurred.npy")
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    err = capsys.readouterr().err
    assert "5.0% of the pixels missing (5.0% by NaN)" in err
    assert "(at the mean)" in err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["photo.png"], "Missing option '-k' / '--kernel'", 2),
        (["none.png", "-k", "uniform:3"], "none.png: no such file", 2),
        (["photo.png", "-k", "none.npy"], "none.npy: no such file", 2),
        (["photo.png", "-k", "gaussian:x"], "--kernel must be of the form gaussian:S, with numbers, got 'gaussian:x'", 2),
        (["photo.png", "-k", "gauss:2"], "--kernel must be gaussian:S, uniform:N, motion:LEN,ANGLE, or the file of", 2),
        (["photo.png", "-k", "gaussian"], "must be of the form gaussian:S", 2),
        (["photo.png", "-k", "motion:5"], "must be of the form motion:LEN,ANGLE", 2),
        (["photo.png", "-k", "uniform:2.5"], "must be of the form uniform:N", 2),
        (["photo.png", "-k", "gaussian:-1"], "error: gaussian:-1: sigma must be a number of pixels above 0", 2),
        (["photo.png", "-k", "uniform:65"], "photo.png: --kernel of 65 x 65 pixels is larger than the image", 2),
        (["photo.png", "-k", "zero.npy"], "zero.npy: --kernel must have a sum above zero", 2),
        (["photo.png", "-k", "negative.npy"], "negative.npy: the kernel has NaN, infinite or negative values", 2),
        (["photo.png", "-k", "nan.npy"], "nan.npy: the kernel has NaN", 2),
        (["photo.png", "-k", "color.png"], "color.png: the kernel has 3 channels", 2),
        (["photo.png", "-k", "uniform:3", "--noise-sigma", "-1"], "neither 'auto' nor a number", 2),
        (["photo.png", "-k", "uniform:3", "--noise-sigma", "nan"], "neither 'auto' nor a number", 2),
        (["photo.png", "-k", "uniform:3", "--noise", "salt"], "--noise", 2),
        (
            ["photo.png", "-k", "uniform:3", "--noise", "poisson", "--noise-sigma", "1"],
            "error: --noise-sigma follows from the values with Poisson noise",
            2,
        ),
        (
            ["photo.png", "-k", "uniform:3", "--gain", "2"],
            "error: --gain belongs to Poisson noise: leave it out, or use --noise 'poisson'",
            2,
        ),
        (["negative.npy", "-k", "uniform:3", "--noise", "poisson"], "negative.npy: the image has negative values", 2),
        (["photo.png", "-k", "uniform:3", "-o", "taken.png"], "taken.png: exists already", 2),
        (["photo.png", "-k", "uniform:3", "-o", "photo.png", "--overwrite"], "never overwritten", 2),
        (["photo.png", "-k", "kernel.npy", "-o", "kernel.npy", "--overwrite"], "never overwritten", 2),
        (["photo.png", "-k", "uniform:3", "-o", "a.xyz"], "a.xyz: the output's format isn't known", 2),
        (["photo.png", "-k", "uniform:3", "--device", "cuda"], "CuPy isn't installed", 3),
        (["photo.png", "-k", "uniform:3", "--max-memory", "1MB"], "photo.png: --max-memory of 0.001 GB doesn't suffice", 2),
        (
            ["photo.png", "-k", "uniform:3", "--tile", "8"],
            "error: --tile must be 'auto', 0 for all at once, or 32 or more pixels, got 8",
            2,
        ),
        (["photo.png", "-k", "uniform:3", "--dictionary", "none.npz"], "none.npz: no such dictionary", 2),
        (["photo.png", "-k", "uniform:3", "--prior", "none.safetensors"], "none.safetensors: no such file of weights", 2),
        (["photo.png", "-k", "uniform:3", "--mask-dilate", "2"], "nothing says what is missing", 2),
        (["photo.png", "-k", "uniform:3", "-m", "none.png"], "none.png: no such file", 2),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(folder, capsys, arguments, message, code):
    (folder / "taken.png").write_bytes(b"precious")
    np.save("zero.npy", np.zeros((3, 3)))
    np.save("negative.npy", np.eye(3) - 0.1)
    np.save("nan.npy", np.full((3, 3), np.nan))
    save(folder / "color.png", np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    check_refused(folder, capsys, ["deblur", "-q", *arguments], message, code)
