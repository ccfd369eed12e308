"""Models by way of the public functions: every kind of file, the same vectors."""

import os

import numpy as np
import pytest

import birdembed as be
from birdembed.model.shared import shared_model
from tests.support import tolerances
from tests.support.networks import embed, network_input, numpy_state, random_network, vision


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d", "resnet18", "resnet34d"])
def test_save_and_load_give_the_same_bits(big_folder, architecture):
    model = be.Model(architecture, num_classes=3, seed=1)
    model.save_pretrained(big_folder)
    back = be.load_model(big_folder)
    assert (back.architecture, back.num_classes) == (architecture, 3)
    assert back.fingerprint == model.fingerprint
    x = network_input()
    np.testing.assert_array_equal(back.forward_tensor(x), model.forward_tensor(x))
    headless = be.load_model(big_folder, num_classes=0)
    assert headless.num_classes == 0
    assert headless.fingerprint == model.fingerprint
    # Loaded and saved to the same place again: the file is mapped while it is replaced.
    back.save_pretrained(big_folder)
    np.testing.assert_array_equal(
        be.load_model(big_folder).forward_tensor(x), model.forward_tensor(x)
    )


def test_half_the_space(big_folder):
    model = be.Model("resnet50", num_classes=3, seed=1, preprocess=be.Preprocess(size=64))
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8))
    vectors = model.encode(images)
    model.fit_gallery(vectors, labels=["kea", "kea", "tui", "tui"])
    model.save_pretrained(big_folder / "wide")
    model.save_pretrained(big_folder / "half", dtype="float16")
    sizes = [(big_folder / d / "model.safetensors").stat().st_size for d in ("half", "wide")]
    assert sizes[0] < 0.51 * sizes[1]
    back = be.load_model(big_folder / "half")
    assert back.fingerprint != model.fingerprint
    cosines = np.diagonal(be.cosine_similarity(back.encode(images), vectors))
    assert 1 - tolerances.FLOAT16_COSINE < min(cosines) < 1
    # Gallery and threshold come along: they are those of the model that was saved.
    assert back.threshold == model.threshold
    np.testing.assert_array_equal(back.gallery.embeddings, model.gallery.embeddings)
    assert back.identify(images[0]).species == "kea"
    assert model.gallery.fingerprint == model.fingerprint
    back.save_pretrained(big_folder / "half")
    assert be.load_model(big_folder / "half").fingerprint == back.fingerprint


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d", "resnet18", "resnet34d"])
def test_every_kind_of_file_gives_torchs_embeddings(big_folder, architecture):
    torch, _, _, _ = vision()
    from safetensors.torch import save_file

    big_folder.mkdir()
    network = random_network(architecture, 3)
    state = network.state_dict()
    torch.save(state, big_folder / "zip.pth")
    torch.save(state, big_folder / "old.pth", _use_new_zipfile_serialization=False)
    wrapped = {"epoch": 1, "state_dict": {f"module.{n}": t for n, t in state.items()}}
    torch.save(wrapped, big_folder / "wrapped.pth")
    save_file(state, big_folder / "plain.safetensors")
    x = network_input()
    expected = embed(network, x)
    for name in ("zip.pth", "old.pth", "wrapped.pth", "plain.safetensors"):
        model = be.load_model(architecture, weights=big_folder / name)
        assert model.num_classes == 3
        assert model.preprocess == be.Preprocess()
        found = model.forward_tensor(x)
        distances = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert max(distances) <= tolerances.FEATURES_REL_L2, name


def test_narrow_floats_are_widened(big_folder):
    """float16 and bfloat16 files hold rounded weights: ours are the rounded ones exactly."""
    torch, _, _, _ = vision()
    from safetensors.torch import save_file

    big_folder.mkdir()
    network = random_network("resnet50")
    for kind in (torch.float16, torch.bfloat16):
        narrow = {
            n: t.to(kind) if t.is_floating_point() else t for n, t in network.state_dict().items()
        }
        save_file(narrow, big_folder / "x.safetensors")
        torch.save(narrow, big_folder / "x.pth")
        wide = numpy_state(network.__class__.to(network, kind).float())
        for name in ("x.safetensors", "x.pth"):
            state = be.load_model("resnet50", weights=big_folder / name).state_dict()
            assert all(np.array_equal(state[n], wide[n]) for n in state if "num_b" not in n)
        network = random_network("resnet50")


def test_wrong_architecture_and_absent_models(big_folder, monkeypatch, tmp_path):
    be.Model("resnet50").save_pretrained(big_folder)
    with pytest.raises(be.WeightsError, match="holds a resnet50, expected a resnet50d"):
        be.load_model("resnet50d", weights=big_folder / "model.safetensors")
    with pytest.raises(be.WeightsError, match="holds a resnet50, expected a resnet50d"):
        be.load_model("resnet50d", weights=big_folder)
    with pytest.raises(be.WeightsError, match="cannot be read"):
        be.load_model("resnet50", weights=big_folder / "absent.pth")
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "empty"))
    with pytest.raises(be.WeightsError, match="birdembed fetch sscd"):
        be.load_model("sscd")
    with pytest.raises(be.WeightsError, match="resnet51"):
        be.load_model("resnet51")


def test_paths_of_bytes_are_paths(big_folder):
    model, folder = be.Model("resnet18", seed=1), os.fsencode(big_folder / "m")
    model.save_pretrained(folder)
    assert model.source == str(big_folder / "m")
    assert be.load_model(folder).source == str(big_folder / "m")
    assert shared_model(folder).fingerprint == model.fingerprint
    weights = str(big_folder / "m" / "model.safetensors")
    assert be.load_model("resnet18", weights=os.fsencode(weights)).source == weights
