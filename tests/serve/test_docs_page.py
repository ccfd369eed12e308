"""/docs and /redoc in a real browser, without a network."""

import json

import pytest

from tests.serve.chromium import By, keep, pytestmark, requests, text, texts, wait, width
from tests.support.species import picture

__all__ = ["pytestmark"]


@pytest.fixture(params=["docs", "redoc"])
def docs(request, browser, running):
    width(browser, 1200)
    browser.get(f"{running.url}/{request.param}")
    wait(browser, lambda: text(browser, "facts"))
    return browser


def test_every_address_is_described(docs, running):
    shown = texts(docs, "#addresses h2")
    assert shown[:4] == ["POST /embed", "POST /search", "POST /identify", "POST /look"]
    assert "GET /photo/{row}" in shown
    assert "Health" in texts(docs, "#schemas h3")
    assert all(url.startswith((running.url, "data:")) for url in requests(docs))
    assert [entry for entry in docs.get_log("browser") if entry["level"] == "SEVERE"] == []
    keep(docs, "docs")


def attempt(docs, name, **values):
    """Fill in the form of an address, send it, and return its section."""
    section = docs.find_element(By.ID, name)
    for field, value in values.items():
        place = section.find_element(By.CSS_SELECTOR, f"input[name={field}]")
        place.clear()
        place.send_keys(str(value))
    section.find_element(By.TAG_NAME, "button").click()
    outcome = section.find_element(By.CLASS_NAME, "outcome")
    wait(docs, lambda: outcome.text.startswith(("GET", "POST", "The server")))
    return section, outcome.text


def test_each_can_be_tried(docs, tmp_path):
    path = tmp_path / "bird.png"
    picture(1, 77).save(path)
    section, outcome = attempt(docs, "search", file=path, k=2)
    assert outcome == "POST search?k=2: 200"
    found = json.loads(section.find_element(By.CLASS_NAME, "answer").text)
    assert [one["label"] for one in found["results"]] == ["FIRECREST"] * 2
    section, outcome = attempt(docs, "thumbnail", row=3)
    assert outcome == "GET thumbnail/3: 200"
    assert section.find_element(By.CLASS_NAME, "image").is_displayed()
    section, outcome = attempt(docs, "photo", row="x")
    assert outcome == "GET photo/x: 422"
    assert "row" in json.loads(section.find_element(By.CLASS_NAME, "answer").text)["detail"]


def test_on_a_phone(docs):
    width(docs, 320)
    assert docs.execute_script("return document.documentElement.scrollWidth") <= 320
    keep(docs, "docs-phone")


def test_a_proxy_that_answers_in_its_own_words(docs):
    docs.execute_script("""
        window.fetch = async () => new Response("no server here", {status: 502});
    """)
    section, outcome = attempt(docs, "health")
    assert outcome == "GET health: 502"
    assert section.find_element(By.CLASS_NAME, "answer").text == "no server here"
