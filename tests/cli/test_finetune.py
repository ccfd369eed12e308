"""finetune on the command line, with a stand-in for the training itself."""

import json
import os
import shutil
import types
import warnings

import numpy as np
import pytest

import birdembed as be
from birdembed.cli import main
from birdembed.training.checkpoint_files import OWN, own_checksum
from tests.support.species import SPECIES, write_folder


def test_finetune(training, folder, photos, others, tmp_path, capsys):
    out = tmp_path / "new" / "model"
    words = ["finetune", photos.root, "--valid", others.root, "-o", str(out), "--model", folder]
    assert main([*words, "--epochs", "3"]) == 0
    (call,) = training
    assert call.train.paths == photos.paths
    assert call.valid.paths == others.paths
    assert (call.epochs, call.resume) == (3, False)
    assert call.config.pop("show_progress_bar") is True  # without a terminal, lines
    assert call.config == {"checkpoint_dir": str(out / "checkpoints"), "on_error": "skip"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(out)
    values = dict(line.split(maxsplit=1) for line in lines[1:])
    assert values["epochs"] == "3"
    saved = be.load_model(out)
    assert float(values["gallery.threshold"]) == pytest.approx(saved.threshold, abs=1e-4)
    measured = be.evaluate(saved, others, reference=photos)
    assert float(values["precision_at_1"]) == pytest.approx(measured.precision_at_1, abs=1e-4)
    assert saved.gallery.labels.tolist() == SPECIES
    # The threshold is that of the pictures that were not trained on.
    again = saved.fit_gallery(photos, valid=others)
    assert float(values["gallery.threshold"]) == pytest.approx(again.threshold, abs=1e-4)


def test_finetune_options(training, folder, photos, tmp_path, capsys):
    words = ["finetune", photos.root, "-o", str(tmp_path / "m"), "--model", folder, "--json"]
    options = (
        "--batch-size 16 --image-size 10x128,3x192 --eval-size 160 --lr 1e-4 --ema none "
        "--freeze conv1,layer1 --balanced --augment none --supcon 0.2 --resume --threads 2 "
        "--checkpoint-dir elsewhere --optimizer sgd"
    ).split()
    assert main([*words, *options]) == 0
    (call,) = training
    loss = call.config.pop("loss")
    assert (loss.weight, loss.temperature) == (0.2, 0.1)
    assert call.config == {
        "batch_size": 16,
        "image_size": [(10, 128), (3, 192)],
        "eval_size": 160,
        "lr": 1e-4,
        "ema": None,
        "freeze": ("conv1", "layer1"),
        "balanced": True,
        "augment": None,
        "num_threads": 2,
        "on_error": "skip",
        "checkpoint_dir": "elsewhere",
        "show_progress_bar": True,
        "optimizer": "sgd",
    }
    assert call.resume
    assert call.valid is None
    values = json.loads(capsys.readouterr().out)
    assert values["model"] == str(tmp_path / "m")
    assert len(values["history"]) == 8
    assert values["scores"]["gallery.unknown_from"] == "held-out species"


@pytest.mark.parametrize(("dtype", "megabytes"), [("float16", 50), ("int8", 26)])
def test_finetune_stores_less(training, folder, photos, others, tmp_path, capsys, dtype, megabytes):
    out = tmp_path / "m"
    words = ["finetune", photos.root, "--valid", others.root, "-o", str(out), "--model", folder]
    assert main([*words, "--epochs", "1", "--dtype", dtype, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    saved = be.load_model(out)
    assert saved.fingerprint != be.load_model(folder).fingerprint
    assert (out / "model.safetensors").stat().st_size < megabytes * 1e6
    # Gallery, threshold and scores are those of the rounded weights, to the bit.
    gallery = saved.gallery.embeddings
    fit = saved.fit_gallery(photos, valid=others)
    np.testing.assert_array_equal(saved.gallery.embeddings, gallery)
    assert scores["gallery.threshold"] == fit.threshold
    assert scores["map_at_r"] == be.evaluate(saved, others, reference=photos).map_at_r
    assert main([*words, "--dtype", "int4"]) == 2


def test_finetune_tells_what_passes_of_unknown_pictures(
    training, folder, photos, others, tmp_path, capsys
):
    words = ["finetune", photos.root, "-o", str(tmp_path / "m"), "--model", folder, "--json"]
    words.append("--force")
    strange = write_folder(tmp_path / "strange", range(3), ["KEA", "TUI"])
    (tmp_path / "strange/KEA/0.png").write_bytes(b"no picture")
    assert main([*words, "--valid", others.root, "--unknown", strange.root]) == 0
    shown = capsys.readouterr()
    scores = json.loads(shown.out)["scores"]
    assert (scores["gallery.unknown_from"], scores["gallery.n_unknown"]) == ("given pictures", 5)
    assert "skipped: " in shown.err
    assert "KEA" in shown.err
    assert "threshold is set on training" not in shown.err
    assert main(words) == 0
    assert "threshold is set on training" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*words, "--unknown", str(tmp_path / "empty")]) == 1
    assert "no photo" in capsys.readouterr().err


def test_finetune_names_copies_before_anything_else(training, folder, photos, tmp_path, capsys):
    valid = write_folder(tmp_path / "valid", range(1))
    words = ["finetune", photos.root, "--valid", valid.root, "-o", str(tmp_path / "m")]
    assert main([*words, "--model", folder]) == 0
    text = capsys.readouterr().err
    assert "4 of the 4 photos in --valid are copies" in text
    assert text.index("copy: ") < text.index("checkpoints in")


def spoil(path):
    with open(path, "wb") as file:
        file.write(b"no picture")
    return str(path)


def test_finetune_skips_bad_files_and_names_each_once(tmp_path, folder, capsys):
    """The training itself: one bad file among its pictures, one among those of --valid."""
    write_folder(tmp_path / "train", range(4), SPECIES[:2])
    write_folder(tmp_path / "valid", range(4, 6), SPECIES[:2])
    bad = [spoil(tmp_path / "train" / SPECIES[0] / "bad.jpg")]
    bad += [spoil(tmp_path / "valid" / SPECIES[1] / "4.png")]
    words = ["finetune", str(tmp_path / "train"), "--valid", str(tmp_path / "valid")]
    words += ["-o", str(tmp_path / "m"), "--model", folder, "--epochs", "1", "--image-size", "96"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([*words, "--head-epochs", "1", "--batch-size", "4", "--json"]) == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("skipped: ")]
    assert len(lines) == 2
    for path in bad:
        assert shown.err.count(path) == 1
    assert len(json.loads(shown.out)["history"]) == 1
    assert be.load_model(tmp_path / "m").gallery.labels.tolist() == SPECIES[:2]


def test_finetune_names_a_species_without_a_readable_picture(training, folder, tmp_path, capsys):
    train = write_folder(tmp_path / "train", range(2))
    for path in train.paths[:2]:
        spoil(path)
    words = ["finetune", train.root, "-o", str(tmp_path / "m"), "--model", folder]
    assert main(words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("skipped: ") for line in lines] == [True, True, False]
    assert f"{SPECIES[0]!r} can be read" in lines[2]
    assert training == []
    assert not (tmp_path / "m").exists()


def test_finetune_knows_before_training_that_the_gallery_would_fail(
    training, folder, photos, others, tmp_path, capsys
):
    words = ["-o", str(tmp_path / "m"), "--model", folder]
    single = write_folder(tmp_path / "single", range(1))
    assert main(["finetune", single.root, *words]) == 1
    assert f"{single.root}: " in (error := capsys.readouterr().err)
    assert "--valid" in error
    strange = write_folder(tmp_path / "strange", range(1), ["KEA"])
    spoil(strange.paths[0])
    assert main(["finetune", photos.root, "--unknown", strange.root, *words]) == 1
    assert f"{strange.root}: none of its photos can be read" in capsys.readouterr().err
    missing = str(tmp_path / "missing")
    assert main(["finetune", photos.root, "--unknown", missing, *words]) == 1
    assert f"no such file or folder: {missing}" in capsys.readouterr().err
    assert training == []
    assert not (tmp_path / "m").exists()
    assert main(["finetune", single.root, "--valid", others.root, *words]) == 0


def test_finetune_keeps_the_model_where_the_gallery_fails(
    training, folder, photos, tmp_path, capsys, monkeypatch
):
    def fit_gallery(*_, **__):
        raise ValueError("no threshold today")

    monkeypatch.setattr(be.Model, "fit_gallery", fit_gallery)
    out = tmp_path / "m"
    assert main(["finetune", photos.root, "-o", str(out), "--model", folder]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith(f"the trained model is in {out}")
    assert lines[-1] == "birdembed: no threshold today"
    assert be.load_model(out).embedding_dim == be.load_model(folder).embedding_dim


def test_finetune_interrupted_tells_the_command_that_goes_on(
    folder, photos, tmp_path, capsys, monkeypatch
):
    steps = []

    def fine_tune(*_, checkpoint_dir, **__):
        if steps:
            os.makedirs(checkpoint_dir, exist_ok=True)
            with open(os.path.join(checkpoint_dir, "last.json"), "w") as file:
                file.write("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(be, "fine_tune", fine_tune)
    words = [photos.root, "-o", str(tmp_path / "my birds")]
    assert main(["finetune", *words, "--model", folder]) == 130
    assert "continue with" not in capsys.readouterr().err  # nothing was done yet
    steps.append(1)
    assert main(["finetune", *words]) == 130
    *_, line, last = capsys.readouterr().err.splitlines()
    assert line == f"continue with: birdembed finetune --resume {photos.root} -o '{words[-1]}'"
    assert last == "birdembed: interrupted"


def test_finetune_resumes_no_run_of_another_model(
    training, folder, photos, tmp_path, capsys, monkeypatch
):
    kept = tmp_path / "m" / "checkpoints"
    kept.mkdir(parents=True)
    shutil.copytree(folder, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    words = ["finetune", photos.root, "-o", str(tmp_path / "m"), "--resume"]

    def went_on(began, *more):
        (kept / "last.json").write_text(json.dumps({"source": began}))
        before = len(training)
        code = main([*words, *more])
        assert (code, len(training) - before) in ((0, 1), (1, 0))
        return code == 0

    assert not went_on(folder, "--model", "other")
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"started from {folder}, not from other; continue with --model {folder}" in error
    assert not went_on("timm/resnet50.tv_in1k@0123456789ab", "--model", "other")
    assert "--model timm/resnet50.tv_in1k, or" in capsys.readouterr().err
    # The same folder, written in other ways or moved.
    assert went_on("other", "--model", str(tmp_path / "other") + "/")
    assert went_on("../gone/other", "--model", "other")
    # Not a new run's business.
    words[words.index("--resume")] = "--force"
    assert went_on(folder, "--model", "other")


def test_finetune_resumes_with_the_model_of_the_checkpoint(
    training, folder, photos, tmp_path, capsys
):
    model = be.load_model(folder)
    model.species_names = {"JAY": ("Eurasian Jay", "Garrulus glandarius")}
    out = tmp_path / "m"
    trainer = be.Trainer(model, photos, image_size=96, head_epochs=0)
    trainer.save_checkpoint(out / "checkpoints")
    # No model is named, and the default one is of another architecture.
    assert main(["finetune", photos.root, "-o", str(out), "--resume", "--json"]) == 0
    (call,) = training
    assert (call.resume, call.model.architecture) == (True, "resnet18")
    assert call.model.species_names == model.species_names
    np.testing.assert_array_equal(
        call.model.state_dict()["conv1.weight"], model.state_dict()["conv1.weight"]
    )
    shown = capsys.readouterr()
    assert json.loads(shown.out)["started_from"] == folder
    assert f"continuing the training of {folder}" in shown.err.splitlines()
    (out / "checkpoints" / "last.json").write_text("{}")
    assert main(["finetune", photos.root, "-o", str(out), "--resume"]) == 1
    assert "last.json: has format None" in capsys.readouterr().err
    assert len(training) == 1


def test_finetune_replaces_no_finished_model(training, folder, photos, tmp_path, capsys):
    out = tmp_path / "m"
    words = ["finetune", photos.root, "-o", str(out), "--model", folder, "--epochs", "1"]
    assert main(words) == 0
    assert f"starting from the model {folder}" in capsys.readouterr().err
    assert main(words) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert all(word in line for word in (str(out), "--force", "--resume"))
    assert len(training) == 1
    assert main([*words, "--resume"]) == 2  # there is no checkpoint
    line = capsys.readouterr().err.splitlines()[-1]
    assert all(word in line for word in (str(out), "checkpoints", "--force"))
    (out / "checkpoints").mkdir()
    (out / "checkpoints" / "last.json").write_text("{}")
    assert main([*words, "--resume"]) == 0
    assert "continuing" in capsys.readouterr().err
    assert main([*words, "--force", "--json"]) == 0
    shown = capsys.readouterr()
    values = json.loads(shown.out)
    assert (values["started_from"], values["failures"]) == (folder, [])
    assert len(training) == 3


def test_finetune_keeps_or_removes_checkpoints(folder, photos, tmp_path, capsys, monkeypatch):
    step = "step-00000003-0a1b2c.safetensors"
    last = {"format": 1, "file": step, "more": "x" * 600_000}
    last[OWN] = own_checksum(last)
    config = {"birdembed": {"format": 1}, "more": "x" * 600_000}
    files = {
        "last.json": json.dumps(last),
        step: "x" * 600_000,
        "best/config.json": json.dumps(config),
        "notes.txt": "x" * 600_000,
    }

    def fine_tune(*_, checkpoint_dir, **__):
        os.makedirs(os.path.join(checkpoint_dir, "best"))
        for name, text in files.items():
            with open(os.path.join(checkpoint_dir, name), "w") as file:
                file.write(text)
        return types.SimpleNamespace(epochs=[])

    monkeypatch.setattr(be, "fine_tune", fine_tune)
    words = ["finetune", photos.root, "--model", folder, "-o"]
    assert main([*words, str(tmp_path / "kept")]) == 0
    assert "take 2 MB" in capsys.readouterr().err  # three of the four files
    assert (tmp_path / "kept" / "checkpoints" / "last.json").exists()
    assert main([*words, str(tmp_path / "gone"), "--checkpoints", "remove"]) == 0
    assert "removed the checkpoints" in capsys.readouterr().err
    assert os.listdir(tmp_path / "gone" / "checkpoints") == ["notes.txt"]
    assert be.load_model(tmp_path / "gone").gallery is not None


def test_checkpoints_say_what_the_run_started_from(folder):
    """What the command compares."""
    from birdembed.training.checkpoint import Checkpoint

    assert "source" in Checkpoint.__dataclass_fields__
    assert be.load_model(folder)._current.source == folder
