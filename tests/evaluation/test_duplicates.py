"""Copies of pictures, in pairs and in groups, and what evaluate says about them."""

from pathlib import Path

import pytest

import birdembed as be
from birdembed.evaluation.duplicates import duplicate_groups
from tests.support.species import SPECIES, picture, write_folder

Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Four new pictures of a species, and what people do to them."""
    root = tmp_path_factory.mktemp("copies")
    for number in range(4):
        (root / "a" / "JAY").mkdir(parents=True, exist_ok=True)
        picture(10 + number, 0, 120).save(root / "a" / "JAY" / f"{number}.png")
    there = root / "b" / "JAY"
    there.mkdir(parents=True)
    original = picture(10, 0, 120)
    original.resize((90, 70)).save(there / "smaller.jpg", quality=60)
    picture(11, 0, 120).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(there / "mirrored.png")
    Image.eval(picture(12, 0, 120), lambda v: int(v * 0.7)).save(there / "darker.png")
    picture(99, 0, 120).save(there / "another.png")
    (there / "bad.png").write_bytes(b"no picture")
    return be.ImageFolder(root / "a"), be.ImageFolder(root / "b")


def names(pairs):
    return {tuple(path.rsplit("/", 1)[1] for path in pair[:2]) for pair in pairs}


def test_copies_between_two_folders(copies):
    ours, theirs = copies
    with pytest.warns(UserWarning, match=r"reference: 1 images .*bad\.png"):
        found = be.find_duplicates(ours, theirs)
    assert names(found) == {
        ("0.png", "smaller.jpg"),
        ("1.png", "mirrored.png"),
        ("2.png", "darker.png"),
    }
    scores = [pair.score for pair in found]
    assert scores == sorted(scores, reverse=True)
    assert found[0].label == found[0].other_label == "JAY"


def test_two_paths_of_a_file_are_no_copies(copies, tmp_path):
    path = copies[0].paths[0]
    (tmp_path / "link.png").symlink_to(path)
    for again in (path, Path(path), path.replace("/JAY/", "/./JAY/"), tmp_path / "link.png"):
        assert be.find_duplicates([again, path]) == []
    pixels = Image.open(path).convert("RGB")
    assert len(be.find_duplicates([pixels, pixels, path])) == 3  # not known to be the same file
    assert be.find_duplicates([path], [path])  # a photo of one set that is also in the other


@pytest.mark.filterwarnings("ignore:.*are not compared")
def test_copies_within_a_list(copies):
    paths = [path for data in copies for path in data.paths]
    found = be.find_duplicates(paths)
    assert names(found) == names(be.find_duplicates(*copies))  # each pair once, none with itself
    assert be.find_duplicates([]) == []
    bad = [path for path in paths if path.endswith("bad.png")]
    assert len(bad) == 1
    for given, name in (((bad,), "data"), ((paths, bad), "reference")):
        with pytest.raises(ValueError, match=rf"{name}: none of its .*bad\.png"):
            be.find_duplicates(*given)
    with pytest.raises(ValueError, match="threshold"):
        be.find_duplicates(paths, threshold=0)


@pytest.mark.filterwarnings("ignore:.*are not compared")
def test_copies_below_folders(copies, tmp_path):
    ours, theirs = copies
    want = be.find_duplicates(ours, theirs)
    assert be.find_duplicates(ours.root, theirs.root) == want
    assert be.find_duplicates(Path(ours.root), theirs) == want
    with pytest.raises(ValueError, match="no images"):
        be.find_duplicates(tmp_path)
    for find in (be.find_duplicates, duplicate_groups):
        with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
            find(tmp_path / "nowhere")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="data: none of its"):  # a file is one image
        be.find_duplicates(tmp_path / "bad.png")


def test_a_group_has_more_than_the_nearest_few(tmp_path):
    """Of two heaps of equal files each file's nearest few are in its own heap."""
    first = picture(10, 0, 120)
    second = first.rotate(2)
    for number in range(12):
        (first if number % 2 else second).save(tmp_path / f"{number:02}.png")
    picture(99, 0, 120).save(tmp_path / "another.png")
    across = [p for p in be.find_duplicates(tmp_path) if p.score < 0.9999]
    assert across == []
    ((paths, score),), failures = duplicate_groups(tmp_path)
    assert paths == [str(tmp_path / f"{number:02}.png") for number in range(12)]
    assert 0.9 < score < 0.9999
    assert failures == []
    assert [len(group.paths) for group in duplicate_groups(tmp_path, threshold=1)[0]] == [6, 6]


def test_images_without_labels(tmp_path):
    picture(10, 0, 120).save(tmp_path / "0.png")
    picture(10, 0, 120).save(tmp_path / "1.png")
    (found,) = be.find_duplicates(be.ImageFolder.from_paths(tmp_path))
    assert {found.path, found.other} == {str(tmp_path / "0.png"), str(tmp_path / "1.png")}
    assert found.label == found.other_label == ""


def test_evaluate_reports_copies_first(model, photos, tmp_path):
    valid = write_folder(tmp_path / "valid", range(6, 7))
    picture(SPECIES.index("JAY"), 0).save(tmp_path / "valid" / "JAY" / "copy.png")
    valid = be.ImageFolder(valid.root)
    for reference in (photos, be.Index.build(model, photos)):
        result = be.evaluate(model, valid, reference=reference)
        assert ("copy.png", "0.png") in names(result.duplicates)
        scalars = result.to_dict(scalars=True)
        assert scalars["duplicates"] == len({pair.path for pair in result.duplicates})
        order = list(scalars)
        assert order.index("duplicates") < order.index("precision_at_1")
        assert result.to_dict()["duplicates"][0]["label"] in SPECIES
    # A picture that is itself in the reference counts: what was trained on it knows it.
    both = be.evaluate(model, photos, reference=photos)
    assert both.to_dict(scalars=True)["duplicates"] == len(photos)
    assert both.duplicates == be.find_duplicates(photos, photos)
    assert both.precision_at_1 == be.evaluate(model, photos).precision_at_1  # none finds itself
    alone = be.evaluate(model, photos)
    assert alone.duplicates is None
    assert "duplicates" not in alone.to_dict(scalars=True)


def test_plain_pictures_of_one_grey_are_copies(tmp_path):
    greys = {"black": 0, "black2": 0, "white": 255, "white2": 255, "dark": 1, "grey": 127}
    for name, grey in greys.items():
        Image.new("RGB", (64, 48), (grey,) * 3).save(tmp_path / f"{name}.png")
    Image.new("L", (90, 90), 127).save(tmp_path / "grey2.jpg")
    picture(10, 0, 120).save(tmp_path / "other.png")
    want = {("black.png", "black2.png"), ("white.png", "white2.png"), ("grey.png", "grey2.jpg")}
    assert names(be.find_duplicates(tmp_path)) == want
    groups, _ = duplicate_groups(tmp_path)
    assert {tuple(Path(path).name for path in group.paths) for group in groups} == want
    assert {group.score for group in groups} == {1.0}
