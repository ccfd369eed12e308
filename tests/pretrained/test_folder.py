"""Model folders: ours, timm's and transformers', and what a fingerprint names."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import Pretrained, check_fingerprint
from birdembed.pretrained.fingerprint import fingerprint
from birdembed.pretrained.preprocess_config import preprocess_from_transformers
from birdembed.pretrained.reading import read_bare, read_pretrained
from birdembed.pretrained.writing import write_pretrained
from birdembed.weights.projection import Projection, read_projection, write_projection
from tests.support import tolerances
from tests.support.networks import embed, numpy_state, parameter_table, random_network, vision

BIRDS = ["kea", "Steller's jay", "årfugl"]


@pytest.fixture
def state(monkeypatch):
    """A network of a few numbers: most of what is tested here does not depend on its size."""

    def tiny_table(architecture, num_classes):
        table = parameter_table(architecture, num_classes)
        return [(n, tuple(min(d, 4) for d in shape)) for n, shape in table]

    monkeypatch.setattr(_core, "parameter_table", tiny_table)
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(s, np.float32) for n, s in tiny_table("resnet50", 3)}


@pytest.fixture
def big_folder(tmp_path):
    """A folder for whole models, emptied at once: pytest keeps tmp_path for several runs."""
    yield tmp_path / "model"
    shutil.rmtree(tmp_path / "model", ignore_errors=True)


@pytest.fixture(scope="module")
def projection():
    rng = np.random.default_rng(1)
    return Projection(
        "gem",
        rng.standard_normal(2048, dtype=np.float32),
        rng.standard_normal((2048, 5), dtype=np.float32),
    )


@pytest.fixture
def model(state, projection):
    return Pretrained(
        "resnet50",
        state,
        Preprocess(size=160, resize="shortest", crop_pct=0.875, interpolation="bicubic"),
        class_names=BIRDS,
        projection=projection,
        project_by_default=True,
        training={"epochs": 3, "species": BIRDS},
        threshold=0.625,
    )


def test_everything_comes_back(tmp_path, model):
    folder = tmp_path / "new" / "model"
    write_pretrained(folder, model, write_gallery=lambda path: path.write_bytes(b"gallery"))
    assert sorted(os.listdir(folder)) == [
        *("config.json", "gallery.safetensors", "model.safetensors", "projection.safetensors")
    ]
    back = read_pretrained(folder)
    for name in ("architecture", "preprocess", "class_names", "pooling", "project_by_default"):
        assert getattr(back, name) == getattr(model, name), name
    for name in ("training", "threshold", "fingerprint", "trunk_digest", "num_classes"):
        assert getattr(back, name) == getattr(model, name), name
    assert list(back.state) == list(model.state)
    assert all(np.array_equal(back.state[n], model.state[n]) for n in model.state)
    assert back.projection.pooling == "gem"
    np.testing.assert_array_equal(back.projection.mean, model.projection.mean)
    np.testing.assert_array_equal(back.projection.matrix, model.projection.matrix)
    assert back.gallery_path.read_bytes() == b"gallery"
    assert back.source == str(folder)
    assert check_fingerprint(back) == model.fingerprint


def test_config_has_the_hubs_schema(tmp_path, model):
    write_pretrained(tmp_path, model)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["architecture"] == "resnet50"
    assert config["num_classes"] == 3
    assert config["num_features"] == 2048
    cfg = config["pretrained_cfg"]
    assert cfg["input_size"] == [3, 160, 160]
    assert (cfg["interpolation"], cfg["crop_pct"], cfg["crop_mode"]) == ("bicubic", 0.875, "center")
    assert cfg["mean"] == [0.485, 0.456, 0.406]
    assert cfg["std"] == [0.229, 0.224, 0.225]
    assert cfg["label_names"] == BIRDS
    own = config["birdembed"]
    assert own["training"] == model.training
    assert own["pooling"] == "avg"
    assert own["threshold"] == 0.625
    assert own["fingerprint"] == model.fingerprint
    assert len(model.fingerprint) == 64


def test_saving_again_leaves_nothing_of_the_old(tmp_path, model, state):
    write_pretrained(tmp_path, model, write_gallery=lambda path: path.write_bytes(b"gallery"))
    (tmp_path / "notes.txt").write_text("mine")
    write_pretrained(tmp_path, Pretrained("resnet50", state, Preprocess()))
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors", "notes.txt"]
    back = read_pretrained(tmp_path)
    assert back.projection is None
    assert back.gallery_path is None
    assert back.class_names is None


@pytest.mark.parametrize("step", range(1, 6))
def test_an_interrupted_save_never_loads_wrong(tmp_path, model, state, step, monkeypatch):
    """Stopped at each rename and removal: the folder loads as the old, as the new, or not."""
    old = Pretrained("resnet50", {n: a + 1 for n, a in state.items()}, Preprocess())
    write_pretrained(tmp_path, old)
    calls = 0
    real = os.replace

    def stopping(source, target):
        nonlocal calls
        calls += 1
        if calls == step and ".save." not in os.fspath(target):
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopping)
        try:
            write_pretrained(tmp_path, model)
        except KeyboardInterrupt:
            pass
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    if not (tmp_path / "config.json").exists():
        with pytest.raises(WeightsError, match="a save was interrupted"):
            read_pretrained(tmp_path)
        return
    back = read_pretrained(tmp_path)
    assert back.fingerprint in (old.fingerprint, model.fingerprint)
    assert check_fingerprint(back) == back.fingerprint


def test_a_failed_save_leaves_the_old_model(tmp_path, model, state):
    write_pretrained(tmp_path, model)

    def failing(path):
        raise OSError(28, "No space left on device", str(path))

    with pytest.raises(OSError, match="No space left") as caught:
        write_pretrained(tmp_path, Pretrained("resnet50", state), write_gallery=failing)
    assert caught.value.filename == str(tmp_path)
    assert read_pretrained(tmp_path).fingerprint == model.fingerprint
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_unwritable_target(tmp_path, model):
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            write_pretrained(target, model)
    assert (tmp_path / "file").read_text() == "mine"


def test_fingerprint_names_the_output_space_and_nothing_else(state, projection):
    def name(state=state, architecture="resnet50", pooling="avg", projection=None, **fields):
        return fingerprint(state, architecture, pooling, projection, Preprocess(**fields))

    base = name()
    assert base == name()
    headless = {n: a for n, a in state.items() if not n.startswith("fc.")}
    assert name(state=headless) == base
    assert name(state=dict(reversed(state.items()))) == base
    changed = dict(state)
    changed["bn1.bias"] = state["bn1.bias"] + np.float32(1e-6)
    shifted = dataclasses.replace(projection, mean=projection.mean + 1)
    others = [
        name(state=changed),
        name(architecture="resnet50d"),
        name(pooling="gem"),
        name(projection=projection),
        name(projection=shifted),
        name(projection=dataclasses.replace(projection, pooling="avg")),
        name(size=256),
        name(resize="shortest"),
        name(resize="shortest", crop_pct=0.875),
        name(interpolation="bicubic"),
        name(mean=(0.5, 0.5, 0.5)),
        name(std=(0.5, 0.5, 0.5)),
        name(mirror=True),
    ]
    assert len({base, *others}) == len(others) + 1


def test_check_sees_a_changed_file(tmp_path, model):
    write_pretrained(tmp_path, model)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["bn1.bias"][0] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="changed after they were saved"):
        check_fingerprint(read_pretrained(tmp_path))


def test_half_the_space(tmp_path, model):
    wide = model.with_fingerprint().fingerprint
    write_pretrained(tmp_path / "half", model, dtype="float16")
    assert model.fingerprint == wide
    stored = load_file(tmp_path / "half" / "model.safetensors")
    for name, array in model.state.items():
        narrow = array.astype(np.float16) if array.ndim > 1 else array
        assert stored[name].dtype == narrow.dtype
        np.testing.assert_array_equal(stored[name], narrow)
    back = read_pretrained(tmp_path / "half")
    assert all(array.dtype == np.float32 for array in back.state.values())
    # A space of its own, and the same one however often it is saved and however widely.
    assert check_fingerprint(back) == back.fingerprint != wide
    for i, dtype in enumerate(("float16", "float32")):
        write_pretrained(tmp_path / str(i), back, dtype=dtype)
        again = read_pretrained(tmp_path / str(i))
        assert check_fingerprint(again) == again.fingerprint == back.fingerprint
        assert all(np.array_equal(again.state[n], back.state[n]) for n in back.state)
    assert json.loads((tmp_path / "0" / "config.json").read_text())["birdembed"]["dtype"] == (
        "float16"
    )


@pytest.mark.parametrize("value", [1e5, -7e4, np.inf, np.nan])
def test_what_float16_cannot_hold_is_refused(tmp_path, model, value):
    write_pretrained(tmp_path / "m", model)
    model.state["layer1.0.conv1.weight"][0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"cannot hold layer1\.0\.conv1\.weight"):
        write_pretrained(tmp_path / "m", model, dtype="float16")
    assert read_pretrained(tmp_path / "m").threshold == 0.625  # what was there stays
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float16', got 'int8'"):
        write_pretrained(tmp_path / "m", model, dtype="int8")


def test_running_variances_keep_their_range(tmp_path, model):
    model.state["bn1.running_var"][:2] = 3e5, 1e-12
    write_pretrained(tmp_path / "m", model, dtype="float16")
    np.testing.assert_array_equal(
        read_pretrained(tmp_path / "m").state["bn1.running_var"], model.state["bn1.running_var"]
    )


def test_num_classes_and_preprocess_may_be_chosen(tmp_path, model):
    write_pretrained(tmp_path, model)
    headless = read_pretrained(tmp_path, num_classes=0)
    assert headless.num_classes == 0
    assert headless.class_names is None
    assert headless.fingerprint == model.fingerprint
    other = read_pretrained(tmp_path, preprocess=Preprocess(size=64))
    assert other.preprocess == Preprocess(size=64)
    assert other.with_fingerprint().fingerprint != model.fingerprint
    with pytest.raises(WeightsError, match="holds a resnet50, expected a resnet50d"):
        read_pretrained(tmp_path, architecture="resnet50d")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config\.json: no such file.*weights=FILE"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "expected a JSON object, got list"),
        (lambda f: (f / "model.safetensors").unlink(), r"none of model\.safetensors"),
        (lambda f: (f / "projection.safetensors").unlink(), "projection.*config.json names it"),
        (lambda f: os.truncate(f / "model.safetensors", 5000), "not a whole safetensors file"),
        (lambda f: edit(f, architecture="vit"), "architecture 'vit' is not one of"),
        (lambda f: edit(f, birdembed={"format": 9}), "format 9, this version reads 1"),
        (lambda f: edit_cfg(f, label_names=["one"]), "names 1 classes, the head .* has 3"),
        (lambda f: edit_cfg(f, crop_mode="border"), "crop_mode 'border'.*pass preprocess="),
        (lambda f: edit_cfg(f, input_size=[3, 224, 160]), "is not .3, n, n."),
        (lambda f: edit_cfg(f, interpolation="lanczos"), "lanczos.*pass preprocess="),
    ],
)
def test_damaged_folders(tmp_path, model, damage, message):
    write_pretrained(tmp_path, model)
    damage(tmp_path)
    with pytest.raises(WeightsError, match=message):
        read_pretrained(tmp_path)


def edit(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **values}), encoding="utf-8")


def edit_cfg(folder, **values):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    edit(folder, pretrained_cfg={**config["pretrained_cfg"], **values})


def test_bare_files(tmp_path, state):
    save_file(state, tmp_path / "x.safetensors")
    bare = read_bare(tmp_path / "x.safetensors", num_classes=0)
    assert bare.preprocess == Preprocess()
    assert bare.num_classes == 0
    assert read_bare(tmp_path / "x.safetensors", preprocess=Preprocess(size=96)).num_classes == 3
    with pytest.raises(WeightsError, match="holds a resnet50, expected a resnet50d"):
        read_bare(tmp_path / "x.safetensors", architecture="resnet50d")


def test_projections(tmp_path, projection):
    write_projection(tmp_path / "p.safetensors", projection)
    back = read_projection(tmp_path / "p.safetensors")
    assert (back.pooling, back.dim) == ("gem", 5)
    with pytest.raises(ValueError, match="read-only"):
        back.mean[0] = 1
    with pytest.raises(ValueError, match="pooling must be one of"):
        Projection("max", projection.mean, projection.matrix)
    with pytest.raises(ValueError, match="expected mean of shape"):
        Projection("avg", projection.mean[:5], projection.matrix)
    with pytest.raises(ValueError, match="finite"):
        Projection("avg", projection.mean * np.nan, projection.matrix)
    save_file({"mean": projection.mean}, tmp_path / "p.safetensors")
    with pytest.raises(WeightsError, match=r"p\.safetensors: expected the tensors mean and matrix"):
        read_projection(tmp_path / "p.safetensors")


def pictures():
    return np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)


def assert_same_embeddings(folder, expected, x):
    """This package's network, read from the folder, against another library's features."""
    back = read_pretrained(folder)
    network = _core.Network(back.architecture, back.num_classes, list(back.state.values()))
    found = network.features(x)
    distances = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert max(distances) <= tolerances.FEATURES_REL_L2


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [("resnet50", "float32"), ("resnet50d", "float32"), ("resnet50", "float16")],
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
    given = Pretrained(architecture, saved, class_names=BIRDS)
    write_pretrained(big_folder, given, dtype=dtype)
    loaded = timm.create_model(f"local-dir:{big_folder}", pretrained=True).eval()
    assert loaded.num_classes == 3
    assert list(loaded.pretrained_cfg["label_names"]) == BIRDS
    config = timm.data.resolve_model_data_config(loaded)
    assert list(config["input_size"]) == [3, 224, 224]
    assert (config["crop_pct"], config["crop_mode"]) == (1.0, "squash")
    x = pictures()
    np.testing.assert_array_equal(embed(loaded, x), embed(network, x))
    assert_same_embeddings(big_folder, embed(loaded, x), x)
    with torch.no_grad():
        assert torch.equal(loaded(torch.from_numpy(x)), network(torch.from_numpy(x)))


def test_torchvision_loads_what_is_saved(big_folder):
    torch, torchvision, _, _ = vision()
    from safetensors.torch import load_file as torch_load_file

    network = random_network("resnet50", 3)
    saved = {n: a for n, a in numpy_state(network).items() if "num_batches" not in n}
    write_pretrained(big_folder, Pretrained("resnet50", saved))
    twin = torchvision.models.resnet50(weights=None, num_classes=3).eval()
    twin.load_state_dict(torch_load_file(big_folder / "model.safetensors"), strict=True)
    x = pictures()
    np.testing.assert_array_equal(embed(twin, x), embed(network, x))
    assert_same_embeddings(big_folder, embed(twin, x), x)
    with torch.no_grad():
        assert torch.equal(twin(torch.from_numpy(x)), network(torch.from_numpy(x)))


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d"])
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
        ({"size": {"height": 160, "width": 200}}, "not understood"),
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
