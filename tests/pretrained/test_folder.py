"""Model folders: what is saved comes back, damage is found, and what a fingerprint names."""

import dataclasses
import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from birdembed import _core
from birdembed._core import WeightsError
from birdembed.images.preprocess import Preprocess
from birdembed.pretrained.contents import Pretrained, check_fingerprint
from birdembed.pretrained.fingerprint import fingerprint_of, trunk_digest
from birdembed.pretrained.reading import read_bare, read_pretrained
from birdembed.pretrained.writing import write_pretrained
from birdembed.weights.projection import Projection, read_projection, write_projection
from tests.support.model_folders import BIRDS, edit, edit_cfg
from tests.support.networks import parameter_table


@pytest.fixture
def state(monkeypatch):
    """A network of a few numbers: most of what is tested here does not depend on its size."""

    def tiny_table(architecture, num_classes):
        table = parameter_table(architecture, num_classes)
        return [(n, tuple(min(d, 4) for d in shape)) for n, shape in table]

    monkeypatch.setattr(_core, "parameter_table", tiny_table)
    rng = np.random.default_rng(0)
    return {n: abs(rng.standard_normal(s, np.float32)) for n, s in tiny_table("resnet50", 3)}


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
        species_names={BIRDS[0]: ("Ō'ō", "Moho nobilis"), "elsewhere": ("Rail", "")},
        projection=projection,
        project_by_default=True,
        training={"epochs": 3, "species": BIRDS},
        threshold=0.625,
    )


def test_everything_comes_back(tmp_path, model):
    folder = tmp_path / "new" / "model"
    write_pretrained(folder, model, write_gallery=lambda path, _: path.write_bytes(b"gallery"))
    assert sorted(os.listdir(folder)) == [
        *(
            "README.md",
            "config.json",
            "gallery.safetensors",
            "model.safetensors",
            "projection.safetensors",
        )
    ]
    back = read_pretrained(folder)
    for name in ("architecture", "preprocess", "class_names", "pooling", "project_by_default"):
        assert getattr(back, name) == getattr(model, name), name
    for name in (
        "training",
        "threshold",
        "species_names",
        "fingerprint",
        "trunk_digest",
        "num_classes",
    ):
        assert getattr(back, name) == getattr(model, name), name
    assert list(back.state) == list(model.state)
    assert all(np.array_equal(back.state[n], model.state[n]) for n in model.state)
    assert back.projection.pooling == "gem"
    np.testing.assert_array_equal(back.projection.mean, model.projection.mean)
    np.testing.assert_array_equal(back.projection.matrix, model.projection.matrix)
    assert back.gallery_file.open().read() == b"gallery"
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
    described = {**{label: label for label in BIRDS}, BIRDS[0]: "Ō'ō (Moho nobilis)"}
    assert cfg["label_descriptions"] == described  # timm wants one of each label
    own = config["birdembed"]
    assert own["training"] == model.training
    assert own["pooling"] == "avg"
    assert own["threshold"] == 0.625
    assert own["species"] == {
        BIRDS[0]: {"common_name": "Ō'ō", "scientific_name": "Moho nobilis"},
        "elsewhere": {"common_name": "Rail", "scientific_name": ""},
    }
    assert own["fingerprint"] == model.fingerprint
    assert len(model.fingerprint) == 64


def test_saving_again_leaves_nothing_of_the_old(tmp_path, model, state):
    write_pretrained(tmp_path, model, write_gallery=lambda path, _: path.write_bytes(b"gallery"))
    (tmp_path / "notes.txt").write_text("mine")
    write_pretrained(tmp_path, Pretrained("resnet50", state, Preprocess()))
    assert sorted(os.listdir(tmp_path)) == [
        *("README.md", "config.json", "model.safetensors", "notes.txt")
    ]
    back = read_pretrained(tmp_path)
    assert back.projection is None
    assert back.gallery_file is None
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

    def failing(path, _):
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
        trunk = trunk_digest(state, architecture)
        return fingerprint_of(trunk, pooling, projection, Preprocess(**fields))

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
    assert all(array.dtype == stored[name].dtype for name, array in back.state.items())
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


def test_a_quarter_of_the_space(tmp_path, model):
    wide = model.with_fingerprint().fingerprint
    write_pretrained(tmp_path / "0", model, dtype="int8")
    stored = load_file(tmp_path / "0" / "model.safetensors")
    back = read_pretrained(tmp_path / "0")
    assert check_fingerprint(back) == back.fingerprint != wide
    assert set(back.state) == set(model.state)
    for name, array in model.state.items():
        found = back.state[name]
        if array.ndim != 4 or name == "conv1.weight":
            narrow = array.astype(np.float16) if array.ndim > 1 else array
            np.testing.assert_array_equal(found, narrow)
            continue
        codes, scales = stored[name], stored[f"{name}_scale"]
        assert codes.dtype == np.int8
        assert np.abs(codes.reshape(len(codes), -1)).max(axis=1).tolist() == [127] * len(codes)
        np.testing.assert_array_equal(found, codes * scales[:, None, None, None])
        # Half a step at most, and a step is 1/127 of the largest weight of the filter.
        steps = np.abs(array).max(axis=(1, 2, 3), keepdims=True) / 127
        assert (np.abs(found - array) <= 0.501 * steps).all()
    # The same space however often it is saved, and however widely.
    for i, dtype in enumerate(("int8", "float32"), 1):
        write_pretrained(tmp_path / str(i), back, dtype=dtype)
        again = read_pretrained(tmp_path / str(i))
        assert check_fingerprint(again) == again.fingerprint == back.fingerprint
        assert all(np.array_equal(again.state[n], back.state[n]) for n in back.state)
    first, second = (tmp_path / i / "model.safetensors" for i in "01")
    assert first.read_bytes() == second.read_bytes()
    assert "timm" not in (tmp_path / "0" / "README.md").read_text()
    assert "timm loads" in (tmp_path / "2" / "README.md").read_text()


