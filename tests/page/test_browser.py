"""The page in headless Chromium, where there is one."""

import io
import itertools
import time

import numpy as np
import pytest
from PIL import Image

from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, save
from tests.page.serving import PATIENCE, serving, square
from tests.page.test_keeping import jpeg
from tests.report.browser import open_browser

SIDE = 96


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def folder(tmp_path, photo):
    """Three pictures: 8 bits with a hot pixel, a JPEG, and 16 bits."""
    hot = photo.copy()
    hot[70, 20] = 255
    save(tmp_path / "a.png", hot)
    jpeg(tmp_path / "b.jpg", photo)
    save(tmp_path / "c.tif", photo.astype(np.uint16) * 200)
    return tmp_path


class Page:
    """What a person does with the page."""

    def __init__(self, browser, client, number=0):
        self.browser, self.client, self.number = browser, client, number
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get("about:blank")
        browser.get(f"{client.url}#{number}/0")
        self.wait_for("Paint over")

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def press(self, name):
        self.find(f"[data-do={name}]").click()

    def choose(self, name, value):
        self.browser.execute_script("arguments[0].click()", self.find(f"input[name={name}][value={value}]"))

    def keys(self, *keys):
        self.find("canvas").send_keys(*keys)

    def status(self):
        return self.find("#status").text

    def wait_for(self, text):
        self.wait(lambda: text in self.status(), f"{text!r} in")

    def wait(self, is_so, what=""):
        end = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < end, f"{what} {self.status()!r}"
            time.sleep(0.02)

    def drag(self, *places):
        """Draw through places of the picture, of SIDE pixels, which fits into the canvas."""
        from selenium.webdriver import ActionChains

        canvas = self.find("canvas")
        size = min(canvas.size["width"], canvas.size["height"]) * 0.96 / SIDE
        steps = [(round((x - SIDE / 2) * size), round((y - SIDE / 2) * size)) for x, y in places]
        actions = ActionChains(self.browser, duration=10).move_to_element_with_offset(canvas, *steps[0]).click_and_hold()
        for (x, y), (to_x, to_y) in itertools.pairwise(steps):
            actions = actions.move_by_offset(to_x - x, to_y - y)
        actions.release().perform()

    def mask(self):
        return self.client.mask(self.number)

    def wait_for_mask(self, is_so):
        self.wait(lambda: is_so(self.mask()), "the mask isn't so;")

    def tile(self, layer):
        return np.asarray(Image.open(io.BytesIO(self.client.ask(f"api/pictures/{self.number}/0/{layer}/0/0/0")[1])))

    def problems(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]


def test_a_stroke_is_painted_filled_undone_and_erased(browser, folder, photo):
    with serving(folder) as client:
        page = Page(browser, client)
        page.drag((20, 30), (70, 30))
        page.wait_for("Filled")
        stroke = page.mask()
        assert stroke[30, 20:70].all()
        assert not stroke[60:].any()
        before, after = page.tile("before"), page.tile("after")
        assert (after[~stroke] == before[~stroke]).all()
        assert (after[stroke] != before[stroke]).any()
        page.press("undo")
        page.wait_for_mask(lambda mask: not mask.any())
        page.wait_for("Filled")
        assert (page.tile("after") == before).all()
        page.press("redo")
        page.wait_for_mask(lambda mask: (mask == stroke).all())
        page.choose("tool", "eraser")
        page.drag((45, 20), (45, 40))
        page.wait_for_mask(lambda mask: not mask[30, 45])
        assert page.mask()[30, 22]
        browser.refresh()  # the state is the server's
        page.wait(lambda: page.find("#marked").text.startswith(f"{page.mask().sum()} pixels"))
        assert page.problems() == []


def test_shapes_and_the_fill_mark_what_is_inside_of_them(browser, folder):
    with serving(folder) as client:
        page = Page(browser, client)
        page.find("#live").click()
        page.keys("r")
        page.drag((10, 10), (30, 20))
        page.wait_for_mask(lambda mask: mask[12:18, 12:28].all() and not mask[25:].any())
        page.keys("o")
        page.drag((50, 10), (80, 10), (65, 40))
        page.wait_for_mask(lambda mask: mask[15, 65] and not mask[35, 52])
        page.press("clear")
        page.wait_for_mask(lambda mask: not mask.any())
        page.keys("[" * 8, "b")
        page.drag((20, 50), (60, 50), (60, 90), (20, 90), (20, 50))
        page.keys("f")
        page.drag((40, 70))
        page.wait_for_mask(lambda mask: mask[55:85, 25:55].all() and not mask[:40].any())
        page.drag((80, 20))
        page.wait_for("isn't closed")
        page.press("invert")
        page.wait_for_mask(lambda mask: mask[:40].all() and not mask[55:85, 25:55].any())
        assert page.problems() == []


