"""From a name to a model."""

import importlib.util
import json
import os

import numpy as np
import pytest

import birdembed as be
from tests.support import seeded
from tests.support.models import CLASSES


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    """No cache, and a working directory with nothing in it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home" / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if importlib.util.find_spec("huggingface_hub"):  # which reads it when it is first imported
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("BIRDEMBED_CACHE", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("name", ["resnet50", "sscd", "owner/name"])
def test_an_existing_folder_wins(small, empty_home, pictures, name):
    small.save_pretrained(name)
    found = be.load_model(name)
    np.testing.assert_array_equal(found.encode(pictures[0]), small.encode(pictures[0]))
    assert name in repr(found)


def test_sscd_before_it_is_fetched(empty_home):
    with pytest.raises(be.WeightsError, match="birdembed fetch sscd"):
        be.load_model("sscd")
    assert "sscd" not in be.list_models()


def test_unknown_names(empty_home):
    with pytest.raises(
        be.WeightsError, match=r"no model 'rasnet'; did you mean .*sscd.*resnet50.*OWNER/NAME"
    ):
        be.load_model("rasnet")
    with pytest.raises(be.WeightsError, match=r"no model '\./missing'|missing"):
        be.load_model("./missing")


def test_a_folder_that_is_no_model(empty_home):
    os.mkdir("things")
    with pytest.raises(be.WeightsError, match=r"config\.json"):
        be.load_model("things")


def test_a_hub_name_offline(empty_home):
    with pytest.raises(be.WeightsError) as caught:
        be.load_model("resnet50")
    text = str(caught.value)
    assert "resnet50" in text
    assert "hub" in text
    assert "weights=" in text or "fetch" in text  # the ways out


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d"])
def test_a_bare_file(empty_home, architecture, pictures, request):
    from safetensors.numpy import save_file

    model = request.getfixturevalue(architecture)
    save_file(seeded.state(architecture, CLASSES), "weights.safetensors")
    found = be.load_model(architecture, weights="weights.safetensors")
    assert found.preprocess == be.Preprocess()
    assert found.num_classes == CLASSES
    assert found.fingerprint == model.fingerprint
    np.testing.assert_array_equal(found.encode(pictures[0]), model.encode(pictures[0]))
    assert "weights.safetensors" in repr(found)
    headless = be.load_model(architecture, weights="weights.safetensors", num_classes=0)
    assert headless.num_classes == 0
    assert headless.fingerprint == model.fingerprint
    cfg = be.Preprocess(size=96, mirror=True)
    assert (
        be.load_model(architecture, weights="weights.safetensors", preprocess=cfg).preprocess == cfg
    )
    with pytest.raises(be.WeightsError, match=f"num_classes is {CLASSES + 1}"):
        be.load_model(architecture, weights="weights.safetensors", num_classes=CLASSES + 1)
    wrong = "resnet50d" if architecture == "resnet50" else "resnet50"
    with pytest.raises(be.WeightsError, match=f"expected a {wrong}"):
        be.load_model(wrong, weights="weights.safetensors")
    with pytest.raises(ValueError, match="must be an architecture"):
        be.load_model("sscd", weights="weights.safetensors")


def test_a_pth_file(empty_home, small, pictures):
    torch = pytest.importorskip("torch")
    state = {n: torch.from_numpy(a) for n, a in seeded.state("resnet50", CLASSES).items()}
    wrapped = {"model_state_dict": {f"module.{n}": t for n, t in state.items()}, "epoch": 3}
    torch.save(wrapped, "weights.pth")
    found = be.load_model("resnet50", weights="weights.pth", preprocess=small.preprocess)
    np.testing.assert_array_equal(found.encode(pictures[0]), small.encode(pictures[0]))


def test_missing_and_broken_weights(empty_home, small):
    with pytest.raises(be.WeightsError, match=r"missing\.safetensors"):
        be.load_model("resnet50", weights="missing.safetensors")
    small.save_pretrained("model")
    data = open("model/model.safetensors", "rb").read()
    open("model/model.safetensors", "wb").write(data[: len(data) // 2])
    with pytest.raises(be.WeightsError, match=r"model\.safetensors"):
        be.load_model("model")


def test_projection_of_a_model_without_one(empty_home, small):
    small.save_pretrained("model")
    with pytest.raises(ValueError, match="projection=True"):
        be.load_model("model", projection=True)


def test_projection_on_request(empty_home, projecting, pictures):
    """A model whose projection is there but not the default, as sscd's."""
    projecting.save_pretrained("model")
    config = json.load(open("model/config.json"))
    config["birdembed"]["projection"]["default"] = False
    json.dump(config, open("model/config.json", "w"))
    plain, asked = be.load_model("model"), be.load_model("model", projection=True)
    assert (plain.embedding_dim, asked.embedding_dim) == (2048, 16)
    assert asked.fingerprint == projecting.fingerprint != plain.fingerprint
    np.testing.assert_array_equal(asked.encode(pictures[0]), projecting.encode(pictures[0]))
    np.testing.assert_array_equal(
        plain.encode(pictures[0], projection=True), projecting.encode(pictures[0])
    )
    np.testing.assert_array_equal(
        plain.encode(pictures[0]), projecting.encode(pictures[0], projection=False)
    )


def test_default_model(empty_home):
    """birds477, which is bundled: nothing is fetched."""
    assert be.list_models() == ["birds477"]
    assert repr(be.load_model()).endswith("birds477)")


def test_info():
    info = be.info()
    assert {"version", "onednn", "isa", "cpu_features", "threads", "precisions"} <= set(info)
    assert info["version"] == be.__version__
    assert info["onednn"].startswith("3.")
    assert info["precisions"][0] == "float32"
    assert 1 <= info["threads"] <= 1024
