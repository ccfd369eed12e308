"""`birdembed embed`: the files it writes."""

import csv
import os

import numpy as np
import pytest

from birdembed.cli import main
from tests.support.species import picture

pytestmark = pytest.mark.usefixtures("own_cache")


def test_embed_npy(damaged, bare, tmp_path, capsys):
    target = tmp_path / "x.npy"
    assert main(["embed", str(damaged), "-o", str(target), "--model", bare]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [str(target), str(tmp_path / "x.names.txt")]
    assert "skipped" in shown.err
    assert "bad.jpg" in shown.err
    rows = np.load(target)
    assert rows.shape == (6, 512)
    assert rows.dtype == np.float32
    names = (tmp_path / "x.names.txt").read_text().splitlines()
    assert sorted(names) == [f"{s}/{j}.png" for s in ("ROBIN", "WREN") for j in range(3)]
    assert not list(tmp_path.glob(".x*"))  # nothing half-written stays


def test_embed_csv_has_the_same_numbers(damaged, folder, tmp_path, capsys):
    main(["embed", str(damaged), "-o", str(tmp_path / "x.npy"), "--model", folder])
    assert main(["embed", str(damaged), "-o", str(tmp_path / "x.csv"), "--model", folder]) == 0
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head[:3] == ["id", "label", "v0"]
    assert [row[0] for row in rows] == (tmp_path / "x.names.txt").read_text().splitlines()
    assert rows[0][1] == rows[0][0].split("/")[0]
    numbers = np.array([row[2:] for row in rows], np.float32)
    np.testing.assert_array_equal(numbers, np.load(tmp_path / "x.npy"))


@pytest.mark.parametrize("ending", ["npy", "csv"])
def test_embed_writes_a_name_with_its_own_bytes(ending, folder, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    picture(0, 0).save(tmp_path / "in" / os.fsdecode(b"\xff.png"))
    words = ["embed", str(tmp_path / "in"), "-o", str(tmp_path / f"x.{ending}"), "--model", folder]
    assert main(words) == 0
    written = tmp_path / ("x.names.txt" if ending == "npy" else "x.csv")
    assert b"\xff.png" in written.read_bytes()
