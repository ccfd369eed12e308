"""Model folders of timm, torchvision and transformers: read by us, and ours by them."""

import json

import numpy as np
import pytest

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import Pretrained
from birdembed.pretrained.preprocess_config import preprocess_from_transformers
from birdembed.pretrained.reading import read_pretrained
from birdembed.pretrained.writing import write_pretrained
from tests.support import tolerances
from tests.support.model_folders import BIRDS, edit
from tests.support.networks import embed, network_input, numpy_state, random_network, vision


def assert_same_embeddings(folder, expected, x):
    """This package's network, read from the folder, against another library's features."""
    back = read_pretrained(folder)
    network = _core.Network(back.architecture, back.num_classes, list(back.state.values()))
    found = network.features(x)
    distances = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert max(distances) <= tolerances.FEATURES_REL_L2


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [
        ("resnet50", "float32"),
        ("resnet50d", "float32"),
        ("resnet50", "float16"),
        ("resnet18d", "float32"),
        ("resnet34", "float32"),
    ],
)
def test_timm_loads_what_is_saved(big_folder, architecture, dtype):
    torch, _, timm, _ = vision()
    network = random_network(architecture, 3)
    if dtype == "float16":
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.data = parameter.data.half().float()
    saved = {
        name: array
        for name, array in numpy_state(network).items()
        if not name.endswith("num_batches_tracked")
    }
    names = {BIRDS[0]: ("Robin", "Erithacus rubecula")}
    given = Pretrained(architecture, saved, class_names=BIRDS, species_names=names)
    write_pretrained(big_folder, given, dtype=dtype)
    loaded = timm.create_model(f"local-dir:{big_folder}", pretrained=True).eval()
    assert loaded.num_classes == 3
    labels = loaded.pretrained_cfg["label_names"], loaded.pretrained_cfg["label_descriptions"]
    assert list(labels[0]) == BIRDS
    described = timm.data.CustomDatasetInfo(*labels).index_to_description
    assert [described(i) for i in range(3)] == ["Robin (Erithacus rubecula)", *BIRDS[1:]]
    config = timm.data.resolve_model_data_config(loaded)
    assert list(config["input_size"]) == [3, 224, 224]
    assert (config["crop_pct"], config["crop_mode"]) == (1.0, "squash")
    x = network_input()
    np.testing.assert_array_equal(embed(loaded, x), embed(network, x))
    assert_same_embeddings(big_folder, embed(loaded, x), x)
    with torch.no_grad():
        assert torch.equal(loaded(torch.from_numpy(x)), network(torch.from_numpy(x)))


@pytest.mark.parametrize("architecture", ["resnet50", "resnet18"])
def test_torchvision_loads_what_is_saved(big_folder, architecture):
    torch, torchvision, _, _ = vision()
    from safetensors.torch import load_file as torch_load_file

    network = random_network(architecture, 3)
    saved = {n: a for n, a in numpy_state(network).items() if "num_batches" not in n}
    write_pretrained(big_folder, Pretrained(architecture, saved))
    twin = torchvision.models.get_model(architecture, weights=None, num_classes=3).eval()
    twin.load_state_dict(torch_load_file(big_folder / "model.safetensors"), strict=True)
    x = network_input()
    np.testing.assert_array_equal(embed(twin, x), embed(network, x))
    assert_same_embeddings(big_folder, embed(twin, x), x)
    with torch.no_grad():
        assert torch.equal(twin(torch.from_numpy(x)), network(torch.from_numpy(x)))


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d", "resnet34d"])
def test_folders_of_timm(big_folder, architecture):
    _, _, timm, _ = vision()
    network = random_network(architecture, 3)
    timm.models.save_for_hf(
        network, big_folder, model_config={"label_names": BIRDS}, safe_serialization=True
    )
    assert (big_folder / "model.safetensors").is_file()
    back = read_pretrained(big_folder)
    assert back.architecture == architecture
    assert back.class_names == BIRDS
    config = timm.data.resolve_model_data_config(network)
    assert back.preprocess == Preprocess(
        size=config["input_size"][1],
        resize="shortest",
        crop_pct=config["crop_pct"],
        interpolation=config["interpolation"],
    )
    expected = numpy_state(network)
    assert all(np.array_equal(back.state[n], expected[n]) for n in back.state)
    assert back.fingerprint is None
    assert len(back.with_fingerprint().fingerprint) == 64


