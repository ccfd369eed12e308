"""What a model is made of: weights in and out, files, pickles, copies, changes."""

import copy
import dataclasses
import os
import pickle
import threading

import numpy as np
import pytest

import birdembed as be
from birdembed import _core
from birdembed.model.snapshot import Snapshot
from tests.support import seeded
from tests.support.models import CLASSES, make_model

NAMES = [f"species {i}" for i in range(CLASSES)]


@pytest.fixture
def model():
    return make_model(size=32, class_names=NAMES)


@pytest.fixture(scope="module")
def other_state():
    return seeded.state("resnet50", CLASSES, seed=5)


# state_dict


@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d"])
def test_state_dict(architecture, request):
    model = request.getfixturevalue(architecture)
    expected = seeded.state(architecture, CLASSES)
    found = model.state_dict()
    assert list(found) == list(expected)  # torch's order
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_state_dict_is_a_copy(model, pictures):
    before = model.encode(pictures[0])
    for array in model.state_dict().values():
        array[:] = 0
    np.testing.assert_array_equal(model.encode(pictures[0]), before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(model, tmp_path, value):
    """The network's ReLUs would hide them: they are refused where they come in."""
    before = model.state_dict()
    broken = model.state_dict()
    broken["layer2.0.bn1.running_var"][3] = value
    with pytest.raises(be.WeightsError, match=r"layer2\.0\.bn1\.running_var contains NaN"):
        model.load_state_dict(broken)
    assert all(np.array_equal(a, before[n]) for n, a in model.state_dict().items())
    from safetensors.numpy import save_file

    save_file(broken, tmp_path / "w.safetensors")
    named = r"w\.safetensors: layer2\.0\.bn1\.running_var"
    with pytest.raises(be.WeightsError, match=named):
        be.load_model("resnet50", weights=tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").unlink()


def test_load_state_dict(model, other_state, pictures):
    before, fingerprint = model.encode(pictures[0]), model.fingerprint
    kept = {name: array.copy() for name, array in other_state.items()}
    model.load_state_dict(other_state)
    after = model.encode(pictures[0])
    assert not np.allclose(before, after)
    assert model.fingerprint != fingerprint
    assert model.class_names == NAMES
    for array in other_state.values():
        array += 1  # the model has its own
    np.testing.assert_array_equal(model.encode(pictures[0]), after)
    for name, array in kept.items():
        other_state[name][...] = array
    np.testing.assert_array_equal(make_model(seed=5, size=32).encode(pictures[0]), after)


def test_load_state_dict_takes_what_numpy_takes(model, other_state, pictures):
    model.load_state_dict(other_state)
    expected = model.encode(pictures[0])
    wide = {n: np.asfortranarray(a.astype(">f8")) for n, a in other_state.items()}
    wide["bn1.num_batches_tracked"] = np.int64(3)
    model.load_state_dict(wide)
    np.testing.assert_array_equal(model.encode(pictures[0]), expected)
    model.load_state_dict({n: a.tolist() if a.ndim == 1 else a for n, a in other_state.items()})
    np.testing.assert_array_equal(model.encode(pictures[0]), expected)


def test_load_state_dict_takes_torch_tensors(model, other_state, pictures):
    torch = pytest.importorskip("torch")
    model.load_state_dict(other_state)
    expected = model.encode(pictures[0])
    parameters = {n: torch.nn.Parameter(torch.from_numpy(a)) for n, a in other_state.items()}
    model.load_state_dict(parameters)
    np.testing.assert_array_equal(model.encode(pictures[0]), expected)
    half = {n: torch.from_numpy(a).bfloat16() for n, a in other_state.items()}
    model.load_state_dict(half)
    assert not np.array_equal(model.encode(pictures[0]), expected)
    np.testing.assert_array_equal(
        model.state_dict()["conv1.weight"], half["conv1.weight"].float().numpy()
    )


def damaged(state, what):
    state = dict(state)
    if what == "missing":
        del state["layer2.0.conv1.weight"]
    elif what == "unexpected":
        state["layer9.weight"] = np.zeros(3, np.float32)
    elif what == "misshapen":
        state["conv1.weight"] = np.zeros((64, 3, 3, 3), np.float32)
    elif what == "integers":
        state["bn1.bias"] = np.zeros(64, np.int64)
    return state


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("missing", r"missing layer2\.0\.conv1\.weight"),
        ("unexpected", r"unexpected layer9\.weight"),
        ("misshapen", r"conv1\.weight \(expected \(64, 3, 7, 7\), got \(64, 3, 3, 3\)\)"),
        ("integers", r"bn1\.bias has dtype int64"),
    ],
)
def test_refused_state_dicts(model, other_state, pictures, what, words):
    before, fingerprint = model.encode(pictures[0]), model.fingerprint
    with pytest.raises(be.WeightsError, match=words):
        model.load_state_dict(damaged(other_state, what))
    np.testing.assert_array_equal(model.encode(pictures[0]), before)
    assert model.fingerprint == fingerprint
    model.load_state_dict(other_state)  # the failure did not leave the model locked


