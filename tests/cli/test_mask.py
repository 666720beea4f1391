import numpy as np
import pytest

from csc_cogd.imagefiles import open_images, read_image
from csc_cogd.restore.synthetic_masks import random_mask, text_mask
from tests.cli.calling import call, check_refused, contents, save


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def frames(folder, rng):
    """Three frames of one camera, with one hot pixel and one dead column."""
    for name in ("a.png", "b.png", "c.tif"):
        frame = rng.poisson(1000, (70, 90)).astype(np.uint16)
        frame[10, 20], frame[:, 40] = 3000, 0
        save(folder / name, frame)
    return folder


@pytest.fixture
def expected():
    mask = np.zeros((70, 90), np.uint8)
    mask[10, 20] = mask[:, 40] = 255
    return mask


@pytest.mark.parametrize("names", [["a.png"], ["a.png", "b.png", "c.tif"]])
@pytest.mark.parametrize("output", ["m.png", "m.tif", "m.npy"])
def test_detect_writes_a_mask_and_says_what_was_found(frames, expected, capsys, names, output):
    assert call("mask", "detect", *names, "-o", output, "-v") == 0
    mask = read_image(output).pixels
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, expected)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "found 1 hot pixel, 1 column (40)\n" in captured.err
    assert "column 40: stuck, rows 0 to 69\n" in captured.err
    assert "1.13% of 90 x 70 pixels missing" in captured.err


def test_what_detect_wrote_is_what_inpaint_reads(frames, capsys):
    assert call("mask", "detect", "a.png", "-o", "m.png", "-q") == 0
    assert capsys.readouterr().err == ""
    assert call("inpaint", "a.png", "-m", "m.png", "--fast", "-q") == 0
    restored = read_image("a_inpainted.png").pixels
    assert 800 < restored[10, 20] < 1200
    assert abs(restored[:, 40].mean() - 1000) < 50


def test_detect_looks_for_what_it_is_told(frames, expected, capsys):
    assert call("mask", "detect", "a.png", "-o", "m.png", "--no-columns", "--no-rows", "--mask-dilate", 1) == 0
    mask = read_image("m.png").pixels > 0
    assert mask.sum() == 9
    assert mask[9:12, 19:22].all()
    assert call("mask", "detect", "a.png", "-o", "m.png", "--no-pixels", "--overwrite") == 0
    assert (read_image("m.png").pixels > 0).sum() == 70
    assert call("mask", "detect", "a.png", "-o", "n.png", "--no-pixels", "--no-columns") == 0
    assert "the mask is empty" in capsys.readouterr().err
    assert not read_image("n.png").pixels.any()


def test_detect_takes_in_what_bleeds_into_the_columns_beside(folder, rng):
    frame = rng.poisson(1000, (70, 90)).astype(float)
    frame[:, 40] = 0
    frame[:, [39, 41]] *= 0.8
    save(folder / "a.png", frame.astype(np.uint16))
    for dilate, columns in ((0, [40]), ("auto", [39, 40, 41])):
        assert call("mask", "detect", "a.png", "-o", "m.png", "--mask-dilate", dilate, "-q", "--overwrite") == 0
        mask = read_image("m.png").pixels
        np.testing.assert_array_equal(np.flatnonzero(mask.all(axis=0)), columns)
        assert not np.delete(mask, columns, axis=1).any()


def test_detect_finds_impulses(folder, photo):
    spoilt = random_mask(photo.shape, 0.1)
    save(folder / "a.png", np.where(spoilt, 255, photo).astype(np.uint8))
    assert call("mask", "detect", "a.png", "--impulses", "--no-columns", "--no-rows", "-o", "m.png", "-q") == 0
    assert ((read_image("m.png").pixels > 0) == spoilt).mean() > 0.95


