"""Wherever an array of pixels goes in, the order of its channels is said: OpenCV's is another."""

import ast
import re

import numpy as np
import pytest

import birdembed as be
from tests.support import ROOT

#: What says that pixels go in as an array.
PIXELS = re.compile(r"uint8\s+arrays?\b(?! of)")


def docstrings():
    for path in sorted((ROOT / "birdembed").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.name}:{getattr(node, 'name', '')}", ast.get_docstring(node) or ""


def test_docstrings():
    found = [(name, text) for name, text in docstrings() if PIXELS.search(text)]
    assert len(found) >= 8
    assert [name for name, text in found if "RGB" not in text] == []


@pytest.mark.parametrize(
    "thing",
    [be.Model.encode, be.preprocess, be.decode_image, be.Index.build],
    ids=lambda thing: thing.__qualname__,
)
def test_who_uses_opencv_is_told(thing):
    assert "RGB" in thing.__doc__
    assert "OpenCV" in thing.__doc__


@pytest.mark.parametrize("page", ["README.md", "docs/guide/embedding.md", "docs/guide/mlflow.md"])
def test_pages(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for paragraph in re.split(r"\n\n|\n- ", text):
        if PIXELS.search(paragraph):
            assert "RGB" in paragraph, paragraph
    assert "[..., ::-1]" in text


def test_the_line_for_opencv_is_right():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    bgr = np.ascontiguousarray(rgb[..., ::-1])  # as OpenCV reads it
    np.testing.assert_array_equal(be.preprocess(bgr[..., ::-1]), be.preprocess(rgb))
    assert not np.array_equal(be.preprocess(bgr), be.preprocess(rgb))
    rgba = np.dstack([rgb, rgb[..., :1]])
    bgra = rgba[..., [2, 1, 0, 3]]
    np.testing.assert_array_equal(be.preprocess(bgra[..., [2, 1, 0, 3]]), be.preprocess(rgba))
