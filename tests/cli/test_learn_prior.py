import numpy as np
import pytest
from skimage.data import camera, coffee

from csc_cogd import Prior
from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, check_refused, save

FEW = ("--filters", 5, "--filter-size", 5, "--unrolled", 2, "--steps", 3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for number, part in enumerate((camera()[100:200, 100:210], camera()[200:290, 300:400], camera()[:80, 200:300])):
        save(tmp_path / f"{number}.png", part)
    save(tmp_path / "color.png", coffee()[100:200, 100:200])
    save(tmp_path / "small.png", camera()[:30, :200])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_learns_a_prior_that_denoise_takes(folder, capsys):
    assert call("learn-prior", "0.png", "1.png", "color.png", "2.png", "-o", "p.safetensors", *FEW, "--hold-out", 1) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "p.safetensors: Prior(gray: 2 iterations, 5 filters of 5 x 5, stride 2), 3 steps on 3 image(s), " in captured.err
    assert "dB on those held out" in captured.err
    assert Prior.load("p.safetensors").provenance["photographs"] == 3
    results = []
    for number, prior in enumerate(["p.safetensors", "default", "none"]):
        assert call("denoise", "2.png", "--noise-sigma", 10, "--prior", prior, "--fast", "-o", f"{number}.npy") == 0
        results.append(np.load(f"{number}.npy"))
    assert all((results[a] != results[b]).any() for a, b in [(0, 1), (1, 2), (0, 2)])


def test_goes_on_from_a_checkpoint_and_from_a_prior(folder, capsys):
    run = ("learn-prior", "0.png", "1.png", *FEW, "--checkpoint", "run.npz")
    assert call(*run, "-o", "a.safetensors") == 0
    assert call(*run, "-o", "b.safetensors") == 0
    a, b = (Prior.load(f"{name}.safetensors").network.vector for name in "ab")
    np.testing.assert_array_equal(a, b)
    assert call("learn-prior", "0.png", "--start", "a.safetensors", "--steps", 2, "-o", "c.safetensors", "-v") == 0
    assert "5 filters of 5 x 5" in capsys.readouterr().err


def test_a_plot_of_its_course(folder, capsys):
    assert call("learn-prior", "0.png", "1.png", "-o", "p.safetensors", *FEW, "--plot", "course.png") == 0
    assert read_image("course.png").colors.shape[1] > 1000
    capsys.readouterr()
    check_refused(folder, capsys, ("learn-prior", "0.png", "-o", "q.safetensors", "--plot", "course.gif"), "must end in", 2)


def test_color(folder):
    assert call("learn-prior", "color.png", "-o", "p.safetensors", "--color", *FEW) == 0
    assert Prior.load("p.safetensors").kind == "color"


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("0.png", "-o", "p.npz"), "end the name in it", 2),
        (("0.png", "-o", "0.png"), "end the name in it", 2),
        (("0.png", "-o", "p.safetensors", "--hold-out", 1), "--hold-out leaves nothing", 2),
        (("0.png", "small.png", "-o", "p.safetensors", *FEW), "small.png must be at least 64 x 64", 2),
        (("0.png", "-o", "p.safetensors", "--color", *FEW), "0.png is gray", 2),
        (("0.png", "-o", "p.safetensors", "--start", "0.png"), "0.png", 2),
        (("0.png", "-o", "p.safetensors", "--stride", 9), "stride must not be larger", 2),
        (("0.png", "-o", "p.safetensors", "--device", "cuda:0", *FEW), "device 'cuda:0'", 3),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(folder, capsys, arguments, message, code):
    check_refused(folder, capsys, ("learn-prior", *arguments), message, code)


def test_a_file_that_is_no_prior_is_refused_before_anything_is_written(folder, capsys):
    (folder / "bad.safetensors").write_bytes(b"nothing")
    check_refused(
        folder, capsys, ("denoise", "0.png", "1.png", "-o", "out", "--prior", "bad.safetensors"), "bad.safetensors"
    )
    check_refused(folder, capsys, ("denoise", "0.png", "-o", "p.png", "--prior", "none.safetensors"), "none.safetensors")


def test_the_prior_file_is_never_written_to(folder, capsys):
    assert call("learn-prior", "0.png", "-o", "p.safetensors", *FEW) == 0
    capsys.readouterr()
    (folder / "p.npy").write_bytes((folder / "p.safetensors").read_bytes())
    check_refused(folder, capsys, ("denoise", "0.png", "-o", "p.npy", "--prior", "p.npy", "--overwrite"), "is an input")