def test_not_strict(model, other_state, pictures):
    part = {"bn1.bias": other_state["bn1.bias"], "layer9.weight": np.zeros(3, np.float32)}
    before = model.state_dict()
    model.load_state_dict(part, strict=False)
    after = model.state_dict()
    np.testing.assert_array_equal(after["bn1.bias"], other_state["bn1.bias"])
    assert all(np.array_equal(after[n], a) for n, a in before.items() if n != "bn1.bias")
    with pytest.raises(be.WeightsError, match="misshapen"):
        model.load_state_dict({"bn1.bias": np.zeros(3, np.float32)}, strict=False)
    model.load_state_dict({}, strict=False)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module.model."])
def test_wrapped_networks(model, other_state, prefix, strict):
    wrapped = {prefix + name: array for name, array in other_state.items()}
    wrapped[f"{prefix}bn1.num_batches_tracked"] = np.zeros((), np.int64)
    model.load_state_dict(wrapped, strict=strict)
    after = model.state_dict()
    assert all(np.array_equal(after[name], array) for name, array in other_state.items())


@pytest.mark.parametrize("strict", [True, False])
def test_the_names_of_transformers(strict):
    convolution, head = np.ones((64, 3, 7, 7), np.float32), np.ones((2, 512), np.float32)
    part = {
        "resnet.embedder.embedder.convolution.weight": convolution,
        "classifier.1.weight": head,
    }
    model = be.Model("resnet18", num_classes=2)
    if strict:
        with pytest.raises(be.WeightsError, match=r"missing bn1\.weight.*and \d+ more$"):
            model.load_state_dict(part)
        return
    model.load_state_dict(part, strict=False)
    after = model.state_dict()
    assert np.array_equal(after["conv1.weight"], convolution)
    assert np.array_equal(after["fc.weight"], head)


@pytest.mark.parametrize("names", [["net.conv1.weight", "net.bn1.bias"], ["state_dict", "epoch"]])
def test_not_strict_does_not_mean_nothing(model, names):
    before = model.fingerprint
    wrong = (
        rf"none of its 2 names is one of resnet50 \({names[0]}, {names[1]}\); expected names such"
    )
    with pytest.raises(be.WeightsError, match=wrong):
        model.load_state_dict({name: np.zeros(64, np.float32) for name in names}, strict=False)
    assert model.fingerprint == before


def test_the_head_of_another_size(model):
    with pytest.raises(be.WeightsError, match=r"fc\.weight"):
        model.load_state_dict(seeded.state("resnet50", CLASSES + 1))
    with pytest.raises(be.WeightsError, match=r"missing fc\.weight"):
        model.load_state_dict(seeded.state("resnet50", 0))
    model.load_state_dict(seeded.state("resnet50", 0), strict=False)
    assert model.num_classes == CLASSES


def test_another_architecture(model):
    with pytest.raises(be.WeightsError, match="does not match resnet50:"):
        model.load_state_dict(seeded.state("resnet50d", CLASSES))


# preprocess and fingerprint


def test_setting_preprocess(model, pictures):
    fingerprint, before = model.fingerprint, model.encode(pictures[0])
    model.preprocess = be.Preprocess(size=64)
    assert model.preprocess == be.Preprocess(size=64)
    assert model.fingerprint != fingerprint
    assert not np.allclose(model.encode(pictures[0]), before)
    model.preprocess = be.Preprocess(size=32)
    assert model.fingerprint == fingerprint
    np.testing.assert_array_equal(model.encode(pictures[0]), before)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.preprocess.size = 96
    for nonsense in (None, 224, {"size": 224}):
        with pytest.raises(TypeError, match="Preprocess"):
            model.preprocess = nonsense
    with pytest.raises(TypeError, match="Preprocess"):
        be.Model("resnet50", preprocess=224)


def test_every_field_counts_in_the_fingerprint(model):
    prints = {model.fingerprint}
    for change in (
        {"resize": "shortest"},
        {"crop_pct": 0.9},
        {"interpolation": "bicubic"},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"mirror": True},
    ):
        model.preprocess = dataclasses.replace(be.Preprocess(size=32), **change)
        prints.add(model.fingerprint)
    assert len(prints) == 7
    assert all(len(p) == 64 and int(p, 16) >= 0 for p in prints)


def test_a_size_the_network_cannot_take(model, pictures):
    model.preprocess = be.Preprocess(size=16)
    with pytest.raises(ValueError, match="32 to 1024"):
        model.encode(pictures[0])


