"""The history of a run: its best epoch, its table, how it shows itself."""

import pytest

from birdembed.training.history import History


def test_best_epoch_by_each_monitor_ties_by_loss_then_by_time():
    epochs = [
        {"epoch": 1, "valid_accuracy": 0.9, "valid_loss": 0.5, "map_at_r": 0.9},
        {"epoch": 2, "valid_accuracy": 0.9, "valid_loss": 0.4, "map_at_r": 0.2},
        {"epoch": 3, "valid_accuracy": 0.9, "valid_loss": 0.4, "map_at_r": float("nan")},
        {"epoch": 4, "valid_accuracy": 0.8, "valid_loss": 0.1, "map_at_r": None},
    ]
    best = {m: History(epochs, m).best["epoch"] for m in ("accuracy", "loss", "map_at_r")}
    assert best == {"accuracy": 2, "loss": 4, "map_at_r": 1}
    assert History(epochs, validated=False).best["epoch"] == 4
    assert History().best == {}


def test_history_shows_itself():
    history = History([{"epoch": 1, "train_loss": 2.5, "valid_accuracy": 0.5, "valid_loss": 2.0}])
    assert "1 epochs" in repr(history)
    assert "2.5" in history._repr_html_()
    pytest.importorskip("matplotlib")
    assert len(history.plot().axes) == 2


def test_history_as_a_table():
    pytest.importorskip("pandas")
    history = History([{"epoch": 1, "train_loss": 2.5}])
    assert history.to_pandas()["train_loss"].tolist() == [2.5]
