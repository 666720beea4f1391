"""What is kept is what the command line writes."""

import errno
import io
import os

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from csc_cogd import find_dust
from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, save
from tests.detect.film import scan
from tests.page.serving import serving, square


def jpeg(path, photo):
    """A photograph with EXIF data and an ICC profile."""
    picture = Image.fromarray(np.dstack([photo, photo[::-1], photo[:, ::-1]]))
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a description", 6
    picture.save(path, exif=exif, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return path


def stack(path, photo):
    """Two pages of 16 bits."""
    pages = np.stack([photo, photo.T]).astype(np.uint16) * 200
    tifffile.imwrite(path, pages, photometric="minisblack", metadata=None)
    return path


KINDS = {
    "photo.jpg": jpeg,
    "field.npy": lambda path, photo: save(path, np.where(square(photo.shape, 40, 40), np.nan, photo / 7).astype(np.float32)),
    "stack.tif": stack,
}


@pytest.mark.parametrize("name", KINDS)
def test_the_files_are_those_of_the_command_line_bit_for_bit(name, photo, tmp_path):
    picture = KINDS[name](tmp_path / name, photo)
    with serving(picture) as client:
        info = client.info(page=0)
        mask = client.mask() | square((info["height"], info["width"]), 20, 10)
        client.paint(mask)
        if info["pages"] > 1:
            client.paint(square(mask.shape, 50, 60), page=1)
        client.post("api/pictures/0/keep?effort=fast")
        event = client.hear("kept", "failed")
        assert event.get("files") == [f"{picture.stem}_inpainted{picture.suffix}", mask_name(picture, info)]
        assert client.info()["state"] == "kept"
    kept = tmp_path / event["files"][0]
    mask_path = tmp_path / event["files"][1]
    assert call("inpaint", picture, "-m", mask_path, "-o", tmp_path / f"line{picture.suffix}", "--fast", "-q") == 0
    assert kept.read_bytes() == (tmp_path / f"line{picture.suffix}").read_bytes()
    assert call("inpaint", picture, "-m", mask_path, "--fast", "--skip-existing", "-q") == 0
    if name == "photo.jpg":
        result = read_image(kept)
        assert result.exif
        assert result.icc_profile


def mask_name(picture, info):
    return f"{picture.stem}_mask{'.tif' if info['pages'] > 1 else '.png'}"


def test_nothing_is_replaced_without_asking_and_a_mask_that_was_kept_is_there_again(photo, tmp_path):
    picture = save(tmp_path / "photo.png", photo)
    (tmp_path / "photo_inpainted.png").write_bytes(b"mine")
    with serving(picture) as client:
        client.paint(square(photo.shape))
        assert client.post("api/pictures/0/keep?effort=fast") == (409, {"exists": "photo_inpainted.png"})
        assert (tmp_path / "photo_inpainted.png").read_bytes() == b"mine"
        client.post("api/pictures/0/restore?effort=fast")
        assert client.hear("restored", "failed")["state"] == "restored"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "photo_inpainted.png"]
        assert client.post("api/pictures/0/keep?effort=fast&overwrite")[0] == 202
        assert client.hear("kept", "failed", "progress")["kind"] == "kept"  # without another restoration
        shown = np.asarray(Image.open(io.BytesIO(client.ask("api/pictures/0/0/after/0/0/0")[1])))
        np.testing.assert_array_equal(shown, read_image(tmp_path / "photo_inpainted.png").pixels)
    with serving(picture) as client:
        assert (client.mask() == square(photo.shape)).all()
        assert client.info()["state"] == "kept"


