"""Names and shapes: every layout that is read, and every way not to fit."""

import numpy as np
import pytest

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.weights.state_dict import from_transformers, native_state, to_native, to_saved
from birdembed.weights.tensors import StoredTensor
from tests.support.networks import (
    ARCHITECTURES,
    embed,
    numpy_state,
    parameter_table,
    vision,
)


def stored(arrays):
    dtypes = {np.dtype("f4"): "F32", np.dtype("i8"): "I64"}
    return {name: StoredTensor(dtypes[array.dtype], array) for name, array in arrays.items()}


def empty_state(architecture, num_classes=0):
    """Right names and shapes at no cost: every array is a view of one zero."""
    return {
        name: np.broadcast_to(np.float32(0), shape)
        for name, shape in parameter_table(architecture, num_classes)
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("num_classes", [0, 7])
def test_the_cores_table_is_timms(architecture, num_classes):
    torch, _, timm, _ = vision()
    with torch.device("meta"):  # shapes without numbers
        network = timm.create_model(architecture, num_classes=num_classes)
    expected = [
        (name, tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    ]
    table = [(n, tuple(s)) for n, s in _core.parameter_table(architecture, num_classes)]
    assert sorted(table) == sorted(expected)
    assert sorted(parameter_table(architecture, num_classes)) == sorted(expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module.model."])
def test_native_names_bare_and_prefixed(architecture, prefix):
    state = to_saved(empty_state(architecture, 3))
    convolutions = sum(array.ndim == 4 for array in state.values())
    assert sum(n.endswith("num_batches_tracked") for n in state) == convolutions
    found, native = to_native(stored({prefix + n: a for n, a in state.items()}), "x")
    assert found == architecture
    assert [(n, a.shape) for n, a in native.items()] == [
        (n, tuple(s)) for n, s in _core.parameter_table(architecture, 3)
    ]
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in native.values())


def test_heads():
    with_head = stored(empty_state("resnet50", 3))
    without = stored(empty_state("resnet50"))
    assert to_native(with_head, "x")[1]["fc.weight"].shape == (3, 2048)
    assert "fc.weight" not in to_native(with_head, "x", num_classes=0)[1]
    assert to_native(with_head, "x", num_classes=3)[1]["fc.bias"].shape == (3,)
    assert "fc.weight" not in to_native(without, "x")[1]
    assert "fc.weight" not in to_native(without, "x", num_classes=0)[1]
    with pytest.raises(
        WeightsError, match=r"has 3 classes, but num_classes is 5.*reset_classifier\(5\)"
    ):
        to_native(with_head, "x", num_classes=5)
    with pytest.raises(WeightsError, match=r"has no classes, but num_classes is 5"):
        to_native(without, "x", num_classes=5)
    del with_head["fc.bias"]
    with pytest.raises(WeightsError, match=r"missing fc\.bias"):
        to_native(with_head, "x")


def test_what_does_not_fit_is_named():
    state = empty_state("resnet50")
    for name in ("layer1.0.conv1.weight", "layer1.0.bn1.bias", "layer2.0.bn1.bias", "bn1.weight"):
        del state[name]
    state["layer5.0.conv1.weight"] = np.zeros(1, np.float32)
    state["conv1.weight"] = np.zeros((64, 3, 3, 3), np.float32)
    with pytest.raises(WeightsError) as caught:
        to_native(stored(state), "my.pth")
    message = str(caught.value)
    assert message.startswith("my.pth: does not match resnet50: missing bn1.weight, layer1.0.")
    assert "and 1 more; unexpected layer5.0.conv1.weight; misshapen conv1.weight" in message
    assert "(expected (64, 3, 7, 7), got (64, 3, 3, 3))" in message


def test_other_networks():
    deep, plain = stored(empty_state("resnet50d")), stored(empty_state("resnet50"))
    with pytest.raises(WeightsError, match="holds a resnet50d, expected a resnet50"):
        to_native(deep, "x", "resnet50")
    with pytest.raises(WeightsError, match="holds a resnet50, expected a resnet50d"):
        to_native(plain, "x", "resnet50d")
    with pytest.raises(ValueError, match="architecture must be one of"):
        to_native(plain, "x", "vgg16")
    with pytest.raises(WeightsError, match=r"not a ResNet:.*encoder\.weight"):
        to_native(stored({"encoder.weight": np.zeros(3, np.float32)}), "x")
    with pytest.raises(WeightsError, match="none at all"):
        to_native({}, "x")
    # resnet50c: the deep stem, but no pooling before the shortcut's convolution.
    renamed = {n.replace("downsample.1", "downsample.0"): t for n, t in deep.items()}
    with pytest.raises(WeightsError, match=r"missing layer1\.0\.downsample\.1\.weight"):
        to_native(renamed, "x")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_with_gaps_is_still_told(architecture):
    """By the names that are there: the error lists those that are not."""
    state = stored(empty_state(architecture))
    for name in ("layer4.0.conv2.weight", "layer3.1.bn1.bias"):
        del state[name]
    with pytest.raises(WeightsError, match=rf"x: does not match {architecture}: missing layer3\.1"):
        to_native(state, "x")
    with pytest.raises(WeightsError, match=rf"does not match {architecture}: missing layer3\.1"):
        to_native(state, "x", architecture)


def test_integer_weights_are_refused():
    state = stored(empty_state("resnet50"))
    state["conv1.weight"] = StoredTensor("I8", np.zeros((64, 3, 7, 7), np.int8))
    with pytest.raises(WeightsError, match=r"x: conv1\.weight has dtype I8"):
        to_native(state, "x")


def test_transformers_names_one_by_one():
    for prefix in ("", "resnet."):
        for theirs, ours in {
            "embedder.embedder.convolution.weight": "conv1.weight",
            "embedder.embedder.normalization.running_var": "bn1.running_var",
            "encoder.stages.0.layers.0.shortcut.convolution.weight": "layer1.0.downsample.0.weight",
            "encoder.stages.3.layers.0.shortcut.normalization.bias": "layer4.0.downsample.1.bias",
            "encoder.stages.2.layers.5.layer.1.convolution.weight": "layer3.5.conv2.weight",
            "encoder.stages.2.layers.5.layer.2.normalization.weight": "layer3.5.bn3.weight",
        }.items():
            assert from_transformers(prefix + theirs) == ours
    assert from_transformers("classifier.1.weight") == "fc.weight"
    assert from_transformers("classifier.0.weight") is None
    assert from_transformers("vit.embedder.embedder.convolution.weight") is None


def test_a_transformers_model_and_its_twin_agree():
    torch, _, timm, _ = vision()
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    theirs = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=4))
    theirs.eval()
    _, native = to_native(stored(numpy_state(theirs)), "x")
    twin = timm.create_model("resnet50", num_classes=4).eval()
    twin.load_state_dict({n: torch.from_numpy(a) for n, a in native.items()}, strict=True)
    x = np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)
    with torch.no_grad():
        pooled = theirs.resnet(torch.from_numpy(x)).pooler_output.flatten(1).numpy()
        logits = theirs(torch.from_numpy(x)).logits.numpy()
        np.testing.assert_allclose(logits, twin(torch.from_numpy(x)).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled, embed(twin, x), rtol=1e-4, atol=1e-5)


