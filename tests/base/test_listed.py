"""One value per row, from whatever holds it."""

import datetime

import numpy as np
import pytest

from birdembed.base.listed import label_values, listed


def test_the_values_of_other_libraries_are_those_of_python():
    assert listed(np.asarray([1.5, 2.5], "f4"), "x") == [1.5, 2.5]
    assert listed([np.int64(1), np.str_("a"), np.bool_(True), np.asarray(3)], "x") == [
        *(1, "a", True, 3)
    ]
    days = np.asarray(["2020-01-01"], "M8[ns]")
    assert listed(days, "x") == [days[0]]  # not a number of nanoseconds
    assert listed({"b": 1, "a": 2}.keys(), "x") == ["b", "a"]
    assert listed((x for x in "ab"), "x") == ["a", "b"]


def test_the_values_of_pyarrow_and_pandas():
    arrow = pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    assert listed(arrow.array(["a", None]), "x") == ["a", None]
    assert listed(list(arrow.array([1, 2])), "x") == [1, 2]
    assert listed(pandas.Series(["b", "a"], index=[5, 3]), "x") == ["b", "a"]
    with pytest.raises(TypeError, match="got a DataFrame; pass one of its columns"):
        listed(pandas.DataFrame({"a": [1]}), "x")


def test_labels_of_torch():
    torch = pytest.importorskip("torch")
    numbers = torch.tensor([0, 0, 1])
    assert label_values(numbers) == label_values(list(numbers)) == [0, 0, 1]
    with pytest.raises(ValueError, match=r"labels has shape \(3, 1\), expected one value"):
        label_values(numbers[:, None])


@pytest.mark.parametrize("values", [{"a": "OWL"}, {"a", "b"}, frozenset("ab")])
def test_values_without_an_order_belong_to_no_row(values):
    with pytest.raises(TypeError, match=r"x must be a sequence .*, got a .*; pass a list in the"):
        listed(values, "x")


def test_masked_values_and_other_shapes():
    masked = np.ma.masked_array([1, 2], mask=[0, 1])
    for given in (masked, list(masked)):
        with pytest.raises(ValueError, match="x has masked values"):
            listed(given, "x")
    for shape in ((2, 1), ()):
        with pytest.raises(ValueError, match="expected one value per row"):
            listed(np.zeros(shape), "x")
    for given in ("ab", b"ab", 5, None):
        with pytest.raises(TypeError, match="x must be a sequence with one value per row"):
            listed(given, "x")


def test_labels_are_names_or_numbers():
    assert label_values(["e\u0301", None, float("nan")]) == ["\xe9", None, None]
    assert label_values([1.0, None, 2.0]) == [1, None, 2]  # as pandas holds integers with gaps


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], "all numbers .int., got float"),
        ([True, False], "got bool"),
        ([b"A", b"B"], "got bytes"),
        (np.asarray([b"A"]), "got bytes"),
        ([["A"], ["B"]], "got list"),
        ([datetime.date(2020, 1, 1)], "got date"),
        (["1", 1], "got both"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(TypeError, match=f"labels must be all names .*{message}"):
        label_values(labels)


def test_an_empty_label_is_refused():
    with pytest.raises(ValueError, match="the label at position 1 is empty; use None"):
        label_values(["A", " "])
