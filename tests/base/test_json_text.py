"""Test JSON with names that are no Unicode text, and JSON that is damaged."""

import json

import pytest

from birdembed.base.json_text import json_object, json_text


@pytest.mark.parametrize("name", ["Owl", "Wendehälse", "Gr\udcfcnspecht", "a\ud800b", "\n"])
def test_names_come_back(name):
    text = json_text({"names": [name], name: 1}, indent=1)
    assert json_object(text.encode()) == {"names": [name], name: 1}
    assert ("\\u" in text) == (not name.isprintable() and name != "\n")


def test_ordinary_names_are_written_as_they_are():
    assert json_text(["Wendehälse"]) == '["Wendehälse"]'


def test_numbers_that_json_lacks_are_null():
    odd = {"a": [float("nan"), (float("-inf"), 0.5)], "Wendehälse": 10**20}
    text = json_text(odd)
    assert text == '{"a": [null, [null, 0.5]], "Wendehälse": 100000000000000000000}'
    assert json_text([float("nan"), "\udcfc"]) == '[null, "\\udcfc"]'


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 100_000, "", "{", "[]", "1", b"\xff\xfe\x00", "9" * 5000]
)
def test_what_is_damaged_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        json_object(text)


def test_nesting_is_told():
    with pytest.raises(ValueError, match="nested too deeply"):
        json_object("[" * 200_000)
    assert json.loads("[" * 100 + "]" * 100)
