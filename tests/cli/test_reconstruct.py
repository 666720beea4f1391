import os
import subprocess
import sys

import numpy as np
import pytest

from csc_cogd import Dictionary, load_codes, reconstruct_images
from csc_cogd.imagefiles import read_image
from csc_cogd.learning.base_detail import decompose
from tests.cli.calling import call, check_refused, contents, interrupted, save

FEW = ("--filters", 6, "--filter-size", 5, "--iterations", 3)


@pytest.fixture
def folder(tmp_path, photo):
    save(tmp_path / "a.png", photo[:40, :36])
    save(tmp_path / "bücher.png", photo[40:80, 50:86])
    save(tmp_path / "small.png", photo[:30, :36])
    save(tmp_path / "color.png", np.stack([photo[:40, :36]] * 3, axis=-1))
    return tmp_path


def test_one_image_beside_the_input(folder, capsys):
    assert call("reconstruct", folder / "a.png", *FEW, "-v") == 0
    rebuilt, original = (read_image(folder / name).pixels for name in ("a_reconstructed.png", "a.png"))
    assert 0 < abs(rebuilt.astype(int) - original).mean() < 10
    captured = capsys.readouterr()
    head, row = captured.out.splitlines()
    assert head.split() == ["image", "PSNR", "SSIM", "codes/value", "bits/value"]
    assert row.startswith(str(folder / "a.png"))
    assert 20 < float(row.split()[1]) < 60
    assert "learned 6 filters: 3 rounds" in captured.err


def test_several_images_dictionary_and_codes(folder, capsys):
    outputs = ("-o", folder / "new" / "out", "--save-dictionary", folder / "d.npz", "--save-codes", folder / "c.npz")
    assert call("reconstruct", folder / "a.png", folder / "bücher.png", *outputs, *FEW) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    dictionary, codes = Dictionary.load(folder / "d.npz"), load_codes(folder / "c.npz")
    assert codes.shape == (2, 6, 44, 40)
    fits = reconstruct_images(codes, dictionary)
    for name, fit in zip(("a", "bücher"), fits, strict=True):
        rebuilt = read_image(folder / "new" / "out" / f"{name}.png").pixels
        smooth = rebuilt - 255 * fit
        assert abs(np.diff(smooth, axis=0)).mean() < abs(np.diff(rebuilt.astype(float), axis=0)).mean()

    target = folder / "again.png"
    assert call("reconstruct", folder / "a.png", "--dictionary", folder / "d.npz", "-o", target, "-q") == 0
    assert capsys.readouterr() == ("", "")
    first = read_image(folder / "new" / "out" / "a.png").pixels
    np.testing.assert_array_equal(read_image(target).pixels, first)


def test_alpha_icc_profile_and_depth_are_kept(folder, photo):
    pixels = np.stack([photo[:40, :36].astype(np.uint16) * 257] * 4, axis=-1)
    pixels[..., 3] = 40000
    save(folder / "deep.png", pixels, icc_profile=b"profile" * 30, has_alpha=True)
    assert call("reconstruct", folder / "deep.png", "--dictionary", "default") == 0
    rebuilt = read_image(folder / "deep_reconstructed.png")
    assert rebuilt.pixels.dtype == np.uint16
    assert rebuilt.icc_profile == b"profile" * 30
    assert (rebuilt.pixels[..., 3] == 40000).all()
    assert abs(rebuilt.pixels[..., :3].astype(int) - pixels[..., :3]).mean() < 5000


