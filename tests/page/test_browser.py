"""The page in headless Chromium, where there is one."""

import io
import itertools
import time

import numpy as np
import pytest
from imageio.v3 import imwrite
from PIL import Image

from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, save
from tests.detect.film import scan
from tests.page.serving import PATIENCE, serving, square
from tests.page.test_keeping import jpeg, stack
from tests.report.browser import faults, open_browser, shown_as

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
        browser.get("about:blank")
        for log in ("browser", "performance"):
            browser.get_log(log)
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
        assert ["422" in problem for problem in page.problems()] == [True]
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
        page.choose("kind", "pixels")
        page.press("find")
        page.wait_for("hot pixel")
        found = int(page.find("#found").text.split()[2])
        page.drag((20.5, 70.5))
        assert page.find("#found").text.startswith(f"{found - 1} of {found}")
        page.drag((20.5, 70.5))
        page.press("take")
        page.wait_for_mask(lambda mask: mask[70, 20] and mask.sum() < 20)
        assert page.problems() == []


def test_dust_is_found_and_one_dropped_and_a_lasso_drops_the_rest_of_a_half(browser, tmp_path):
    made = scan(SIDE, SIDE, specks=5)
    imwrite(tmp_path / "scan.png", made.dusty)
    with serving(tmp_path) as client:
        page = Page(browser, client)
        page.press("find")
        page.wait_for("specks")
        place = f"top=0&left=0&bottom={SIDE}&right={SIDE}"
        found = client.ask(f"api/pictures/0/0/candidates?{place}&kind=dust&sensitivity=0.5")[1]["places"]
        boxes = [one["box"] for one in found]
        middles = [((left + right) / 2, (top + bottom) / 2) for top, left, bottom, right in boxes]
        assert chosen_of(page) == (len(boxes), len(boxes))
        page.drag(middles[0])
        assert chosen_of(page) == (len(boxes) - 1, len(boxes))
        page.drag(middles[0])
        page.keys("o")
        page.drag((1, 1), (SIDE / 2, 1), (SIDE / 2, SIDE - 1), (1, SIDE - 1))
        left = sum(x < SIDE / 2 for x, _ in middles)
        assert 0 < left < len(boxes)
        assert chosen_of(page) == (len(boxes) - left, len(boxes))
        page.press("take")
        page.wait_for_mask(lambda mask: mask[:, SIDE // 2 + 4 :].any() and not mask[:, : SIDE // 2 - 4].any())
        assert page.problems() == []


def chosen_of(page):
    """How many candidates are chosen, and how many there are."""
    chosen, of, found = page.find("#found").text.split()[:3]
    assert of == "of"
    return int(chosen), int(found)


def test_another_task_is_tried_compared_dropped_and_kept(browser, folder):
    with serving(folder) as client:
        page = Page(browser, client)
        page.choose("effort", "fast")
        page.press("try")
        page.wait_for("Tried")
        assert client.info()["trial"] == [0, 0, SIDE, SIDE]
        assert page.find("input[name=show]:checked").get_attribute("value") == "compare"
        browser.refresh()
        page.wait(lambda: page.find("[data-do=forget]").is_enabled())
        page.press("forget")
        page.wait(lambda: client.info()["trial"] is None)
        page.choose("task", "deblur")
        assert "pixels" in page.find("#amountname").text
        page.press("keepTask")
        page.wait_for("Kept: a_deblurred.png.")
        assert (folder / "a_deblurred.png").exists()
        assert page.problems() == []


def test_one_channel_is_shown_and_undo_stays(browser, folder, photo):
    with serving(folder) as client:
        page = Page(browser, client, 1)
        page.drag((20, 30), (70, 30))
        page.wait_for("Filled")
        browser.execute_script(
            "arguments[0].value = '2'; arguments[0].dispatchEvent(new Event('change'))", page.find("#channel")
        )
        page.wait(lambda: client.info(1)["channel"] == 2)
        page.wait_for("Filled")
        red, green, blue, _ = middle_of(page)
        assert red == green == blue
        page.press("undo")
        page.wait_for_mask(lambda mask: not mask.any())
        assert page.problems() == []


def test_a_mask_is_seen_as_faintly_as_wanted_grown_and_saved(browser, folder):
    with serving(folder) as client:
        page = Page(browser, client)
        client.paint(square((SIDE, SIDE), 40, 40, 9), query="")
        page.wait(lambda: page.find("#marked").text.startswith("81 pixels"))
        page.choose("show", "mask")
        shades = []
        for keys in ("", "\ue011"):  # Home: as faint as it gets
            page.find("#opacity").send_keys(keys)
            shades.append(middle_of(page))
        assert shades[0][0] > shades[1][0] + 40  # less of the magenta
        assert shades[1] != middle_of(page, "result")
        page.press("grow")
        page.wait_for_mask(lambda mask: (mask == square((SIDE, SIDE), 39, 39, 11)).all())
        page.press("save")
        page.wait_for("Saved: a_mask.png.")
        assert (folder / "a_mask.png").exists()


def middle_of(page, show=None):
    """The color in the middle of the canvas, once it has been drawn."""
    if show is not None:
        page.choose("show", show)
    return page.browser.execute_async_script(
        """const done = arguments[0], canvas = document.querySelector("canvas");
        requestAnimationFrame(() => requestAnimationFrame(() =>
          done([...canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data])));"""
    )


def test_the_picture_before_is_seen_while_a_key_or_the_button_is_held(browser, folder):
    from selenium.webdriver import ActionChains

    with serving(folder) as client:
        page = Page(browser, client)
        page.wait(lambda: middle_of(page)[3] == 255, "nothing is drawn;")
        before = middle_of(page)
        client.paint(square((SIDE, SIDE), 28, 28, 40))
        page.wait_for("Filled. ")
        filled = page.tile("after")[SIDE // 2 - 1 : SIDE // 2 + 1, SIDE // 2 - 1 : SIDE // 2 + 1]
        page.wait(lambda: middle_of(page) != before and middle_of(page)[0] in filled, "the fill isn't drawn;")
        after = middle_of(page)
        ActionChains(browser).move_to_element(page.find("#hold")).click_and_hold().perform()
        assert middle_of(page) == before
        ActionChains(browser).release().perform()
        assert middle_of(page) == after
        browser.execute_script("arguments[0].focus()", page.find("canvas"))
        ActionChains(browser).key_down("x").perform()
        assert middle_of(page) == before
        ActionChains(browser).key_up("x").perform()
        assert middle_of(page) == after
        for key, shown in (("\ue011", after), ("\ue010", before)):  # Home: all of it is after; End: before
            page.choose("show", "compare")
            page.find("#split").send_keys(key)
            assert middle_of(page) == shown


def test_what_is_painted_while_the_server_is_out_of_reach_is_sent_when_it_is_back(browser, folder):
    def network(offline):
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd(
            "Network.emulateNetworkConditions",
            {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
        )

    with serving(folder) as client:
        page = Page(browser, client)
        network(offline=True)
        try:
            page.drag((20, 30), (70, 30))
            page.wait_for("doesn't answer")
            assert not page.mask().any()
        finally:
            network(offline=False)
        page.drag((20, 60), (70, 60))
        page.wait_for_mask(lambda mask: mask[30, 20:70].all() and mask[60, 20:70].all())


def test_all_painted_pictures_are_kept_one_after_the_other(browser, folder):
    with serving(folder) as client:
        page = Page(browser, client)
        page.choose("effort", "fast")
        for number in (0, 2):
            client.paint(square((SIDE, SIDE)), number, query="")
        page.wait(lambda: page.find("[data-do=keepAll]").is_enabled())
        page.press("keepAll")
        page.wait(lambda: (folder / "a_inpainted.png").exists() and (folder / "c_inpainted.tif").exists())
        assert not (folder / "b_inpainted.jpg").exists()


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


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark"), (1280, "light")])
def test_the_page_fits_and_has_no_serious_accessibility_fault(browser, folder, width, scheme):
    with serving(folder) as client, shown_as(browser, width, scheme):
        page = Page(browser, client)
        client.paint(square((SIDE, SIDE), 10, 10, 5), query="")
        page.wait(lambda: page.find("#marked").get_attribute("textContent").startswith("25 pixels"))
        for tool in page.browser.find_elements("css selector", "#tools label"):
            assert tool.rect["x"] >= 0
            assert tool.rect["x"] + tool.rect["width"] <= width
        if width == 360:
            page.find("#more").click()
            assert page.find("#panel").is_displayed()
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
        assert faults(browser) == []
        page.choose("show", "compare")
        assert faults(browser) == []


def test_pages_of_a_stack_have_masks_of_their_own(browser, tmp_path, photo):
    stack(tmp_path / "stack.tif", photo)
    with serving(tmp_path / "stack.tif") as client:
        page = Page(browser, client)
        assert page.find("#pageno").text == "1 of 2"
        browser.execute_script("arguments[0].value = 2; arguments[0].dispatchEvent(new Event('change'))", page.find("#page"))
        page.wait(lambda: page.find("#pageno").text == "2 of 2")
        page.wait_for("Paint over")
        page.drag((20, 30), (70, 30))
        page.wait(lambda: client.mask(0, 1)[30, 20:70].all())
        assert not client.mask(0, 0).any()
        assert page.problems() == []


def test_two_windows_show_one_mask(browser, folder, photo):
    with serving(folder) as client:
        page = Page(browser, client)
        client.paint(square(photo.shape, 10, 10, 5))
        page.wait(lambda: page.find("#marked").text.startswith("25 pixels"))
        page.drag((60, 60), (70, 60))
        page.wait_for_mask(lambda mask: mask[60, 60:70].all() and mask[12, 12])