def test_the_picture_is_zoomed_by_wheel_and_keys_and_the_brush_by_both(browser, folder):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    with serving(folder) as client:
        page = Page(browser, client)
        scale = page.find("#scale").text
        origin = ScrollOrigin.from_element(page.find("canvas"))
        ActionChains(browser).scroll_from_origin(origin, 0, -300).perform()
        page.wait(lambda: int(page.find("#scale").text.split()[0]) > int(scale.split()[0]))
        page.keys("0")
        page.wait(lambda: page.find("#scale").text == scale)
        size = page.find("#sizeno").text
        page.keys("]]")
        larger = page.find("#sizeno").text
        page.keys("[[")
        assert int(larger.split()[0]) > int(size.split()[0]) == int(page.find("#sizeno").text.split()[0])
        page.keys("b", "\ue014", "\ue014", "\ue007")  # right, right, Enter: without a mouse
        page.wait_for_mask(lambda mask: mask.any())


def test_one_finger_paints_and_two_zoom_and_move(browser, folder):
    with serving(folder) as client:
        page = Page(browser, client)
        frame = page.find("canvas").rect
        x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2

        def touch(kind, *offsets):
            points = [{"x": x + by, "y": y, "id": i} for i, by in enumerate(offsets)]
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        scale = int(page.find("#scale").text.split()[0])
        touch("touchStart", -50)
        touch("touchStart", -50, 50)
        touch("touchMove", -100, 100)
        touch("touchEnd")
        page.wait(lambda: int(page.find("#scale").text.split()[0]) == pytest.approx(2 * scale, abs=2))
        assert not page.mask().any()
        touch("touchStart", -20)
        touch("touchMove", 20)
        touch("touchEnd")
        page.wait_for_mask(lambda mask: mask[48, 48])
        assert page.problems() == []


def test_a_candidate_is_found_dropped_and_taken(browser, folder):
    with serving(folder) as client:
        page = Page(browser, client)
        page.press("find")
        page.wait_for("hot pixel")
        found = int(page.find("#found").text.split()[2])
        page.drag((20.5, 70.5))
        assert page.find("#found").text.startswith(f"{found - 1} of {found}")
        page.drag((20.5, 70.5))
        page.press("take")
        page.wait_for_mask(lambda mask: mask[70, 20] and mask.sum() < 20)
        assert page.problems() == []


def test_a_mask_is_loaded_and_what_is_kept_is_the_command_lines(browser, folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    mask = square((SIDE, SIDE), 40, 30, 9)
    save(elsewhere / "mask.png", mask.astype(np.uint8) * 255)
    with serving(folder) as client:
        page = Page(browser, client, 1)
        page.find("#file").send_keys(str(elsewhere / "mask.png"))
        page.wait_for_mask(lambda found: (found == mask).all())
        page.choose("effort", "fast")
        page.press("keep")
        page.wait_for("Kept")
        kept, line = folder / "b_inpainted.jpg", elsewhere / "b.jpg"
        assert call("inpaint", folder / "b.jpg", "-m", elsewhere / "mask.png", "-o", line, "--fast", "-q") == 0
        assert kept.read_bytes() == line.read_bytes()
        assert read_image(kept).exif
        assert read_image(kept).icc_profile
        states = [item.text for item in browser.find_elements("css selector", "#strip .state")]
        assert [state.strip() for state in states] == ["", "kept", ""]
        body = browser.find_element("css selector", "body")
        body.send_keys("\ue00f")  # Page Down
        page.wait(lambda: page.find("#about").text == "96 x 96, 16 bits, 1 channel")
        body.send_keys("\ue00e")  # Page Up
        page.wait(lambda: page.find("#name").text == "b.jpg")
        page.drag((10, 10), (12, 12))
        page.wait_for("Filled")
        page.press("keep")
        page.wait(lambda: page.find("#question").is_displayed())
        assert page.find("#question").text == "Replace b_inpainted.jpg and b_mask.png?"


def test_two_windows_show_one_mask(browser, folder, photo):
    with serving(folder) as client:
        page = Page(browser, client)
        client.paint(square(photo.shape, 10, 10, 5))
        page.wait(lambda: page.find("#marked").text.startswith("25 pixels"))
        page.drag((60, 60), (70, 60))
        page.wait_for_mask(lambda mask: mask[60, 60:70].all() and mask[12, 12])