def test_nothing_is_written_through_a_link_that_leads_out_of_the_folder(photo, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = save(folder / "photo.png", photo)
    os.symlink(tmp_path / "elsewhere.png", folder / "photo_inpainted.png")
    with serving(picture) as client:
        client.paint(square(photo.shape))
        for query in ("", "&overwrite"):
            status, answer = client.post(f"api/pictures/0/keep?effort=fast{query}")
            assert (status, "leads out of the folder" in answer["error"]) == (422, True)
    assert not (tmp_path / "elsewhere.png").exists()


def test_a_full_disk_costs_neither_the_mask_nor_leaves_anything(photo, tmp_path, monkeypatch):
    picture = save(tmp_path / "photo.png", photo)
    with serving(picture) as client:
        client.paint(square(photo.shape))
        client.post("api/pictures/0/restore?effort=fast")
        assert client.hear("restored", "failed")["kind"] == "restored"
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
            status, answer = client.post("api/pictures/0/keep?effort=fast")
            said = answer["error"] if status == 422 else client.hear("kept", "failed")["error"]
        assert "No space left" in said
        assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
        assert (client.mask() == square(photo.shape)).all()
        client.post("api/pictures/0/keep?effort=fast")
        assert client.hear("kept", "failed")["kind"] == "kept"


def test_a_picture_that_changes_on_the_disk_is_read_again_and_its_mask_stays_if_it_fits(photo, tmp_path):
    picture = save(tmp_path / "photo.png", photo)
    with serving(picture) as client:
        client.paint(square(photo.shape))
        first = client.info()
        picture.unlink()
        assert client.ask("api/pictures/0/0")[0] == 422
        save(picture, 255 - photo)
        second = client.info()
        assert second["version"] > first["version"]
        assert (client.mask() == square(photo.shape)).all()
        picture.unlink()
        save(picture, photo[:40])
        assert not client.mask().any()
        assert client.mask().shape == (40, 96)


def test_a_restoration_is_canceled_and_by_a_stroke_outdated(photo, tmp_path):
    picture = save(tmp_path / "photo.png", np.tile(photo, (4, 4)))
    with serving(picture) as client:
        mask = np.random.default_rng(0).random((384, 384)) < 0.5
        client.paint(mask, query="")
        for stop in (lambda: client.post("api/cancel"), lambda: client.paint(~mask, query="")):
            assert client.post("api/pictures/0/restore?effort=best")[0] == 202
            assert client.post("api/pictures/0/restore")[0] == 409
            stop()
            assert client.hear("canceled", "restored", "failed")["kind"] == "canceled"
            client.session.restorer.close()


def test_bad_pixels_are_found_one_by_one(photo, tmp_path):
    hot = photo.copy()
    hot[20, 30], hot[60, 61] = 255, 0
    hot[:, 80] = 0
    with serving(save(tmp_path / "photo.png", hot)) as client:
        _, found = client.ask("api/pictures/0/0/candidates?top=2&left=1&bottom=96&right=96&kind=pixels&sensitivity=0.5")
    runs = [place["runs"] for place in found["places"]]
    assert [20, 30, 30] in runs
    assert [value for y in range(2, 96) for value in (y, 80, 80)] in runs


@pytest.mark.parametrize("infrared", [False, True])
def test_dust_is_found_one_by_one_by_infrared_where_the_scan_has_it(tmp_path, infrared):
    made = scan(128, 160, specks=10)
    pixels = np.dstack([made.dusty.astype(np.uint16) * 257, made.infrared]) if infrared else made.dusty
    tifffile.imwrite(tmp_path / "scan.tif", pixels, photometric="rgb", extrasamples=[0] if infrared else None)
    with serving(tmp_path / "scan.tif") as client:
        place = "top=4&left=8&bottom=128&right=160"
        _, found = client.ask(f"api/pictures/0/0/candidates?{place}&kind=dust&sensitivity=0.6")
    mask = np.zeros(made.dust.shape, bool)
    for place in found["places"]:
        for y, first, last in np.reshape(place["runs"], (-1, 3)):
            mask[y, first : last + 1] = True
    light = made.infrared[4:, 8:] if infrared else None
    expected = find_dust(pixels[4:, 8:, :3], channel_axis=-1, infrared=light, sensitivity=0.6)
    assert (expected.transmission is not None) == infrared
    assert len(found["places"]) == len(expected.components) > 3
    assert found["summary"] == expected.summary()
    np.testing.assert_array_equal(mask[4:, 8:], expected.mask)


TASKS = {"denoise": ("denoised", ("--fast", "--strength", 0.7)), "deblur": ("deblurred", ("-k", "gaussian:0.7"))}
TASKS |= {"upscale": ("upscaled", ("-f", 1.5))}
AMOUNTS = {"denoise": 0.7, "deblur": 0.7, "upscale": 1.5}


@pytest.mark.parametrize("task", TASKS)
def test_other_tasks_are_tried_on_a_part_and_kept_as_their_commands_do_them(task, photo, tmp_path):
    ending, options = TASKS[task]
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 12, photo.shape), 0, 255).astype(np.uint8)
    picture = save(tmp_path / "photo.png", noisy)
    with serving(picture) as client:
        query = f"task={task}&amount={AMOUNTS[task]}&effort=fast"
        assert client.post(f"api/pictures/0/0/try?top=10&left=20&bottom=58&right=84&{query}")[0] == 202
        event = client.hear("tried", "failed")
        assert (event["kind"], event["box"]) == ("tried", [10, 20, 58, 84])
        assert client.info()["trial"] == [10, 20, 58, 84]
        factor = AMOUNTS[task] if task == "upscale" else 1
        tried = np.asarray(Image.open(io.BytesIO(client.ask("api/pictures/0/trial")[1])))
        assert tried.shape == (48 * factor, 64 * factor)
        assert factor != 1 or (tried != noisy[10:58, 20:84]).any()
        client.paint(square(photo.shape, 40, 30, 4), query="")
        assert client.info()["trial"] is None
        client.post(f"api/pictures/0/keep?{query}")
        assert client.hear("kept", "failed").get("files") == [f"photo_{ending}.png", "photo_mask.png"]
        assert client.session.unkept == []
        assert client.post(f"api/pictures/0/keep?{query}")[0] == 409
    line = tmp_path / "line.png"
    assert call(task, picture, "-m", tmp_path / "photo_mask.png", "-o", line, *options, "-q") == 0
    assert (tmp_path / f"photo_{ending}.png").read_bytes() == line.read_bytes()


