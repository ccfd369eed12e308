"""Validation on the images of valid that could be read when training started."""

import pytest

from birdembed import DecodeError, Trainer, fine_tune
from tests.support.small_training import EASY, new_model
from tests.support.train_data import NAMES, make_folder

pytestmark = pytest.mark.usefixtures("small_core")


@pytest.mark.parametrize("monitor", ["precision_at_1", "map_at_r"])
def test_a_score_that_the_readable_images_do_not_have_is_refused(train, tmp_path, monitor):
    valid = make_folder(tmp_path, per_class=2)
    for name in NAMES:
        (tmp_path / name / "00.bmp").write_bytes(b"no picture")
    model = new_model()
    before = model._current
    with pytest.raises(ValueError, match="at least two readable images in valid"):
        fine_tune(model, train, valid, 2, monitor=monitor, on_error="skip", patience=1, **EASY)
    assert model._current is before
    history = fine_tune(model, train, valid, 1, on_error="skip", **EASY)
    assert history.best["valid_accuracy"] > 0


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_image_that_vanishes_during_a_training_is_an_error(train, tmp_path, on_error):
    valid = make_folder(tmp_path, per_class=2)

    def remove(trainer, logs):
        (tmp_path / NAMES[0] / "01.bmp").unlink()

    with pytest.raises(DecodeError, match=r"01\.bmp.*could be read when training started"):
        fine_tune(new_model(), train, valid, 3, callbacks=remove, on_error=on_error, **EASY)


def test_what_is_left_out_stays_the_same(train, tmp_path, caplog):
    valid = make_folder(tmp_path, per_class=2)
    path = tmp_path / NAMES[0] / "01.bmp"
    picture = path.read_bytes()
    path.write_bytes(b"no picture")
    trainer = Trainer(new_model(), train, valid, epochs=1, on_error="skip", **EASY)
    before = trainer.evaluate()
    assert "valid: 1 images cannot be read" in caplog.text
    path.write_bytes(picture)
    assert trainer.evaluate() == before
    trainer.fit()
    assert caplog.text.count("cannot be read") == 1
