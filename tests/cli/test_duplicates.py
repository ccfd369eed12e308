"""duplicates on the command line."""

import json

import pytest

from birdembed.cli import main
from tests.support.species import picture

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


@pytest.fixture
def doubled(tmp_path):
    """Two pictures with copies of each, one without, and one file that is no picture."""
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    first, second = picture(1, 0, 120), picture(2, 0, 120)
    first.save(root / "first.png")
    first.save(root / "deep" / "first.png")
    second.save(root / "second.png")
    second.resize((90, 70)).save(root / "smaller.jpg", quality=60)
    second.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "turned.png")
    picture(3, 0, 120).save(root / "alone.png")
    (root / "bad.png").write_bytes(b"no picture")
    return root


def test_duplicates_prints_groups(doubled, capsys):
    assert main(["duplicates", str(doubled)]) == 0
    shown = capsys.readouterr()
    groups = [group.splitlines() for group in shown.out.split("\n\n")]
    assert groups == [
        [str(doubled / name) for name in ("deep/first.png", "first.png")],
        [str(doubled / name) for name in ("second.png", "smaller.jpg", "turned.png")],
    ]
    skipped, count = shown.err.splitlines()
    assert skipped.startswith("skipped: ")
    assert "bad.png" in skipped
    assert count == "2 groups, 5 photos"


def test_duplicates_json(doubled, capsys):
    assert main(["duplicates", str(doubled), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(group["paths"]) for group in found["groups"]] == [2, 3]
    assert [group["score"] for group in found["groups"]] == [1, pytest.approx(0.99, abs=0.01)]
    assert [one["id"] for one in found["failures"]] == [str(doubled / "bad.png")]


def test_duplicates_threshold(doubled, capsys):
    """The score of a group is the highest threshold that leaves it whole."""
    words = ["duplicates", str(doubled), "--json"]
    assert main(words) == 0
    score = json.loads(capsys.readouterr().out)["groups"][1]["score"]
    sizes = []
    for threshold in (score, score + 1e-6):
        assert main([*words, "--threshold", repr(threshold)]) == 0
        groups = json.loads(capsys.readouterr().out)["groups"]
        sizes.append([len(group["paths"]) for group in groups])
    assert sizes == [[2, 3], [2, 2]]


def test_one_file_is_no_copy_of_itself(doubled, tmp_path, capsys, monkeypatch):
    """Whoever deletes all but the first photo of each group never deletes the only copy."""
    monkeypatch.chdir(tmp_path)
    for name in ("alone", "first"):
        (doubled / f"a link to {name}.png").symlink_to(f"{name}.png")
    (tmp_path / "same").symlink_to("photos")
    ways = ["photos", "./photos", "photos/", "same", "photos/../photos", str(doubled)]
    assert main(["duplicates", *ways, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [group["paths"] for group in found["groups"]] == [
        ["photos/deep/first.png", "photos/first.png"],
        ["photos/second.png", "photos/smaller.jpg", "photos/turned.png"],
    ]
    assert len(found["failures"]) == 1


def test_duplicates_of_nothing_alike(tmp_path, capsys):
    for number in range(3):
        picture(number, 0).save(tmp_path / f"{number}.png")
    assert main(["duplicates", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "0 groups, 0 photos\n"


@pytest.mark.parametrize("word", ["0", "1.01", "-1", "nan", "much"])
def test_duplicates_refuses_a_threshold(word, tmp_path, capsys):
    assert main(["duplicates", str(tmp_path), "--threshold", word]) == 2
    assert "--threshold" in capsys.readouterr().err


def test_duplicates_needs_photos(tmp_path, capsys):
    (tmp_path / "note.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    for folder, reason in (
        ("nowhere", "no such file or folder"),
        ("note.png", "none of its images"),
        ("empty", "no photo"),
        ("", "none of its images"),
    ):
        assert main(["duplicates", str(tmp_path / folder)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("birdembed: ")
        assert reason in line
