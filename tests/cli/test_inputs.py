"""The same images may be named in every way, for every command."""

import io
import json
import sys

import pytest

import birdembed as be
from birdembed.cli import main
from birdembed.cli.inputs import find_images, is_index, labelled_images


def standard_input(monkeypatch, *lines):
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_files_folders_indexes_and_standard_input(photos, index, tmp_path, monkeypatch):
    one, *rest = photos.paths
    assert find_images([one]).paths == [one]
    assert find_images([one]).labels == [None]
    for word in (photos.root, index):
        found = find_images([word])
        assert found.paths == photos.paths
        assert found.labels == photos.names
    standard_input(monkeypatch, one, "", rest[-1])
    assert find_images(["-"]).paths == [one, rest[-1]]
    standard_input(monkeypatch, photos.root)
    assert find_images(["-"]).paths == photos.paths
    assert find_images([rest[0], photos.root]).paths == [rest[0], one, *rest[1:]]


def test_each_file_once(photos, index, tmp_path, monkeypatch):
    """However it is spelled; a link to a photo has its own name."""
    monkeypatch.chdir(photos.root)
    (tmp_path / "same").symlink_to(photos.root)
    for words in ([".", index, str(tmp_path / "same")], [index, ".", photos.root + "/"]):
        found = find_images(words)
        assert len(found.paths) == len(photos)
        assert found.labels == photos.names
    assert find_images([index, "."]).paths == photos.paths  # the first spelling
    link = tmp_path / "link.png"
    link.symlink_to(photos.paths[0])
    assert find_images([photos.paths[0], str(link)]).paths == [photos.paths[0], str(link)]


