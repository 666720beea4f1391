import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import csc_cogd
from csc_cogd import InputError
from csc_cogd.report.page import Entry, write_page
from tests.conftest import read_only
from tests.report.entries import CURVE, HISTORY, damaged, dictionary

ADDRESSES = re.compile(
    r"(?:src|href|action)\s*=\s*[\"'](?!data:)|url\(|@import|@font-face|fetch\(|XMLHttpRequest|https?:", re.I
)


def pictures(page):
    """The pictures of a page by their alternative text."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', page)
    return {alt: Image.open(io.BytesIO(base64.b64decode(data))) for data, alt in found}


def write(tmp_path, entry):
    figures = write_page(tmp_path / "page.html", entry)
    json.dumps(figures, allow_nan=False)
    return figures, (tmp_path / "page.html").read_text("utf-8")


@pytest.fixture(scope="module")
def restored(photo):
    missing = np.random.default_rng(0).random(photo.shape) < 0.5
    before = np.where(missing, 0, photo).astype(np.uint8)
    filters = csc_cogd.Dictionary.default()
    coded = csc_cogd.sparse_code(
        before[None] / 255, filters, lmbda=0.05, weights=(~missing)[None].astype(float), max_iter=3, solver="admm"
    )
    return Entry(
        "Straße & Kamera.png", before, missing, csc_cogd.inpaint(before, missing, effort="fast"), photo,
        coded.reconstruction[0] * 255, filters, np.count_nonzero(coded.codes[0], axis=(1, 2)), coded.history, CURVE,
        {"lmbda": "0.05", "device": "cpu"},
    )  # fmt: skip


def test_a_restored_photograph_has_all_parts(tmp_path, restored, photo):
    figures, page = write(tmp_path, restored)
    for title in (
        "Straße &amp; Kamera.png", "Against the reference", "What is left, and what is wrong", "Course of the solve",
        "Dictionary", "Settings and findings", "PSNR over the missing pixels, dB", "similar patches",
    ):  # fmt: skip
        assert title in page
    assert figures["title"] == "Straße & Kamera.png"
    assert (figures["page"], figures["height"], figures["width"], figures["channels"]) == ("page.html", 96, 96, 1)
    assert figures["missing"] == pytest.approx(restored.missing.mean())
    assert figures["changed"] == 0
    assert figures["psnr_missing"] == pytest.approx(
        csc_cogd.psnr(restored.after, photo, data_range=255, where=restored.missing)
    )
    assert (figures["iterations"], figures["nonzeros"]) == (3, restored.history[-1].nonzeros)
    residual = (restored.before - restored.fit)[~restored.missing]
    assert figures["residual"] == pytest.approx(np.sqrt((residual**2).mean()))


def test_pictures_show_the_very_pixels(tmp_path, restored):
    shown = pictures(write(tmp_path, restored)[1])
    for name in ("before", "after", "reference"):
        assert (np.asarray(shown[name.capitalize()]) == getattr(restored, name)).all()
    mask = np.asarray(shown["Mask"].convert("RGBA"))
    assert ((mask[..., 3] == 255) == restored.missing).all()
    residual = np.asarray(next(image for alt, image in shown.items() if alt.startswith("Residual")).convert("RGBA"))
    assert ((residual[..., 3] == 0) == restored.missing).all()
    signed = restored.before - restored.fit
    above, below = ((sign * signed > 5) & ~restored.missing for sign in (1, -1))
    assert (residual[above][:, 0] > residual[above][:, 2]).all()  # red above zero
    assert (residual[below][:, 0] < residual[below][:, 2]).all()  # blue below


def test_needs_no_network(tmp_path, restored):
    page = write(tmp_path, restored)[1]
    assert not ADDRESSES.search(page)
    assert "default-src 'none'" in page


def test_what_comes_from_elsewhere_is_escaped(tmp_path):
    evil = '<script>alert("1")</script>\''
    picture = damaged(np.full((12, 12), 9, np.uint8))
    page = write(tmp_path, replace(picture, title=evil, facts={evil: evil}, curve=[CURVE[0]._replace(stage=evil)]))[1]
    assert page.count("<script") == 1
    assert "&lt;script&gt;" in page
    figures = write_page(tmp_path / "other.html", replace(picture, title="$title \udcff"))
    assert figures["title"] == "$title \udcff"
    assert "<title>$title \\udcff</title>" in (tmp_path / "other.html").read_text("utf-8")


def test_filters_come_by_their_use(tmp_path):
    entry = replace(damaged(np.full((12, 12), 9, np.uint8)), dictionary=dictionary(), usage=np.array([0, 3, 0, 1200, 40, 1]))
    page = write(tmp_path, entry)[1]
    assert re.findall(r'title="filter (\d)', page) == ["3", "4", "1", "5", "0", "2"]
    assert page.count('class="unused"') == 2
    assert "filter 3, 5 x 5: 1,200 codes" in page


def test_filters_of_unknown_use_keep_their_order(tmp_path):
    page = write(tmp_path, replace(damaged(np.full((12, 12), 9, np.uint8)), dictionary=dictionary()))[1]
    assert re.findall(r'title="filter (\d), 5 x 5"', page) == list("012345")


def test_charts_leave_out_what_is_not_a_number(tmp_path):
    history = [*HISTORY, HISTORY[-1]._replace(iteration=21, objective=float("nan"), primal_residual=0.0)]
    figures, page = write(tmp_path, replace(damaged(np.full((12, 12), 9, np.uint8)), history=history))
    assert page.count("<svg") == 6
    assert not re.search(r"\b(nan|inf)\b", page)
    assert figures["objective"] is None
    assert figures["iterations"] == 21


CASES = {
    "gray": lambda rng: rng.integers(0, 256, (20, 30), np.uint8),
    "constant": lambda rng: np.full((20, 30), 7, np.uint8),
    "constant float": lambda rng: np.full((20, 30), 0.25),
    "one pixel": lambda rng: np.array([[3]], np.uint8),
    "a line": lambda rng: rng.integers(0, 65536, (1, 5000), np.uint16),
    "a column": lambda rng: rng.random((5000, 1), np.float32),
    "16 bits": lambda rng: rng.integers(900, 1100, (20, 30, 3), np.uint16),
    "signed": lambda rng: rng.integers(-1000, 1000, (20, 30), np.int16),
    "huge floats": lambda rng: rng.random((20, 30)) * 1e300,
    "small floats": lambda rng: rng.random((20, 30)) * 1e-300,
    "half floats": lambda rng: rng.random((20, 30)).astype(np.float16),
    "bilevel": lambda rng: rng.random((20, 30)) < 0.5,
    "one channel": lambda rng: rng.random((20, 30, 1)),
    "two channels": lambda rng: rng.random((20, 30, 2)),
    "four channels": lambda rng: rng.integers(0, 256, (20, 30, 4), np.uint8),
    "twelve channels": lambda rng: rng.random((20, 30, 12)),
}


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("kind", CASES)
def test_pictures_of_all_kinds(tmp_path, rng, kind, reference):
    entry = damaged(read_only(CASES[kind](rng)))
    fit = entry.after.astype(float)
    entry = replace(entry, fit=fit, reference=entry.reference if reference else None)
    figures, page = write(tmp_path, entry)
    assert len(page) < 400_000
    assert ("psnr" in figures) == reference
    assert {"Before", "After"} <= set(pictures(page))


def test_nan_is_missing_and_nothing_else_is_told(tmp_path, rng):
    before = rng.random((16, 16))
    before[2:5, 3:8] = np.nan
    figures, page = write(tmp_path, Entry("nan", before, None, np.nan_to_num(before), fit=np.zeros((16, 16))))
    assert figures["missing"] == 15 / 256
    assert figures["changed"] == 0
    assert (np.asarray(pictures(page)["Mask"].convert("RGBA"))[..., 3] > 0).sum() == 15


@pytest.mark.parametrize("names", [["after"], ["before", "after", "reference", "fit"]])
def test_infinite_values_are_shown_and_told_as_unknown(tmp_path, rng, names):
    entry = damaged(rng.random((16, 16)))
    entry = replace(entry, fit=entry.after)
    infinite = {name: np.where(np.eye(16) > 0, np.inf, getattr(entry, name)) for name in names}
    figures, _ = write(tmp_path, replace(entry, **infinite))
    assert figures["ssim"] is None
    assert ("reference" in names) == (figures["psnr"] is not None)  # looks away where the reference isn't finite


def test_masks_of_single_channels(tmp_path, rng):
    picture = rng.integers(0, 256, (8, 8, 3), np.uint8)
    missing = np.zeros(picture.shape, bool)
    missing[2, 2, 0] = missing[3, 3] = True
    figures, page = write(tmp_path, Entry("x", picture, missing, picture, picture, picture * 1.0))
    opacity = np.asarray(pictures(page)["Mask"].convert("RGBA"))[..., 3]
    assert (opacity[2, 2], opacity[3, 3], opacity.sum(dtype=int)) == (85, 255, 340)
    assert figures["missing"] == pytest.approx(4 / 192)


def test_nothing_missing_as_in_denoising(tmp_path, rng):
    reference = rng.integers(0, 256, (16, 16), np.uint8)
    noisy = np.clip(reference + rng.normal(0, 9, reference.shape), 0, 255).astype(np.uint8)
    figures, page = write(tmp_path, Entry("noisy", noisy, None, reference, reference))
    assert figures["missing"] == 0
    assert figures["psnr"] is None  # infinite
    assert "∞" in page
    assert "Mask" not in pictures(page)
    assert "missing pixels" not in page.lower()


def test_known_values_that_changed_are_counted(tmp_path, rng):
    picture = rng.integers(0, 200, (8, 8), np.uint8)
    missing = np.zeros((8, 8), bool)
    missing[0] = True
    assert write(tmp_path, Entry("x", picture, missing, picture + np.uint8(1)))[0]["changed"] == 56


def test_deep_pictures_share_one_mapping(tmp_path):
    reference = np.linspace(1000, 3000, 400).reshape(20, 20).astype(np.uint16)
    entry = damaged(reference)
    shown = {name: np.asarray(image).astype(int) for name, image in pictures(write(tmp_path, entry)[1]).items()}
    known = ~entry.missing
    assert (shown["Before"][known] == shown["After"][known]).all()
    assert (shown["Reference"][known] == shown["After"][known]).all()
    assert np.ptp(shown["Reference"]) == 255
    assert (shown["Before"][entry.missing] == 0).all()


def test_large_pictures_are_reduced_and_their_worst_places_shown_in_full(tmp_path):
    rows, columns = np.mgrid[:300, :3300]
    reference = (rows + columns).astype(np.uint8)
    missing = np.zeros(reference.shape, bool)
    missing[130:200, 2000:2100] = True
    missing[10:14, 50:60] = True
    before = np.where(missing, 0, reference).astype(np.uint8)
    page = write(tmp_path, Entry("wide", before, missing, reference, reference, reference * 1.0))[1]
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="Before"', page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in found]
    assert sizes == [(1100, 100), (320, 300), (320, 300)]
    assert "reduced to 1/3" in page
    places = [[int(x.replace(",", "")) for x in place] for place in re.findall(r"<h3>x ([\d,]+) to ([\d,]+)", page)]
    assert places[0][0] <= 2000 < 2100 <= places[0][1]
    assert places[1][0] <= 50 < 60 <= places[1][1]


def test_a_color_page_is_small(tmp_path):
    from skimage.data import astronaut

    entry = damaged(astronaut(), 0.5)
    fit = entry.after + np.random.default_rng(0).normal(0, 3, entry.after.shape)
    assert len(write(tmp_path, replace(entry, fit=fit))[1]) < 3e6


@pytest.mark.parametrize("name", ["after", "reference", "fit", "missing"])
def test_what_does_not_fit_is_named(tmp_path, name):
    entry = damaged(np.full((12, 12), 9, np.uint8))
    with pytest.raises(InputError, match=rf"{name} must be of the image's shape .* got \(3, 4\)"):
        write_page(tmp_path / "page.html", replace(entry, **{name: np.zeros((3, 4))}))
    assert not list(tmp_path.iterdir())


def test_usage_of_other_filters_is_named(tmp_path):
    entry = replace(damaged(np.full((12, 12), 9, np.uint8)), dictionary=dictionary(), usage=np.arange(5))
    with pytest.raises(InputError, match=r"usage must be one number for each of the 6 filters, got shape \(5,\)"):
        write_page(tmp_path / "page.html", entry)


@pytest.mark.parametrize("before", [np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2), complex), np.zeros((2, 2), "U1")])
def test_what_is_no_picture_is_refused(tmp_path, before):
    with pytest.raises(InputError, match=r"before must be an image, .* got "):
        write_page(tmp_path / "page.html", Entry("x", before, None, before))


def test_nothing_is_overwritten_unasked(tmp_path):
    entry = damaged(np.full((12, 12), 9, np.uint8))
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write_page(tmp_path / "page.html", entry)
    assert (tmp_path / "page.html").read_text() == "mine"
    write_page(tmp_path / "page.html", entry, overwrite=True)
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")
