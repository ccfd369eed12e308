"""What counts as a callback, and what stops a training."""

import pytest

from birdembed.training.callbacks import Callback, Callbacks


def test_callbacks_take_objects_and_functions_and_only_false_stops():
    heard = []

    class Own(Callback):
        def on_step_end(self, trainer, logs):
            heard.append(("step", logs["step"]))
            return 0

    class Alike:
        def on_epoch_end(self, trainer, logs):
            heard.append(("epoch", logs["epoch"]))

    told = Callbacks([Own(), Alike(), lambda trainer, logs: logs["epoch"] < 2])
    assert told.tell("on_step_end", None, {"step": 1})
    assert told.tell("on_epoch_end", None, {"epoch": 1})
    assert not told.tell("on_epoch_end", None, {"epoch": 2})
    assert heard == [("step", 1), ("epoch", 1), ("epoch", 2)]
    with pytest.raises(TypeError, match="an instance of it"):
        Callbacks([Own])
    with pytest.raises(TypeError, match="callback must be"):
        Callbacks([3])
