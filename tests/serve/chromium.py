"""A headless Chromium for the tests of the pages, and what they ask of it."""

import base64
import json
import os
import shutil

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402, F401
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs the Debian packages chromium and chromium-driver"
)


def launched():
    """Return a headless Chromium that logs what it asks for."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # No sandbox: it needs rights that root in a container lacks. No /dev/shm: it is small there.
    for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    browser.set_page_load_timeout(60)
    return browser


def width(browser, pixels):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600},
    )


def wait(browser, condition, seconds=60):
    return WebDriverWait(browser, seconds, 0.05).until(lambda _: condition())


def get(browser, name):
    return browser.find_element(By.ID, name)


def text(browser, name):
    return get(browser, name).text


def texts(browser, selector):
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]


def choose(browser, path):
    get(browser, "file").send_keys(str(path))
    wait(browser, lambda: get(browser, "results").is_displayed() or text(browser, "error"))


def keep(browser, name):
    """Write a picture of the whole page where BIRDEMBED_SCREENSHOTS says, for people to look at."""
    folder = os.environ.get("BIRDEMBED_SCREENSHOTS")
    if folder:
        os.makedirs(folder, exist_ok=True)
        shot = {"format": "png", "captureBeyondViewport": True}
        size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        shot["clip"] = {**size, "scale": 1}
        data = browser.execute_cdp_cmd("Page.captureScreenshot", shot)["data"]
        with open(os.path.join(folder, f"{name}.png"), "wb") as file:
            file.write(base64.b64decode(data))


def requests(browser):
    """Return the addresses that were asked for since this was called last."""
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    return asked