def test_cogradient_descent_and_debiasing_are_heard(folder, capsys):
    assert call("reconstruct", folder / "a.png", *FEW, "--cogd", "--kernel-degree", 2, "-v") == 0
    assert "of the codes backtracked a round" in capsys.readouterr().err
    figures = []
    for extra in ((), ("--debias",)):
        assert call("reconstruct", folder / "a.png", "--dictionary", "default", "--overwrite", "--lmbda", 0.1, *extra) == 0
        figures.append(float(capsys.readouterr().out.splitlines()[1].split()[1]))
    assert figures[1] > figures[0] + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "small.png"), "small.png: has 36 x 30 pixels, a.png"),
        (("a.png", "color.png"), "color.png: doesn't have as many channels as"),
        (("a.png", "none.png"), "none.png"),
        (("a.png", "-o", "a.png"), "a.png: is an input"),
        (("a.png", "-o", "bücher.png"), "bücher.png: exists already"),
        (("a.png", "-o", "x.gif"), "x.gif: the output's format"),
        (("a.png", "-o", "out.png", "--save-codes", "c.npz", "--save-dictionary", "c.npz"), "c.npz: two outputs"),
        (("a.png", "bücher.png", "-o", "out.png"), "out.png: is a file's name, but there are 2 images"),
        (("a.png", "bücher.png", "-o", "small.png/x"), "there is no folder small.png"),
        (("a.png", "--save-codes", "c.npz", "--checkpoint", "c.npz"), "c.npz: two outputs"),
        (("a.png", "--save-codes", "c.txt"), "c.txt: dictionaries and codes are written as .npz"),
        (("a.png", "--filters", "8,9"), "--filter-size must have as many numbers as the filters"),
        (("a.png", "--filters", "8", "--filter-size", "8,9"), "--filter-size must have as many numbers as the filters"),
        (("a.png", "--filters", "9" * 30), "--filters must be from 1 to a million, got '999"),
        (("a.png", "--filters", "many"), "--filters must be a number, or numbers with commas between them, got 'many'"),
        (("a.png", "--filters", "0"), "--filters must be from 1 to a million, got '0'"),
        (("a.png", "--filter-size", "60"), "larger than the images"),
        (("a.png", "--kernel-degree", "2"), "--kernel-degree belongs to cogradient descent: add --cogd"),
        (("a.png", "--dictionary", "a.png"), "a.png: not a dictionary"),
        (("a.png", "--dictionary", "default", "--cogd"), "--dictionary is given, so nothing is learned: leave out --cogd"),
        (("a.png", "--dictionary", "default", "--filters", "4"), "leave out --filters"),
        (("a.png", "small.png", "--dictionary", "default", "--save-codes", "c.npz"), "leave out --save-codes"),
        (("color.png", "--dictionary", "none.npz"), "none.npz: no such dictionary"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_nothing_is_written(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    check_refused(folder, capsys, ["reconstruct", *arguments], message)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "bücher.png", "color.png", "small.png"]


@pytest.mark.parametrize("command", [("reconstruct",), ("learn", "-o", "d.npz")])
@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.eye(40, 36, dtype=bool), "bad.npy must not be bilevel"),
        (np.full((40, 36), np.inf), "bad.npy has infinite values"),
        (np.full((40, 36), np.nan), "bad.npy has a channel without any known pixel"),
        (np.full((40, 36), 1e200), "bad.npy has values beyond 1e150"),
        (np.full((40, 36), 2**60), "bad.npy has integers beyond 2**53"),
    ],
)
def test_errors_name_the_file_and_not_its_number(folder, monkeypatch, capsys, command, pixels, message):
    monkeypatch.chdir(folder)
    np.save("bad.npy", pixels)
    before = contents(folder)
    assert call(*command, "a.png", "bad.npy", *FEW) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"csc-cogd: error: {message}")
    assert err.count("\n") == 1
    assert contents(folder) == before