def test_a_negative_variance_is_refused():
    state = empty_state("resnet18")
    state["bn1.running_var"] = np.full(64, -1, np.float32)
    with pytest.raises(WeightsError, match=r"x: bn1\.running_var has a negative variance"):
        to_native(stored(state), "x")


class Unreadable:
    def detach(self):
        raise RuntimeError("the storage is gone")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (None, "state_dict must be arrays by name, got None"),
        ([np.zeros(3)], "state_dict must be arrays by name, got "),
        ({1: np.zeros(3)}, "the names must be text, got 1"),
        ({b"bn1.bias": np.zeros(3)}, "the names must be text, got b'bn1.bias'"),
        ({"bn1.bias": [[1.0], [1.0, 2.0]]}, "state_dict: bn1.bias is not an array: .*inhomog"),
        ({"bn1.bias": Unreadable()}, "bn1.bias is not an array: the storage is gone"),
        ({"bn1.bias": [1, 2, "a"]}, "bn1.bias has dtype str"),
        ({"bn1.bias": [None, 1, {}]}, "bn1.bias has dtype object"),
        ({"bn1.bias": {"a": 1}}, r"misshapen bn1.bias \(expected \(3,\), got \(\)\)"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_no_state_dict_is_refused_by_name(arrays, words, strict):
    table = [("bn1.bias", (3,))]
    present = {} if strict else {"bn1.bias": np.zeros(3, np.float32)}
    with pytest.raises(WeightsError, match=words):
        native_state(arrays, table, "resnet18", present)
