"""The report in headless Chromium, where there is one."""

import re
from dataclasses import replace

import numpy as np
import pytest

from csc_cogd.report.index import write_index
from csc_cogd.report.page import write_page
from tests.report.browser import open_browser, problems, visit
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


def test_the_index_is_sorted_by_clicks_and_filtered(browser, page):
    figures = [("b 10.png", 9.5), ("b 9.png", 31.25), ("a.png", None), ("Ä.png", 100.0)]
    write_index(page.parent, [
        {"input": name, "output": "", "status": "done", "seconds": 1, "report": {"page": page.name, "psnr": psnr}}
        for name, psnr in figures
    ])  # fmt: skip
    index = page.parent / "index.html"
    visit(browser, index)

    def names():
        cells = browser.find_elements("css selector", "tbody td:first-child")
        return [cell.text for cell in cells if cell.is_displayed()]

    assert names() == [name for name, _ in figures]
    by_name, by_psnr = (find(browser, f"thead th:nth-child({column}) button") for column in (1, 3))
    assert by_psnr.text.startswith("PSNR")
    by_psnr.click()
    assert names() == ["b 10.png", "b 9.png", "Ä.png", "a.png"]
    by_psnr.click()
    assert names() == ["Ä.png", "b 9.png", "b 10.png", "a.png"]
    assert find(browser, "thead th:nth-child(3)").get_attribute("aria-sort") == "descending"
    by_name.click()
    assert [name for name in names() if name != "Ä.png"] == ["a.png", "b 9.png", "b 10.png"]
    find(browser, "input.filter").send_keys("B ")
    assert names() == ["b 9.png", "b 10.png"]
    assert problems(browser, index) == []
    find(browser, "tbody tr:not([hidden]) a").click()
    assert browser.current_url == page.as_uri()
