"""Options of finetune, and wrong ones; wrong words of all commands."""

import pytest

import birdembed as be
from birdembed.cli import main
from birdembed.cli.finetune_options import FLAGS, OPTIONS

#: Fields of TrainConfig that are neither in OPTIONS nor in FLAGS, and why.
OTHERWISE = {
    "epochs": "--epochs, beside the arguments that every run has",
    "loss": "--supcon; a callable is no word",
    "checkpoint_dir": "--checkpoint-dir, which has a default of its own",
    "num_threads": "--threads, as every command has it",
    "on_error": "always skip",
    "class_weights": "not offered; --balanced does much the same",
}


def test_options_are_those_of_the_configuration():
    """A new field is offered on the command line, or named above."""
    fields = set(be.TrainConfig.__dataclass_fields__)
    assert set(OPTIONS) | set(FLAGS) == fields - set(OTHERWISE)
    assert not set(OPTIONS) & set(FLAGS)
    assert set(OTHERWISE) <= fields


@pytest.mark.parametrize(
    "words",
    [
        ["identify"],
        ["identify", "a.jpg", "-k", "0"],
        ["finetune", "somewhere"],
        ["finetune", "somewhere", "-o", "m", "--epochs", "0"],
        ["finetune", "somewhere", "-o", "m", "--image-size", "3xx4"],
    ],
)
def test_wrong_usage_is_2(words):
    assert main(words) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--optimizer adam", "--optimizer must be one of 'sgd', 'adamw', got 'adam'"),
        ("--lr -1", "--lr must be finite, at least 0 and at most 1e+37, got -1.0"),
        ("--lr fast", "--lr: expected a number, got 'fast'"),
        ("--image-size 100", "--image-size must be a multiple of 32 from 96 to 384, got 100"),
        ("--layer-decay none", "--layer-decay: expected a number, got 'none'"),
        ("--layer-decay 2", "--layer-decay must be finite"),
        ("--ema abc", "--ema: expected a number or none, got 'abc'"),
        ("--supcon 0", "--supcon must be above 0"),
        ("--seed -1", "--seed must be at least 0, got -1"),
        ("--patience 3", "--patience needs --valid"),
        ("--threads 99999", "expected a number of threads, 1 to 1024, got '99999'"),
    ],
)
def test_finetune_wrong_values_are_2_before_any_work(
    words, message, training, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(be, "load_model", lambda *_: pytest.fail("the model was loaded"))
    given = ["finetune", photos.root, "-o", str(tmp_path / "m"), *words.split()]
    assert main(given) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "m").exists()


def test_a_wrong_type_is_no_traceback(training, folder, photos, tmp_path, capsys, monkeypatch):
    def fine_tune(*_, **__):
        raise TypeError("x must be a number")

    monkeypatch.setattr(be, "fine_tune", fine_tune)
    assert main(["finetune", photos.root, "-o", str(tmp_path / "m"), "--model", folder]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "birdembed: x must be a number"


@pytest.mark.parametrize(
    "words",
    [
        ["identify", ""],
        ["finetune", "somewhere", "-o", ""],
        ["finetune", "", "-o", "m"],
        ["finetune", "somewhere", "-o", "m", "--valid", ""],
        ["embed", "somewhere", "-o", ""],
        ["index", "somewhere", "-o", ""],
        ["evaluate", "somewhere", "--plots", ""],
    ],
)
def test_an_empty_word_is_no_folder(words, capsys):
    assert main(words) == 2
    assert "expected a file or a folder, got an empty" in capsys.readouterr().err


def test_no_folder_is_1(training, tmp_path, capsys):
    assert main(["finetune", str(tmp_path / "none"), "-o", str(tmp_path / "m")]) == 1
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
    assert training == []


def test_a_model_that_does_not_exist_leaves_no_folder(photos, tmp_path):
    out = tmp_path / "a" / "out"
    assert main(["finetune", photos.root, "-o", str(out), "--model", "no-such-model"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_finetune_on_the_parent_of_its_parts(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")
    for part in ("train", "valid"):
        for name in ("OWL", "JAY"):
            (tmp_path / "b" / part / name).mkdir(parents=True)
            image.new("RGB", (40, 40)).save(tmp_path / "b" / part / name / "a.png")
    assert main(["finetune", str(tmp_path / "b"), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert f"birdembed finetune {tmp_path}/b/train --valid {tmp_path}/b/valid -o DIR" in said
    assert not (tmp_path / "out").exists()
    model = be.Model("resnet50", seed=0, num_classes=2)
    with pytest.raises(ValueError, match="'train' and 'valid' are dataset splits"):
        be.fine_tune(model, be.ImageFolder(tmp_path / "b"), epochs=1)


@pytest.mark.parametrize("option", ["-o", "--checkpoint-dir"])
def test_no_output_among_the_photos(option, photos, tmp_path, capsys):
    """A model folder there would be a species in the next training."""
    inside = str(photos.root) + "/more/model"
    for output in (str(photos.root), inside):
        words = ["finetune", str(photos.root), option, output]
        words += [] if option == "-o" else ["-o", str(tmp_path / "m")]
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert option in line
        assert output in line