def test_damage_in_one_channel_is_marked_for_all(folder, rng):
    image = rng.normal(120, 3, (60, 50, 4)).astype(np.uint8)
    image[30, 20, 1], image[5, 5, 3] = 255, 0  # the last is opacity
    save(folder / "a.png", image, has_alpha=True)
    assert call("mask", "detect", "a.png", "-o", "m.png", "-q") == 0
    np.testing.assert_array_equal(np.argwhere(read_image("m.png").pixels), [[30, 20]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_previews_show_the_image_with_magenta(folder, photo, dtype, channels):
    image = (photo * (200.0 if dtype == "uint16" else 1.0)).astype(dtype)
    image = image if channels == 1 else np.dstack([image] * 3)
    np.save("a.npy", image)
    save(folder / "m.png", random_mask(photo.shape, 0.2).astype(np.uint8))
    assert call("mask", "show", "m.png", "a.npy", "--preview", "p.png", "-q") == 0
    preview, missing = read_image("p.png").pixels, random_mask(photo.shape, 0.2)
    assert preview.dtype == np.uint8
    assert (preview[missing] == (255, 0, 255)).all()
    assert np.corrcoef(preview[~missing][:, 1], photo[~missing])[0, 1] > 0.99
    assert preview[~missing].max() > 200


def test_previews_of_detection_with_gaps(frames, rng):
    image = rng.normal(0, 1, (70, 90))
    image[10, 20], image[5, 5] = 100, np.nan
    np.save("a.npy", image)
    assert call("mask", "detect", "a.npy", "-o", "m.png", "--preview", "p.jpg", "-q") == 0
    assert read_image("p.jpg").pixels.shape == (70, 90, 3)


def test_from_unites_what_is_missing(folder, rng, capsys):
    image = rng.random((20, 30)).astype(np.float32)
    image[3, 4], image[10, 10], image[15] = np.nan, -1, 5
    np.save("a.npy", image)
    save(folder / "dust.png", np.pad(np.ones((2, 2), np.uint8), ((0, 18), (0, 28))))
    expected = np.isnan(image) | (image == -1)
    expected[:2, :2] = True
    arguments = ("mask", "from", "a.npy", "-m", "dust.png", "--mask-value", -1)
    assert call(*arguments, "-o", "m.png") == 0
    np.testing.assert_array_equal(read_image("m.png").pixels, expected * np.uint8(255))
    assert "by dust.png" in (err := capsys.readouterr().err)
    assert "by NaN; 0.2% by value -1" in err
    assert call(*arguments, "--invert", "-o", "known.npy") == 0
    np.testing.assert_array_equal(np.load("known.npy"), ~expected * np.uint8(255))
    assert "% of the pixels known" in capsys.readouterr().err
    assert call("mask", "from", "a.npy", "--mask-dilate", 1, "-o", "wide.tif") == 0
    assert (read_image("wide.tif").pixels > 0).sum() == 9


def test_show_says_how_a_mask_is_understood(folder, capsys):
    mask = np.zeros((40, 50), np.uint8)
    mask[5:8, 10:20] = mask[30, 30] = 9
    save(folder / "m.png", mask)
    assert call("mask", "show", "m.png") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "size: 50 x 40", "missing: 1.6% of the pixels (1.6% by m.png (brightness, non-zero is missing))", "holes: 2",
        "largest hole: 30 pixels, 10 wide and 3 high",
    ]  # fmt: skip
    assert captured.err == ""
    assert call("mask", "show", "m.png", "--mask-polarity", "valid") == 0
    captured = capsys.readouterr()
    assert "missing: 98.5%" in captured.out
    assert "looks inverted: if it is, use --mask-polarity missing" in captured.err


def test_make_makes_every_kind(folder, rng):
    save(folder / "a.png", rng.integers(0, 255, (60, 80, 3)).astype(np.uint8))
    shares = {}
    for kind in ("random", "text", "scratches", "columns", "rows", "blocks"):
        assert call("mask", "make", kind, "--like", "a.png", "-o", f"{kind}.png", "-q") == 0
        mask = read_image(f"{kind}.png").pixels
        assert mask.shape == (60, 80)
        assert set(np.unique(mask)) == {0, 255}
        shares[kind] = (mask > 0).mean()
    assert abs(shares["random"] - 0.5) < 0.05
    np.testing.assert_array_equal(read_image("text.png").pixels > 0, text_mask((60, 80), "csc-cogd"))
    assert (read_image("columns.png").pixels.max(axis=0) == read_image("columns.png").pixels.min(axis=0)).all()
    assert (read_image("rows.png").pixels.max(axis=1) == read_image("rows.png").pixels.min(axis=1)).all()


def test_make_takes_sizes_and_seeds(folder):
    make = ("mask", "make", "blocks", "--size", "64x48", "--count", 1, "--width", 10, "-q")
    for name, *seed in (("a.npy",), ("b.npy", "--seed", 0), ("c.npy", "--seed", 1)):
        assert call(*make, "-o", name, *seed) == 0
    a, b, c = (np.load(name) for name in ("a.npy", "b.npy", "c.npy"))
    assert a.shape == (48, 64)
    assert (a > 0).sum() == 100
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("make", "random", "-o", "m.png"), "the mask needs a size: give either --like or --size"),
        (
            ("make", "random", "--like", "a.png", "--size", "3x3", "-o", "m.png"),
            "the mask needs a size: give either --like or --size",
        ),
        (("make", "dots", "--size", "9x9", "-o", "m.png"), "'dots' is not one of"),
        (
            ("make", "text", "--size", "9x9", "--fraction", 0.2, "-o", "m.png"),
            "--fraction doesn't belong to text: leave it out",
        ),
        (("make", "text", "--size", "9x9", "--text", " ", "-o", "m.png"), "--text must not be blank"),
        (("make", "rows", "--size", "9", "-o", "m.png"), "'9' isn't a width and a height"),
        (("make", "rows", "--size", "0x9", "-o", "m.png"), "'0x9' isn't a width and a height"),
        (
            ("make", "rows", "--size", "9x9", "-o", "m.jpg"),
            "m.jpg: a mask is written in a lossless format: end its name in .png, .tif",
        ),
        (("make", "rows", "--like", "none.png", "-o", "m.png"), "none.png: no such file"),
        (("make", "rows", "--size", "9x9", "-o", "a.png"), "a.png: exists already"),
        (("make", "rows", "--like", "a.png", "--overwrite", "-o", "a.png"), "a.png: is an input"),
        (("from", "a.png", "-o", "m.png"), "a.png: nothing says what is missing"),
        (("from", "a.png", "--mask-value", -5, "-o", "m.png"), "a.png: no pixel is missing"),
        (("from", "a.png", "-m", "b.png", "--overwrite", "-o", "b.png"), "b.png: is an input"),
        (("detect", "a.png", "none.png", "-o", "m.png"), "none.png: no such file"),
        (
            ("detect", "a.png", "small.png", "-o", "m.png"),
            "small.png, frame 1: the image differs from the first one in size",
        ),
        (("detect", "a.png", "b.png", "--impulses", "-o", "m.png"), "--impulses must be looked for in a single image"),
        (
            ("detect", "a.png", "--no-pixels", "--no-columns", "--no-rows", "-o", "m.png"),
            "nothing is left to look for: leave out --no-pixels, --no-columns or --no-rows",
        ),
        (("detect", "a.png", "-o", "m.png", "--preview", "m.png"), "two outputs would be written there"),
        (("detect", "a.png", "-o", "m.png", "--preview", "b.png"), "b.png: exists already"),
        (("detect", "a.png", "-o", "m.png", "--preview", "a.png", "--overwrite"), "a.png: is an input"),
        (("detect", "a.png", "--sensitivity", 0, "-o", "m.png"), "'--sensitivity'"),
        (("detect", "a.png"), "Missing option '-o'"),
        (("dust", "none.png", "-o", "m.png"), "none.png: no such file"),
        (("dust", "a.png", "-o", "m.jpg"), "m.jpg: a mask is written in a lossless format"),
        (("dust", "a.png", "-o", "m.png", "--sensitivity", 2), "'--sensitivity'"),
        (("dust", "a.png", "-o", "m.png", "--preview", "a.png", "--overwrite"), "a.png: is an input"),
        (("dust", "gaps.npy", "-o", "m.png"), "gaps.npy: the image can't be filled"),
        (("detect", "gaps.npy", "-o", "m.png"), "gaps.npy: the image can't be filled"),
        (("show", "a.png", "--preview", "p.png"), "--preview is drawn on the image"),
        (("show", "empty.png"), "empty.png: the mask is empty"),
        (("show", "empty.png", "small.png"), "the mask must be of the image's size"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(frames, capsys, arguments, message):
    save(frames / "small.png", np.ones((3, 3), np.uint8))
    save(frames / "empty.png", np.zeros((70, 90), np.uint8))
    np.save("gaps.npy", np.full((5, 5), np.nan))
    check_refused(frames, capsys, ("mask", *arguments), message)


@pytest.fixture
def scan(folder, rng):
    """A smooth picture with two dark specks, (90, 120, 3), and where they are."""
    picture = np.repeat(rng.normal(30000, 300, (90, 120, 1)), 3, axis=2)
    specks = np.zeros((90, 120), bool)
    specks[20:25, 30:34] = specks[60:66, 80:85] = True
    picture[specks] = 2000
    save(folder / "scan.tif", picture.astype(np.uint16))
    return specks


def test_dust_writes_a_mask_and_says_what_was_found(scan, capsys):
    assert call("mask", "dust", "scan.tif", "-o", "m.png", "--preview", "seen.png", "-v") == 0
    mask = read_image("m.png").pixels
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[scan] == 255).all()
    assert (mask > 0).sum() < 3 * scan.sum()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "scan.tif: found 2 specks, " in captured.err
    assert "dark speck at row " in captured.err
    magenta = (read_image("seen.png").pixels == (255, 0, 255)).all(axis=2)
    np.testing.assert_array_equal(magenta, mask > 0)


