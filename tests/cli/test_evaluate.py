"""evaluate on the command line."""

import json
import os

import pytest

import birdembed as be
from birdembed.cli import main
from tests.support.species import SPECIES, write_folder


def test_evaluate_details(folder, others, photos, tmp_path, capsys):
    words = ["evaluate", others.root, "--model", folder, "--reference", photos.root]
    assert main([*words, "--details"]) == 0
    text = capsys.readouterr().out
    assert "precision_at_1" in text
    for heading in ("confused", "loss", "per species"):
        assert heading in text
    assert all(name in text for name in SPECIES)
    assert main([*words, "--details", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert set(values["per_class"]) == set(SPECIES)
    assert len(values["top_losses"]) == len(others)


def test_evaluate_draws_what_it_prints(folder, others, photos, tmp_path, capsys, monkeypatch):
    """With a reference the similarities in the picture are those to the reference."""
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    draw, drawn = be.plot_similarity, []

    def kept(*arguments, **options):
        drawn.append(draw(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(be, "plot_similarity", kept)
    words = ["evaluate", others.root, "--model", folder, "--reference", photos.root, "--json"]
    assert main([*words, "--plots", str(tmp_path / "p")]) == 0
    values = json.loads(capsys.readouterr().out)
    texts = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    shown = {text.split(":")[0]: float(text.split()[-1]) for text in texts}
    assert shown["same"] == pytest.approx(values["same_similarity"], abs=0.006)
    assert shown["different"] == pytest.approx(values["different_similarity"], abs=0.006)


def test_evaluate_names_copies(folder, photos, tmp_path, capsys):
    valid = write_folder(tmp_path / "valid", range(1))
    assert main(["evaluate", valid.root, "--model", folder, "--reference", photos.root]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("copy: ") >= len(SPECIES)
    assert f"duplicates{' ' * 12}{len(SPECIES)}" in shown.out.replace("  4", "  4")


def test_evaluate_plots(folder, others, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    assert main(["evaluate", others.root, "--model", folder, "--plots", str(tmp_path / "p")]) == 0
    paths = [line for line in capsys.readouterr().out.splitlines() if line.endswith(".png")]
    assert {os.path.basename(path) for path in paths} == set(os.listdir(tmp_path / "p"))
    assert len(paths) == 5


def test_evaluate_plots_what_can_be_drawn(folder, tmp_path, capsys):
    """No species with two pictures: no neighbour can be right, the other numbers are there."""
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    single = write_folder(tmp_path / "single", range(1))
    words = [
        "evaluate",
        single.root,
        "--model",
        folder,
        "--details",
        "--plots",
        str(tmp_path / "p"),
    ]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "different_similarity" in shown.out
    paths = [line for line in shown.out.splitlines() if line.startswith(str(tmp_path / "p"))]
    assert {os.path.basename(path) for path in paths} == set(os.listdir(tmp_path / "p"))
    assert "similarity.png" in os.listdir(tmp_path / "p")
    assert "per_class.png" not in os.listdir(tmp_path / "p")
    assert f"no plot {tmp_path / 'p' / 'per_class.png'}: no class has the score" in shown.err
    assert main([*words, "--json"]) == 0
    assert "different_similarity" in json.loads(capsys.readouterr().out)

    knowing = be.load_model(folder)
    knowing.reset_classifier(len(SPECIES), SPECIES)
    knowing.save_pretrained(tmp_path / "knowing")
    words[3] = str(tmp_path / "knowing")
    assert main(words) == 0
    assert "per_class.png" in os.listdir(tmp_path / "p")  # by the classifier's accuracy


def test_evaluate_uses_the_model_of_an_index(index, photos, capsys):
    for words in ([photos.root, "--reference", index], [index]):
        assert main(["evaluate", *words, "--json"]) == 0
        values = json.loads(capsys.readouterr().out)
        assert values["n"] == len(photos)
