"""What the server answers, and to whom."""

import http.client
import io
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from csc_cogd import inpaint
from csc_cogd.page import filling
from csc_cogd.page import server as server_module
from tests.cli.calling import save
from tests.page.serving import PATIENCE, serving, square

PART = "top=8&left=8&bottom=64&right=64"


@pytest.fixture(scope="module")
def client(tmp_path_factory, photo):
    folder = tmp_path_factory.mktemp("pictures")
    save(folder / "photo.png", photo)
    (folder / "secret.txt").write_text("nobody's business")
    with serving(folder) as client:
        yield client


@pytest.mark.parametrize(
    "headers", [
        {"Host": "csc-cogd.example"}, {"Host": "csc-cogd.example:80"}, {"Origin": "http://csc-cogd.example"},
        {"Origin": "null"}, {"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "api/overview"), ("POST", "api/cancel")])
def test_other_sites_and_names_are_refused(client, headers, method, path):
    status, answer = client.ask(path, method, headers=headers)
    assert status == 403
    assert set(answer) == {"error"}


def test_the_page_itself_is_answered(client):
    for headers in ({}, {"Origin": f"http://{client.host}"}, {"Sec-Fetch-Site": "same-origin"}):
        status, answer = client.ask("api/overview", headers=headers)
        assert (status, [picture["name"] for picture in answer["pictures"]]) == (200, ["photo.png"])
    port = client.host.partition(":")[2]
    assert client.ask("", headers={"Host": f"localhost:{port}"})[0] == 200


def test_the_page_is_small_and_asks_nobody_else(client):
    folder = Path(server_module.__file__).parent
    files = [path for path in folder.iterdir() if path.suffix in server_module.TYPES]
    contents = [client.ask(path.name)[1] for path in files]
    assert contents == [path.read_bytes() for path in files]
    assert sum(map(len, contents)) < 60_000
    assert not [path.name for path in files if re.search(rb"https?://|//[a-z]+\.", path.read_bytes())]


@pytest.mark.parametrize("token", ["", "x", "a" * 32, "%2e%2e", "%C3%A9"])
def test_another_token_is_refused(client, token):
    assert client.ask("api/overview", token=token)[0] == 403


@pytest.mark.parametrize(
    "path", [
        "../secret.txt", "..%2fsecret.txt", "secret.txt", "server.py", "../server.py", "..%2f..%2fpyproject.toml",
        "api/pictures/..%2fsecret.txt/0", "api/pictures/0/0/before/0/0/..%2f..%2fsecret.txt", "api/pictures/-1/0",
        "%2fetc%2fpasswd", "app.js%00.txt",
    ],
)  # fmt: skip
def test_no_path_leads_elsewhere(client, path):
    status, answer = client.ask(path)
    assert status in (403, 404)
    assert b"nobody" not in (answer if isinstance(answer, bytes) else str(answer).encode())


def test_an_upload_of_200_mb_is_refused_before_it_is_read(client):
    connection = http.client.HTTPConnection(client.host, timeout=30)
    connection.putrequest("POST", f"/{client.token}/api/pictures/0/0/read?name=mask.png")
    connection.putheader("Content-Length", str(200 * 10**6))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_an_upload_that_does_not_say_its_length_is_cut_off(client, monkeypatch):
    monkeypatch.setattr(server_module, "LARGEST_BODY", 10**6)
    status, answer = client.ask("api/pictures/0/0/read?name=m.png", "POST", iter([bytes(2**16)] * 40))
    assert (status, "MB" in answer["error"]) == (422, True)


@pytest.mark.parametrize(
    "path", [
        "api/pictures/7/0", "api/pictures/0/3", "api/pictures/0/0/before/9/0/0", "api/pictures/0/0/grown?by=no",
        "api/pictures/0/0/grown?by=0", "api/pictures/0/0/candidates?kind=pixels&sensitivity=1",
        f"api/pictures/0/0/candidates?{PART}&kind=cats&sensitivity=1",
        f"api/pictures/0/0/candidates?{PART}&kind=pixels&sensitivity=nan",
        f"api/pictures/0/0/candidates?{PART}&kind=dust&sensitivity=1.1",
        f"api/pictures/0/0/candidates?{PART.replace('=8', '=-8')}&kind=pixels&sensitivity=1",
        f"api/pictures/0/0/candidates?{PART.replace('=8', '=99')}&kind=dust&sensitivity=1",
        "api/pictures/0/0/flooded?x=96&y=0", "api/pictures/0/0/flooded?x=0&y=-1", "api/pictures/0/0/flooded?x=0&y=0",
        "api/pictures/0/trial",
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(client, path):
    status, answer = client.ask(path)
    assert (status, list(answer)) == (422, ["error"])


def test_a_change_of_the_mask_is_known_to_all_windows_and_must_fit(client, photo):
    mask = square(photo.shape)
    revision = client.info()["revision"]
    assert client.paint(mask, revision=revision) == (200, {"revision": revision + 1})
    while (heard := client.hear("mask")["revision"]) <= revision:
        pass  # what earlier tests did is heard, too
    assert heard == revision + 1
    assert (client.mask() == mask).all()
    status, answer = client.paint(~mask, revision=revision)
    assert (status, list(answer)) == (409, ["conflict"])
    assert (client.mask() == mask).all()
    for wrong in ((96, 97), (97, 96)):
        assert client.paint(square(wrong))[0] == 422
    place = f"top=0&left=0&bottom=4&right=4&revision={client.info()['revision']}"
    assert client.post(f"api/pictures/0/0/mask?{place}", bytes(3))[0] == 422


@pytest.mark.parametrize(
    "query", [
        f"0/try?{PART}&task=clean", f"0/try?{PART}&task=deblur&amount=0", f"0/try?{PART}&task=upscale&amount=17",
        f"0/try?{PART}&task=denoise&amount=-1", f"0/try?{PART}&task=denoise&effort=none", f"0/try?{PART}&amount=x",
        f"0/try?{PART.replace('=8', '=99')}&task=denoise", "0/try?task=denoise", "keep?task=cats", "channel?channel=0",
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(client, query):
    status, answer = client.post(f"api/pictures/0/{query}")
    assert (status, list(answer)) == (422, ["error"])
    assert not client.session.restorer.busy


def test_outlines_are_flooded_from_a_place_inside_and_masks_inverted(client, photo):
    outline = square(photo.shape, 20, 20, 30) & ~square(photo.shape, 22, 22, 26)
    client.paint(outline, query="")
    _, inside = client.ask("api/pictures/0/0/flooded?x=30&y=40")
    assert inside == np.packbits(square(photo.shape, 20, 20, 30)).tobytes()
    _, without = client.ask("api/pictures/0/0/flooded?x=20&y=20&erase")
    assert without == bytes(len(inside))
    assert client.ask("api/pictures/0/0/flooded?x=20&y=20")[1] == np.packbits(outline).tobytes()
    assert client.ask("api/pictures/0/0/flooded?x=0&y=0")[0] == 422  # most of the picture
    assert client.ask("api/pictures/0/0/inverted")[1] == np.packbits(~outline).tobytes()


def test_one_channel_is_shown_and_everything_else_stays(tmp_path, photo):
    colors = np.dstack([photo, photo[::-1], photo.T])
    with serving(save(tmp_path / "photo.png", colors)) as client:
        client.paint(square(photo.shape), query="")
        assert (client.info()["channels"], client.info()["channel"]) == (3, None)
        assert client.post("api/pictures/0/channel?channel=1")[0] == 204
        assert client.hear("channel")["picture"] == 0
        shown = np.asarray(Image.open(io.BytesIO(client.ask("api/pictures/0/0/before/0/0/0")[1])))
        np.testing.assert_array_equal(shown, photo[::-1])
        assert client.info()["channel"] == 1
        assert (client.mask() == square(photo.shape)).all()
        assert client.post("api/pictures/0/channel?channel=3")[0] == 422
        assert client.post("api/pictures/0/channel")[0] == 204
        shown = np.asarray(Image.open(io.BytesIO(client.ask("api/pictures/0/0/before/0/0/0")[1])))
        np.testing.assert_array_equal(shown, colors)


def test_a_mask_is_filled_grown_and_read_from_a_file(client, photo, tmp_path):
    mask = square(photo.shape, 30, 40)
    client.paint(mask)
    while client.hear("filled", "failed")["revision"] != client.info()["revision"]:
        pass
    before, after = (np.asarray(Image.open(io.BytesIO(client.ask(f"api/pictures/0/0/{layer}/0/0/0")[1]))) for layer in (
        "before", "after"
    ))  # fmt: skip
    assert (before == photo).all()
    assert (after[~mask] == photo[~mask]).all()
    assert (after[mask] != photo[mask]).any()
    _, grown = client.ask("api/pictures/0/0/grown?by=2")
    assert grown == np.packbits(binary_dilation(mask, np.ones((3, 3)), iterations=2)).tobytes()
    drawn = save(tmp_path / "drawn.png", square(photo.shape, 2, 3).astype(np.uint8)).read_bytes()
    assert client.post("api/pictures/0/0/read?name=drawn.png", drawn) == (
        200,
        np.packbits(square(photo.shape, 2, 3)).tobytes(),
    )
    small = save(tmp_path / "small.png", np.eye(9, dtype=np.uint8)).read_bytes()
    status, answer = client.post("api/pictures/0/0/read?name=small.png", small)
    assert (status, answer["error"].startswith("small.png: the mask must be of the image's size")) == (422, True)
    assert client.post("api/pictures/0/0/read?name=x.png", b"GIF89a")[0] == 422


def test_full_quality_follows_the_preview(tmp_path, photo):
    mask = square(photo.shape, 30, 40)
    with serving(save(tmp_path / "photo.png", photo)) as client:
        client.paint(mask)
        assert [client.hear("filled", "unfilled")["preview"] for _ in range(2)] == [True, False]
        shown = np.asarray(Image.open(io.BytesIO(client.ask("api/pictures/0/0/after/0/0/0")[1])))
    np.testing.assert_array_equal(shown, inpaint(photo, mask, device="cpu"))


def test_a_stroke_need_not_wait_for_full_quality(tmp_path, photo, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments, solve, **options):
        if solve == filling.FULL:
            begun.set()
            assert go_on.wait(PATIENCE)
        return inpaint(*arguments, solve=solve, **options)

    monkeypatch.setattr(filling, "inpaint", slow)
    with serving(save(tmp_path / "photo.png", photo)) as client:
        try:
            client.paint(square(photo.shape))
            assert begun.wait(PATIENCE)
            mask = square(photo.shape) | square(photo.shape, 60, 60)
            client.paint(mask)
            while (event := client.hear("filled", "unfilled"))["revision"] < client.info()["revision"]:
                assert event["preview"]
            assert event["preview"]
        finally:
            go_on.set()
        assert not (event := client.hear("filled", "unfilled"))["preview"]
        assert event["revision"] == client.info()["revision"]
        shown = np.asarray(Image.open(io.BytesIO(client.ask("api/pictures/0/0/after/0/0/0")[1])))
    np.testing.assert_array_equal(shown, inpaint(photo, mask, device="cpu"))


def test_a_picture_of_one_pixel_is_shown_and_cannot_be_restored(tmp_path):
    with serving(save(tmp_path / "one.png", np.array([[7]], np.uint8))) as client:
        assert [client.info()[name] for name in ("width", "height", "levels")] == [1, 1, 1]
        assert client.paint(np.ones((1, 1), bool))[0] == 200
        client.hear("filled")
        client.post("api/pictures/0/restore")
        assert "full" in client.hear("failed", "restored")["error"]


def test_what_is_not_an_image_is_told_and_costs_only_itself(tmp_path, photo):
    save(tmp_path / "a.png", photo)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with serving(tmp_path) as client:
        assert client.ask("api/pictures/1/0")[0] == client.ask("api/pictures/1/thumbnail")[0] == 422
        assert client.ask("api/pictures/0/0")[0] == client.ask("api/pictures/0/thumbnail")[0] == 200


def test_a_folder_has_no_masks_results_and_links_out_of_it(tmp_path, photo):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "a_mask.png", "a_inpainted.png", "a_denoised.png", "a_upscaled.png", "gas_mask.png"):
        save(folder / name, photo)
    save(tmp_path / "outside.png", photo)
    os.symlink(tmp_path / "outside.png", folder / "link.png")
    with serving(folder) as client:
        found = {picture["name"]: picture["state"] for picture in client.ask("api/overview")[1]["pictures"]}
    assert found == {"a.png": "kept", "gas_mask.png": "untouched"}


def test_it_stops_when_the_last_window_is_closed(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(server_module, "GRACE", 0.1)
    save(tmp_path / "a.png", photo)
    with serving(tmp_path / "a.png", keep=False) as client:
        client.close()
        client.thread.join(30)
        assert not client.thread.is_alive()
