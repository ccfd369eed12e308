"""Test that no config.json ends in another error than WeightsError."""

import json

import numpy as np
import pytest

import birdembed as be
from birdembed import WeightsError

VALUES = [None, True, -1, 1 << 80, 1.5, float("inf"), float("nan"), "odd" * 500, [], {}, [[]], [1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("model")
    model = be.Model("resnet50", seed=0, num_classes=2)
    model.save_pretrained(root)
    return root


def places(value, before=()):
    for key, one in value.items():
        yield (*before, key)
        if isinstance(one, dict):
            yield from places(one, (*before, key))


def test_every_value_of_another_type(folder, monkeypatch):
    from birdembed.pretrained import reading

    # The weights are the same each time.
    stored = reading.read_weights(folder / "model.safetensors")
    monkeypatch.setattr(reading, "read_weights", lambda path: stored)
    real = reading.to_native
    known = {}

    def once(tensors, source, declared, num_classes):
        if declared not in known:
            known[declared] = real(tensors, source, declared, num_classes)
        return known[declared]

    monkeypatch.setattr(reading, "to_native", once)
    path = folder / "config.json"
    text = path.read_text()
    config = json.loads(text)
    try:
        for place in places(config):
            for value in VALUES:
                odd = json.loads(text)
                target = odd
                for part in place[:-1]:
                    target = target[part]
                target[place[-1]] = value
                path.write_text(json.dumps(odd))
                try:
                    reading.read_pretrained(folder)
                except WeightsError as error:
                    said = str(error)
                else:
                    continue
                assert str(folder) in said, place
                assert len(said) < 2500
        for body in ("[" * 200_000, "{", "[]", "\xff", '{"birdembed":' * 50_000):
            path.write_text(body)
            with pytest.raises(WeightsError, match=r"config\.json"):
                reading.read_pretrained(folder)
    finally:
        path.write_text(text)


def test_class_names_that_are_no_unicode_text(tmp_path):
    names = ["Gr\udcfcnspecht", "Wendeh\u00e4lse"]
    model = be.Model("resnet50", seed=0, num_classes=2)
    model.reset_classifier(2, class_names=names)
    model.save_pretrained(tmp_path)
    again = be.load_model(tmp_path)
    assert again.class_names == names
    np.testing.assert_array_equal(again.state_dict()["fc.bias"], model.state_dict()["fc.bias"])


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("pretrained_cfg", "label_names", [None, "wren"]),
        ("pretrained_cfg", "label_names", [["robin"], "wren"]),
        ("pretrained_cfg", "label_names", {"1": "robin", "2": "wren"}),
        ("pretrained_cfg", "label_names", {"-1": "robin", "0": "wren"}),
        ("pretrained_cfg", "input_size", [3, 96.5, 96.5]),
        ("pretrained_cfg", "input_size", []),
        ("pretrained_cfg", "mean", 5),
        ("pretrained_cfg", "crop_pct", 10**400),
        ("pretrained_cfg", "crop_pct", 0),
        ("pretrained_cfg", "crop_pct", True),
        ("pretrained_cfg", "crop_mode", ""),
        ("pretrained_cfg", "interpolation", []),
        ("pretrained_cfg", "mean", ""),
        ("pretrained_cfg", "mean", [0.5, False, 0.5]),
        ("pretrained_cfg", "std", []),
        ("pretrained_cfg", "std", [0, 0, 0]),
        ("birdembed", "threshold", 10**400),
        ("birdembed", "mirror", "false"),
        ("birdembed", "mirror", 0),
        ("birdembed", "int8", {"ranges": [1e300] * 54}),
    ],
)
def test_values_that_would_be_taken_for_others(folder, part, key, value):
    path = folder / "config.json"
    text = path.read_text()
    config = json.loads(text)
    config[part][key] = value
    path.write_text(json.dumps(config))
    name = {"label_names": "label names", "input_size": "size"}.get(key, key)
    try:
        with pytest.raises(WeightsError, match=f"config.json: .*{name}") as caught:
            be.load_model(folder)
    finally:
        path.write_text(text)
    assert "damaged" not in str(caught.value)
