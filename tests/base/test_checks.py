"""Test the checks of option values and their messages."""

import numpy as np
import pytest

import birdembed as be
from birdembed.base.checks import check_boolean, check_choice, check_integer, check_number
from birdembed.species.threshold import choose_threshold


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


MODEL = {"architecture": "resnet18", "num_classes": 2}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: be.SupCon(temperature=10**400), "temperature"),
        (lambda: be.SupCon(weight=0), "weight"),
        (lambda: be.find_duplicates("nowhere", threshold=None), "threshold"),
        (lambda: be.find_duplicates("nowhere", threshold=float("nan")), "threshold"),
        (lambda: be.set_num_threads(10**400), "num_threads must be 0 to 1024"),
        (lambda: be.Model(**MODEL, seed=None), "seed"),
        (lambda: be.Model(**MODEL, seed=-1), "seed"),
        (lambda: be.Model(**MODEL, class_names=[None, "wren"]), "class_names"),
        (lambda: be.Model(**MODEL, class_names="ab"), "class_names"),
        (lambda: be.Index("4"), "dim"),
        (lambda: be.Index(1.5), "dim"),
        (lambda: be.Index(4, fingerprint=float("nan")), "fingerprint"),
        (lambda: be.Index(4, model="birds477"), "model"),
        (lambda: be.open_set_auroc([10**400], [0.5]), "known must hold numbers"),
        (lambda: be.open_set_auroc([0.5], "x"), "unknown must hold numbers"),
        (lambda: be.retrieval_metrics(np.eye(2, dtype=np.float32), 5), "labels"),
        (lambda: be.load_model("birds477", num_classes=2.5), "num_classes"),
        (lambda: be.load_model("birds477", preprocess={"size": 3}), "preprocess"),
        (lambda: be.load_model(5), "name of a model"),
        (lambda: be.Preprocess(crop_pct=10**400), "crop_pct"),
    ],
)
def test_errors_name_the_argument(call, name):
    with pytest.raises((TypeError, ValueError), match=name):
        call()


def test_the_smallest_share_of_known_images():
    scores = np.array([0.25, 0.5, 0.75])
    threshold, _ = choose_threshold(scores, scores, 5e-324)
    assert threshold == pytest.approx(0.75, abs=1e-5)