def test_filters_of_zeros_and_tiny_ones(tmp_path, model):
    kernel = model.state["layer1.0.conv1.weight"]
    near = np.linspace(2e-38, 1e-38, kernel[0].size, dtype=np.float32).reshape(kernel[0].shape)
    kernel[0], kernel[1], kernel[2], kernel[3] = 0, near / 200, -1.2e-38, near
    write_pretrained(tmp_path / "0", model, dtype="int8")
    back = read_pretrained(tmp_path / "0")
    found = back.state["layer1.0.conv1.weight"]
    assert not found[:2].any()  # zero or subnormal
    np.testing.assert_allclose(found[2:], kernel[2:], rtol=1e-2)
    # They are the same however often they are saved.
    write_pretrained(tmp_path / "1", back, dtype="int8")
    assert read_pretrained(tmp_path / "1").fingerprint == back.fingerprint


def test_damaged_scales_are_named(tmp_path, model):
    write_pretrained(tmp_path, model, dtype="int8")
    path = tmp_path / "model.safetensors"
    name = "layer1.0.conv1.weight"
    tensors = load_file(path)
    scales = tensors.pop(f"{name}_scale")
    for damaged, message in (
        (None, f"{name} has dtype I8, expected"),
        (scales[1:], rf"{name} has \(\d+,\) scales for weights of shape"),
        (np.full_like(scales, np.nan), f"{name}_scale contains NaN"),
        (scales.astype(np.int64), f"{name}_scale has dtype I64"),
        (np.full_like(scales, -3e36), f"{name}_scale: a scale is too large"),
    ):
        more = {} if damaged is None else {f"{name}_scale": damaged}
        save_file(tensors | more, path)
        with pytest.raises(WeightsError, match=message):
            read_pretrained(tmp_path)


@pytest.mark.parametrize("value", [1e5, -7e4, np.inf, np.nan])
def test_what_float16_cannot_hold_is_refused(tmp_path, model, value):
    write_pretrained(tmp_path / "m", model)
    model.state["layer1.0.conv1.weight"][0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"cannot store layer1\.0\.conv1\.weight"):
        write_pretrained(tmp_path / "m", model, dtype="float16")
    assert read_pretrained(tmp_path / "m").threshold == 0.625  # what was there stays
    model.state["layer1.0.conv1.weight"][0, 0, 0, 0] = value if not np.isfinite(value) else 3e38
    with pytest.raises(ValueError, match=r"cannot store layer1\.0\.conv1\.weight"):
        write_pretrained(tmp_path / "m", model, dtype="int8")
    with pytest.raises(ValueError, match="'float32', 'float16', 'int8', got 'int4'"):
        write_pretrained(tmp_path / "m", model, dtype="int4")


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_no_loader_takes_is_not_written(tmp_path, model, value):
    write_pretrained(tmp_path / "m", model)
    model.state["layer1.0.bn1.running_var"][1] = value
    with pytest.raises(WeightsError, match=r"layer1\.0\.bn1\.running_var contains NaN or infinity"):
        write_pretrained(tmp_path / "m", model)
    assert read_pretrained(tmp_path / "m").threshold == 0.625  # what was there stays


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


def edit_species(folder, species):
    edit(folder, birdembed={"format": 1, "species": species})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config\.json: no such file.*weights=FILE"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "expected a JSON object, got list"),
        (lambda f: (f / "model.safetensors").unlink(), r"none of model\.safetensors"),
        (lambda f: (f / "projection.safetensors").unlink(), "projection.*config.json refers to it"),
        (lambda f: os.truncate(f / "model.safetensors", 5000), "not a complete safetensors file"),
        (lambda f: edit(f, architecture="vit"), "architecture 'vit' is not one of"),
        (lambda f: edit(f, birdembed={"format": 9}), "format 9, but this version reads 1"),
        (lambda f: edit_species(f, ["one"]), "species: expected names by label"),
        (
            lambda f: edit_species(f, {"one": {"common_name": 1}}),
            "species: expected names by label",
        ),
        (lambda f: edit_cfg(f, label_names=["one"]), "has 1 class names, but the head has 3"),
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


@pytest.mark.parametrize(
    ("features", "dim", "message"),
    [(100, 5, "takes 100 features, but resnet50 has 2048"), (2048, 0, "must not be empty")],
)
def test_a_projection_of_another_network(tmp_path, model, features, dim, message):
    write_pretrained(tmp_path, model)
    arrays = {"mean": np.zeros(features, "f4"), "matrix": np.zeros((features, dim), "f4")}
    save_file(arrays, tmp_path / "projection.safetensors")
    with pytest.raises(WeightsError, match=rf"projection\.safetensors: .*{message}"):
        read_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "projection.safetensors", "gallery.safetensors"]
)
def test_a_folder_in_the_place_of_a_file(tmp_path, model, name):
    write_pretrained(tmp_path, dataclasses.replace(model, projection=None))
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("mine")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(IsADirectoryError, match=f"{name} is a folder, and must be a file"):
        write_pretrained(tmp_path, model)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert len(list(tmp_path.iterdir())) == 3 + (name.startswith(("proj", "gal")))


def test_a_folder_in_the_place_of_the_card_is_kept(tmp_path, model):
    (tmp_path / "README.md").mkdir()
    write_pretrained(tmp_path, model)
    assert (tmp_path / "README.md").is_dir()
    assert read_pretrained(tmp_path).class_names == BIRDS


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
