"""Test when a long embedding run mentions a faster precision."""

import pytest

from birdembed.base import embedding_bar
from birdembed.base.embedding_bar import LONG, EmbeddingBar


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(embedding_bar, "_said", False)
    monkeypatch.setattr(embedding_bar, "faster_than_float32", lambda: "use the other one")


def ran(capsys, images=LONG, show=True, precision="float32"):
    bar = EmbeddingBar(show, images, precision)
    bar.update(images)
    bar.close()
    return "embedded in float32; use the other one" in capsys.readouterr().err


def test_the_first_long_run_says_it_once(capsys):
    assert not ran(capsys, images=LONG - 1)
    assert ran(capsys)
    assert not ran(capsys)


@pytest.mark.parametrize(
    "options", [{"show": False}, {"show": None}, {"precision": "bfloat16"}, {"precision": None}]
)
def test_other_runs_do_not(capsys, options):
    assert not ran(capsys, **options)


def test_nothing_is_said_where_nothing_is_faster(capsys, monkeypatch):
    monkeypatch.setattr(embedding_bar, "faster_than_float32", lambda: "")
    assert not ran(capsys)