def test_what_is_not_there(photos, tmp_path):
    gone = str(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        find_images([gone])
    assert find_images([gone, photos.paths[0]]).paths == [gone, photos.paths[0]]
    with pytest.raises(ValueError, match=str(tmp_path)):
        find_images([str(tmp_path)])


def test_an_index_of_plain_vectors_has_no_images(tmp_path):
    plain = be.Index(dim=2)
    plain.add("a", [0.0, 1.0])
    plain.save(tmp_path / "plain.index")
    assert is_index(str(tmp_path / "plain.index"))
    with pytest.raises(ValueError, match=r"plain.index: .* paths"):
        find_images([str(tmp_path / "plain.index")])


def test_labels(photos, index, monkeypatch):
    for word in (photos.root, index):
        assert labelled_images(word).names == photos.names
    standard_input(monkeypatch, *photos.paths)
    assert labelled_images("-").names == photos.names


def test_every_command_takes_them(photos, index, folder, tmp_path, capsys, monkeypatch):
    """Embed an index, identify from standard input, compare the images of two words."""
    out = str(tmp_path / "x.csv")
    assert main(["embed", index, "-o", out, "--model", folder, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(photos)
    assert len(open(out, encoding="utf-8").readlines()) == 1 + len(photos)
    standard_input(monkeypatch, *photos.paths[:2])
    assert main(["identify", "-", "--model", folder, "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [one["query"] for one in answers] == photos.paths[:2]
    assert main(["duplicates", photos.paths[0], photos.root, "--json"]) == 0
    assert main(["verify", *photos.paths[:2]]) == 0
    assert "2 checked" in capsys.readouterr().err
    assert main(["index", *photos.paths[:2], "-o", str(tmp_path / "two"), "--model", folder]) == 0
    assert be.Index.load(tmp_path / "two").ids.tolist() == photos.paths[:2]
    assert "next: birdembed search" in capsys.readouterr().err
    words = ["evaluate", index, "--reference", index, "--model", folder, "--json"]
    assert main(words) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["n"] == len(photos)
    assert values["failures"] == []


@pytest.mark.parametrize("command", ["identify", "search", "embed", "index", "verify"])
def test_json_without_a_readable_image(command, photos, folder, tmp_path, capsys):
    """What is printed is JSON that names each image, whether it is damaged or missing."""
    bad, gone = tmp_path / "bad.jpg", tmp_path / "gone.jpg"
    bad.write_bytes(b"no picture at all")
    words = {
        "identify": ["--model", folder],
        "search": ["--model", folder],
        "embed": ["--model", folder, "-o", str(tmp_path / "x.npy")],
        "index": ["--model", folder, "-o", str(tmp_path / "x.index")],
    }.get(command, [])
    place = [photos.root] if command == "search" else []
    for given in ([bad], [gone], [bad, gone]):
        images = [str(path) for path in given]
        assert main([command, *place, *images, *words, "--json"]) == 1
        values = json.loads(capsys.readouterr().out)
        if command == "verify":
            values = values["bad"]
        elif command in ("embed", "index"):
            assert values["rows"] == 0
            values = values["failures"]
        key = "query" if command in ("identify", "search") else "id"
        assert [one[key] for one in values] == images
        assert all(one["reason"] for one in values)


def test_json_in_the_order_of_the_images(photos, folder, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_bytes(b"no picture at all")
    images = [photos.paths[0], str(tmp_path / "bad.jpg"), photos.paths[1]]
    assert main(["identify", *images, "--model", folder, "--json"]) == 0
    assert [one["query"] for one in json.loads(capsys.readouterr().out)] == images


def test_an_empty_standard_input(folder, monkeypatch, capsys):
    standard_input(monkeypatch)
    assert main(["identify", "-", "--model", folder]) == 1
    assert "no paths on standard input" in capsys.readouterr().err


def test_a_list_of_paths_with_a_byte_order_mark(photos, folder, monkeypatch, capsys):
    standard_input(monkeypatch, "\ufeff" + photos.paths[0], photos.paths[1])
    assert main(["identify", "-", "--model", folder, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["query"] for one in found] == photos.paths[:2]
    assert not any("reason" in one for one in found)


def test_labelled_images_from_everywhere(
    photos, others, index, folder, tmp_path, training, capsys, monkeypatch
):
    """An index or paths on standard input instead of a folder, also as the reference."""
    standard_input(monkeypatch, *photos.paths)
    words = ["evaluate", others.root, "--reference", "-", "--model", folder, "--json"]
    assert main(words) == 0
    from_paths = json.loads(capsys.readouterr().out)
    assert main([*words[:3], photos.root, *words[4:]]) == 0
    assert json.loads(capsys.readouterr().out) == from_paths
    standard_input(monkeypatch, *others.paths)
    words = ["finetune", index, "--valid", "-", "-o", str(tmp_path / "m"), "--model", folder]
    assert main(words) == 0
    (call,) = training
    assert (call.train.paths, call.train.names) == (photos.paths, photos.names)
    assert (call.valid.paths, call.valid.names) == (others.paths, others.names)
    standard_input(monkeypatch, *others.paths)
    unknown = ["finetune", photos.root, "--unknown", "-", "-o", str(tmp_path / "u")]
    assert main([*unknown, "--model", folder]) == 0
    assert be.load_model(tmp_path / "u").gallery.labels.tolist() == sorted(set(photos.names))


def test_search_among_the_paths_on_standard_input(photos, folder, own_cache, capsys, monkeypatch):
    standard_input(monkeypatch, *photos.paths[1:])
    assert main(["search", "-", photos.paths[0], "--model", folder, "--json", "-k", "99"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert sorted(one["id"] for one in found["results"]) == sorted(photos.paths[1:])


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "-", "--reference", "-"],
        ["finetune", "-", "--valid", "-", "-o", "never-written"],
        ["finetune", "photos", "--valid", "-", "--unknown", "-", "-o", "never-written"],
        ["search", "-", "-"],
    ],
)
def test_standard_input_is_read_once(words, capsys, monkeypatch):
    standard_input(monkeypatch, "a/b.jpg")
    assert main(words) == 1
    assert "standard input can be read only once" in capsys.readouterr().err


def test_a_closed_folder_among_labelled_paths(folder, tmp_path, capsys, monkeypatch):
    """No photo is left out without a word."""
    (tmp_path / "birds" / "kiwi").mkdir(parents=True)
    (tmp_path / "birds" / "moa").symlink_to(tmp_path / "unmounted")
    standard_input(monkeypatch, tmp_path / "birds")
    assert main(["evaluate", "-", "--model", folder]) == 1
    assert "moa" in capsys.readouterr().err
