"""identify on the command line."""

import csv
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest

import birdembed as be
from birdembed.base.text import probability
from birdembed.cli import main
from tests.support.species import SPECIES, write_folder


def test_identify(folder, photos, others, capsys):
    assert main(["identify", photos.paths[0], others.root, "--model", folder, "-k", "2"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert len(lines) == 3 * (1 + len(others))
    assert lines[0].startswith(f"{photos.paths[0]}: ")
    assert lines[1].split()[0] == "1"
    assert lines[1].endswith(photos.names[0])
    found = be.load_model(folder).identify([photos.paths[0], *others.paths], k=2)
    for line, one in zip(lines[::3], found, strict=True):
        refused = f"none of the known species (best score {one.score:.4f}, "
        assert line.endswith(one.species) if one.known else refused in line
    assert any(one.known for one in found)


def test_identify_something_else(folder, tmp_path, capsys):
    strange = write_folder(tmp_path / "strange", range(1), ["X"])
    model = be.load_model(folder)
    model.threshold = 1.1
    model.save_pretrained(tmp_path / "strict")
    words = ["identify", strange.paths[0], "--model", str(tmp_path / "strict")]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{strange.paths[0]}: none of the known species (best score 0.")
    assert lines[0].endswith(", threshold 1.1000)")
    assert len(lines) == 1 + len(SPECIES)
    assert main([*words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["query"] == strange.paths[0]
    assert row["known"] is False
    assert row["species"] is None
    assert [one["label"] for one in row["results"]] == [line.split()[2] for line in lines[1:]]
    assert set(row["results"][0]) == {"id", "label", "score"}


def test_identify_shows_common_and_scientific_names(folder, photos, tmp_path, capsys):
    model = be.load_model(folder)
    label = model.identify(photos.paths[0]).species
    model.species_names = {label: ("Hedge Sparrow", "Prunella modularis")}
    model.threshold = -1
    model.save_pretrained(tmp_path / "named")
    words = ["identify", photos.paths[0], "--model", str(tmp_path / "named"), "-k", "2"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{photos.paths[0]}: Hedge Sparrow (Prunella modularis)"
    assert lines[1].endswith("  Hedge Sparrow (Prunella modularis)")
    assert main([*words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["species"] == label
    first, second = row["results"]
    assert (first["common_name"], first["scientific_name"]) == (
        "Hedge Sparrow",
        "Prunella modularis",
    )
    assert set(second) == {"id", "label", "score"}


def test_identify_prints_the_probability_of_a_known_species(folder, photos, tmp_path, capsys):
    model = be.load_model(folder)
    model.fit_gallery(np.tile(model.encode(photos), (3, 1)), labels=photos.names * 3)
    model.threshold = -1
    model.save_pretrained(tmp_path / "sure")
    one = be.load_model(tmp_path / "sure").identify(photos.paths[0])
    words = ["identify", photos.paths[0], "--model", str(tmp_path / "sure")]
    assert main(words) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{photos.paths[0]}: {one.species}, {probability(one.probability)}"
    assert main([*words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["probability"] == one.probability
    model.threshold = 2
    model.save_pretrained(tmp_path / "sure")
    assert main(words) == 0
    assert "probability" not in capsys.readouterr().out


def test_identify_names_bad_files(folder, photos, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    assert main(["identify", str(bad), photos.paths[0], "--model", folder]) == 0
    shown = capsys.readouterr()
    assert "bad.jpg" in shown.err
    assert "bad.jpg" not in shown.out
    assert main(["identify", str(bad), "--model", folder]) == 1
    (tmp_path / "empty").mkdir()
    assert main(["identify", str(tmp_path / "empty"), "--model", folder]) == 1
    assert "no photo" in capsys.readouterr().err


def table_of(path):
    """Return the rows of an answers file as dicts of text, as a CSV file has them."""
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(path).to_pylist()
    return [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]


@pytest.fixture
def named_folder(folder, photos, tmp_path):
    """Return a model folder that names one species, knows it, and has a calibrated gallery."""
    model = be.load_model(folder)
    model.fit_gallery(np.tile(model.encode(photos), (3, 1)), labels=photos.names * 3)
    label = model.identify(photos.paths[0]).species
    model.species_names = {label: ("Hedge Sparrow", "Prunella modularis")}
    model.save_pretrained(tmp_path / "named")
    return str(tmp_path / "named")


@pytest.mark.parametrize("ending", ["csv", "CSV", "parquet"])
def test_identify_writes_a_table(ending, named_folder, photos, others, tmp_path, capsys):
    bad = tmp_path / os.fsdecode("schön".encode() + b"\xff.jpg")
    bad.write_bytes(b"no picture")
    target = tmp_path / f"answers.{ending}"
    words = ["identify", photos.paths[0], *others.paths, str(bad), "--model", named_folder]
    assert main([*words, "--json"]) == 0
    *expected, _ = json.loads(capsys.readouterr().out)
    assert main([*words, "-o", str(target)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{target}\n"
    known = sum(one["known"] for one in expected)
    assert shown.err.splitlines()[-1] == f"{len(expected)} photos, {known} of a known species"
    if ending == "CSV":
        target = target.rename(tmp_path / "answers.csv")
    *rows, last = table_of(target)
    for row, one in zip(rows, expected, strict=True):
        assert row["query"] == one["query"]
        assert row["species"] == (one["species"] or "")
        assert row["nearest"] == one["results"][0]["label"]
        assert float(row["score"]) == one["score"]
        assert float(row["probability"]) == one["probability"]
        assert row["known"] == str(one["known"])
        assert row["reason"] == ""
        names = (row["common_name"], row["scientific_name"])
        hedge = one["known"] and "common_name" in one["results"][0]
        assert names == (("Hedge Sparrow", "Prunella modularis") if hedge else ("", ""))
    assert rows[0]["common_name"] == "Hedge Sparrow"
    name = str(bad) if target.suffix == ".csv" else str(bad).replace("\udcff", r"\udcff")
    assert last["query"] == name
    assert "not a JPEG" in last["reason"]
    assert not any(last[name] for name in last if name not in ("query", "reason"))


def test_identify_writes_what_json_prints(folder, photos, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    words = ["identify", *photos.paths[:2], str(bad), "--model", folder]
    assert main([*words, "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    for ending in ("json", "jsonl"):
        assert main([*words, "-o", str(tmp_path / f"x.{ending}")]) == 0
    assert json.loads((tmp_path / "x.json").read_text()) == expected
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == expected


def test_identify_says_in_json_what_it_wrote(folder, photos, tmp_path, capsys):
    bad, target = tmp_path / "bad.jpg", str(tmp_path / "x.csv")
    bad.write_bytes(b"no picture")
    words = ["identify", *photos.paths[:2], str(bad), "--model", folder]
    assert main([*words, "-o", target, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["rows"]) == (target, 2)
    assert 0 <= said["known"] <= 2
    assert [one["id"] for one in said["failures"]] == [str(bad)]


def test_a_missing_library_is_named_before_the_work(folder, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    target = str(tmp_path / "x.parquet")
    for command in ("identify", "embed"):
        assert main([command, photos.paths[0], "--model", "no/such/model", "-o", target]) == 1
        assert "birdembed[parquet]" in capsys.readouterr().err


def test_identify_without_a_gallery(photos, tmp_path, capsys, model):
    model.save_pretrained(tmp_path / "m")
    assert main(["identify", photos.paths[0], "--model", str(tmp_path / "m")]) == 1
    assert "fit_gallery" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("encoding", "errors", "text"),
    [
        ("utf-8", "strict", "Käuzchen\\udcff.png".encode()),
        ("utf-8", "surrogateescape", "Käuzchen".encode() + b"\xff.png"),
        ("ascii", "strict", rb"K\xe4uzchen\udcff.png"),
        ("ascii", "surrogateescape", rb"K\xe4uzchen\udcff.png"),
    ],
)
def test_identify_prints_names_that_cannot_be_encoded(
    encoding, errors, text, folder, photos, tmp_path, monkeypatch
):
    name = str(tmp_path / os.fsdecode("Käuzchen".encode() + b"\xff.png"))
    shutil.copyfile(photos.paths[0], name)
    words = ["identify", name, "--model", folder, "-k", "1"]

    def printed(words):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(words) == 0
        return stream.buffer.getvalue()

    assert os.fsencode(tmp_path) + b"/" + text + b": " in printed(words)
    (row,) = json.loads(printed([*words, "--json"]).decode(encoding))
    assert row["query"] == name
