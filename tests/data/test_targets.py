"""Labels as rows of shares."""

import numpy as np
import pytest

from birdembed.data.targets import smoothed_targets

LABELS = np.array([2, -1, 0])


def test_a_row_adds_up_to_1_and_one_without_a_label_is_zeros():
    targets = smoothed_targets(LABELS, 4, 0.2)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(
        targets, [[0.05, 0.05, 0.85, 0.05], [0] * 4, [0.85, 0.05, 0.05, 0.05]], rtol=1e-6
    )


@pytest.mark.parametrize("classes", [4, 1])
def test_without_smoothing_the_own_class_has_all(classes):
    targets = smoothed_targets(np.zeros(2, np.int64), classes, 0.0)
    np.testing.assert_array_equal(targets, np.eye(classes, dtype=np.float32)[[0, 0]])


def test_no_classes_and_no_labels():
    assert smoothed_targets(np.array([-1, -1]), 0, 0.1).shape == (2, 0)
    assert smoothed_targets(np.empty(0, np.int64), 3, 0.1).shape == (0, 3)


def test_the_own_share_may_be_given():
    targets = smoothed_targets(LABELS, 4, 0.2, own=0.5)
    np.testing.assert_array_equal(targets[0], np.float32([0.05, 0.05, 0.5, 0.05]))
