"""The command line: words, exit codes, what goes where."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import birdembed as be
from birdembed.cli import COMMANDS, main
from tests.support import ROOT
from tests.support.printed import one_line_error
from tests.support.species import picture

pytestmark = pytest.mark.usefixtures("own_cache")

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


# --- words ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command, capsys):
    assert main([*filter(None, [command]), "--help"]) == 0
    shown = capsys.readouterr()
    assert "usage: birdembed" in shown.out
    assert shown.err == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"birdembed {be.__version__}\n"


@pytest.mark.parametrize("name", ["birdembed", "birdembed.cli"])
def test_python_runs_it_as_a_module(name):
    for words, code, out in ((["--version"], 0, f"birdembed {be.__version__}\n"), (["fly"], 2, "")):
        run = subprocess.run([sys.executable, "-m", name, *words], capture_output=True, text=True)
        assert (run.returncode, run.stdout) == (code, out), run.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["embed", "somewhere"],
        ["index", "somewhere"],
        ["search", "somewhere"],
        ["search", "somewhere", "a.jpg", "-k", "0"],
        ["search", "somewhere", "a.jpg", "-k", "three"],
        ["fetch"],
        ["fetch", "penguins"],
        ["evaluate"],
        ["evaluate", "one", "two"],
        ["verify"],
        ["duplicates", "somewhere", "--threshold", "0"],
        ["info", "--nonsense"],
    ],
)
def test_wrong_usage_is_2(words, capsys):
    assert main(words) == 2
    assert "birdembed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "endings"),
    [
        (["embed", "somewhere", "-o"], ".npy, .csv or .parquet"),
        (["identify", "somewhere", "-o"], ".csv, .json, .jsonl or .parquet"),
        (["export", "-o"], ".onnx"),
        (["demo", "-o"], ".png, .svg, .pdf or .jpg"),
        (["search", "somewhere", "a.jpg", "--plot"], ".png, .svg, .pdf or .jpg"),
    ],
)
@pytest.mark.parametrize("name", ["x.xls", "x", ".csv"])
def test_an_ending_that_is_not_written_is_refused(words, endings, name, capsys):
    assert main([*words, name]) == 2
    assert f"expected a file that ends in {endings}, got {name!r}" in one_line_error(capsys)


def test_help_is_light():
    """No command's libraries for `--help`."""
    code = (
        "import sys; from birdembed.cli import main; main(['--help']);"
        "heavy = {'PIL', 'tqdm', 'pandas', 'matplotlib', 'safetensors', 'onnx'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- failures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["embed", "{no}", "-o", "{tmp}/x.npy"],
        ["index", "{no}", "-o", "{tmp}/x.idx"],
        ["search", "{no}", "a.jpg"],
        ["verify", "{no}"],
        ["duplicates", "{no}"],
        ["evaluate", "{no}", "--model", "{model}"],
        ["demo", "--images", "{no}", "--model", "{model}"],
    ],
)
def test_what_is_missing_is_named(words, tmp_path, folder, capsys):
    names = {"no": str(tmp_path / "nowhere"), "tmp": str(tmp_path), "model": folder}
    words = [word.format(**names) for word in words]
    if words[0] in ("embed", "index"):
        words += ["--model", folder]
    assert main(words) == 1
    assert "nowhere" in one_line_error(capsys)


@pytest.mark.parametrize("command", ["embed", "index", "duplicates", "identify"])
def test_a_file_that_is_no_image(command, folder, tmp_path, capsys):
    file = tmp_path / "file.jpg"
    file.write_bytes(b"no picture")
    endings = {"embed": "npy", "index": "npy", "identify": "csv"}
    output = ["-o", str(tmp_path / f"x.{endings[command]}")] if command in endings else []
    model = ["--model", folder] if command != "duplicates" else []
    assert main([command, str(file), *output, *model]) == 1
    assert "be read" in one_line_error(capsys)


@pytest.mark.parametrize(
    ("command", "ending"), [("embed", "npy"), ("index", "npy"), ("identify", "csv")]
)
def test_target_is_checked_before_the_work(command, ending, photos, folder, tmp_path, capsys):
    target = tmp_path / "no" / "such" / f"x.{ending}"
    assert main([command, photos.root, "-o", str(target), "--model", folder]) == 1
    assert str(target) in one_line_error(capsys)
    assert not (tmp_path / "no").exists()


def test_unfetched_weights_say_how(photos, tmp_path, capsys):
    assert main(["embed", photos.root, "-o", str(tmp_path / "x.npy"), "--model", "sscd"]) == 1
    assert "birdembed fetch sscd" in one_line_error(capsys)


def test_a_folder_without_pictures_fails(tmp_path, folder, capsys):
    (tmp_path / "empty").mkdir()
    words = ["index", str(tmp_path / "empty"), "-o", str(tmp_path / "x"), "--model", folder]
    assert main(words) == 1
    assert "empty" in one_line_error(capsys)


# --- the work ------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["embed", "index", "verify", "duplicates"])
def test_unreadable_files_have_one_form_in_json(command, damaged, folder, tmp_path, capsys):
    output = ["-o", str(tmp_path / "x.npy"), "--model", folder]
    words = [command, str(damaged), *(output if command in ("embed", "index") else []), "--json"]
    assert main(words) == (1 if command == "verify" else 0)
    found = json.loads(capsys.readouterr().out)
    (one,) = found["bad" if command == "verify" else "failures"]
    assert set(one) == {"id", "reason"}
    assert one["id"] == str(damaged / "WREN" / "bad.jpg")
    assert "not a JPEG" in one["reason"]


def test_evaluate(photos, folder, capsys):
    assert main(["evaluate", photos.root, "--model", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 <= found["precision_at_1"] <= 1
    assert main(["evaluate", photos.root, "--model", folder]) == 0
    assert "precision_at_1" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["parser.parse", "_run"])
def test_control_c_at_the_start(place, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"birdembed.cli.{place}", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "birdembed: interrupted\n"


@pytest.mark.parametrize("command", ["-m birdembed models", "-m birdembed.cli models", "birdembed"])
def test_control_c_while_the_program_starts(tmp_path, command):
    """Stand in for Ctrl-C by a NumPy that raises the same error when it is imported."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise KeyboardInterrupt")
    words = command.split()
    if words == ["birdembed"]:  # what pip writes
        words = [str(tmp_path / "birdembed")]
        (tmp_path / "birdembed").write_text("import sys, birdembed.cli as c; sys.exit(c.main())")
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "birdembed: interrupted\n"
    # In a program that uses the package it is the error that it was.
    done = subprocess.run(
        [sys.executable, "-c", "import birdembed"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"


def test_control_c(tmp_path, bare):
    """One short line and 130; what was finished is in the cache."""
    images = tmp_path / "many"
    images.mkdir()
    for seed in range(400):
        picture(seed, 0, 224).save(images / f"{seed}.png", compress_level=1)
    words = ["index", str(images), "-o", str(tmp_path / "x.index"), "--model", bare]
    process = subprocess.Popen(
        [sys.executable, "-m", "birdembed.cli", *words, "--cache", str(tmp_path / "kept")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    deadline = time.monotonic() + 60
    while not any((tmp_path / "kept").rglob("*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "birdembed: interrupted"
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "x.index").exists()
