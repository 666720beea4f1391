"""The command as a user calls it: in a process of its own where the exit code or the streams matter."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd import Dictionary, psnr
from csc_cogd.imagefiles import read_image
from csc_cogd.restore.synthetic_masks import random_mask, scratch_mask
from tests.cli.calling import call, check_refused, contents, running, save


@pytest.fixture
def folder(tmp_path, photo):
    mask = random_mask(photo.shape, 0.3)
    save(tmp_path / "photo.png", np.where(mask, 0, photo).astype(np.uint8))
    save(tmp_path / "mask.png", mask.astype(np.uint8) * 255)
    return tmp_path


def test_fills_a_photograph_beside_the_input(folder, photo, capsys):
    assert call("inpaint", folder / "photo.png", "--mask", folder / "mask.png", "--iterations", 20) == 0
    restored = read_image(folder / "photo_inpainted.png").pixels
    known = read_image(folder / "mask.png").pixels == 0
    np.testing.assert_array_equal(restored[known], photo[known])
    assert 10 * np.log10(255**2 / ((restored - photo.astype(float)) ** 2).mean()) > 28
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "% of the pixels missing" in captured.err
    assert "mask.png (brightness, non-zero is missing)" in captured.err


def test_every_option_at_once(folder, photo, capsys):
    shipped = Dictionary.default("gray")
    small = (shipped.shapes <= 8).all(axis=1)
    Dictionary(shipped.filters[small][:, :8, :8]).save(folder / "d.npz")
    code = call(
        "inpaint", folder / "photo.png", "-m", folder / "mask.png", "--mask-polarity", "missing", "--mask-threshold", 10,
        "--mask-value", 3, "--mask-dilate", 1, "-o", folder / "out.tif", "--overwrite", "--dictionary", folder / "d.npz",
        "--fast", "--learn", "--noise-sigma", 2.5, "--lmbda", 0.01, "--iterations", 5, "--tol", 1e-3, "--device", "cpu",
        "--dtype", "float64", "--threads", 1, "--fft", "scipy", "-v",
    )  # fmt: skip
    assert code == 0
    assert read_image(folder / "out.tif").pixels.shape == photo.shape
    err = capsys.readouterr().err
    assert "photo.png: noise of 2.5 (given)" in err
    assert "noise 2.5; 16 filters up to 8 x 8, adapted, lmbda 0.01: 5 iterations" in err
    assert "more than half is missing" in err


def test_sixteen_bit_color_keeps_depth_alpha_and_profile(folder, rng):
    pixels = rng.integers(0, 65535, (24, 20, 4)).astype(np.uint16)
    save(folder / "deep.png", pixels, icc_profile=b"profile" * 9, has_alpha=True)
    mask = np.zeros((24, 20), np.uint8)
    mask[5:8, 3:16] = 1
    save(folder / "m.png", mask)
    assert call("inpaint", folder / "deep.png", "-m", folder / "m.png", "-q", "--iterations", 3) == 0
    restored = read_image(folder / "deep_inpainted.png")
    assert restored.pixels.dtype == np.uint16
    np.testing.assert_array_equal(restored.pixels[mask == 0], pixels[mask == 0])
    np.testing.assert_array_equal(restored.pixels[..., 3], pixels[..., 3])
    assert restored.icc_profile == b"profile" * 9


def test_gaps_of_channels_are_counted_in_values(folder, rng, capsys):
    bands = rng.random((16, 16, 6))
    bands[np.arange(16), np.arange(16), np.arange(16) % 6] = np.nan
    np.save(folder / "bands.npy", bands)
    assert call("inpaint", folder / "bands.npy", "--axes", "YXC", "--fast", "--dry-run") == 0
    assert "bands.npy: 1.0% of the values missing (1.0% by NaN)" in capsys.readouterr().err


def test_nan_in_float_data_needs_no_mask(folder, photo):
    pixels = photo.astype(np.float32)
    pixels[10:13] = np.nan
    np.save(folder / "a.npy", pixels)
    assert call("inpaint", folder / "a.npy", "-q", "--iterations", 3) == 0
    restored = np.load(folder / "a_inpainted.npy")
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()


@pytest.mark.parametrize(
    ("more", "adapted", "passes"),
    [
        ((), False, 8), (("--fast",), False, 3), (("--best",), False, 12), (("--fast", "--learn"), True, 3),
    ],
)  # fmt: skip
def test_effort_is_chosen_by_fast_and_best(folder, capsys, more, adapted, passes):
    for name in ("photo.png", "mask.png"):
        save(folder / f"small_{name}", read_image(folder / name).pixels[:40, :40])
    arguments = ["inpaint", folder / "small_photo.png", "-m", folder / "small_mask.png", "-v", "--iterations", 2, *more]
    assert call(*arguments) == 0
    err = capsys.readouterr().err
    assert (", adapted" in err) == adapted
    assert f"; {passes} passes over groups" in err
    assert "noise of" not in err


@pytest.mark.parametrize("sigma", [20, "auto"])
def test_known_pixels_are_denoised_on_demand(folder, photo, rng, capsys, sigma):
    photo = photo[:48, :48]
    alpha = rng.integers(0, 256, photo.shape)
    noisy = np.clip(photo + 20 * rng.standard_normal(photo.shape), 0, 255)
    mask = random_mask(photo.shape, 0.1)
    save(folder / "m.png", mask.astype(np.uint8))
    save(folder / "noisy.png", np.stack([np.where(mask, 0, noisy), alpha], axis=2).astype(np.uint8), has_alpha=True)
    arguments = ["inpaint", folder / "noisy.png", "-m", folder / "m.png", "--fast"]
    assert call(*arguments, "--noise-sigma", sigma) == 0
    restored = read_image(folder / "noisy_inpainted.png").pixels
    assert psnr(restored[..., 0], photo, data_range=255) > psnr(noisy, photo, data_range=255) + 3
    np.testing.assert_array_equal(restored[..., 1], alpha)
    err = capsys.readouterr().err
    assert ("(estimated)" if sigma == "auto" else "noisy.png: noise of 20 (given)") in err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["none.png", "-m", "mask.png"], "none.png: no such file", 2),
        (["text.png", "-m", "mask.png"], "text.png: isn't an image of a known format", 2),
        (["photo.png", "-m", "none.png"], "none.png: no such file", 2),
        (
            ["photo.png", "-m", "small.png"],
            "photo.png, small.png: the mask must be of the image's size, 96 x 96 pixels, but it is 96 x 40",
            2,
        ),
        (["photo.png", "-m", "empty.png"], "empty.png: the mask is empty", 2),
        (["photo.png", "-m", "full.png"], "full.png: the mask is full", 2),
        (["photo.png"], "nothing says what is missing", 2),
        (["photo.png", "-m", "mask.png", "-o", "taken.png"], "taken.png: exists already", 2),
        (["photo.png", "-m", "mask.png", "-o", "photo.png", "--overwrite"], "never overwritten", 2),
        (["photo.png", "-m", "mask.png", "-o", "mask.png", "--overwrite"], "never overwritten", 2),
        (["photo.png", "-m", "mask.png", "-o", "a.xyz"], "a.xyz: the output's format isn't known", 2),
        (["photo.png", "-m", "mask.png", "-o", "none/a.png"], "there is no folder", 2),
        (
            ["photo.png", "-m", "mask.png", "--device", "gpu"],
            "--device must be 'auto', 'cpu', 'cuda' or",
            2,
        ),
        (["photo.png", "-m", "mask.png", "--device", "cuda"], "CuPy isn't installed", 3),
        (["photo.png", "-m", "mask.png", "--dictionary", "none.npz"], "none.npz: no such dictionary", 2),
        (["photo.png", "-m", "mask.png", "--dictionary", "text.png"], "text.png: not a dictionary", 2),
        (["photo.png", "-m", "mask.png", "--lmbda", "-1"], "--lmbda", 2),
        (["", "-m", "mask.png"], "'' isn't the name of a file", 2),
        (
            ["photo.png", "-m", "mask.png", "--device", "cuda:x"],
            "--device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'cuda:x'",
            2,
        ),
        (
            ["photo.png", "--mask-polarity", "valid"],
            "--mask-polarity says how to read a mask file, but there is none: give --mask",
            2,
        ),
        (["photo.png", "-m", "mask.png", "--iterations", "0"], "--iterations", 2),
        (["photo.png", "-m", "mask.png", "--mask-polarity", "black"], "--mask-polarity", 2),
        (
            ["photo.png", "-m", "mask.png", "--fast", "--best"],
            "error: effort can't be both fast and best: leave out --fast or --best",
            2,
        ),
        (["photo.png", "-m", "mask.png", "--noise-sigma", "-1"], "'--noise-sigma': '-1' is neither 'auto' nor a number", 2),
        (["photo.png", "-m", "mask.png", "--noise-sigma", "x"], "'--noise-sigma': 'x' is neither 'auto' nor a number", 2),
        (["infinite.npy", "--mask-value", "0"], "infinite.npy: the image has infinite values", 2),
        (["nan.npy"], "nan.npy: every pixel is missing", 2),
        (["photo.png", "--unknown"], "No such option", 2),
        ([], "Missing argument 'IMAGE...'", 2),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(folder, photo, monkeypatch, capsys, arguments, message, code):
    (folder / "text.png").write_text("not a picture")
    (folder / "taken.png").write_bytes(b"precious")
    np.save(folder / "nan.npy", np.full((9, 9), np.nan))
    np.save(folder / "infinite.npy", np.where(np.eye(9), np.inf, np.arange(9.0)))
    save(folder / "small.png", np.ones((40, 96), np.uint8))
    save(folder / "empty.png", np.zeros(photo.shape, np.uint8))
    save(folder / "full.png", np.ones(photo.shape, np.uint8))
    monkeypatch.chdir(folder)
    check_refused(folder, capsys, ["inpaint", "-q", *arguments], message, code)


def test_what_was_transparent_is_restored_and_opaque(folder, rng):
    pixels = rng.integers(50, 200, (24, 20, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    pixels[5:9, 4:12] = 0
    save(folder / "torn.png", pixels, has_alpha=True)
    assert call("inpaint", folder / "torn.png", "--mask-from-alpha", "-q", "--iterations", 3) == 0
    restored = read_image(folder / "torn_inpainted.png").pixels
    assert (restored[..., 3] == 255).all()
    assert restored[5:9, 4:12, :3].min() >= 50


def test_out_of_memory_is_said_in_one_line(folder, capsys, monkeypatch):
    from csc_cogd.restore.stages import nonlocal_bayes as module

    def greedy(*arguments, **named):
        raise MemoryError

    monkeypatch.setattr(module, "refine", greedy)
    before = contents(folder)
    assert call("inpaint", folder / "photo.png", "-m", folder / "mask.png", "-q") == 3
    assert f"csc-cogd: error: {folder / 'photo.png'}: out of memory" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_closed_stderr_does_not_cost_the_result(folder):
    program = "import sys; sys.stderr.close(); from csc_cogd.cli import main; main(sys.argv[1:])"
    arguments = ["inpaint", "photo.png", "-m", "mask.png", "--iterations", "2"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=folder)
    assert done.returncode == 0
    assert (folder / "photo_inpainted.png").exists()


def test_interrupt_leaves_nothing_half_written(folder):
    before = contents(folder)
    endless = ("inpaint", "photo.png", "-m", "mask.png", "--iterations", "1000000", "--device", "cpu")
    with running(*endless, cwd=folder) as program:
        assert "pixels missing" in program.stderr.readline()
        time.sleep(0.5)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert contents(folder) == before


def test_an_interrupt_that_a_library_makes_an_error_of_is_one(folder, capsys, monkeypatch):
    from csc_cogd.restore.stages import pilot as module

    def failing(*arguments):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            raise SystemError("returned a result with an exception set") from None

    monkeypatch.setattr(module, "fill_biharmonic", failing)
    before = contents(folder)
    assert call("inpaint", folder / "photo.png", "-m", folder / "mask.png", "-q") == 130
    assert capsys.readouterr().err.strip() == "csc-cogd: error: interrupted: nothing half-written is left behind"
    assert contents(folder) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_library_swallows_is_heard_at_the_next_step(folder, capsys, monkeypatch, number):
    from csc_cogd.restore.stages import pilot as module

    original = module.fill_biharmonic

    class Swallows:  # what is raised as an object goes is printed and lost, as in a library's callback
        def __del__(self):
            os.kill(os.getpid(), number)
            time.sleep(1)

    def swallow(*arguments):
        Swallows()
        return original(*arguments)

    monkeypatch.setattr(module, "fill_biharmonic", swallow)
    before = contents(folder)
    before_test = signal.signal(number, signal.default_int_handler)  # as main does for SIGTERM in a program
    try:
        code = call("inpaint", folder / "photo.png", "-m", folder / "mask.png", "-q", "--iterations", 50)
        after = signal.getsignal(number)
    finally:
        signal.signal(number, before_test)
    assert (code, after) == (130, signal.default_int_handler)
    err = capsys.readouterr().err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert contents(folder) == before


@pytest.mark.skipif(os.name != "posix", reason="a terminal is made by pty, which this system lacks")
def test_a_terminal_shows_progress(folder):
    import pty

    master, slave = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "csc_cogd", "inpaint", "photo.png", "-m", "mask.png", "--iterations", "30"],
        cwd=folder, stderr=slave, check=True,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while b"100%" not in shown:
        shown += os.read(master, 100_000)
    shown = shown.decode()
    assert "codes" in shown
    assert "100%" in shown


def test_a_dry_run_writes_nothing_and_names_tiles_and_memory(folder, capsys):
    before = contents(folder)
    assert call("inpaint", folder / "photo.png", "-m", folder / "mask.png", "--dry-run") == 0
    text = capsys.readouterr().err
    assert re.search(r"1 tile of \d+ x \d+ at most, 1 at once, in 0\.\d+ GB at most", text)
    assert re.search(r"photo.png: about (a few seconds|\d+ s|\d+ min) on \d+ threads?\n", text)
    assert "photo_inpainted.png: not written" in text
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tile", "7"], "--tile must be 'auto', 0 for all at once, or 32 or more pixels, got 7"),
        (["--tile", "some"], "neither 'auto' nor a number of pixels"),
        (["--max-memory", "1MB"], "--max-memory of 0.001 GB doesn't suffice"),
        (["--max-memory", "much"], "isn't an amount of memory such as 4GB"),
        (["--max-memory", "10"], "'10' has no unit, and would be bytes: say 10MB or 10GB"),
    ],
)
def test_tiles_and_memory_that_cannot_be_are_named(folder, capsys, arguments, message):
    assert call("inpaint", folder / "photo.png", "-m", folder / "mask.png", *arguments) == 2
    assert message in capsys.readouterr().err


def test_what_will_be_lost_or_left_is_said_before_the_work(folder, photo, capsys):
    soft = scratch_mask(photo.shape, [4, 4, 4, 4], seed=2)
    cover = gaussian_filter(soft.astype(float), 0.8)
    save(folder / "scratched.png", (photo + cover * (255.0 - photo)).astype(np.uint8))
    save(folder / "m.png", soft.astype(np.uint8))
    arguments = ("inpaint", folder / "scratched.png", "-m", folder / "m.png", "-o", folder / "out.jpg", "--dry-run")
    assert call(*arguments) == 0
    err = capsys.readouterr().err
    assert err.index("JPEG is lossy") < err.index("of the pixels missing")
    assert "hold some of the damage, too, which will show: take them in by --mask-dilate auto" in err
    assert call(*arguments, "--mask-dilate", "auto") == 0
    err = capsys.readouterr().err
    assert "at the rims, which hold some of the damage" in err
    assert "which will show" not in err
    assert call(*arguments[:-1], "--fast", "--iterations", 1, "--mask-dilate", 2) == 0
    assert capsys.readouterr().err.count("JPEG is lossy") == 1


def test_red_marks_are_a_mask(folder, photo, capsys):
    color = np.stack([photo // 2, photo, photo], axis=-1)  # no red
    color[10:14, 5:40] = 255, 0, 0
    save(folder / "marked.png", color)
    assert call("inpaint", folder / "marked.png", "--mask-color", "red", "--mask-color-tolerance", 10, "--fast") == 0
    restored = read_image(folder / "marked_inpainted.png").pixels
    assert (restored[10:14, 5:40, 0] < 200).all()
    np.testing.assert_array_equal(restored[14:], color[14:])
    capsys.readouterr()
    arguments = ("inpaint", folder / "marked.png", "--mask-color", "rot")
    check_refused(folder, capsys, arguments, "--mask-color must be a color such as red")


def test_the_nodata_value_of_a_geotiff_is_missing_for_every_command(folder, photo, monkeypatch, capsys):
    import tifffile

    monkeypatch.chdir(folder)
    height = photo[:64, :64].astype(np.float32)
    gaps = np.zeros(height.shape, bool)
    gaps[20:22, 10:40] = gaps[50, 50] = True
    tags = [(33550, 12, 3, (2.0, 2.0, 0.0), False), (42113, 2, 0, "-9999", False)]
    tifffile.imwrite("dem.tif", np.where(gaps, np.float32(-9999), height), metadata=None, extratags=tags)
    assert call("inpaint", "dem.tif") == 0
    assert "1.5% by the file's nodata value -9999" in capsys.readouterr().err
    filled = read_image("dem_inpainted.tif").pixels
    np.testing.assert_array_equal(filled[~gaps], height[~gaps])
    assert abs(filled - height)[gaps].max() < 120
    for command, output in (
        (("denoise", "--fast"), "dem_denoised.tif"), (("upscale", "--iterations", 5), "dem_upscaled.tif"),
        (("reconstruct", "--filters", 4, "--iterations", 2), "dem_reconstructed.tif"),
    ):  # fmt: skip
        assert call(command[0], "dem.tif", *command[1:], "-q") == 0
        assert read_image(output).pixels.min() > -300
    assert call("mask", "detect", "dem.tif", "-o", "bad.png", "-q") == 0
    assert not read_image("bad.png").pixels[gaps].any()
    assert call("mask", "from", "dem.tif", "-o", "gaps.png", "-q") == 0
    np.testing.assert_array_equal(read_image("gaps.png").pixels > 0, gaps)
    assert call("learn", "dem.tif", "-o", "d.npz", "--filters", 3, "--filter-size", 5, "--iterations", 2, "-q") == 0
    with np.load("d.npz") as learned:
        assert np.isfinite(next(iter(learned.values()))).all()
