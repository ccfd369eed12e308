"""Test what the training's card holds."""

from types import SimpleNamespace

import pytest

pytest.importorskip("metaflow", reason="needs the extra metaflow")

from birdembed.integrations import metaflow as module


class Card(list):
    def refresh(self):
        pass


def test_names_that_are_not_utf8_leave_a_card_that_can_be_written(monkeypatch):
    card = Card()
    monkeypatch.setattr(module, "current", {"card": card})
    trainer = SimpleNamespace(
        config=SimpleNamespace(epochs=1, batch_size=2, optimizer="sgd", lr=0.1),
        steps_per_epoch=1,
        step_count=0,
        source="mod\udcfcle",
        given_model=SimpleNamespace(architecture="resnet50"),
        train_data=type("Data", (list,), {"class_names": ["a"]})([1, 2]),
        valid_data=None,
        history=SimpleNamespace(epochs=[]),
    )

    callback = module.MetaflowCallback(pictures=False)
    callback.on_train_begin(trainer)
    callback.on_train_error(trainer, OSError("no place for Gr\udcfcnspecht"))
    texts = [part._text for part in card if isinstance(part, module.Markdown)]
    assert "mod\ufffdle" in "".join(texts).encode().decode()
    assert any("no place for Gr\ufffdnspecht" in text for text in texts)
