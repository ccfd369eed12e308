"""A model that comes with the package: found by name, identifying with no download."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed import _load
from birdembed.cli import main

PACKAGE = Path(be.__file__).resolve().parent


def pictures(n):
    return list(np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder of bundled models with one in it, as `finetune --dtype float16` writes it."""
    root = tmp_path_factory.mktemp("models")
    model = be.Model("resnet50", num_classes=2, seed=1, preprocess=be.Preprocess(size=64))
    from birdembed._dtype import as_stored

    model.load_state_dict(as_stored(model.state_dict(), "float16"))
    model.fit_gallery(model.encode(pictures(4)), labels=["kea", "kea", "tui", "tui"])
    model.save_pretrained(root / "birds51", dtype="float16")
    yield root
    shutil.rmtree(root)


def test_found_by_name(shipped, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_load, "_BUNDLED", shipped)
    assert "birds51" in be.list_models()
    model = be.load_model("birds51")
    assert repr(model).endswith("birds51)")
    assert model.identify(pictures(1)[0]).species == "kea"
    assert main(["info", "--check", "birds51"]) == 0
    assert model.fingerprint in capsys.readouterr().out
    twin = pickle.loads(pickle.dumps(model))
    assert twin.fingerprint == model.fingerprint
    assert twin.identify(pictures(4)) == model.identify(pictures(4))
    # A folder of the user's own wins over the name.
    be.Model("resnet50", preprocess=be.Preprocess(size=96)).save_pretrained(tmp_path / "birds51")
    assert be.load_model("birds51").preprocess.size == 96


def test_default_model_of_a_package_that_has_it(shipped, tmp_path):
    """In a process of its own, with a copy of the package: what is the default is told once."""
    copy = tmp_path / "site" / "birdembed"
    shutil.copytree(PACKAGE, copy, symlinks=True, ignore=shutil.ignore_patterns("models"))
    shutil.copytree(shipped, copy / "models")
    image = tmp_path / "kea.npy"
    np.save(image, pictures(1)[0])
    code = (
        "import numpy as np, birdembed as be; model = be.load_model();"
        f"print(model, model.identify(np.load({str(image)!r})).species, be.Model.from_pretrained())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(copy.parent), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    shutil.rmtree(copy)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("birds51)") == 2
    assert ") kea Model(" in done.stdout