def test_projection_and_trunk_count_in_the_fingerprint(projecting):
    plain = make_model("resnet50d", 0, size=32)
    assert projecting.fingerprint != plain.fingerprint
    optional = make_model("resnet50d", 0, size=32, projection=projecting.projection)
    assert optional.fingerprint == plain.fingerprint  # of what encode gives by default
    assert make_model("resnet50d", 0, seed=1, size=32).fingerprint != plain.fingerprint


def test_read_only_attributes(model):
    for name in ("architecture", "num_classes", "class_names", "embedding_dim", "fingerprint"):
        with pytest.raises(AttributeError):
            setattr(model, name, None)


def test_repr(model, projecting):
    text = repr(model)
    for word in ("resnet50", f"{CLASSES} classes", "32 px", "2048", "seeded"):
        assert word in text
    assert "no classifier" in repr(projecting)
    assert "16 numbers" in repr(projecting)


# Copies


def assert_same_model(found, model, images):
    np.testing.assert_array_equal(found.encode(images), model.encode(images))
    assert found.fingerprint == model.fingerprint
    assert found.preprocess == model.preprocess
    assert found.class_names == model.class_names
    assert found.architecture == model.architecture
    assert found.num_classes == model.num_classes
    if model.num_classes:
        np.testing.assert_array_equal(found.logits(images), model.logits(images))


@pytest.mark.parametrize("which", ["small", "projecting"])
def test_pickle_and_deepcopy(which, request, pictures):
    model = request.getfixturevalue(which)
    data = pickle.dumps(model)
    for found in (pickle.loads(data), copy.deepcopy(model), copy.copy(model)):
        assert_same_model(found, model, pictures[:2])
        found.preprocess = be.Preprocess(size=48)  # each is its own
        found.reset_classifier(1)
    assert model.preprocess.size != 48
    assert len(data) < 110e6


@pytest.mark.parametrize("which", ["small", "projecting"])
def test_save_and_load(which, request, pictures, tmp_path):
    model = request.getfixturevalue(which)
    model.save_pretrained(tmp_path / "model")
    for found in (
        be.load_model(tmp_path / "model"),
        be.Model.from_pretrained(str(tmp_path / "model")),
        be.load_model(model.architecture, weights=tmp_path / "model"),
    ):
        assert_same_model(found, model, pictures[:2])
    np.testing.assert_array_equal(
        be.load_model(tmp_path / "model", num_classes=0).encode(pictures[:2]),
        model.encode(pictures[:2]),
    )


def test_save_again(model, tmp_path, pictures):
    """Over an earlier save, of other classes; nothing of it stays."""
    model.save_pretrained(tmp_path)
    model.reset_classifier(0)
    model.preprocess = be.Preprocess(size=48, resize="shortest", mirror=True)
    model.save_pretrained(tmp_path)
    assert_same_model(be.load_model(tmp_path), model, pictures[:2])
    assert sorted(os.listdir(tmp_path)) == ["README.md", "config.json", "model.safetensors"]


