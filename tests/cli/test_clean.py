"""``csc-cogd clean``: scans in every form, batches with what goes wrong in them, and what is told."""

import json
import re

import numpy as np
import pytest
import tifffile
from imageio.v3 import imread, imwrite

from csc_cogd.imagefiles import read_image
from csc_cogd.report.totals import duration
from tests.cli.calling import call, check_refused, contents, save
from tests.detect.film import scan

FAST = ("--fast", "--threads", "1")


@pytest.fixture(scope="module")
def made():
    return scan(128, 160, specks=10)


@pytest.fixture
def folder(tmp_path, made, monkeypatch):
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_rgbi(path, made, **options):
    pixels = np.dstack([made.dusty.astype(np.uint16) * 257, made.infrared])
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=[0], **options)


def nearer(path, made, by=0.3):
    """Whether the dust is gone to that share, and the rest is as it was."""
    pixels = read_image(path).pixels[..., :3].astype(float) / (257 if read_image(path).pixels.dtype == np.uint16 else 1)
    left, before = (abs(one - made.clean)[made.dust].mean() for one in (pixels, made.dusty.astype(float)))
    return left < by * before


def test_rgbi_keeps_its_infrared_channel_and_metadata(folder, made, capsys):
    write_rgbi("scan.tif", made, resolution=(2400, 2400), resolutionunit="INCH", description="roll 7")
    assert call("clean", "scan.tif", "-o", "clean.tif", *FAST) == 0
    assert nearer("clean.tif", made)
    with tifffile.TiffFile("clean.tif") as file:
        page = file.pages[0]
        assert page.shape == (128, 160, 4)
        assert page.tags["XResolution"].value[0] == 2400
        assert page.tags["ImageDescription"].value == "roll 7"
        assert np.array_equal(page.asarray()[..., 3], made.infrared)
    assert "specks, " in (err := capsys.readouterr().err)
    assert "by infrared" in err


def test_a_page_behind_the_picture_is_its_infrared_and_stays(folder, made, capsys):
    with tifffile.TiffWriter("scan.tif") as file:
        file.write(made.dusty, photometric="rgb")
        file.write((made.infrared >> 8).astype(np.uint8), photometric="minisblack")
    assert call("clean", "scan.tif", "-o", "clean.tif", "--mask-out", "masks", *FAST) == 0
    with tifffile.TiffFile("clean.tif") as file:
        assert len(file.pages) == 2
        assert np.array_equal(file.pages[1].asarray(), made.infrared >> 8)
        left, before = (abs(one.astype(float) - made.clean)[made.dust] for one in (file.pages[0].asarray(), made.dusty))
        assert left.mean() < 0.3 * before.mean()
    assert "page 1: " in capsys.readouterr().err
    assert (folder / "masks" / "scan_1_mask.png").exists()


def test_a_file_beside_and_one_that_is_named(folder, made, capsys):
    save(folder / "a.png", made.dusty)
    tifffile.imwrite("a_IR.tif", made.infrared)
    save(folder / "b.png", made.dusty)
    assert call("clean", "a.png", *FAST) == 0
    assert "by infrared" in capsys.readouterr().err
    assert nearer("a_cleaned.png", made)
    assert call("clean", "b.png", "--infrared", "a_IR.tif", "-o", "c.png", *FAST) == 0
    assert np.array_equal(imread("c.png"), imread("a_cleaned.png"))
    capsys.readouterr()
    assert call("clean", "a.png", "-o", "d.png", "--no-infrared", "--dry-run") == 0
    assert "by infrared" not in capsys.readouterr().err


def test_infrared_that_doesnt_fit_is_refused(folder, made, capsys):
    save(folder / "a.png", made.dusty)
    tifffile.imwrite("ir.tif", made.infrared[:-2])
    check_refused(folder, capsys, ("clean", "a.png", "--infrared", "ir.tif"), "--infrared must be of the picture's size")
    check_refused(folder, capsys, ("clean", "a.png", "--infrared", "none.tif"), "no such file or folder")
    check_refused(folder, capsys, ("clean", "a.png", "--infrared", "ir.tif", "--no-infrared"), "isn't to be used")
    check_refused(folder, capsys, ("clean", "a.png", "--preset", "film", "--polarity", "dark"), "--polarity is chosen")


