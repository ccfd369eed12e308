"""Files that commands write: what they may replace."""

import re
import shutil
import sys
from pathlib import Path

import pytest

import birdembed as be
from birdembed.cli import main
from tests.support.printed import one_line_error
from tests.support.species import picture

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


@pytest.fixture
def place(tmp_path, index, monkeypatch):
    """Change to a folder with photos, an index of other photos, and a table."""
    for number, name in enumerate(("A/one.png", "A/two.png", "B/one.png", "B/map.png", "q.png")):
        path = tmp_path / "ph" / name if "/" in name else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, 0).save(path)
    (tmp_path / "link.png").symlink_to("q.png")
    (tmp_path / "answers.csv").write_text("query,species\n")
    shutil.copy(tmp_path / "ph" / "A" / "one.png", tmp_path / "photo.csv")
    shutil.copy(index, tmp_path / "other.index")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        ["index", "-o", "ph/A/one.png", "ph/A/two.png"],
        ["index", "ph", "-o", "ph/A/one.png"],
        ["index", "ph", "-o", "answers.csv"],
        ["embed", "photo.csv", "-o", "./photo.csv"],
        ["identify", "q.png", "photo.csv", "-o", "photo.csv"],
        ["search", "other.index", "q.png", "--plot", "q.png"],
        ["search", "other.index", "q.png", "--plot", "link.png"],
        ["search", "ph", "q.png", "--plot", "ph/A/one.png"],
        ["evaluate", "ph", "--plots", "ph/B"],
        ["demo", "--images", "ph", "-o", "ph/A/one.png"],
    ],
)
def test_what_a_command_reads_is_not_overwritten(words, place, capsys):
    before = content(place)
    assert main(words) == 1
    line = one_line_error(capsys)
    assert "cannot write" in line
    assert "choose another name" in line
    assert content(place) == before


def test_a_plot_over_a_photo_of_an_index(folder, place, capsys):
    be.Index.build(be.load_model(folder), "ph").save("ph.index")
    before = content(place)
    assert main(["search", "ph.index", "q.png", "--plot", "ph/B/one.png"]) == 1
    assert "cannot write ph/B/one.png" in one_line_error(capsys)
    assert content(place) == before


def test_what_may_be_replaced(folder, place):
    """An index, an empty file, and outputs of the last run."""
    Path("empty").touch()
    for target in ("other.index", "empty"):
        assert main(["index", "ph", "-o", target, "--model", folder]) == 0
        assert len(be.Index.load(target)) == 4
    assert main(["index", "other.index", "-o", "other.index", "--model", folder]) == 0
    for _ in range(2):
        assert main(["embed", "ph", "-o", "x.csv", "--model", folder]) == 0


@pytest.fixture
def unloadable(monkeypatch):
    """Fail when a model is loaded, so that only what is checked before is reported."""

    def load_model(*_, **__):
        raise AssertionError("the model was loaded before the outputs were checked")

    monkeypatch.setattr(be, "load_model", load_model, raising=False)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["embed", "ph", "-o", "folder.npy"], "folder.names.txt: it exists, but is not a file"),
        (["evaluate", "ph", "--plots", "plots"], "plots/map.png: it exists, but is not a file"),
        (["evaluate", "ph", "--plots", "q.png/p"], "q.png: expected a folder, got a file"),
    ],
)
def test_every_output_is_checked_before_the_model_loads(words, reason, place, unloadable, capsys):
    for name in ("folder.names.txt", "plots/map.png"):
        Path(name).mkdir(parents=True)
    assert main(words) == 1
    assert reason in one_line_error(capsys)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--table", "a/b"], "no table named 'a/b'; use"),
        (["--table", "x" * 300], "use up to 200 letters"),
        (["--lancedb", "q.png"], "q.png: expected a folder, got a file"),
        (["-o", "nowhere/x"], "the folder .*nowhere does not exist"),
    ],
)
def test_a_database_is_checked_before_the_model_loads(words, reason, place, unloadable, capsys):
    pytest.importorskip("lancedb", reason="LanceDB is not installed: extra lancedb")
    assert main(["index", "ph", "--lancedb", "base", "--cache", "kept", *words]) == 1
    assert re.search(reason, one_line_error(capsys))
    assert not (place / "base").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["embed", "ph", "-o", "x.csv/"],
        ["embed", "ph", "-o", "x.npy/."],
        ["index", "ph", "-o", "x.index/"],
        ["identify", "ph", "-o", "x.json//"],
        ["export", "-o", "x.onnx/"],
        ["search", "ph", "q.png", "--plot", "x.png/"],
        ["demo", "-o", "x.png/"],
    ],
)
def test_the_name_of_a_folder_is_not_that_of_a_file(words, place, unloadable, capsys):
    before = content(place)
    assert main(words) == 1
    assert f"{words[-1]}: expected a file, got the name of a folder" in one_line_error(capsys)
    assert content(place) == before


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        (["embed", "ph", "-o", "x.parquet"], "pyarrow.parquet", "parquet"),
        (["identify", "ph", "-o", "x.parquet"], "pyarrow.parquet", "parquet"),
        (["export", "-o", "x.onnx"], "onnx", "onnx"),
        (["search", "ph", "q.png", "--plot", "x.png"], "matplotlib", "plot"),
    ],
)
def test_a_library_is_missed_before_the_model_loads(
    words, module, extra, place, unloadable, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(words) == 1
    assert f"pip install 'birdembed[{extra}]'" in one_line_error(capsys)