def test_unwritable_target(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        model.save_pretrained(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        model.save_pretrained(tmp_path / "file" / "below")
    with pytest.raises(OSError, match="proc"):
        model.save_pretrained("/proc/nothing")
    assert (tmp_path / "file").read_text() == "in the way"
    assert os.listdir(tmp_path) == ["file"]


# Changes while others look


def test_a_second_writer_is_refused(model, other_state, monkeypatch):
    """At once, not after the first; and whatever each of them changes."""
    inside, go_on = threading.Event(), threading.Event()
    original = Snapshot.with_state

    def slow(self, *args, **kwargs):
        inside.set()
        assert go_on.wait(60)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Snapshot, "with_state", slow)
    first = threading.Thread(target=model.load_state_dict, args=(other_state,))
    first.start()
    assert inside.wait(60)
    try:
        with pytest.raises(be.BirdembedError, match="load_state_dict: another call"):
            model.load_state_dict(other_state)
        with pytest.raises(be.BirdembedError, match="reset_classifier"):
            model.reset_classifier(2)
        with pytest.raises(be.BirdembedError, match="preprocess"):
            model.preprocess = be.Preprocess(size=64)
        model.state_dict()  # reading goes on
    finally:
        go_on.set()
        first.join()
    model.preprocess = be.Preprocess(size=64)
    np.testing.assert_array_equal(model.state_dict()["bn1.bias"], other_state["bn1.bias"])


def test_calls_in_flight_finish_on_the_old_weights(model, other_state, pictures):
    expected = model.encode(pictures[:4])
    names = model.class_names

    def images(change):
        yield from pictures[:2]
        change()
        yield from pictures[2:4]

    def load():
        model.load_state_dict(other_state)
        model.preprocess = be.Preprocess(size=64)

    np.testing.assert_array_equal(model.encode(images(load), batch_size=1), expected)
    assert not np.allclose(model.encode(pictures[:4]), expected)

    model = make_model(size=32, class_names=names)
    stream = model.encode_iter(iter(pictures[:4]), batch_size=1)  # begun when it is asked for
    model.load_state_dict(other_state)
    found = np.concatenate([vectors for _, vectors in stream])
    np.testing.assert_array_equal(found, expected)

    model = make_model(size=32, class_names=names)
    labels = [label for label, _ in model.predict(images(lambda: None), k=1)[0]]
    found = model.predict(images(lambda: model.reset_classifier(2, ["x", "y"])), k=1, batch_size=1)
    assert len(found) == 4
    assert [label for label, _ in found[0]] == labels


def test_readers_while_weights_change(model, other_state, pictures):
    """Each answer is the old or the new one, never a mixture."""
    old = model.encode(pictures[:2])
    first_state = model.state_dict()
    model.load_state_dict(other_state)
    new = model.encode(pictures[:2])
    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            found = model.encode(pictures[:2])
            if not (np.array_equal(found, old) or np.array_equal(found, new)):
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for state in [first_state, other_state] * 3:
        model.load_state_dict(state)
    stop.set()
    reader.join()
    assert not wrong


# The core's own checks


def test_network_refuses_wrong_parameters():
    table = _core.parameter_table("resnet50", 0)
    good = [np.zeros(shape, np.float32) for _, shape in table]
    _core.Network("resnet50", 0, good)
    for bad, error, words in (
        (good[:-1], ValueError, "318|parameters must hold"),
        ([*good[:-1], None], TypeError, "running_var"),
        ([good[0].astype(float), *good[1:]], TypeError, "conv1.weight.*float32"),
        ([good[0][:, :, :3, :3].copy(), *good[1:]], ValueError, r"conv1.weight.*\(64, 3, 7, 7\)"),
        ([good[0][::-1], *good[1:]], ValueError, "contiguous"),
    ):
        with pytest.raises(error, match=words):
            _core.Network("resnet50", 0, bad)
    with pytest.raises(ValueError, match="unknown architecture"):
        _core.Network("vgg", 0, good)
    with pytest.raises(ValueError, match="num_classes"):
        _core.parameter_table("resnet50", -1)
    with pytest.raises(TypeError, match=r"conv1\.weight.*float32.*float64"):
        _core.Network("resnet50", 0, [good[0].astype(np.float64), *good[1:]])
    with pytest.raises(ValueError, match=r"conv1\.weight must be C-contiguous, aligned"):
        _core.Network("resnet50", 0, [good[0].astype(np.float16)[::-1], *good[1:]])


@pytest.mark.parametrize("only_kernels", [True, False])
def test_float16_parameters_are_their_float32_numbers(only_kernels):
    """What a network keeps as float16 gives the bits of the same numbers as float32."""
    rng = np.random.default_rng(0)
    narrow = []
    for _name, shape in _core.parameter_table("resnet18", 3):
        array = (rng.random(shape, dtype=np.float32) * 0.1).astype(np.float16)
        narrow.append(array.astype(np.float32) if only_kernels and len(shape) < 2 else array)
    wide = [array.astype(np.float32) for array in narrow]
    ranges = np.full(21, 8, np.float32)
    networks = [_core.Network("resnet18", 3, arrays, ranges) for arrays in (narrow, wide)]
    x = rng.standard_normal((2, 3, 64, 64), dtype=np.float32)
    for network in networks:
        for found, expected in zip(network.parameters(), wide, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)
    outputs = [
        (
            network.features(x),
            network.head(network.features(x)),
            network.largest(x),
            *network.conv_statistics(x),
            *((network.features(x, precision="int8"),) if _core.backend()["int8"] else ()),
            *((network.features(x, precision="bfloat16"),) if _core.backend()["bfloat16"] else ()),
        )
        for network in networks
    ]
    for first, second in zip(*outputs, strict=True):
        np.testing.assert_array_equal(first, second)


def test_all_finite():
    assert _core.all_finite(np.zeros(0, np.float32))
    for dtype in (np.float16, np.float32):
        values = np.full(300_001, np.finfo(dtype).max)
        assert _core.all_finite(values)
        for place in (0, 150_000, 300_000):
            for bad in (np.nan, np.inf, -np.inf):
                other = values.copy()
                other[place] = bad
                assert not _core.all_finite(other)
    with pytest.raises(TypeError, match="numbers must have dtype float32, got float64"):
        _core.all_finite(np.zeros(3))
    with pytest.raises(ValueError, match="numbers must have 1 dimensions, got 2"):
        _core.all_finite(np.zeros((3, 2), np.float16))
