"""ImageFolder: which files, which labels, which split."""

import numpy as np
import pytest

from birdembed.data.folder import ImageFolder


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def root(tmp_path):
    for name, n in (("wren", 10), ("robin", 5), ("Auk", 1)):
        for i in range(n):
            touch(tmp_path / name / f"{i:02}.jpg")
    touch(tmp_path / "robin" / "more" / "deep.PNG")
    touch(tmp_path / "robin" / "notes.txt")
    touch(tmp_path / "robin" / ".hidden.jpg")
    touch(tmp_path / "robin" / ".ipynb_checkpoints" / "00.jpg")
    touch(tmp_path / ".ipynb_checkpoints" / "00.jpg")
    touch(tmp_path / "stray.jpg")
    return tmp_path


def test_folder(root):
    data = ImageFolder(root)
    assert data.class_names == ["Auk", "robin", "wren"]
    assert len(data) == 17
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [0] + [1] * 6 + [2] * 10
    assert data.names == ["Auk"] + ["robin"] * 6 + ["wren"] * 10
    assert all(type(path) is str for path in data.paths)
    assert data.paths[0] == str(root / "Auk" / "00.jpg")
    assert data.paths[6] == str(root / "robin" / "more" / "deep.PNG")
    assert list(data) == data.paths
    assert "17 images" in repr(data)
    assert "3 classes" in repr(data)


@pytest.mark.parametrize("ending", "jpg jpeg png bmp gif webp tif tiff heic avif JPG".split())
def test_endings(tmp_path, ending):
    touch(tmp_path / "a" / f"x.{ending}")
    touch(tmp_path / "a" / "x.txt")
    touch(tmp_path / "a" / "jpg")
    assert len(ImageFolder(str(tmp_path))) == 1


def test_links(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    touch(elsewhere / "owl" / "far" / "x.jpg")
    (root / "owl").symlink_to(elsewhere / "owl")
    (root / "robin" / "linked").symlink_to(elsewhere / "owl")
    (root / "robin" / "up").symlink_to(root)
    (root / "robin" / "here").symlink_to(root / "robin")
    data = ImageFolder(root, classes=["owl", "robin"])
    assert data.names == ["owl"] + ["robin"] * 7
    assert data.paths[0] == str(root / "owl" / "far" / "x.jpg")


def test_classes_in_the_given_order(root):
    data = ImageFolder(root, classes=["wren", "Auk"])
    assert data.class_names == ["wren", "Auk"]
    assert data.labels.tolist() == [0] * 10 + [1]
    with pytest.raises(ValueError, match=r"'owl'.*'robin'"):
        ImageFolder(root, classes=["owl"])
    with pytest.raises(ValueError, match="'Auk' more than once"):
        ImageFolder(root, classes=["Auk", "Auk"])
    with pytest.raises(TypeError, match="classes must be a sequence"):
        ImageFolder(root, classes="Auk")


def test_refusals(root, tmp_path):
    touch(root / "owl" / "notes.txt")
    touch(root / "owl" / ".git" / "x.jpg")
    with pytest.raises(ValueError, match="'owl'"):
        ImageFolder(root)
    assert len(ImageFolder(root, classes=["robin"])) == 6
    with pytest.raises(FileNotFoundError, match="nothing"):
        ImageFolder(root / "nothing")
    with pytest.raises(NotADirectoryError, match=r"stray\.jpg"):
        ImageFolder(root / "stray.jpg")
    (root / "flat").mkdir()
    touch(root / "flat" / "x.jpg")
    with pytest.raises(ValueError, match="no class folders"):
        ImageFolder(root / "flat")


def test_from_lists():
    data = ImageFolder.from_lists(["a.jpg", "b.jpg", "c.jpg"], ["wren", "auk", "wren"])
    assert data.class_names == ["auk", "wren"]
    assert data.labels.tolist() == [1, 0, 1]
    data = ImageFolder.from_lists(["a.jpg", "b.jpg"], [2, 0], ["x", "y", "z"])
    assert data.names == ["z", "x"]
    assert data.class_names == ["x", "y", "z"]
    data = ImageFolder.from_lists(["a.jpg", "b.jpg"], np.array([7, 3]))
    assert data.class_names == ["3", "7"]
    assert data.labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="2 and 1"):
        ImageFolder.from_lists(["a", "b"], ["x"])
    with pytest.raises(ValueError, match="'q'"):
        ImageFolder.from_lists(["a"], ["q"], ["x"])
    with pytest.raises(ValueError, match="'3'"):
        ImageFolder.from_lists(["a"], [3], ["x"])
    with pytest.raises(TypeError, match="all names"):
        ImageFolder.from_lists(["a", "b"], ["x", 1])