def test_a_dictionary_of_other_channels_is_named_and_never_overwritten(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    Dictionary(np.ones((2, 3, 4, 4))).save("three.npz")
    before = contents(folder)
    assert call("reconstruct", "a.png", "--dictionary", "three.npz") == 2
    assert "error: a.png: --dictionary has filters of 3 channels, but the images have 1" in capsys.readouterr().err
    again = ("--dictionary", "three.npz", "--save-dictionary", "three.npz", "--overwrite")
    assert call("reconstruct", "color.png", *again) == 2
    assert "three.npz: is an input" in capsys.readouterr().err
    assert contents(folder) == before


def test_a_folder_that_is_not_writable_is_named_before_anything_is_learned(folder, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert call("reconstruct", folder / "a.png", *FEW) == 2
    assert f"the folder {folder} isn't writable" in capsys.readouterr().err


def test_grey_with_opacity_nan_and_one_channel_keep_their_layout(folder, photo, capsys):
    opacity = np.arange(40 * 36, dtype=np.uint8).reshape(40, 36)
    save(folder / "la.png", np.dstack([photo[:40, :36], opacity]), has_alpha=True)
    holes = photo[:40, :36, None].astype(np.float32)
    holes[3:5, 3:9] = np.nan
    np.save(folder / "holes.npy", holes)
    assert call("reconstruct", folder / "la.png", folder / "holes.npy", *FEW) == 0
    np.testing.assert_array_equal(read_image(folder / "la_reconstructed.png").pixels[..., 1], opacity)
    filled = np.load(folder / "holes_reconstructed.npy")
    assert filled.dtype == np.float32
    assert filled.shape == (40, 36, 1)
    assert np.isfinite(filled).all()
    assert capsys.readouterr().out.splitlines()[2].split()[3] == "-"  # no SSIM over missing pixels


def test_jpeg_is_warned_of_by_name(folder, photo, capsys):
    assert call("reconstruct", folder / "a.png", "--dictionary", "default", "-o", folder / "a.jpg") == 0
    assert f"{folder / 'a.png'}: JPEG is lossy: compression changes all pixels slightly" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a stdout that is full needs /dev/full")
def test_a_full_stdout_does_not_cost_the_result(folder):
    command = [sys.executable, "-m", "csc_cogd", "reconstruct", "a.png", "--dictionary", "default"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "can't print" in done.stderr
    assert (folder / "a_reconstructed.png").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_it_goes_on_from_its_checkpoint(folder):
    few = ["reconstruct", "a.png", "--filters", "6", "--filter-size", "5", "--checkpoint", "run.npz", "--device", "cpu"]
    command = [sys.executable, "-m", "csc_cogd", *few, "--iterations"]
    code, _, err = interrupted(*few, "--iterations", "3000", cwd=folder, begun=(folder / "run.npz").exists)
    assert code == 130
    assert list(filter(None, err.splitlines())) == [
        "run.npz: a checkpoint: the same call goes on from it",
        "csc-cogd: error: interrupted: nothing half-written is left behind",
    ]
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".npz") == ["run.npz"]
    assert not list(folder.glob("*_reconstructed*"))
    done = subprocess.run([*command, "1", "-v"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0
    assert (folder / "a_reconstructed.png").exists()
    assert "learned 6 filters: 1 rounds" not in done.stderr  # but those of the checkpoint


def test_saved_codes_and_dictionary_rebuild_the_detail(folder):
    names = ("a.png", "bücher.png")
    outputs = ("-o", folder / "out", "--save-dictionary", folder / "d.npz", "--save-codes", folder / "c.npz")
    assert call("reconstruct", *(folder / name for name in names), *outputs, *FEW, "-q") == 0
    fits = reconstruct_images(load_codes(folder / "c.npz"), Dictionary.load(folder / "d.npz"))
    layers = decompose([read_image(folder / name).pixels for name in names], None)
    for name, layer, fit in zip(names, layers, fits, strict=True):
        rebuilt = read_image(folder / "out" / name).pixels
        np.testing.assert_array_equal(layer.compose(fit[None]), rebuilt)


def test_outputs_are_replaced_only_on_request(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    outputs = {"-o": "out.png", "--save-dictionary": "d.npz", "--save-codes": "c.npz"}
    command = ("reconstruct", "a.png", *FEW, "-q", *(part for pair in outputs.items() for part in pair))
    for name in outputs.values():
        (folder / name).write_bytes(b"mine")
        before = contents(folder)
        assert call(*command) == 2
        assert f"csc-cogd: error: {name}: exists already" in capsys.readouterr().err
        assert contents(folder) == before
        (folder / name).unlink()
    for name in outputs.values():
        (folder / name).write_bytes(b"mine")
    assert call(*command, "--overwrite") == 0
    assert capsys.readouterr() == ("", "")
    assert read_image(folder / "out.png").pixels.shape == (40, 36)
    assert Dictionary.load(folder / "d.npz").n_filters == 6
    assert load_codes(folder / "c.npz").shape == (1, 6, 44, 40)


def test_the_default_dictionary_is_of_the_picture_s_kind(folder, capsys):
    for name, kind in (("a.png", "gray"), ("color.png", "color")):
        outputs = ("--save-dictionary", folder / f"{kind}.npz", "--save-codes", folder / f"{kind}_codes.npz")
        assert call("reconstruct", folder / name, "--dictionary", "default", *outputs) == 0
        shipped = Dictionary.default(kind)
        np.testing.assert_array_equal(Dictionary.load(folder / f"{kind}.npz").filters, shipped.filters)
        assert load_codes(folder / f"{kind}_codes.npz").shape[:2] == (1, shipped.n_filters)


def test_larger_lmbda_is_sparser_shorter_and_less_faithful(folder, capsys):
    rows = []
    for lmbda in (("--lmbda", 0.001), (), ("--lmbda", 0.03), ("--lmbda", 0.3)):
        assert call("reconstruct", folder / "a.png", "--dictionary", "default", "--overwrite", *lmbda) == 0
        rows.append([float(cell) for cell in capsys.readouterr().out.splitlines()[1].replace("dB", "").split()[1:]])
    assert rows[1] == rows[2]  # the default
    for figures in zip(*rows, strict=True):
        assert figures[0] > figures[2] > figures[3]


def test_mixed_depth_is_coded_alike_and_keeps_its_depth(folder, photo):
    save(folder / "deep.png", photo[:40, :36].astype(np.uint16) * 257)
    assert call("reconstruct", folder / "a.png", folder / "deep.png", "-o", folder / "out", *FEW, "-q") == 0
    shallow, deep = (read_image(folder / "out" / f"{name}.png").pixels for name in ("a", "deep"))
    assert (shallow.dtype, deep.dtype) == (np.uint8, np.uint16)
    assert abs(deep / 257 - shallow).max() < 0.6


def test_the_seed_decides(folder):
    found = []
    for number, seed in enumerate((0, 0, 1)):
        target = folder / f"{number}.png"
        assert call("reconstruct", folder / "a.png", *FEW, "--seed", seed, "-o", target, "-q") == 0
        found.append(target.read_bytes())
    assert found[0] == found[1] != found[2]


def test_a_checkpoint_of_a_given_dictionary_or_over_an_input_is_refused(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = contents(folder)
    for arguments, message in (
        (
            ("--dictionary", "default", "--checkpoint", "run.npz"),
            "--dictionary is given, so nothing is learned: leave out --check",
        ),
        (("--checkpoint", "a.png"), "a.png: not a checkpoint"),
        (("--checkpoint", "none/run.npz"), "none/run.npz: there is no folder none"),
    ):
        assert call("reconstruct", "a.png", *arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"csc-cogd: error: {message}")
        assert err.count("\n") == 1
    assert contents(folder) == before