#: As microsoft/resnet-50 has it, and as transformers' later versions write the same.
PROCESSORS = [
    {
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 224,
    },
    {
        "crop_pct": 0.875,
        "do_rescale": True,
        "rescale_factor": 0.00392156862745098,
        "image_processor_type": "ConvNextImageProcessor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": {"shortest_edge": 224},
    },
]


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_folders_of_transformers(big_folder, processor, safe):
    torch, _, _, _ = vision()
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    labels = dict(enumerate(BIRDS))
    config = transformers.ResNetConfig(id2label=labels, label2id={n: i for i, n in labels.items()})
    theirs = transformers.ResNetForImageClassification(config)
    theirs.save_pretrained(big_folder)
    if not safe:
        (big_folder / "model.safetensors").unlink()
        torch.save(theirs.state_dict(), big_folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json.*pass preprocess="):
        read_pretrained(big_folder)
    (big_folder / "preprocessor_config.json").write_text(json.dumps(processor))
    back = read_pretrained(big_folder)
    assert back.architecture == "resnet50"
    assert back.class_names == BIRDS
    assert back.preprocess == Preprocess(
        size=224, resize="shortest", crop_pct=0.875, interpolation="bicubic"
    )
    name = "resnet.encoder.stages.3.layers.2.layer.1.convolution.weight"
    np.testing.assert_array_equal(back.state["layer4.2.conv2.weight"], numpy_state(theirs)[name])
    edit(big_folder, downsample_in_bottleneck=True)
    with pytest.raises(WeightsError, match="expected downsample_in_bottleneck False, got True"):
        read_pretrained(big_folder)


def test_a_shallow_folder_of_transformers(big_folder):
    """As microsoft/resnet-18: basic blocks, told by the weights."""
    torch, _, _, _ = vision()
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic"
    )
    theirs = transformers.ResNetForImageClassification(config).eval()
    theirs.save_pretrained(big_folder)
    (big_folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[0]))
    assert read_pretrained(big_folder).architecture == "resnet18"
    x = network_input()
    with torch.no_grad():
        expected = theirs.resnet(torch.from_numpy(x)).pooler_output.flatten(1).numpy()
    assert_same_embeddings(big_folder, expected, x)
    with pytest.raises(WeightsError, match="holds a resnet18, expected a resnet34"):
        read_pretrained(big_folder, architecture="resnet34")


@pytest.mark.parametrize(
    ("cfg", "expected"),
    [
        ({"size": {"height": 160, "width": 160}}, Preprocess(160, interpolation="bicubic")),
        (
            {"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": True},
            (224, 256),
        ),
        (
            {
                "size": {"shortest_edge": 236},
                "crop_size": {"height": 224, "width": 224},
                "do_center_crop": True,
            },
            (224, 236),
        ),
        (
            {"size": {"shortest_edge": 384}, "image_processor_type": "ConvNextImageProcessor"},
            Preprocess(384, interpolation="bicubic"),
        ),
        ({"size": {"height": 160, "width": 200}}, "not supported"),
        ({"size": 224, "do_resize": False}, "do_resize is false"),
        ({"size": {"shortest_edge": 224}}, "without a crop"),
        ({"size": 224, "rescale_factor": 1.0}, "rescale_factor"),
        ({"size": 224, "resample": 1}, "resample 1"),
    ],
)
def test_processors_of_transformers(cfg, expected):
    from_config = preprocess_from_transformers
    if isinstance(expected, str):
        with pytest.raises(WeightsError, match=f"x: .*{expected}"):
            from_config(cfg, "x")
    elif isinstance(expected, tuple):
        size, edge = expected
        found = from_config(cfg, "x")
        assert (found.size, found.resize) == (size, "shortest")
        assert int(size / found.crop_pct) == edge
    else:
        assert from_config(cfg, "x") == expected