def test_a_batch_with_all_that_can_be(folder, made, capsys):
    scans = folder / "scans"
    scans.mkdir()
    write_rgbi(scans / "good.tif", made)
    save(scans / "beside.png", made.dusty)
    tifffile.imwrite(scans / "beside_IR.tif", made.infrared)
    flat = np.random.default_rng(0).normal(120, 2, (96, 128, 3)).astype(np.uint8)
    imwrite(scans / "nothing.jpg", flat, quality=97)
    whole = (scans / "good.tif").read_bytes()
    (scans / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    kodachrome = scan(128, 160, specks=10, sees=0.8)
    write_rgbi(scans / "kodachrome.tif", kodachrome)
    arguments = ("clean", scans, "-o", "out", "--report", "report", "--mask-out", "masks", "--json", *FAST)
    assert call(*arguments) == 1
    out, err = capsys.readouterr()
    rows = {row["input"].rsplit("/", 1)[-1]: row for row in map(json.loads, out.splitlines()) if "input" in row}
    assert rows.keys() == {"good.tif", "beside.png", "nothing.jpg", "truncated.tif", "kodachrome.tif"}
    assert rows["truncated.tif"]["status"] == "failed"
    assert "damaged TIFF" in rows["truncated.tif"]["error"]
    assert "infrared shows the picture itself" in str(rows["kodachrome.tif"]["warnings"])
    assert "nothing found, kept as it is" in str(rows["nothing.jpg"]["notes"])
    assert rows["good.tif"]["figures"]["speck"] >= 5
    assert "1 of 6 images left out: infrared channels of others" in err
    assert (folder / "out" / "nothing.jpg").read_bytes() == (scans / "nothing.jpg").read_bytes()
    assert not (folder / "out" / "truncated.tif").exists()
    assert sorted(path.name for path in (folder / "masks").iterdir())[-1].endswith("_mask.png")
    marked = imread(folder / "masks" / "good_mask.png") > 0
    assert marked[made.dust].mean() > 0.9
    page = next((folder / "report" / "pages").glob("good*.html")).read_text()
    assert "What was found" in page
    assert "speck, " in page
    assert "infrared shows the picture itself" in next((folder / "report" / "pages").glob("kodachrome*.html")).read_text()
    assert not list((folder / "report" / "pages").glob("nothing*.html"))
    sheet = (folder / "report" / "index.html").read_text()
    assert "missing" not in err
    assert re.search(r"to \d\.\d% of the pixels were damaged", err)
    cards = dict(re.findall(r'<li data-state="(\w+)".*?<h3[^>]*>(\w+)', sheet))
    assert cards == {"failed": "truncated", "unchanged": "nothing", "changed": cards["changed"]}
    assert (rows["nothing.jpg"]["altered"], rows["nothing.jpg"]["changed"]) == (0, 0)
    assert rows["nothing.jpg"]["warnings"] == []  # that JPEG is lossy doesn't matter to a copy
    for name in ("good.tif", "beside.png", "kodachrome.tif"):
        before, after = (read_image(place / name).pixels for place in (scans, folder / "out"))
        assert rows[name]["altered"] == np.count_nonzero(before != after) > 0
        assert rows[name]["changed"] == 0
        assert (folder / "report" / rows[name]["figures"]["report"]["thumbnail"]).exists()
    assert (folder / "report" / rows["nothing.jpg"]["figures"]["report"]["thumbnail"]).exists()
    before = contents(folder / "out")
    resumed = ("--skip-existing", "--mask-out", "masks", "--report", "report")
    assert call("clean", scans, "-o", "out", *resumed, *FAST) == 1
    assert "4 skipped" in capsys.readouterr().err
    sheet = (folder / "report" / "index.html").read_text()
    assert sheet.count('data-state="skipped"') == sheet.count("<img") == 4
    for row in rows.values():  # the times of the earlier run
        assert row["status"] == "failed" or f"skipped, {duration(row['seconds'])} before" in sheet
    assert contents(folder / "out") == before


def test_the_page_of_a_jpeg_says_why_values_beside_the_damage_changed(folder, made):
    imwrite("dusty.jpg", made.dusty, quality=95)
    assert call("clean", "dusty.jpg", "-o", "out.jpg", "--report", "report", *FAST) == 0
    (page,) = (path for path in (folder / "report").rglob("*.html") if "What was found" in path.read_text())
    assert "JPEG is lossy" in page.read_text()


def test_dry_run_counts_and_writes_nothing(folder, made, capsys):
    write_rgbi("scan.tif", made)
    before = contents(folder)
    assert call("clean", "scan.tif", "-o", "out.tif", "--dry-run") == 0
    err = capsys.readouterr().err
    assert "specks, " in err
    assert "of the area by infrared" in err
    assert contents(folder) == before


def test_results_and_masks_are_not_overwritten(folder, made, capsys):
    write_rgbi("scan.tif", made)
    save(folder / "out.png", made.clean)
    check_refused(folder, capsys, ("clean", "scan.tif", "-o", "out.png"), "exists")
    check_refused(folder, capsys, ("clean", "scan.tif", "-o", "scan.tif"), "never overwritten")
    (folder / "masks").mkdir()
    save(folder / "masks" / "scan_mask.png", made.clean)
    check_refused(folder, capsys, ("clean", "scan.tif", "-o", "new.tif", "--mask-out", "masks"), "exists")


def test_other_settings_are_another_result(folder, made, capsys):
    write_rgbi("scan.tif", made)
    (folder / "out").mkdir()
    assert call("clean", "scan.tif", "-o", "out", *FAST) == 0
    assert call("clean", "scan.tif", "-o", "out", "--skip-existing", *FAST) == 0
    assert "skipped" in capsys.readouterr().err
    assert call("clean", "scan.tif", "-o", "out", "--skip-existing", "--sensitivity", "0.9", *FAST) == 2
    assert "with other settings" in capsys.readouterr().err
    tifffile.imwrite("scan_IR.tif", made.infrared)
    assert call("clean", "scan.tif", "-o", "out", "--skip-existing", *FAST) == 2


def test_frames_of_a_film_are_cleaned_by_their_neighbors(folder, made, capsys):
    rng = np.random.default_rng(0)
    frames = np.clip(np.rint(made.clean + rng.normal(0, 2, (4, *made.clean.shape))), 0, 255).astype(np.uint8)
    dusty = frames.copy()
    for number, frame in enumerate(dusty):
        frame[20 + 30 * number : 24 + 30 * number, 40:45] = 255
    tifffile.imwrite("shot.tif", dusty, photometric="rgb")
    assert call("clean", "shot.tif", "--frames", "-o", "out.tif", "--mask-out", "masks") == 0
    assert "taken from the frame beside it" in capsys.readouterr().err
    cleaned = tifffile.imread("out.tif")
    assert abs(cleaned.astype(int) - frames).max() < 25
    masks = [imread(folder / "masks" / f"shot_{number}_mask.png") > 0 for number in (1, 2, 3, 4)]
    assert all(mask[20 + 30 * number : 24 + 30 * number, 40:45].all() for number, mask in enumerate(masks))
    tifffile.imwrite("two.tif", dusty[:2], photometric="rgb")
    check_refused(folder, capsys, ("clean", "two.tif", "--frames"), "must be 3 or more of one scene, got 2")
    check_refused(folder, capsys, ("clean", "shot.tif", "--frames", "--infrared", "shot.tif"), "isn't used for frames")


def test_dust_is_counted_where_a_result_is_already(folder, capsys):
    picture = np.random.default_rng(0).normal(120, 2, (96, 128)).astype(np.uint8)
    picture[30:35, 30:35] = 10
    save("frame.png", picture)
    (folder / "frame_cleaned.png").write_bytes(b"kept")
    assert call("clean", "frame.png", "--dry-run", *FAST) == 0
    assert (folder / "frame_cleaned.png").read_bytes() == b"kept"
    assert call("clean", "frame.png", *FAST) == 2


def test_presets_say_which_way_dust_goes(folder, capsys):
    picture = np.random.default_rng(0).normal(120, 2, (96, 128)).astype(np.uint8)
    picture[30:35, 30:35], picture[60:65, 90:95] = 10, 245
    save("frame.png", picture)
    found = {}
    for preset in ("slide", "film", "print"):
        assert call("clean", "frame.png", "--preset", preset, "-o", f"{preset}.png", "--mask-out", preset, *FAST) == 0
        mask = imread(folder / preset / "frame_mask.png") > 0
        found[preset] = (mask[32, 32], mask[62, 92])
    assert found == {"slide": (True, False), "film": (False, True), "print": (True, True)}


def test_dust_leaves_no_tint_in_a_common_jpeg(folder, capsys):
    rng = np.random.default_rng(0)
    sky = np.clip(np.array([90, 140, 200]) + rng.normal(0, 1.5, (96, 128, 1)), 0, 255)
    dusty = sky.copy()
    for row, column in ((20, 30), (50, 90), (70, 40)):
        dusty[row : row + 6, column : column + 6] = 20
    imwrite("sky.jpg", dusty.astype(np.uint8), quality=90, subsampling=2)
    assert call("clean", "sky.jpg", "-o", "sky.png", "--mask-out", "masks", *FAST) == 0
    mask, found = imread("masks/sky_mask.png") > 0, imread("sky.png").astype(float)
    assert mask[22, 32]
    assert mask[52, 92]
    assert call("clean", "sky.jpg", "-o", "again.jpg", *FAST) == 0
    (share,) = re.findall(r"values beside the damage change \(([\d.]+)% of them\)", capsys.readouterr().err)[-1:]
    assert 0 < float(share) <= 100
    tint = (found - found.mean(axis=2, keepdims=True) - (sky - sky.mean(axis=2, keepdims=True)))[mask]
    assert abs(tint.mean(axis=0)).max() < 4
