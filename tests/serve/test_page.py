"""The page in a real browser: Chromium, headless, against a real server."""

import base64
import json
import os
import shutil

import pytest

import birdembed as be
from birdembed.search.shared_rows import rows_of
from tests.serve.conftest import SPECIES
from tests.support.pictures import encode
from tests.support.species import picture

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs the Debian packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # No sandbox: it needs rights that root in a container lacks. No /dev/shm: it is small there.
    for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    browser.set_page_load_timeout(60)
    yield browser
    browser.quit()


def width(browser, pixels):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600},
    )


@pytest.fixture
def page(browser, running):
    width(browser, 1200)
    browser.get(running.url)
    wait(browser, lambda: text(browser, "facts"))
    return browser


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


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "what is this.png"
    picture(1, 77, 300).save(path)
    return path


def test_a_photograph_is_named_and_its_like_shown(page, photo):
    assert "3 species" in text(page, "facts")
    assert "12 photos" in text(page, "facts")
    choose(page, photo)
    assert text(page, "verdict") == "FIRECREST"
    assert text(page, "name") == "what is this.png"
    assert page.execute_script("return document.getElementById('preview').naturalWidth") == 300
    # Scores as bars, best first, as wide as the numbers say.
    labels, scores = texts(page, "#species .label"), texts(page, "#species .score")
    assert sorted(labels) == SPECIES
    assert labels[0] == "FIRECREST"
    assert scores == sorted(scores, key=float, reverse=True)
    tracks = page.find_elements(By.CSS_SELECTOR, "#species .track")
    fills = page.find_elements(By.CSS_SELECTOR, "#species .fill")
    for track, fill, score in zip(tracks, fills, scores, strict=True):
        share = min(max(float(score), 0), 1)
        assert fill.size["width"] == pytest.approx(share * track.size["width"], abs=3)
    # The nearest pictures, with their thumbnails really loaded.
    assert texts(page, "#photographs .label")[0] == "FIRECREST"
    assert len(texts(page, "#photographs li")) == 10
    shown = "return [...document.querySelectorAll('#photographs img')].map(i => i.naturalWidth)"
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    wait(page, lambda: page.execute_script(shown) == [320] * 10)
    keep(page, "known")
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_nothing_comes_from_elsewhere(page, photo, running):
    choose(page, photo)
    asked = []
    for entry in page.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert any("/look" in url for url in asked)
    assert all(url.startswith((running.url, "blob:", "data:")) for url in asked), asked


def test_dropping_a_file(page, known):
    drop = """
        const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
        const event = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
        document.getElementById("drop").dispatchEvent(event);
    """
    page.execute_script(drop, base64.b64encode(known).decode())
    wait(page, lambda: get(page, "results").is_displayed())
    assert text(page, "verdict") == "FIRECREST"
    assert text(page, "name") == "dropped.png"


def test_what_is_no_picture(page, photo, tmp_path):
    bad = tmp_path / "<b>notes.jpg"
    bad.write_bytes(b"no picture at all")
    choose(page, bad)
    assert text(page, "error").startswith("<b>notes.jpg: ")  # as text, never as HTML
    assert not get(page, "results").is_displayed()
    assert get(page, "error").get_attribute("role") == "alert"
    keep(page, "error")
    choose(page, photo)  # and the next one works
    wait(page, lambda: text(page, "verdict") == "FIRECREST")
    assert not get(page, "error").is_displayed()


def test_too_large_is_said_without_sending_it(page, tmp_path, running):
    large = tmp_path / "large.jpg"
    with open(large, "wb") as file:
        file.truncate(25_000_000)
    page.get_log("performance")
    choose(page, large)
    assert "the limit is 20 MB" in text(page, "error")
    assert not any("/look" in entry["message"] for entry in page.get_log("performance"))


def test_on_a_phone(page, photo):
    width(page, 360)
    choose(page, photo)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    columns = "return getComputedStyle(document.getElementById('photographs')).gridTemplateColumns"
    assert len(page.execute_script(columns).split()) == 2
    keep(page, "phone")


def test_by_keyboard_and_ear(page, photo):
    """Tab reaches the file field first, with a visible ring; what happened is told."""
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "file"
    ring = "return getComputedStyle(document.getElementById('drop')).outlineStyle"
    assert page.execute_script(ring) == "solid"
    choose(page, photo)
    said = page.execute_script("return document.getElementById('status').textContent")
    assert "FIRECREST" in said
    assert get(page, "status").get_attribute("role") == "status"
    assert page.switch_to.active_element.get_attribute("id") == "verdict"
    unnamed = """
        const found = document.querySelectorAll("img:not([alt]), input:not([id])");
        return [...found].map(element => element.outerHTML);
    """
    assert page.execute_script(unnamed) == []
    assert page.execute_script("return document.documentElement.lang") == "en"


def test_common_and_scientific_names(browser, start, files, photo, tmp_path):
    named = be.load_model(files / "model")
    named.species_names = {"FIRECREST": ("Common Firecrest", "Regulus ignicapilla"), "JAY": "Jay"}
    named.save_pretrained(tmp_path / "named")
    server = start("--model", tmp_path / "named", "--index", files / "birds.index")
    browser.get(server.url)
    wait(browser, lambda: text(browser, "facts"))
    assert not get(browser, "scientific").is_displayed()
    choose(browser, photo)
    assert text(browser, "verdict") == "Common Firecrest"
    assert text(browser, "scientific") == "Regulus ignicapilla"
    assert sorted(texts(browser, "#species .label")) == ["Common Firecrest", "DUNNOCK", "Jay"]
    assert texts(browser, "#species .scientific")[0] == "Regulus ignicapilla"
    assert texts(browser, "#photographs .label")[0] == "Common Firecrest"
    keep(browser, "named")


def test_none_of_the_known_species(browser, start, files, photo, tmp_path):
    """And photographs of the index that are no longer there leave a gap."""
    strict = be.load_model(files / "model")
    strict.threshold = 1.5
    strict.save_pretrained(tmp_path / "strict")
    index = be.Index.load(files / "birds.index")
    rows_of(index).columns["path"] = [str(tmp_path / "gone.jpg"), *index.paths[1:]]
    index.save(tmp_path / "moved.index")
    server = start("--model", tmp_path / "strict", "--index", tmp_path / "moved.index")
    browser.get(server.url)
    path = tmp_path / "x.jpg"
    path.write_bytes(encode(picture(0, 9), "JPEG"))
    choose(browser, path)
    assert text(browser, "verdict") == "none of the known species"
    assert texts(browser, "#species .label")[0] == SPECIES[0]
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".frame.none"))
    assert len(browser.find_elements(By.CSS_SELECTOR, ".frame.none")) == 1
    keep(browser, "none-known")


def test_without_gallery_and_index(browser, start, bare, photo, tmp_path):
    bare.save_pretrained(tmp_path / "bare")
    server = start("--model", tmp_path / "bare")
    browser.get(server.url)
    wait(browser, lambda: "birdembed index" in text(browser, "missing"))
    assert "birdembed finetune" in text(browser, "missing")
    choose(browser, photo)
    assert "birdembed finetune" in text(browser, "no-gallery")
    assert "birdembed index" in text(browser, "no-index")
    keep(browser, "missing")
    assert server.stop() == 0
    choose(browser, photo)
    wait(browser, lambda: "does not answer" in text(browser, "error"))
