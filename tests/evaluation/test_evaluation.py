"""Which classes are taken for which others."""

import numpy as np
import pytest

import birdembed as be
from birdembed.evaluation.evaluation import Evaluation


def evaluation(confusion, names):
    return Evaluation(
        n=int(np.sum(confusion)),
        lone=0,
        precision_at_1=None,
        recall_at_k={},
        map_at_r=None,
        same_similarity=None,
        different_similarity=None,
        per_class={},
        confusion=np.asarray(confusion),
        class_names=names,
    )


def test_most_confused():
    result = evaluation([[5, 3, 0], [1, 9, 0], [0, 2, 2]], ["A", "B", "C"])
    assert be.most_confused(result) == [
        ("A", "B", 3, 3 / 8),
        ("C", "B", 2, 2 / 4),
        ("B", "A", 1, 1 / 10),
    ]
    assert result.most_confused(1) == be.most_confused(result)[:1]
    assert evaluation(np.eye(2, dtype=int), ["A", "B"]).most_confused() == []
    assert result.confusion[0, 0] == 5  # left as it was
    with pytest.raises(ValueError, match="k must"):
        result.most_confused(0)
