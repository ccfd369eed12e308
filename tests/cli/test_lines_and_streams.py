"""Test names with line breaks, closed and full streams, and a home that cannot be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import birdembed as be
from birdembed.cli import main
from birdembed.cli.output import write_text

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a model that is quick."""
    folder = tmp_path_factory.mktemp("small")
    be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def birds(tmp_path):
    folder = tmp_path / "birds"
    folder.mkdir()
    for name, colour in {"a.png": "red", "b\nc.png": "green", "d\\n.png": "blue"}.items():
        Image.new("RGB", (64, 64), colour).save(folder / name)
    return folder


def test_every_name_is_one_line(birds, small, tmp_path, capsys):
    assert main(["embed", str(birds), "-o", str(tmp_path / "x.npy"), "--model", small]) == 0
    lines = (tmp_path / "x.names.txt").read_text().splitlines()
    assert lines == ["a.png", "b\\nc.png", "d\\n.png"]
    assert len(np.load(tmp_path / "x.npy")) == 3
    (birds / "bad\r\n\x1b.jpg").write_bytes(b"no image")
    capsys.readouterr()
    assert main(["verify", str(birds)]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    assert "bad\\r\\n\\x1b.jpg" in shown.out
    assert shown.err.splitlines() == ["4 checked: 1 bad, 0 suspect"]
    assert main(["search", str(birds), str(birds / "b\nc.png"), "-k", "3", "--model", small]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 4
    assert len(shown.err.splitlines()) == 1
    assert main(["duplicates", str(birds)]) == 0
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_every_species_is_one_line(small, tmp_path, capsys):
    """Folders of species with a line break in their name, and copies of their photos."""
    for number, name in enumerate(("a\nb", "c\rd")):
        for part in ("one", "two"):
            (tmp_path / part / name).mkdir(parents=True)
            for place in range(2):
                pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{place}\n.png")
    words = ["evaluate", str(tmp_path / "one"), "--details", "--model", small]
    assert main([*words, "--reference", str(tmp_path / "two")]) == 0
    shown = capsys.readouterr()
    assert "a\\nb" in shown.out
    assert sum("a\\nb/" in line and "\\n.png" in line for line in shown.out.splitlines()) == 2
    assert all(line.startswith("copy: ") for line in shown.err.splitlines())
    assert "\r" not in shown.out + shown.err


def run(words, **options):
    return subprocess.run(
        ["sh", "-c", words, "sh", sys.executable],
        cwd=ROOT,
        timeout=100,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["info", "--version", "--help"])
def test_closed_streams(words, streams):
    done = run(f'"$1" -m birdembed.cli {words} {streams}')
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("words", ["info", "--version", "--help", "embed --help"])
def test_full_streams(words):
    done = run(f'"$1" -m birdembed.cli {words} >/dev/full')
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left" in done.stderr
    assert run(f'"$1" -m birdembed.cli {words} >/dev/full 2>/dev/full').returncode == 1
    assert run('"$1" -m birdembed.cli identify 2>/dev/full').returncode == 2


FINETUNE = """
import logging, sys, types
import birdembed as be
from birdembed.cli import main

def fine_tune(model, *_, **__):
    from birdembed.training.progress import Reporter
    Reporter(True).say("epoch 1/1")
    return types.SimpleNamespace(epochs=[])

be.fine_tune = fine_tune
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("log", ["2>/dev/full", "2>&1 >&3 | true"])
def test_messages_that_cannot_be_written_end_no_training(small, birds, tmp_path, log):
    (tmp_path / "train").mkdir()
    for species in ("robin", "wren"):
        (tmp_path / "train" / species).mkdir()
        for name in ("a.png", "b\nc.png"):
            shutil.copy(birds / name, tmp_path / "train" / species)
    (tmp_path / "train" / "wren" / "bad.png").write_bytes(b"no image")  # is listed
    words = f"finetune {tmp_path}/train -o {tmp_path}/new --model {small} --threads 1"
    script = tmp_path / "finetune.py"
    script.write_text(FINETUNE)
    run(
        f'{{ {{ "$1" {script} {words}; echo $? > {tmp_path}/code; }} {log}; }} 3>{tmp_path}/out',
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (tmp_path / "code").read_text() == "0\n"
    assert be.load_model(tmp_path / "new").gallery is not None
    # Results are not messages.
    words += " --force"
    done = run(f'"$1" {script} {words} >/dev/full', env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 1
    assert "No space left" in done.stderr


def test_a_home_that_cannot_be_written(birds, small):
    place = {k: v for k, v in os.environ.items() if k not in ("BIRDEMBED_CACHE", "XDG_CACHE_HOME")}
    place["HOME"] = "/proc/no-home"
    query = birds / "a.png"
    done = run(f'"$1" -m birdembed.cli search {birds} {query} --model {small}', env=place)
    assert done.returncode == 0
    assert "1.0000  -  a.png" in done.stdout
    assert [line for line in done.stderr.splitlines() if "BIRDEMBED_CACHE" in line]
    assert done.stderr.count("BIRDEMBED_CACHE") == 1


def started(*words, **options):
    command = [sys.executable, "-m", "birdembed", *words]
    options = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}, **options}
    return subprocess.run(command, capture_output=True, timeout=300, **options)


def test_standard_input_with_any_bytes(tmp_path):
    (tmp_path / "b\udcff.png").write_bytes(b"no image")
    strict = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    done = started("verify", "-", cwd=tmp_path, input=b"b\xff.png\n", env=strict)
    assert done.returncode == 1
    assert done.stdout.startswith((b"bad\tb\xff.png", b"bad\tb\\udcff.png"))


def test_standard_input_that_has_no_lines(tmp_path):
    done = started("verify", "-", input=b"a.png\0b.png\0")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"one path per line" in done.stderr
    done = started("verify", "-", preexec_fn=lambda: os.close(0))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"standard input is closed" in done.stderr


def test_a_folder_in_the_place_of_a_file_is_found_before_the_work(birds, tmp_path, capsys):
    (tmp_path / "x.csv").mkdir()
    assert main(["embed", str(birds), "-o", str(tmp_path / "x.csv"), "--model", "nobody"]) == 1
    assert "x.csv: it exists, but is not a file" in capsys.readouterr().err


def test_models_without_a_home(monkeypatch, capsys):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("BIRDEMBED_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert main(["models"]) == 0
    assert "birds477" in capsys.readouterr().out
    assert main(["info", "--check", "sscd"]) == 1
    assert "no home folder; set BIRDEMBED_CACHE" in capsys.readouterr().err


@pytest.mark.parametrize("one", [False, True])
def test_names_that_parquet_cannot_hold_are_found_before_the_work(birds, small, tmp_path, one):
    pytest.importorskip("pyarrow")
    Image.new("RGB", (8, 8)).save(birds / "e\udcff.png")
    images = birds / "e\udcff.png" if one else birds
    cache = tmp_path / "cache"
    words = ["-o", str(tmp_path / "x.parquet"), "--model", small, "--cache", str(cache)]
    done = started("embed", str(images), *words)
    assert done.returncode == 1
    assert b"Parquet cannot hold this name, which is not UTF-8; rename" in done.stderr
    assert not cache.exists()


def test_text_that_json_can_hold_and_utf8_cannot(tmp_path):
    write_text(str(tmp_path / "x"), "ä b\udcff \ud800.")
    assert (tmp_path / "x").read_bytes() == "ä b".encode() + b"\xff \\ud800."
