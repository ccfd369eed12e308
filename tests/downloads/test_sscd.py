"""The real weights of sscd: converted exactly, and the same numbers as a float run of the file."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed._core import WeightsError
from birdembed.downloads.fetch import fetch
from birdembed.downloads.sscd_onnx import IDENTITY_VAR, folded_batch_norm
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import check_fingerprint
from birdembed.pretrained.reading import read_pretrained
from tests.support import tolerances
from tests.support.sscd_float import float_graph, session, squashed


@pytest.fixture(scope="module")
def folder():
    """The converted model, in the cache already or fetched now."""
    pytest.importorskip("onnx")
    try:
        return fetch("sscd")
    except WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(folder):
    return read_pretrained(folder)


@pytest.fixture(scope="module")
def photographs():
    root = os.environ.get("BIRDEMBED_DATA")
    if not root:
        pytest.skip("BIRDEMBED_DATA names no pictures")
    return squashed(sorted(Path(root).glob("valid/*/*.jpg"))[::2][:100])


def test_a_second_fetch_is_instant(folder):
    start = time.perf_counter()
    assert fetch("sscd") == folder
    assert time.perf_counter() - start < 1  # converting takes several; this only looks


def test_folder(folder, model):
    assert {"config.json", "model.safetensors", "projection.safetensors"} <= set(os.listdir(folder))
    assert "Meta" in (folder / "SSCD_LICENSE").read_text()
    assert model.architecture == "resnet50"
    assert model.num_classes == 0
    assert model.preprocess == Preprocess(224, "squash", 1.0, "bilinear")
    assert model.pooling == "avg"
    assert not model.project_by_default
    assert (model.projection.pooling, model.projection.dim) == ("gem", 512)
    check_fingerprint(model)


def test_projection_only_when_it_is_asked_for(folder):
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64), dtype=np.float32)
    plain, projected = be.load_model("sscd"), be.load_model("sscd", projection=True)
    assert plain.forward_tensor(x).shape == (1, 2048)
    assert projected.forward_tensor(x).shape == (1, 512)
    np.testing.assert_array_equal(
        plain.forward_tensor(x, projection=True), projected.forward_tensor(x)
    )
    assert plain.fingerprint != projected.fingerprint
    assert plain.fingerprint == read_pretrained(folder).fingerprint


def test_batch_norm_does_nothing_in_float32_and_float64(model):
    weights = model.state["layer1.0.conv2.weight"]
    for dtype in (np.float32, np.float64):
        scale = dtype(1) / np.sqrt(dtype(IDENTITY_VAR) + dtype(1e-5))
        np.testing.assert_array_equal((weights.astype(dtype) * scale).astype(np.float32), weights)
    norms = [n.removesuffix(".running_var") for n in model.state if n.endswith("running_var")]
    assert len(norms) == 53
    for norm in norms:
        for leaf, array in folded_batch_norm(model.state[f"{norm}.bias"]).items():
            np.testing.assert_array_equal(model.state[f"{norm}.{leaf}"], array)


def test_weights_are_what_onnxruntime_dequantises(folder, model):
    """Each Conv's weights, asked of ONNX Runtime itself, in the order of the graph."""
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = onnx.load(str(folder / "sscd.onnx")).graph
    wanted = [name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]]
    constants = onnx.helper.make_graph(
        [n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] in wanted],
        "constants",
        [],
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in wanted],
        graph.initializer,
    )
    small = onnx.helper.make_model(
        constants, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    run = onnxruntime.InferenceSession(
        small.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = iter(run.run(wanted, {}))
    # torch's order has a block's shortcut last, the file's has it behind the first convolution.
    names = ["conv1"]
    for layer, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            shortcut = ["downsample.0"] if block == 0 else []
            names += [f"layer{layer}.{block}.{n}" for n in ("conv1", *shortcut, "conv2", "conv3")]
    assert len(names) * 2 == len(wanted)
    for name in names:
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        np.testing.assert_array_equal(model.state[f"{name}.weight"], next(values), name)
        np.testing.assert_array_equal(model.state[f"{norm}.bias"], next(values), norm)


def test_projection_is_the_files_linear_map(folder, model):
    onnx = pytest.importorskip("onnx")
    constants = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in onnx.load(str(folder / "sscd.onnx")).graph.initializer
    }
    x = np.random.default_rng(0).standard_normal((4, 2048))
    expected = x @ constants["embeddings.1.weight"].T.astype(float) + constants["embeddings.1.bias"]
    found = (x - model.projection.mean) @ model.projection.matrix.astype(float)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_against_a_float_run_of_the_file(folder, photographs, record_property):
    pytest.importorskip("onnxruntime")
    reference = session(float_graph(folder / "sscd.onnx"))
    as_it_is = session(str(folder / "sscd.onnx"))
    ours = be.load_model("sscd", projection=True)
    distances, cosines = [], []
    for start in range(0, len(photographs), 20):
        batch = photographs[start : start + 20]
        found, expected = ours.encode(batch, normalize_embeddings=True), reference(batch)
        assert found.shape == (len(batch), 512)
        distances += list(np.linalg.norm(found - expected, axis=1))
        cosines += list(np.sum(found * as_it_is(batch), axis=1))
    record_property("float_rel_l2_max", float(max(distances)))
    record_property("int8_cosine_min", float(min(cosines)))
    record_property("int8_cosine_mean", float(np.mean(cosines)))
    print(
        f"\nsscd, {len(distances)} photographs: relative L2 to the float run at most "
        f"{max(distances):.2e}; cosine to the int8 file: minimum {min(cosines):.4f}, "
        f"mean {np.mean(cosines):.4f}"
    )
    assert max(distances) <= tolerances.SSCD_FLOAT_REL_L2
    assert min(cosines) >= tolerances.SSCD_INT8_COSINE