def test_a_trial_is_canceled_and_dropped(photo, tmp_path):
    with serving(save(tmp_path / "photo.png", np.tile(photo, (4, 4)))) as client:
        place = "top=0&left=0&bottom=384&right=384"
        for stop in (lambda: client.post("api/cancel"), lambda: client.paint(square((384, 384)), query="")):
            assert client.post(f"api/pictures/0/0/try?{place}&task=denoise&effort=best")[0] == 202
            assert client.post(f"api/pictures/0/0/try?{place}&task=denoise")[0] == 409
            stop()
            assert client.hear("canceled", "tried", "failed")["kind"] == "canceled"
            client.session.restorer.close()
        assert client.post(f"api/pictures/0/0/try?{place}&task=denoise&effort=fast")[0] == 202
        assert client.hear("tried", "failed")["kind"] == "tried"
        assert client.post("api/pictures/0/drop")[0] == 204
        assert client.info()["trial"] is None


def test_a_mask_is_saved_without_a_result_for_a_batch(photo, tmp_path):
    save(tmp_path / "photo.png", photo)
    with serving(tmp_path) as client:
        client.paint(square(photo.shape), query="")
        assert client.post("api/pictures/0/mask") == (200, {"name": "photo_mask.png"})
        assert client.post("api/pictures/0/mask") == (409, {"exists": "photo_mask.png"})
        client.paint(square(photo.shape, 30), query="")
        assert client.post("api/pictures/0/mask?overwrite")[0] == 200
    assert ((read_image(tmp_path / "photo_mask.png").pixels == 255) == square(photo.shape, 30)).all()
    assert call("inpaint", tmp_path, "-m", tmp_path, "--fast", "-q") == 0
    assert (tmp_path / "photo_inpainted.png").exists()
