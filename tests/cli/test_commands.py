"""The command line: words, exit codes, what goes where."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import birdembed as be
from birdembed.cli import COMMANDS, main
from tests.support.species import picture, write_folder

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """Two species with three pictures each, a note, and one file that is no picture."""
    root = tmp_path_factory.mktemp("damaged")
    write_folder(root, range(3), ["ROBIN", "WREN"])
    (root / "WREN" / "bad.jpg").write_bytes(b"no picture at all")
    (root / "notes.txt").write_text("not an image")
    return root


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Return a saved model without a gallery, of as many numbers as the network has."""
    path = tmp_path_factory.mktemp("bare") / "random"
    be.Model("resnet18", num_classes=0, seed=0).save_pretrained(path)
    return str(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))


def one_line_error(capsys):
    """Return standard error, which must be one line and no traceback."""
    text = capsys.readouterr().err
    lines = [line for line in text.splitlines() if not line.startswith("skipped:")]
    assert len(lines) == 1, text
    assert lines[0].startswith("birdembed")
    return lines[0]


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


def test_embed_npy(damaged, bare, tmp_path, capsys):
    target = tmp_path / "x.npy"
    assert main(["embed", str(damaged), "-o", str(target), "--model", bare]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [str(target), str(tmp_path / "x.names.txt")]
    assert "skipped" in shown.err
    assert "bad.jpg" in shown.err
    rows = np.load(target)
    assert rows.shape == (6, 512)
    assert rows.dtype == np.float32
    names = (tmp_path / "x.names.txt").read_text().splitlines()
    assert sorted(names) == [f"{s}/{j}.png" for s in ("ROBIN", "WREN") for j in range(3)]
    assert not list(tmp_path.glob(".x*"))  # nothing half-written stays


def test_embed_csv_has_the_same_numbers(damaged, folder, tmp_path, capsys):
    main(["embed", str(damaged), "-o", str(tmp_path / "x.npy"), "--model", folder])
    assert main(["embed", str(damaged), "-o", str(tmp_path / "x.csv"), "--model", folder]) == 0
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head[:3] == ["id", "label", "v0"]
    assert [row[0] for row in rows] == (tmp_path / "x.names.txt").read_text().splitlines()
    assert rows[0][1] == rows[0][0].split("/")[0]
    numbers = np.array([row[2:] for row in rows], np.float32)
    np.testing.assert_array_equal(numbers, np.load(tmp_path / "x.npy"))


def test_index_then_search(damaged, folder, tmp_path, capsys):
    target = str(tmp_path / "birds.index")
    assert main(["index", str(damaged), "-o", target, "--model", folder]) == 0
    assert capsys.readouterr().out == target + "\n"
    query = str(damaged / "WREN" / "1.png")
    assert main(["search", target, query, "-k", "3", "--model", folder, "--json"]) == 0
    ((found,),) = [json.loads(capsys.readouterr().out)]
    assert found["query"] == query
    assert len(found["results"]) == 3
    best = found["results"][0]
    assert set(best) == {"id", "label", "score"}
    assert best["id"] == "WREN/1.png"
    assert best["label"] == "WREN"
    assert best["score"] == pytest.approx(1, abs=1e-5)


def test_search_folder_as_text(damaged, folder, tmp_path, capsys):
    queries = [str(damaged / "ROBIN" / "0.png"), str(damaged / "WREN" / "2.png")]
    words = ["search", str(damaged), *queries, "-k", "2", "--model", folder]
    assert main(words) == 0
    first = capsys.readouterr()
    lines = first.out.splitlines()
    assert [lines[0], lines[3]] == queries
    assert lines[1].split() == ["1", "1.0000", "ROBIN/0.png"]  # the id begins with the label
    assert len(lines) == 6
    assert "bad.jpg" in first.err
    # What was computed was kept, and says the same again.
    assert any((tmp_path / "cache").rglob("*"))
    assert main(words) == 0
    assert capsys.readouterr().out == first.out


def test_search_skips_a_bad_query(damaged, folder, capsys):
    good, bad = str(damaged / "ROBIN" / "0.png"), str(damaged / "WREN" / "bad.jpg")
    words = ["search", str(damaged), bad, good, "--model", folder, "--json"]
    assert main(words) == 0
    shown = capsys.readouterr()
    found, unreadable = json.loads(shown.out)
    assert found["query"] == good
    assert set(found) == {"query", "close", "results"}
    assert unreadable["query"] == bad
    assert "not a JPEG" in unreadable["reason"]
    assert "bad.jpg" in shown.err
    assert main(["search", str(damaged), bad, "--model", folder]) == 1


def test_search_plot(photos, folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    target = tmp_path / "found.png"
    query = photos.paths[0]
    assert main(["search", photos.root, query, "--model", folder, "--plot", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(target)
    assert Image.open(target).size > (100, 100)


def test_another_models_index_is_refused(photos, folder, tmp_path, capsys):
    import birdembed as be

    other = tmp_path / "other"
    be.Model("resnet18", num_classes=0, seed=1).save_pretrained(other)
    target = str(tmp_path / "birds.index")
    main(["index", photos.root, "-o", target, "--model", folder])
    capsys.readouterr()
    query = photos.paths[0]
    assert main(["search", target, query, "--model", str(other)]) == 1
    assert "fingerprint" in one_line_error(capsys)


def test_verify(damaged, tmp_path, capsys):
    assert main(["verify", str(damaged)]) == 1
    shown = capsys.readouterr()
    (line,) = shown.out.splitlines()
    assert line.startswith("bad\t")
    assert "bad.jpg" in line
    assert main(["verify", str(damaged / "ROBIN"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bad": [], "suspect": []}


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


def test_info(capsys):
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"version", "onednn", "isa", "cpu_features", "threads", "precisions"} <= set(facts)
    assert main(["info"]) == 0
    assert facts["version"] in capsys.readouterr().out


def test_info_check(folder, tmp_path, capsys):
    import shutil

    assert main(["info", "--check", folder]) == 0
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    weights = bytearray((changed / "model.safetensors").read_bytes())
    weights[-3] ^= 1  # in the last number of some tensor
    (changed / "model.safetensors").write_bytes(weights)
    capsys.readouterr()
    assert main(["info", "--check", str(changed)]) == 1
    assert "fingerprint" in capsys.readouterr().err


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


@pytest.mark.parametrize("ending", ["npy", "csv"])
def test_embed_writes_a_name_with_its_own_bytes(ending, folder, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    picture(0, 0).save(tmp_path / "in" / os.fsdecode(b"\xff.png"))
    words = ["embed", str(tmp_path / "in"), "-o", str(tmp_path / f"x.{ending}"), "--model", folder]
    assert main(words) == 0
    written = tmp_path / ("x.names.txt" if ending == "npy" else "x.csv")
    assert b"\xff.png" in written.read_bytes()


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
