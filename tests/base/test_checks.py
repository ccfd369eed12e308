"""Test the checks of option values and their messages."""

import numpy as np
import pytest

from birdembed.base.checks import check_boolean, check_choice, check_integer, check_number


@pytest.mark.parametrize("value", [10**400, -(10**400), float("nan"), float("inf"), -1, 7])
def test_numbers_out_of_range(value):
    with pytest.raises(ValueError, match="x must be finite, at least 0 and below 7, got"):
        check_number("x", value, 0, 7)
    with pytest.raises(ValueError, match="x must be finite"):
        check_number("x", 10**400, 0)


@pytest.mark.parametrize("check", [check_boolean, check_integer, check_number, check_choice])
@pytest.mark.parametrize("value", [b"photo" * 10**6, "QUJD" * 10**5, [[0] * 1000] * 1000])
def test_messages_do_not_repeat_a_whole_photograph(check, value):
    limits = {check_integer: [0], check_number: [0], check_choice: [["a", "b"]]}
    with pytest.raises((TypeError, ValueError), match="x must be") as caught:
        check("x", value, *limits.get(check, []))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("value", "shown"), [(np.float32(7), "7.0"), (np.int64(9), "9"), (np.float16("nan"), "nan")]
)
def test_numbers_of_numpy_are_shown_like_others(value, shown):
    with pytest.raises(ValueError, match=f"got {shown}$"):
        check_number("x", value, 0, 5)


def test_integers_with_more_digits_than_python_prints():
    with pytest.raises(ValueError, match="x must be 0 to 4611686018427387903, got <int>"):
        check_integer("x", 10**5000, 0)
