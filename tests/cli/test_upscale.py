import numpy as np
import pytest

from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, contents, save


@pytest.fixture
def folder(tmp_path, photo, monkeypatch):
    from PIL import Image

    save(tmp_path / "photo.png", np.asarray(Image.fromarray(photo).resize((48, 48), Image.Resampling.BICUBIC)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_makes_a_photograph_larger_beside_the_input(folder, photo, capsys):
    assert call("upscale", "photo.png", "--factor", 2) == 0
    restored = read_image("photo_upscaled.png").pixels
    assert restored.dtype == np.uint8
    nearest = np.kron(read_image("photo.png").pixels, np.ones((2, 2)))
    assert ((restored - photo.astype(float)) ** 2).mean() < 0.5 * ((nearest - photo) ** 2).mean()
    assert "kernel of 8 x 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kernel", "size"), [("bicubic", "11 x 11"), ("box", "3 x 3"), ("gaussian:1", "9 x 9"), ("k.npy", "5 x 5")]
)
def test_kernels_by_name_and_file(folder, capsys, kernel, size):
    np.save("k.npy", np.ones((5, 5)))
    assert call("upscale", "photo.png", "-f", 3, "-k", kernel, "--iterations", 2) == 0
    assert f"kernel of {size}, " in capsys.readouterr().err
    assert read_image("photo_upscaled.png").pixels.shape == (144, 144)


def test_a_factor_between_whole_numbers_enlarges_opacity_and_report_too(folder, rng):
    pixels = rng.integers(1, 255, (17, 20, 4)).astype(np.uint8)
    pixels[:, :10, 3], pixels[:, 10:, 3] = 0, 200
    save(folder / "a.png", pixels, has_alpha=True)
    assert call("upscale", "a.png", "-q", "-f", 1.5, "-k", "box", "--iterations", 2, "--report", "report") == 0
    restored = read_image("a_upscaled.png")
    assert restored.pixels.shape == (26, 30, 4)
    assert (restored.pixels[:, :13, 3] == 0).all()
    assert (restored.pixels[:, 17:, 3] == 200).all()


def test_opacity_is_interpolated_and_gaps_are_filled(folder, rng):
    pixels = rng.integers(1, 255, (16, 20, 4)).astype(np.uint8)
    pixels[:, :10, 3], pixels[:, 10:, 3] = 0, 200
    save(folder / "a.png", pixels, has_alpha=True)
    assert call("upscale", "a.png", "-q", "--iterations", 2) == 0
    restored = read_image("a_upscaled.png")
    assert restored.pixels.shape == (32, 40, 4)
    assert (restored.pixels[:, :19, 3] == 0).all()
    assert (restored.pixels[:, 21:, 3] == 200).all()
    gaps = rng.random((16, 20))
    gaps[3:6, 4:9] = np.nan
    np.save("gaps.npy", gaps)
    assert call("upscale", "gaps.npy", "-q", "--iterations", 2) == 0
    assert np.isfinite(np.load("gaps_upscaled.npy")).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.png"], "none.png: no such file"),
        (["photo.png", "-f", "0"], "--factor"),
        (["photo.png", "-f", "17"], "--factor"),
        (["photo.png", "-k", "lanczos"], "lanczos: no such file"),
        (["photo.png", "-k", "box:3"], "--kernel must be box, without a width, got 'box:3': its width is the --factor"),
        (["photo.png", "-k", "gaussian:0"], "--kernel must be 'auto', 'bicubic', 'box', 'gaussian:S' with S above 0"),
        (["photo.png", "-o", "photo.png", "--overwrite"], "never overwritten"),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(folder, capsys, arguments, message):
    before = contents(folder)
    assert call("upscale", "-q", *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("csc-cogd: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert contents(folder) == before


def test_lengths_and_places_measured_in_the_result_are_right(folder, photo, capsys):
    """The resolution, the pixel size and the georeference are those of the finer grid."""
    import tifffile

    tags = [(33550, 12, 3, (10.0, 10.0, 0.0), False), (33922, 12, 6, (0.0, 0, 0, 5e5, 4e6, 0), False)]
    tifffile.imwrite(
        "map.tif", photo[:24, :30], resolution=(100, 100), resolutionunit=3, metadata=None, extratags=tags
    )  # fmt: skip
    assert call("upscale", "map.tif", "-f", 2, "--iterations", 2) == 0
    assert "warning" not in capsys.readouterr().err
    with tifffile.TiffFile("map_upscaled.tif") as opened:
        page = opened.pages[0]
        assert page.shape == (48, 60)
        assert page.get_resolution("centimeter") == (200, 200)
        assert page.tags[33550].value == (5, 5, 0)
        assert page.tags[33922].value == (0, 0, 0, 5e5, 4e6, 0)
