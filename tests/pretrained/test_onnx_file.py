"""ONNX files give what the core gives, in ONNX Runtime."""

import json

import numpy as np
import pytest

import birdembed as be
from birdembed.weights.projection import Projection
from tests.support import seeded
from tests.support.models import make_model

pytest.importorskip("onnx", reason="writes the file")
runtime = pytest.importorskip("onnxruntime", reason="runs the file")


def run(path, pixels):
    """Return the outputs by name."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    (given,) = session.get_inputs()
    return dict(zip(names, session.run(None, {given.name: pixels}), strict=True)), session


def close(a, b):
    """Compare to 1e-4 of the largest number."""
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())


def projection(pooling):
    return Projection(pooling, seeded.uniform([5], (2048,)), seeded.uniform([6], (2048, 16), -1, 1))


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d", "resnet18", "resnet34d"])
@pytest.mark.parametrize("size", [64, 100])
def test_embeddings_and_logits(architecture, size, tmp_path):
    model = make_model(architecture, num_classes=5, size=size, class_names=list("abcde"))
    images = seeded.pictures(3, seed=1)
    pixels = be.preprocess(images, model.preprocess)
    model.export_onnx(tmp_path / "m.onnx", head=True)
    found, session = run(tmp_path / "m.onnx", pixels)
    assert list(found) == ["embeddings", "logits"]
    close(found["embeddings"], model.encode(images))
    close(found["logits"], model.logits(images))
    one, _ = run(tmp_path / "m.onnx", pixels[:1])  # batches of any size
    close(one["embeddings"], model.encode(images[:1]))
    about = session.get_modelmeta().custom_metadata_map
    told = json.loads(about["birdembed.preprocess"])
    assert told["size"] == size
    assert told["mean"] == list(model.preprocess.mean)
    assert told["channels"] == "RGB"
    assert about["birdembed.fingerprint"] == model.fingerprint
    assert json.loads(about["birdembed.class_names"]) == list("abcde")


@pytest.mark.parametrize("pooling", ["avg", "gem"])
@pytest.mark.parametrize("mirror", [False, True])
def test_projection_mirror_and_length(pooling, mirror, tmp_path):
    model = make_model(
        num_classes=3,
        preprocess=be.Preprocess(size=64, mirror=mirror),
        projection=projection(pooling),
        project_by_default=True,
    )
    images = seeded.pictures(2, seed=1)
    pixels = be.preprocess(images, model.preprocess)
    model.export_onnx(tmp_path / "m.onnx", head=True, normalize=True)
    found, _ = run(tmp_path / "m.onnx", pixels)
    assert found["embeddings"].shape == (2, 16)
    close(found["embeddings"], model.encode(images, normalize_embeddings=True))
    close(found["logits"], model.logits(images))
    if not mirror:
        nothing, _ = run(tmp_path / "m.onnx", np.zeros((1, 3, 64, 64), np.float32))
        assert np.isfinite(nothing["embeddings"]).all()


def test_files_are_reproducible_and_small_errors(tmp_path):
    model = make_model(num_classes=0, size=64)
    for name in "ab":
        model.export_onnx(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="no classifier"):
        model.export_onnx(tmp_path / "c", head=True)
    assert not (tmp_path / "c").exists()
    with pytest.raises(IsADirectoryError, match="folder"):
        model.export_onnx(tmp_path)
