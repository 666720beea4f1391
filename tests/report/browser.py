"""Headless Chromium for the tests of the report."""

import json
import shutil
from contextlib import contextmanager
from importlib import resources

import pytest


@contextmanager
def open_browser(profile):
    """A driver of Chromium that logs its console and its network; skips where there is none."""
    pytest.importorskip("selenium", reason="selenium isn't installed: pip install '.[dev]'")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no chromium with its chromedriver: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "window-size=1100,900", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def visit(browser, page):
    """Open a file, and forget what was logged before."""
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())


def problems(browser, page):
    """What the console says since the page was visited, and what was asked for besides it and what it holds itself."""
    said = [entry["message"] for entry in browser.get_log("browser")]
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked
    return said + [url for url in asked if url != page.as_uri() and not url.startswith("data:")]


def faults(browser, tags=("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")):
    """What axe-core finds seriously wrong with the accessibility of what is shown: rule and elements."""
    axe = pytest.importorskip("axe_core_python", reason="axe-core isn't installed: pip install '.[dev]'")
    browser.execute_script((resources.files(axe) / "axe.min.js").read_text("utf-8"))
    found = browser.execute_async_script(
        "axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']}).then(arguments[1])", tags
    )
    assert found["passes"], "nothing was looked at"
    return [
        (one["id"], one["impact"], [node["html"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@contextmanager
def shown_as(browser, width, scheme="light", height=800):
    """Shows pages of another width, in light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
