"""The report in headless Chromium, where there is one."""

import re
from dataclasses import replace

import numpy as np
import pytest

from csc_cogd.report.index import write_index
from csc_cogd.report.page import write_page
from csc_cogd.report.thumbnails import write_thumbnail
from tests.report.browser import faults, open_browser, problems, shown_as, visit
from tests.report.entries import CURVE, HISTORY, damaged, dictionary


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def page(tmp_path_factory, photo):
    entry = replace(
        damaged(photo), fit=photo * 1.0, dictionary=dictionary(), usage=np.arange(6), history=HISTORY, curve=CURVE
    )
    path = tmp_path_factory.mktemp("report") / "Straße <1>.html"
    write_page(path, entry)
    return path


def find(browser, selector):
    return browser.find_element("css selector", selector)


def split(browser):
    """Where the layer right of the slider begins, in per cent, as computed by the browser."""
    clip = find(browser, ".layer.right").value_of_css_property("clip-path")
    return float(re.fullmatch(r"inset\(0px 0px 0px ([\d.]+)%\)", clip)[1])


def test_the_slider_is_dragged_and_goes_by_keys(browser, page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    visit(browser, page)
    assert split(browser) == 50
    slider = find(browser, ".viewer input[type=range]")
    width = slider.size["width"]
    ActionChains(browser).move_to_element(slider).click_and_hold().move_by_offset(width // 4, 0).release().perform()
    assert split(browser) == pytest.approx(75, abs=1)
    handle = find(browser, ".handle").rect
    assert handle["x"] + 1 == pytest.approx(slider.rect["x"] + 0.75 * width, abs=0.02 * width)
    slider.send_keys(Keys.HOME)
    assert split(browser) == 0
    slider.send_keys(Keys.ARROW_RIGHT)
    assert split(browser) == 1
    assert problems(browser, page) == []


def test_a_finger_moves_the_slider(browser, page):
    visit(browser, page)
    area = find(browser, ".viewer input[type=range]").rect
    x, y = area["x"] + 0.2 * area["width"], area["y"] + 0.5 * area["height"]
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert split(browser) == pytest.approx(20, abs=1)


def test_layers_are_chosen_and_the_mask_is_shown_and_hidden(browser, page):
    visit(browser, page)
    assert [find(browser, f".layer.{side} img").get_attribute("alt") for side in ("left", "right")] == ["Before", "After"]
    marks = find(browser, ".marks")
    assert marks.is_displayed()
    assert marks.size == find(browser, ".layer.left img").size
    find(browser, "input.mark").click()
    assert not marks.is_displayed()
    browser.execute_script("arguments[0].click()", find(browser, ".right input[value=Reference]"))
    assert find(browser, ".layer.right").get_attribute("data-layer") == "Reference"
    assert find(browser, ".name.right").text == "Reference"
    shown = [
        one.get_attribute("data-layer") for one in browser.find_elements("css selector", ".layer") if one.is_displayed()
    ]
    assert shown == ["Before", "Reference"]
    browser.execute_script("arguments[0].click()", find(browser, ".left input[value=Reference]"))
    assert find(browser, ".layer.left.right").value_of_css_property("clip-path") == "none"
    assert problems(browser, page) == []


def test_zoom_shows_pixels_one_to_one(browser, page):
    from selenium.webdriver.support.ui import Select

    visit(browser, page)
    zoom = Select(find(browser, "select.zoom"))
    image = find(browser, ".layer.left img")
    fit = image.size
    assert fit["width"] == fit["height"] > 96
    for factor in (1, 8):
        zoom.select_by_value(str(factor))
        assert image.size == {"width": 96 * factor, "height": 96 * factor}
    assert image.value_of_css_property("image-rendering") == "pixelated"
    zoom.select_by_value("0")
    assert image.size == fit


def test_places_of_a_large_picture_have_sliders_of_their_own(browser, tmp_path):
    picture = (np.mgrid[:40, :2000].sum(axis=0) % 256).astype(np.uint8)
    write_page(tmp_path / "large.html", damaged(picture))
    visit(browser, tmp_path / "large.html")
    assert len(browser.find_elements("css selector", ".viewer")) == 4
    second = browser.find_elements("css selector", ".viewer input[type=range]")[1]
    second.send_keys("\ue010")  # End
    clips = [one.value_of_css_property("clip-path") for one in browser.find_elements("css selector", ".layer.right")]
    assert [clip.split()[-1] for clip in clips] == ["50%)", "100%)", "50%)", "50%)"]


def test_the_contact_sheet_is_sorted_filtered_and_leads_to_pages(browser, page, photo):
    from selenium.webdriver.support.ui import Select

    figures = [("b 10.png", 9.5), ("b 9.png", 31.25), ("a.png", None), ("Ä.png", 100.0)]
    write_thumbnail(page.parent / "small ü.jpg", photo)
    about = {"page": page.name, "thumbnail": "small ü.jpg"}
    files = [
        {"input": name, "output": "", "status": "done", "seconds": i, "report": about | {"psnr": psnr}}
        for i, (name, psnr) in enumerate(figures)
    ]
    files[2] |= {"altered": 0}
    write_index(page.parent, [*files, {"input": "c.png", "status": "failed", "error": "why"}])
    index = page.parent / "index.html"
    visit(browser, index)

    def names():
        titles = browser.find_elements("css selector", ".files h3")
        return [title.text for title in titles if title.is_displayed()]

    assert names() == ["c.png", "b 10.png", "b 9.png", "Ä.png", "a.png"]
    order = Select(find(browser, ".order"))
    order.select_by_value("-seconds")
    assert names() == ["Ä.png", "a.png", "b 9.png", "b 10.png", "c.png"]
    order.select_by_visible_text("PSNR, lowest first")
    assert names()[:3] == ["b 10.png", "b 9.png", "Ä.png"]
    order.select_by_value("name")
    assert [name for name in names() if name != "Ä.png"] == ["a.png", "b 9.png", "b 10.png", "c.png"]
    for state, shown in (("failed", ["c.png"]), ("unchanged", ["a.png"]), ("changed", ["b 9.png", "b 10.png", "Ä.png"])):
        browser.execute_script("arguments[0].click()", find(browser, f"input[value={state}]"))
        assert sorted(names()) == sorted(shown)
    find(browser, "input.filter").send_keys("B ")
    assert names() == ["b 9.png", "b 10.png"]
    find(browser, "input.filter").send_keys("nothing")
    assert find(browser, ".nothing").is_displayed()
    find(browser, "input.filter").clear()
    find(browser, "input.filter").send_keys("b 1")
    image = find(browser, ".files li:not([hidden]) img")
    assert browser.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image) == 96
    assert problems(browser, index) == [(page.parent / "small ü.jpg").as_uri()]
    find(browser, ".files li:not([hidden]) a").click()
    assert browser.current_url == page.as_uri()


def test_the_contact_sheet_fits_a_phone(browser, page):
    name = "a" * 60 + ".png"
    files = [{"input": name, "status": "done", "missing": 0.1, "warnings": ["w" * 90]}, {"input": "b", "status": "skipped"}]
    write_index(page.parent, files, overwrite=True)
    with shown_as(browser, 360):
        visit(browser, page.parent / "index.html")
        wide, shown = browser.execute_script("return [document.body.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= shown <= 360
        rights = browser.execute_script(
            "return [...document.querySelectorAll('body *')].map((one) => one.getBoundingClientRect().right)"
        )
        assert max(rights) <= shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_reports_have_no_serious_accessibility_fault(browser, page, photo, scheme):
    write_thumbnail(page.parent / "small.jpg", photo)
    about = {"page": page.name, "thumbnail": "small.jpg", "psnr": 30.5}
    files = [
        {"input": "a.png", "status": "done", "seconds": 1.0, "missing": 0.1, "warnings": ["mind this"], "report": about},
        {"input": "b.png", "status": "failed", "error": "b.png: not an image"},
        {"input": "c.png", "status": "skipped", "seconds": 3.0},
    ]
    write_index(page.parent, files, overwrite=True)
    with shown_as(browser, 1100, scheme):
        for shown in (page.parent / "index.html", page):
            visit(browser, shown)
            assert faults(browser) == []
