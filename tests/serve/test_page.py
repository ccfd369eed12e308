"""The page in a real browser: Chromium, headless, against a real server."""

import base64

import pytest

import birdembed as be
from birdembed.search.shared_rows import rows_of
from tests.serve.chromium import (
    By,
    Keys,
    choose,
    get,
    keep,
    pytestmark,
    requests,
    text,
    texts,
    wait,
    width,
)  # fmt: skip
from tests.serve.conftest import SPECIES
from tests.support.pictures import encode
from tests.support.species import picture

__all__ = ["pytestmark"]


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
    assert not get(page, "far").is_displayed()
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
    page.find_element(By.CSS_SELECTOR, "#photographs button").click()
    wait(page, lambda: shown_large(page))
    asked = requests(page)
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


def drop_from_disk(page, path):
    """Drop what is at a path, as a file manager does."""
    place = get(page, "drop").rect
    where = {"x": place["x"] + 20, "y": place["y"] + 20}
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "data": data, **where})


def test_dropping_a_folder(page, photos, photo):
    """It was said that the server does not answer."""
    drop_from_disk(page, photos / "JAY")
    wait(page, lambda: text(page, "error"))
    assert text(page, "error") == "JAY is a folder. Drop one photo of it here."
    drop_from_disk(page, photo)
    wait(page, lambda: get(page, "results").is_displayed())
    assert text(page, "verdict") == "FIRECREST"
    assert not get(page, "error").is_displayed()


def test_a_file_that_is_no_longer_there(page, photo):
    """The server is not to blame."""
    keeping = """
        document.addEventListener("change", event => {
            window.kept = event.target.files[0];
            event.stopImmediatePropagation();
        }, {capture: true, once: true});
    """
    page.execute_script(keeping)
    get(page, "file").send_keys(str(photo))
    photo.unlink()
    dropping = """
        const data = new DataTransfer();
        data.items.add(window.kept);
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: data}));
    """
    page.execute_script(dropping)
    wait(page, lambda: text(page, "error"))
    assert text(page, "error").startswith("what is this.png cannot be read. Is it a folder, or")


def paste(page, *files):
    """Paste files, given as name and bytes, or a text where there are none."""
    script = """
        const data = new DataTransfer();
        for (const [name, bytes] of arguments[0]) {
            const array = Uint8Array.from(atob(bytes), c => c.charCodeAt(0));
            data.items.add(new File([array], name, {type: "image/png"}));
        }
        if (!arguments[0].length) data.setData("text/plain", "https://example.org/bird.png");
        document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
    """
    page.execute_script(script, [(name, base64.b64encode(data).decode()) for name, data in files])


def test_pasting(page, known):
    assert "paste" in text(page, "drop")
    paste(page)
    assert "Copy the photo itself" in text(page, "error")
    paste(page, ("pasted.png", known))
    wait(page, lambda: get(page, "results").is_displayed())
    assert (text(page, "verdict"), text(page, "name")) == ("FIRECREST", "pasted.png")
    assert not get(page, "error").is_displayed()


def test_an_example(page, photos):
    get(page, "example").click()
    wait(page, lambda: get(page, "results").is_displayed())
    label = text(page, "verdict")
    assert text(page, "truth") == f"is labelled {label}: right"
    assert page.find_element(By.CSS_SELECTOR, "#truth b").get_attribute("class") == "right"
    assert (photos / label / text(page, "name")).exists()
    # It is left out of what it is compared with.
    shown = [f"{a}/{b}" for a, b in zip(labels(page), texts(page, "#photographs .id"), strict=True)]
    assert len(shown) == 10
    assert f"{label}/{text(page, 'name')}" not in shown
    assert text(page, "example") == "Try another example"
    keep(page, "example")


def labels(page):
    return texts(page, "#photographs .label")


def shown_large(page):
    return page.execute_script("return document.getElementById('viewer-image').naturalWidth")


def test_photos_open_large(page, photo):
    choose(page, photo)
    names = labels(page)
    first = page.find_element(By.CSS_SELECTOR, "#photographs button")
    first.click()
    viewer = get(page, "viewer")
    assert viewer.is_displayed()
    assert wait(page, lambda: shown_large(page)) == 400  # of the index's file, not the thumbnail's
    assert text(page, "viewer-name") == names[0]
    assert "similarity 0." in text(page, "viewer-id")
    assert page.switch_to.active_element.get_attribute("id") == "close"
    keep(page, "large")
    for key, position in ((Keys.ARROW_RIGHT, 1), (Keys.ARROW_LEFT, 0), (Keys.ARROW_LEFT, 9)):
        page.switch_to.active_element.send_keys(key)
        assert text(page, "viewer-name") == names[position]
    get(page, "next").click()
    assert text(page, "viewer-name") == names[0]
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not viewer.is_displayed()
    assert page.switch_to.active_element == first
    # The photo that was sent opens too, alone.
    get(page, "open").click()
    assert wait(page, lambda: shown_large(page) == 300)
    assert text(page, "viewer-name") == "what is this.png"
    assert not get(page, "next").is_displayed()
    get(page, "close").click()
    assert not viewer.is_displayed()


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
    requests(page)
    choose(page, large)
    assert "the limit is 20 MB" in text(page, "error")
    assert not any("/look" in url for url in requests(page))


