"""Learning rates and the decay of averaged weights over a run."""

import math

import numpy as np
import pytest

from birdembed.training.schedule import ema_decay, schedule_factor


def test_cosine_with_warmup():
    values = [schedule_factor("cosine", step, 100, 10) for step in range(100)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10] == 1.0
    assert values[55] == pytest.approx(0.5)
    assert values[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert np.all(np.diff(values[10:]) < 0)
    assert schedule_factor("cosine", 500, 100, 10) == values[99]


def test_the_other_schedules():
    assert {schedule_factor("constant", s, 9) for s in range(9)} == {1.0}
    steps = [schedule_factor("step", s, 9) for s in range(9)]
    assert steps == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    cycle = [schedule_factor("onecycle", s, 101, 25) for s in range(101)]
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[25] == 1.0 == max(cycle)
    assert cycle[-1] == pytest.approx(1e-5)
    assert np.all(np.diff(cycle[:26]) > 0)
    assert np.all(np.diff(cycle[25:]) < 0)


def test_schedules_hold_on_the_shortest_runs():
    for kind in ("constant", "step", "cosine", "onecycle"):
        for total in (1, 2, 3):
            for warmup in (0, 0.1, total, 10 * total):
                for step in range(total + 1):
                    assert 0 <= schedule_factor(kind, step, total, warmup) <= 1


def test_ema_decay_rises_to_what_was_asked():
    values = [ema_decay(0.998, step) for step in range(3000)]
    assert values[0] == 0.25
    assert np.all(np.diff(values) >= 0)
    assert values[-1] == 0.998