def test_from_paths(root):
    data = ImageFolder.from_paths(root)
    assert set(data.paths) == {*ImageFolder(root).paths, str(root / "stray.jpg")}
    assert data.paths == sorted(data.paths)
    assert data.root == str(root)
    assert data.class_names == []
    assert set(data.labels.tolist()) == {-1}
    assert "without a label" in repr(data)
    assert "without a label" in data._repr_html_()
    assert list(ImageFolder.from_paths(["b.jpg", root / "a.jpg"])) == ["b.jpg", str(root / "a.jpg")]
    with pytest.raises(ValueError, match=f"{len(data)} of {len(data)} images have no label"):
        data.names  # noqa: B018
    (root / "empty").mkdir()
    with pytest.raises(ValueError, match="no images"):
        ImageFolder.from_paths(root / "empty")
    (root / "empty").rmdir()
    with pytest.raises(FileNotFoundError):
        ImageFolder.from_paths(root / "nowhere")


def test_labels_for_a_part():
    data = ImageFolder.from_lists(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ["wren", None, "auk", None])
    assert data.labels.tolist() == [1, -1, 0, -1]
    assert repr(data) == "ImageFolder(4 images, 2 classes: 'auk', 'wren', 2 without a label)"
    assert "2 images without a label" in data._repr_html_()
    with pytest.raises(ValueError, match=r"2 of 4 images have no label, the first is b\.jpg"):
        data.names  # noqa: B018
    assert data.select().names == ["auk", "wren"]
    assert data.select(["wren"]).paths == ["a.jpg"]
    many = ImageFolder.from_lists(list("abcdefgh"), [*["x"] * 5, *[None] * 3])
    train, valid = many.split(0.4)
    assert set(train.paths) >= set("fgh")
    assert valid.names == ["x", "x"]
    assert ImageFolder.from_lists(["a"], [None]).class_names == []
    assert ImageFolder.from_lists(["a", "b"], [None, 3]).class_names == ["3"]


def test_select(root):
    data = ImageFolder(root)
    some = data.select(classes=["wren", "robin"], per_class=4)
    assert some.class_names == ["wren", "robin"]
    assert some.labels.tolist() == [0] * 4 + [1] * 4
    assert set(some.paths) <= set(data.paths)
    assert some.paths == data.select(["wren", "robin"], 4).paths
    assert some.paths != data.select(["wren", "robin"], 4, seed=1).paths
    # The choice within a class does not depend on the others.
    assert data.select(per_class=4).paths[-4:] == some.paths[:4]
    assert len(data.select(per_class=7)) == 1 + 6 + 7
    with pytest.raises(ValueError, match="'owl'"):
        data.select(["owl"])
    with pytest.raises(ValueError, match="got 0"):
        data.select(per_class=0)


@pytest.mark.parametrize("wrong", [1.5, "2", True, np.True_, [1]])
def test_numbers_of_images_are_integers(root, wrong):
    with pytest.raises(TypeError, match=r"^per_class must be an int, got "):
        ImageFolder(root).select(per_class=wrong)


@pytest.mark.parametrize("wrong", ["0.2", None, True, np.True_, [0.2]])
def test_shares_are_numbers(root, wrong):
    with pytest.raises(TypeError, match=r"^valid must be a number, got "):
        ImageFolder(root).split(wrong)


def test_split_is_stratified(root):
    data = ImageFolder(root)
    train, valid = data.split(valid=0.2, seed=0)
    assert sorted(train.paths + valid.paths) == sorted(data.paths)
    assert train.class_names == valid.class_names == data.class_names
    assert np.bincount(valid.labels, minlength=3).tolist() == [0, 1, 2]
    assert (np.diff(train.labels) >= 0).all()
    again = data.split(valid=0.2, seed=0)[1]
    assert valid.paths == again.paths
    assert valid.paths != data.split(valid=0.2, seed=5)[1].paths
    for share in (0, 1, -0.5, 2, float("nan"), 10**400):
        with pytest.raises(ValueError, match="between 0 and 1"):
            data.split(valid=share)
    # A large share leaves at least one to train on.
    assert np.bincount(data.split(valid=0.99)[0].labels).tolist() == [1, 1, 1]


def test_masked_positions_are_refused(root):
    data = ImageFolder(root)
    with pytest.raises(ValueError, match="the index of an ImageFolder has masked values"):
        data[np.ma.masked_array([0, 1], mask=[0, 1])]
    with pytest.raises(ValueError, match="has rows of different lengths"):
        data[[[0], [0, 1]]]