def test_on_a_phone(page, photo):
    width(page, 320)
    choose(page, photo)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 320
    columns = "return getComputedStyle(document.getElementById('photographs')).gridTemplateColumns"
    assert len(page.execute_script(columns).split()) == 2
    keep(page, "phone")


def test_the_camera_of_a_phone(page, photo):
    """A button of its own opens the camera, where there is no mouse; it does what the file does."""
    assert not page.find_element(By.CSS_SELECTOR, "label[for=camera]").is_displayed()
    touch = "Emulation.setTouchEmulationEnabled"
    try:
        page.execute_cdp_cmd(touch, {"enabled": True, "maxTouchPoints": 5})
        width(page, 390)
        assert page.find_element(By.CSS_SELECTOR, "label[for=camera]").is_displayed()
        assert not page.find_element(By.CSS_SELECTOR, ".wide").is_displayed()
        camera = get(page, "camera")
        assert camera.get_attribute("capture") == "environment"
        camera.send_keys(str(photo))
        wait(page, lambda: get(page, "results").is_displayed())
        assert text(page, "verdict") == "FIRECREST"
    finally:
        page.execute_cdp_cmd(touch, {"enabled": False})


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
    assert links(browser, "#look-up a") == ["Regulus%20ignicapilla"]
    assert sorted(links(browser, "#species a")) == ["DUNNOCK", "Jay", "Regulus%20ignicapilla"]
    browser.find_element(By.CSS_SELECTOR, "#photographs button").click()
    assert text(browser, "viewer-scientific") == "Regulus ignicapilla"
    assert links(browser, "#viewer-look-up a") == ["Regulus%20ignicapilla"]
    keep(browser, "named")


def links(browser, selector):
    """Return what links of the encyclopedia look up; each opens a page that is told nothing."""
    found = browser.find_elements(By.CSS_SELECTOR, selector)
    for link in found:
        assert link.get_attribute("target") == "_blank"
        assert link.get_attribute("rel") == "noopener noreferrer"
    start = "https://en.wikipedia.org/w/index.php?search="
    assert all(link.get_attribute("href").startswith(start) for link in found)
    return [link.get_attribute("href").removeprefix(start) for link in found]


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
    assert not get(browser, "look-up").is_displayed()
    assert text(browser, "far").startswith("Nothing close: the best of these reaches 0.")
    assert "1.500" in text(browser, "far")
    assert "nothing close" in get(browser, "status").get_attribute("textContent")
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".frame.none"))
    (gone,) = browser.find_elements(By.CSS_SELECTOR, ".frame.none")
    assert not gone.is_enabled()
    keep(browser, "none-known")


def test_a_model_without_threshold(browser, start, bare, photos, photo, tmp_path):
    """Every photo failed, because the page showed the threshold."""
    bare.save_pretrained(tmp_path / "bare")
    server = start("--model", tmp_path / "bare", "--index", photos)
    browser.get(server.url)
    wait(browser, lambda: text(browser, "facts"))
    choose(browser, photo)
    assert text(browser, "error") == ""
    assert len(texts(browser, "#photographs li")) == 10
    assert not get(browser, "far").is_displayed()


def test_a_page_that_could_not_ask_what_the_server_has(browser, running, photo):
    """It asks again with the first photo, and does without what it does not know."""
    try:
        for blocked in (True, False):
            browser.execute_cdp_cmd("Network.enable", {})
            browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/health"]})
            browser.get(running.url)
            wait(browser, lambda: "does not answer" in text(browser, "error"))
            if not blocked:
                browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
            get(browser, "file").send_keys(str(photo))
            wait(browser, lambda: get(browser, "results").is_displayed())
            assert text(browser, "verdict") == "FIRECREST"
            assert not get(browser, "error").is_displayed()
            assert ("12 photos" in text(browser, "facts")) is not blocked
    finally:
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})


def test_without_gallery_and_index(browser, start, bare, photo, tmp_path):
    bare.save_pretrained(tmp_path / "bare")
    server = start("--model", tmp_path / "bare")
    browser.get(server.url)
    wait(browser, lambda: "birdembed index" in text(browser, "missing"))
    assert "birdembed finetune" in text(browser, "missing")
    assert not get(browser, "example").is_displayed()
    choose(browser, photo)
    assert "birdembed finetune" in text(browser, "no-gallery")
    assert "birdembed index" in text(browser, "no-index")
    keep(browser, "missing")
    assert server.stop() == 0
    choose(browser, photo)
    wait(browser, lambda: "does not answer" in text(browser, "error"))
