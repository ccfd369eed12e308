"""--precision on the command line."""

import numpy as np
import pytest

import birdembed as be
from birdembed import _core
from birdembed.cli import main
from birdembed.model import precision as precision_

native = pytest.mark.skipif(not _core.backend()["bfloat16"], reason="no bfloat16 here")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    monkeypatch.setattr(precision_, "_choices", {})
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BIRDEMBED_PRECISION", raising=False)


@native
def test_embed(folder, photos, tmp_path, capsys):
    vectors = {}
    for name in ("float32", "bfloat16", "auto"):
        target = tmp_path / f"{name}.npy"
        words = ["embed", photos.root, "-o", str(target), "--model", folder, "--precision", name]
        assert main(words) == 0
        vectors[name] = np.load(target)
        said = [line for line in capsys.readouterr().err.splitlines() if "precision" in line]
        assert len(said) == (name == "auto"), said
    assert said[0].startswith("precision: bfloat16, cosine to float32 at least 0.99")
    np.testing.assert_array_equal(vectors["auto"], vectors["bfloat16"])
    np.testing.assert_array_equal(vectors["float32"], be.load_model(folder).encode(photos))
    assert not np.array_equal(vectors["float32"], vectors["bfloat16"])


def test_an_unknown_one(capsys):
    assert main(["identify", "a.jpg", "--precision", "float64"]) == 2
    assert "float32, bfloat16, int8, auto" in capsys.readouterr().err.replace("'", "")


def test_info(monkeypatch, capsys):
    assert main(["info"]) == 0
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert shown["precision"] == "float32"
    backend = _core.backend()
    assert ("faster" in shown) == (backend["bfloat16"] or backend["int8"])
    monkeypatch.setenv("BIRDEMBED_PRECISION", "auto")
    main(["info"])
    assert "faster" not in capsys.readouterr().out
