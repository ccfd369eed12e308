"""Index.build: names that look the same, and paths in bytes."""

import os

import pytest

from birdembed.data.folder import ImageFolder
from birdembed.search.index import Index
from tests.search.test_building import make
from tests.support.fake_model import FakeModel


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["Caf\u00e9/1.jpg", "Cafe\u0301/1.jpg"],
            r"two folders, 'Cafe\\u0301' and 'Caf\\xe9', differ only in the Unicode form",
        ),
        (
            ["x/caf\u00e9.jpg", "x/cafe\u0301.jpg"],
            r"two files, 'cafe\\u0301.jpg' and 'caf\\xe9.jpg', differ only in the Unicode form",
        ),
    ],
)
def test_names_that_differ_only_in_their_unicode_form(tmp_path, names, message):
    model = FakeModel()
    make(tmp_path, names)
    for images in (tmp_path, ImageFolder(tmp_path)):
        with pytest.raises(ValueError, match=f"{message}.*; rename one of the .*, or pass ids="):
            Index.build(model, images)
    assert model.encoded == 0
    assert Index.build(model, tmp_path, ids=["a", "b"]).ids.tolist() == ["a", "b"]
    os.rename(tmp_path / names[1], tmp_path / names[1].replace(".jpg", "2.jpg"))
    assert len(Index.build(model, tmp_path)) == 2


def test_the_folder_of_the_cache_is_a_path(tmp_path):
    model = FakeModel()
    folder = make(tmp_path / "birds", [f"wren/{n}.jpg" for n in range(4)])
    Index.build(model, folder, cache=os.fsencode(tmp_path / "cache"))
    assert model.encoded == 4
    Index.build(model, folder, cache=tmp_path / "cache")
    assert model.encoded == 4
    with pytest.raises(ValueError, match="a path cannot hold a NUL"):
        Index.build(model, folder, cache="a\0b")
    with pytest.raises(TypeError, match=r"expected a path, got int \(5\)"):
        Index.build(model, folder, cache=5)
    with pytest.raises((ValueError, OSError)):
        Index.build(model, folder, cache="")
    assert model.encoded == 4
