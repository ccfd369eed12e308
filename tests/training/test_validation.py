"""Validation on the images of valid that could be read when training started."""

import pytest

from birdembed import fine_tune
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
