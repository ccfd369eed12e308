"""A mask of NumPy is never ignored: masked values are refused wherever an array enters."""

from types import SimpleNamespace

import numpy as np
import pytest

import birdembed as be


def masked(shape, kind="f4"):
    array = np.ma.masked_array(np.ones(shape, kind), mask=False)
    array[0] = np.ma.masked
    return array


@pytest.fixture(scope="module")
def model():
    return be.Model("resnet18", preprocess=be.Preprocess(size=96))


ROWS = np.eye(4, dtype=np.float32)
PIXELS = np.zeros((2, 3, 96, 96), np.float32)
CASES = [
    ("targets", lambda model: be.Distill(masked((4, 8)))),
    (
        "the embeddings that targets returned",
        lambda model: be.Distill(lambda x: masked((2, 8)), form="relation")(
            ROWS, SimpleNamespace(pixels=PIXELS, positions=None)
        ),
    ),
    (
        "features",
        lambda model: be.Distill(ROWS, form="relation")(
            masked((4, 4)), SimpleNamespace(pixels=None, positions=np.arange(4))
        ),
    ),
    ("features", lambda model: be.SupCon()(masked((4, 8)), np.arange(4))),
    ("labels", lambda model: be.SupCon()(ROWS, masked(4, int))),
    ("state_dict: conv1.weight", lambda model: model.load_state_dict(
        model.state_dict() | {"conv1.weight": masked((64, 3, 7, 7))})),
    ("x", lambda model: model.forward_tensor(masked((2, 3, 96, 96)))),
    ("a", lambda model: model.similarity([masked(4), masked(4)], ROWS)),
    ("b", lambda model: model.similarity(ROWS, masked((1, 4)))),
    ("mean", lambda model: be.Projection("avg", masked(8), np.eye(8, 4, dtype=np.float32))),
    ("matrix", lambda model: be.Projection("avg", np.zeros(8, np.float32), masked((8, 4)))),
    ("known", lambda model: be.open_set_auroc(masked(4), [0.5])),
    ("confusion", lambda model: be.plot_confusion(masked((2, 2)), ["wren", "robin"])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call"), CASES)
def test_masked_values_are_refused(model, name, call):
    before = model.fingerprint
    with pytest.raises(ValueError, match=f"^{name} has masked values; fill them first"):
        call(model)
    assert model.fingerprint == before


def test_masks_without_masked_values_change_nothing(model):
    whole = np.ma.masked_array(ROWS, mask=False)
    assert (be.Distill(whole).targets == ROWS).all()
    assert (model.similarity(whole, ROWS) == ROWS).all()
