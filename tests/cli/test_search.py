"""`birdembed index` and `search`: what they print, and whose index it is."""

import json

import pytest

import birdembed as be
from birdembed.cli import main
from birdembed.cli.inputs import place_to_search
from birdembed.model.stateful import snapshot_of
from tests.support.printed import one_line_error

pytestmark = pytest.mark.usefixtures("own_cache")


def test_index_then_search(damaged, folder, tmp_path, capsys):
    target = str(tmp_path / "birds.index")
    assert main(["index", str(damaged), "-o", target, "--model", folder]) == 0
    assert capsys.readouterr().out == target + "\n"
    query = str(damaged / "WREN" / "1.png")
    assert main(["search", target, query, "-k", "3", "--model", folder, "--json"]) == 0
    ((found,),) = [json.loads(capsys.readouterr().out)]
    assert found["query"] == query
    assert len(found["results"]) == 3
    best = found["results"][0]
    assert set(best) == {"id", "label", "score"}
    assert best["id"] == "WREN/1.png"
    assert best["label"] == "WREN"
    assert best["score"] == pytest.approx(1, abs=1e-5)


def test_search_folder_as_text(damaged, folder, tmp_path, capsys):
    queries = [str(damaged / "ROBIN" / "0.png"), str(damaged / "WREN" / "2.png")]
    words = ["search", str(damaged), *queries, "-k", "2", "--model", folder]
    assert main(words) == 0
    first = capsys.readouterr()
    lines = first.out.splitlines()
    assert [lines[0], lines[3]] == queries
    assert lines[1].split() == ["1", "1.0000", "ROBIN/0.png"]  # the id begins with the label
    assert len(lines) == 6
    assert "bad.jpg" in first.err
    # What was computed was kept, and says the same again.
    assert any((tmp_path / "cache").rglob("*"))
    assert main(words) == 0
    assert capsys.readouterr().out == first.out


def test_search_skips_a_bad_query(damaged, folder, capsys):
    good, bad = str(damaged / "ROBIN" / "0.png"), str(damaged / "WREN" / "bad.jpg")
    words = ["search", str(damaged), bad, good, "--model", folder, "--json"]
    assert main(words) == 0
    shown = capsys.readouterr()
    unreadable, found = json.loads(shown.out)  # in the order given
    assert found["query"] == good
    assert set(found) == {"query", "close", "results"}
    assert unreadable["query"] == bad
    assert "not a JPEG" in unreadable["reason"]
    assert "bad.jpg" in shown.err
    assert main(["search", str(damaged), bad, "--model", folder]) == 1


def test_search_plot(photos, folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image", reason="reads the plot")
    target = tmp_path / "found.png"
    query = photos.paths[0]
    assert main(["search", photos.root, query, "--model", folder, "--plot", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(target)
    assert image.open(target).size > (100, 100)


def test_another_models_index_is_refused(photos, folder, tmp_path, capsys):
    other = tmp_path / "other"
    be.Model("resnet18", num_classes=0, seed=1).save_pretrained(other)
    target = str(tmp_path / "birds.index")
    main(["index", photos.root, "-o", target, "--model", folder])
    capsys.readouterr()
    query = photos.paths[0]
    assert main(["search", target, query, "--model", str(other)]) == 1
    assert "fingerprint" in one_line_error(capsys)


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


def test_min_score_does_not_decide_what_is_close(photos, folder, tmp_path, capsys):
    model = be.load_model(folder)
    model.threshold = 0.5
    model.save_pretrained(tmp_path / "m")
    words = ["search", photos.root, photos.paths[0], "--model", str(tmp_path / "m"), "-k", "1"]
    copy = be.Index.build(model, photos.paths[1:])
    found = copy.search(photos.paths[0], min_score=1)
    assert (len(found), found.close) == (0, True)
    assert copy.search(photos.paths[:1], min_score=1).close == [True]
    (tmp_path / "others").mkdir()
    for number, path in enumerate(photos.paths[1:]):
        (tmp_path / "others" / f"{number}.png").symlink_to(path)
    words[1] = str(tmp_path / "others")
    assert main([*words, "--min-score", "1"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("(no match scores 1 or more)")


def test_precision_of_the_model_of_an_index(index, photos, monkeypatch):
    """--precision is heeded even if the index brings the model."""
    load, opened = be.Index.load, []

    def noted(*names, **options):
        opened.append(load(*names, **options))
        return opened[-1]

    monkeypatch.setattr(be.Index, "load", noted)
    assert main(["search", index, photos.paths[0], "--precision", "auto"]) == 0
    (used,) = opened
    assert snapshot_of(used.model).precision == "auto"