def test_dust_of_the_other_polarity_leaves_the_mask_empty_with_a_warning(scan, capsys):
    assert call("mask", "dust", "scan.tif", "-o", "m.png", "--polarity", "light", "--sensitivity", 0.3) == 0
    assert not read_image("m.png").pixels.any()
    assert "scan.tif: the mask is empty: a larger --sensitivity finds more" in capsys.readouterr().err


def test_dust_is_found_page_by_page(scan, folder):
    page = read_image("scan.tif").pixels[..., 0]
    np.save("stack.npy", np.stack([page, page[::-1]]))
    assert call("mask", "dust", "stack.npy", "--axes", "NYX", "-o", "m.tif", "--mask-dilate", 1, "-q") == 0
    with open_images("m.tif") as pages:
        first, second = (page.pixels for page in pages)
    assert (first[scan] == 255).all()
    assert (second[::-1][scan] == 255).all()


def test_dust_of_frames_is_what_the_neighbors_lack(folder, rng, capsys):
    frames = 100 + rng.normal(0, 2, (4, 60, 80))
    frames[:, 30:33, 10:60] = 220  # a thing of the scene that looks like a scratch
    frames[1, 10:14, 20:24], frames[2, 45:50, 50:54] = 10, 240
    np.save("shot.npy", frames.round().astype(np.uint8))
    arguments = ("mask", "dust", "shot.npy", "--axes", "NYX", "--frames")
    assert call(*arguments, "-o", "m.tif", "--preview", "seen.png") == 0
    with open_images("m.tif") as pages:
        masks = np.stack([page.pixels > 0 for page in pages])
    assert masks[1, 10:14, 20:24].all()
    assert masks[2, 45:50, 50:54].all()
    assert masks.sum() < 3 * (16 + 20)
    assert "shot.npy, page 2: found 1 speck, " in (err := capsys.readouterr().err)
    assert "shot.npy, page 1: the mask is empty" in err
    assert (read_image("seen.png").pixels == (255, 0, 255)).all(axis=2).any()
    assert call(*arguments, "-o", "t.tif", "--threads", 2) == 2
    assert "--threads has no effect on frames of a film: leave out --threads or --frames" in capsys.readouterr().err
    assert not (folder / "t.tif").exists()
    assert call(*arguments, "-o", "light.tif", "--polarity", "light", "-q") == 0
    with open_images("light.tif") as pages:
        assert [bool(page.pixels.any()) for page in pages] == [False, False, True, False]
    np.save("two.npy", frames[:2].astype(np.uint8))
    check_refused(
        folder, capsys, ("mask", "dust", "two.npy", "--axes", "NYX", "--frames", "-o", "n.tif"),
        "two.npy, page 1: --frames must be 3 or more of one scene, got 2",
    )  # fmt: skip
    assert not (folder / "n.tif").exists()


def test_help_shows_examples(capsys):
    for name in ("make", "from", "detect", "dust", "show"):
        assert call("mask", name, "--help") == 0
        assert f"csc-cogd mask {name} " in capsys.readouterr().out


def test_a_mask_is_replaced_only_on_request(frames):
    before = contents(frames)
    assert call("mask", "make", "rows", "--size", "9x9", "-o", "b.png", "--overwrite", "-q") == 0
    after = contents(frames)
    assert {path.name for path in after if before.get(path) != after[path]} == {"b.png"}
