"""A training whose weights become NaN although no loss shows it."""

import json

import numpy as np
import pytest

from birdembed import BirdembedError
from birdembed.pretrained.reading import read_pretrained
from birdembed.training.callbacks import Callback
from birdembed.training.fine_tune import fine_tune
from birdembed.training.trainer import Trainer
from tests.support.small_training import EASY, new_model, same, weights

pytestmark = pytest.mark.usefixtures("small_core")


def spoil(trainer):
    """Make a weight NaN, as a step does whose loss was finite."""
    core = trainer._run.engine.core
    arrays = core.parameters()
    arrays[0][...] = np.nan
    core.set_parameters(arrays)


class Spoil(Callback):
    def __init__(self, step, error=None):
        self.step, self.error = step, error

    def on_step_end(self, trainer, logs):
        if logs["step"] == self.step:
            spoil(trainer)
            if self.error is not None:
                raise self.error


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("step", [2, 6, 12])
def test_weights_that_are_not_finite_are_never_the_models(train, valid, tmp_path, measured, step):
    model = new_model()
    before = weights(model)
    data = (train, valid if measured else None)
    with np.errstate(all="ignore"), pytest.raises(BirdembedError, match=r"smaller lr"):
        fine_tune(model, *data, 2, checkpoint_dir=tmp_path, callbacks=Spoil(step), **EASY)
    assert same(weights(model), before)
    if step == 12:  # that of the epoch before stays
        assert json.loads((tmp_path / "last.json").read_text())["step"] == 6
        fine_tune(model, *data, 2, checkpoint_dir=tmp_path, resume=True, **EASY)
        assert all(np.isfinite(array).all() for array in weights(model).values())
    else:
        assert not (tmp_path / "last.json").exists()
        if (tmp_path / "best").exists():  # the running mean, of the steps before
            read_pretrained(tmp_path / "best")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space"), RuntimeError()])
def test_an_interruption_of_a_diverged_training(train, tmp_path, error, caplog):
    model, options = new_model(), {**EASY, "ema": None, "checkpoint_dir": tmp_path}
    before = weights(model)
    with pytest.raises(type(error)):
        fine_tune(model, train, None, 1, callbacks=Spoil(2, error), **options)
    assert same(weights(model), before)
    assert "NaN or infinity after step 2" in caplog.text
    assert not (tmp_path / "last.json").exists()


def test_by_hand_nothing_that_is_not_finite_is_published_or_saved(train, tmp_path):
    model = new_model()
    trainer = Trainer(model, train, **EASY, ema=None)
    batch = next(iter(trainer._run.batches.epoch(0, 96)))
    trainer.step(batch.pixels, batch.labels)
    trainer.save_checkpoint(tmp_path)
    before = weights(trainer.model)
    trainer.step(batch.pixels, batch.labels)
    spoil(trainer)
    with pytest.raises(
        BirdembedError, match=r"conv1\.weight contains NaN or infinity after step 2"
    ):
        trainer.model  # noqa: B018
    with pytest.raises(BirdembedError, match=r"model/conv1\.weight contains NaN"):
        trainer.save_checkpoint(tmp_path)
    assert same(weights(model), before)
    assert Trainer.resume(tmp_path, train).step_count == 1
