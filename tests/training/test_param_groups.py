"""Which parameters decay, by how much they learn, which are frozen."""

import numpy as np
import pytest

from birdembed import _core
from birdembed.training.config import TrainConfig
from birdembed.training.param_groups import plan_parameters
from tests.support.networks import ARCHITECTURES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decay_only_on_weights_of_convolutions_and_head(architecture):
    table = _core.parameter_table(architecture, 7)
    plan = plan_parameters(table, TrainConfig())
    for (name, shape), lr, decay, learns in zip(
        table, plan.lr, plan.weight_decay, plan.trainable, strict=True
    ):
        if "running" in name:
            assert (lr, decay, learns) == (0, 0, False)
            continue
        assert learns
        assert lr == (5e-3 if name.startswith("fc.") else 1e-3)
        assert decay == (np.float32(0.05) if len(shape) > 1 else 0)


def test_layer_decay_falls_block_by_block():
    table = _core.parameter_table("resnet50", 7)
    plan = plan_parameters(table, TrainConfig(layer_decay=0.5, head_lr=1e-3))
    lr = dict(zip([name for name, _ in table], plan.lr, strict=True))
    assert lr["fc.weight"] == 1e-3
    assert lr["layer4.2.conv3.weight"] == pytest.approx(5e-4)
    assert lr["layer4.1.bn1.bias"] == pytest.approx(2.5e-4)
    assert lr["layer1.0.downsample.0.weight"] == pytest.approx(1e-3 * 0.5**16)
    assert lr["conv1.weight"] == lr["bn1.weight"] == pytest.approx(1e-3 * 0.5**17)


@pytest.mark.parametrize(
    ("architecture", "blocks", "last"),
    [("resnet18", 8, "layer4.1.conv2.weight"), ("resnet152d", 50, "layer4.2.conv3.weight")],
)
def test_layer_decay_of_other_depths(architecture, blocks, last):
    table = _core.parameter_table(architecture, 7)
    plan = plan_parameters(table, TrainConfig(layer_decay=0.5, head_lr=1e-3))
    lr = dict(zip([name for name, _ in table], plan.lr, strict=True))
    assert lr[last] == pytest.approx(5e-4)
    assert lr["layer1.0.conv1.weight"] == pytest.approx(1e-3 * 0.5**blocks)
    assert lr["bn1.weight"] == pytest.approx(1e-3 * 0.5 ** (blocks + 1))


def test_freezing_by_prefix_and_of_batch_norm():
    table = _core.parameter_table("resnet50", 7)
    names = [name for name, _ in table]
    plan = plan_parameters(table, TrainConfig(freeze=("conv1", "bn1", "layer1.")))
    learns = dict(zip(names, plan.trainable, strict=True))
    assert not learns["conv1.weight"]
    assert not learns["layer1.2.bn3.bias"]
    assert learns["layer2.0.conv1.weight"]
    assert plan.lr[names.index("conv1.weight")] == 0
    frozen = plan_parameters(table, TrainConfig(bn="frozen"))
    learns = dict(zip(names, frozen.trainable, strict=True))
    assert not learns["layer3.0.bn2.weight"]
    assert not learns["layer2.0.downsample.1.bias"]
    assert learns["layer2.0.downsample.0.weight"]
    kept = plan_parameters(table, TrainConfig(bn="frozen_stats"))
    assert kept.trainable[names.index("bn1.weight")]


def test_freezing_what_is_not_there_or_everything_is_refused():
    table = _core.parameter_table("resnet50", 7)
    with pytest.raises(ValueError, match=r"starts with 'layer5'.*'layer"):
        plan_parameters(table, TrainConfig(freeze=("layer5",)))
    with pytest.raises(ValueError, match="freezes all parameters"):
        plan_parameters(table, TrainConfig(freeze=("conv1", "bn1", "layer", "fc")))
