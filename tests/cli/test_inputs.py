"""The same images may be named in every way, for every command."""

import io
import json
import sys

import pytest

import birdembed as be
from birdembed.cli import main
from birdembed.cli.inputs import find_images, is_index, labelled_images, place_to_search


@pytest.fixture(scope="module")
def index(folder, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "photos.index"
    be.Index.build(be.load_model(folder), photos.root).save(path)
    return str(path)


def standard_input(monkeypatch, *lines):
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_files_folders_indexes_and_standard_input(photos, index, tmp_path, monkeypatch):
    one, *rest = photos.paths
    assert find_images([one]).paths == [one]
    assert find_images([one]).labels == [None]
    for word in (photos.root, index):
        found = find_images([word])
        assert found.paths == photos.paths
        assert found.labels == photos.names
    standard_input(monkeypatch, one, "", rest[-1])
    assert find_images(["-"]).paths == [one, rest[-1]]
    standard_input(monkeypatch, photos.root)
    assert find_images(["-"]).paths == photos.paths
    assert find_images([rest[0], photos.root]).paths == [rest[0], one, *rest[1:]]


def test_what_is_not_there(photos, tmp_path):
    gone = str(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        find_images([gone])
    assert find_images([gone, photos.paths[0]]).paths == [gone, photos.paths[0]]
    with pytest.raises(ValueError, match=str(tmp_path)):
        find_images([str(tmp_path)])


def test_an_index_of_plain_vectors_has_no_images(tmp_path):
    plain = be.Index(dim=2)
    plain.add("a", [0.0, 1.0])
    plain.save(tmp_path / "plain.index")
    assert is_index(str(tmp_path / "plain.index"))
    with pytest.raises(ValueError, match=r"plain.index: .* paths"):
        find_images([str(tmp_path / "plain.index")])


def test_labels(photos, index, monkeypatch):
    for word in (photos.root, index):
        assert labelled_images(word).names == photos.names
    standard_input(monkeypatch, *photos.paths)
    assert labelled_images("-").names == photos.names


def test_every_command_takes_them(photos, index, folder, tmp_path, capsys, monkeypatch):
    """Embed an index, identify from standard input, compare the images of two words."""
    out = str(tmp_path / "x.csv")
    assert main(["embed", index, "-o", out, "--model", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(photos)
    assert len(open(out, encoding="utf-8").readlines()) == 1 + len(photos)
    standard_input(monkeypatch, *photos.paths[:2])
    assert main(["identify", "-", "--model", folder, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [one["query"] for one in answers] == photos.paths[:2]
    assert main(["duplicates", photos.paths[0], photos.root, "--json"]) == 0
    assert main(["verify", *photos.paths[:2]]) == 0
    assert "2 checked" in capsys.readouterr().err
    assert main(["index", *photos.paths[:2], "-o", str(tmp_path / "two"), "--model", folder]) == 0
    assert be.Index.load(tmp_path / "two").ids.tolist() == photos.paths[:2]
    assert "next: birdembed search" in capsys.readouterr().err
    words = ["evaluate", index, "--reference", index, "--model", folder, "--json"]
    assert main(words) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["n"] == len(photos)
    assert values["failures"] == []


def test_search_uses_the_model_of_the_index(photos, index, folder, capsys):
    assert main(["search", index, photos.paths[0], "-k", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["results"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert found["close"] in (True, False)


def test_search_says_where_nothing_is_close(photos, folder, tmp_path, capsys):
    model = be.load_model(folder)
    model.threshold = 1.1
    model.save_pretrained(tmp_path / "strict")
    words = ["search", photos.root, photos.paths[0], "--model", str(tmp_path / "strict"), "-k", "1"]
    assert main(words) == 0
    assert "nothing close" in capsys.readouterr().out.splitlines()[0]
    assert main([*words, "--min-score", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["close"] is False
    assert main([*words, "--min-score", "2"]) == 2


def test_arguments_of_search_the_wrong_way_round(photos, index, capsys):
    image = photos.paths[0]
    for place in (photos.root, index):
        assert place_to_search(image, [place]) == place
        assert main(["search", image, place]) == 2
        assert f"birdembed search {place} {image}" in capsys.readouterr().err
    assert place_to_search(photos.root, [image]) is None
    assert main(["search", image, photos.paths[1]]) == 2
    assert f"birdembed search FOLDER {image}" in capsys.readouterr().err


def test_export(folder, tmp_path, capsys):
    pytest.importorskip("onnx")
    target = str(tmp_path / "m.onnx")
    assert main(["export", "-o", target, "--model", folder, "--normalize"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert main(["export", "-o", target, "--model", folder, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["file"], values["model"], values["dim"]) == (target, folder, 8)
    assert main(["export", "-o", target, "--model", folder, "--head"]) == 1
    assert "no classifier" in capsys.readouterr().err


def test_models(capsys):
    assert main(["models", "--json"]) == 0
    models = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert models["birds477"]["here"] is True
    assert {"sscd", "resnet50"} <= set(models)
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["birds477", "ready"]
