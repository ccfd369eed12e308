"""The tool that follows a Dockerfile: what it reads, and that it passes over nothing."""

import sys

import pytest

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import dockerfile_in_chroot as chroot


def stage(tmp_path, **fields):
    return chroot.Stage(tmp_path, **fields)


def test_instructions_are_read():
    text = '# syntax\nFROM a AS b\nRUN one && \\\n    # told in between\n    two\nCMD ["x"]\n'
    assert chroot.instructions(text) == [
        ("FROM", "a AS b"),
        ("RUN", "one &&     two"),
        ("CMD", '["x"]'),
    ]
    assert chroot.flags_of("--from=b --chown=u:g x y") == ({"from": "b", "chown": "u:g"}, "x y")


def test_values_are_put_in(tmp_path):
    made = stage(tmp_path, arguments={"A": "1"}, environment={"B": "2"})
    assert made.expand("$A ${B} ${C:-3} ${A:+4} ${C}| \\$A") == "1 2 3 4 | $A"


def test_what_is_not_known_is_refused(tmp_path):
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group"):
        (tmp_path / "etc" / name).write_text("root:x:0:0:root:/root:/bin/sh\n")
    for text in ("RUN x", "FROM a\nSHELL x", "FROM a\nRUN --mount=type=cache x", "ENV A=1"):
        (tmp_path / "Dockerfile").write_text(text + "\n")
        with pytest.raises(chroot.DockerfileError):
            chroot.follow(tmp_path / "Dockerfile", tmp_path, tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM a\nUSER nobody-here\nWORKDIR /x\n")
    with pytest.raises(chroot.DockerfileError, match="no such account"):
        chroot.follow(tmp_path / "Dockerfile", tmp_path, tmp_path).account()
