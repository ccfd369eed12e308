"""Help, suggestions, completion and colour."""

import importlib
import io
import re
import shlex
import sys

import pytest

from birdembed.cli import COMMANDS, common, main
from birdembed.cli.parser import make_parser, parse


@pytest.fixture(scope="module")
def parsers():
    return make_parser(COMMANDS, COMMANDS)[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_defaults_choices_and_the_examples(command, parsers, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # so that no example is wrapped
    text = parsers[command].format_help()
    for action in parsers[command].arguments():
        assert action.help, f"{command} {action.dest} says nothing"
        if action.choices and not action.metavar:
            assert all(choice in text for choice in action.choices)
        has_value = action.option_strings and action.nargs != 0 and not action.required
        optional = {"plot", "min_score", "json", "photos", "valid", "unknown", "cache", "lancedb"}
        optional |= {"output", "reference", "plots", "index", "check", "images"}
        if has_value and action.dest not in optional:
            shown = parsers[command]._get_formatter()._expand_help(action)
            assert "default" in shown, f"{command} {action.option_strings}"
    examples = importlib.import_module(f"birdembed.cli.{command}").EXAMPLES
    assert text.split("examples:\n")[1].splitlines() == [f"  {line}" for line in examples]


def test_a_narrow_terminal(parsers, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = parsers["search"].format_help().split("examples:\n")[1].splitlines()
    assert lines == [
        "  birdembed search photos.index unknown.jpg",
        "  birdembed search photos/ unknown.jpg -k 3 --min-score",
        "    0.5",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_right(command):
    module = importlib.import_module(f"birdembed.cli.{command}")
    for line in module.EXAMPLES:
        words = shlex.split(line.split(" | ")[-1])
        assert words[:2] == ["birdembed", command]
        assert parse(words[1:], COMMANDS)[1].command == command


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["serch"], "did you mean search"),
        (["fine-tune"], "did you mean finetune?"),
        (["xyzzy"], "commands are identify"),
        (["embed", "photos", "--ouput", "x.npy"], "did you mean --output?"),
        (["identify", "a.jpg", "--modle=m"], "unknown option --modle; did you mean --model?"),
        (["identify", "a.jpg", "-x"], "unknown option -x"),
        (["evaluate", "photos", "more"], "unexpected argument 'more'"),
        (["finetune", "photos", "-o", "m", "--batchsize", "3"], "did you mean --batch-size"),
        (["fetch", "sample"], "did you mean samples?"),
        (["identify", "a.jpg", "--precision", "flaot32"], "did you mean float32?"),
        (["verify", "photos", "--model", "m"], "unknown option --model (see"),
    ],
)
def test_what_was_meant(words, expected, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert "--help" in line


def test_files_that_begin_with_a_dash(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("-dash.jpg", "--dash.jpg", "-5.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
        for words in ([name], [name, "b.jpg"], ["b.jpg", name]):
            assert main(["verify", *words]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert f"unknown option {name}; for the file of this name write ./{name} " in line
        for words in ([f"./{name}"], ["--", name]):
            assert main(["verify", *words]) == 1  # it was read
            assert "not a JPEG" in capsys.readouterr().out


def test_options_may_be_shortened(capsys):
    assert main(["info", "--js"]) == 0
    assert capsys.readouterr().out.startswith("{")


def test_version_in_short(capsys):
    assert main(["-V"]) == 0
    assert re.fullmatch(r"birdembed \S+\n", capsys.readouterr().out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("identify", "duplicates", "robustness", "checkpoint-dir"):
        assert word in script


def test_completion_needs_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 1
    assert "birdembed[completion]" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert common.paint("owl", "bold", Terminal()) == "\x1b[1mowl\x1b[0m"
    assert common.paint("owl", "bold", io.StringIO()) == "owl"
    monkeypatch.setenv("NO_COLOR", "1")
    assert common.paint("owl", "bold", Terminal()) == "owl"
    monkeypatch.setenv("NO_COLOR", "")
    assert common.paint("owl", "bold", Terminal()) != "owl"
    monkeypatch.setenv("TERM", "dumb")
    assert common.paint("owl", "bold", Terminal()) == "owl"


def test_columns():
    rows = [("1", "0.5", "owl"), ("10", "0.25", "")]
    assert common.columns(rows, right=(0,)) == [" 1  0.5   owl", "10  0.25"]
    assert common.columns([]) == []
