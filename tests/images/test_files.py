"""Test which images of a folder are found."""

import errno
import os
import unicodedata

import pytest
from PIL import Image

import birdembed as be
from birdembed.evaluation.duplicates import duplicate_groups
from birdembed.images import files
from birdembed.images.files import IMAGE_ENDINGS, list_images
from birdembed.images.pillow_open import FORMATS
from tests.support.models import make_model


def picture(path, colour="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), colour).save(path)
    return path


def names(root):
    return list_images(root).whole().names


@pytest.fixture
def closed(monkeypatch):
    """Return a function that makes folders unreadable, also for root."""
    shut = {}
    scandir = os.scandir

    def scan(path):
        if os.path.basename(path) in shut:
            raise OSError(shut[os.path.basename(path)], os.strerror(shut[os.path.basename(path)]))
        return scandir(path)

    monkeypatch.setattr(files.os, "scandir", scan)
    return shut


# Links -----------------------------------------------------------------------------------


def test_links_are_followed_by_all(tmp_path):
    picture(tmp_path / "disk/OWL/good.png")
    (tmp_path / "disk/OWL/bad.png").write_bytes(b"<html>404</html>")
    (tmp_path / "photos").mkdir()
    os.symlink("../disk/OWL", tmp_path / "photos/OWL")
    os.symlink(tmp_path / "disk/OWL/good.png", tmp_path / "photos/one.png")
    assert names(tmp_path / "photos") == ["OWL/bad.png", "OWL/good.png", "one.png"]
    assert len(be.ImageFolder(tmp_path / "photos")) == 2
    report = be.verify(tmp_path / "photos")
    assert report.checked == 3
    assert [os.path.basename(f.name) for f in report.failures] == ["bad.png"]


def test_folders_linked_in_a_ring_count_once(tmp_path):
    for name in "ABC":
        picture(tmp_path / name / f"{name}.png")
    for name, other in ("AB", "BC", "CA", "AC"):
        os.symlink(f"../{other}", tmp_path / name / f"to{other}")
    os.symlink("..", tmp_path / "A" / "up")
    os.symlink(tmp_path.parent, tmp_path / "A" / "above")
    os.symlink(".", tmp_path / "A" / "here")
    assert names(tmp_path) == ["A/A.png", "B/B.png", "C/C.png"]
    # Each class has what its links lead to, once.
    data = be.ImageFolder(tmp_path)
    assert [os.path.basename(path) for path in data.paths] == [f"{n}.png" for n in "ABCBCACA"] + [
        "B.png"
    ]
    assert data.names == [*"AAABBBCCC"]


def test_a_folder_that_two_links_lead_to_counts_once(tmp_path):
    picture(tmp_path / "disk/a.png")
    (tmp_path / "photos/x").mkdir(parents=True)
    for name in ("photos/second", "photos/first", "photos/x/third"):
        os.symlink(tmp_path / "disk", tmp_path / name)
    assert names(tmp_path / "photos") == ["first/a.png"]


def test_links_that_lead_nowhere(tmp_path):
    picture(tmp_path / "a.png")
    os.symlink("gone", tmp_path / "b.png")
    assert names(tmp_path) == ["a.png", "b.png"]
    os.symlink("gone", tmp_path / "folder")
    os.symlink("itself", tmp_path / "itself")
    found = list_images(tmp_path)
    assert found.names == ["a.png", "b.png"]
    assert [(path, error.errno) for path, error in found.failures] == [
        (str(tmp_path / "folder"), errno.ENOENT),
        (str(tmp_path / "itself"), errno.ELOOP),
    ]


def test_a_class_on_a_disk_that_is_not_mounted_is_named(tmp_path):
    """It vanished, and its class with it."""
    picture(tmp_path / "OWL/a.png")
    link = tmp_path / "KIWI"
    os.symlink("/mnt/not-mounted/KIWI", link)
    why = "this folder cannot be read: the target of this link does not exist"
    assert be.verify(tmp_path).failures == [(-1, str(link), why)]
    model = be.Model("resnet18", seed=0, preprocess=be.Preprocess(size=32))
    assert be.Index.build(model, tmp_path).report.failures == [(-1, str(link), why)]
    for call in (be.ImageFolder, files.image_paths):
        with pytest.raises(FileNotFoundError, match=r"target of this link.*KIWI"):
            call(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"target of this link.*KIWI"):
        be.ImageFolder(tmp_path, classes=["KIWI"])
    assert be.ImageFolder(tmp_path, classes=["OWL"]).class_names == ["OWL"]
    os.symlink("gone", tmp_path / ".hidden")
    os.symlink("/mnt/not-mounted/x.jpg", tmp_path / "x.jpg")
    link.unlink()
    assert be.ImageFolder(tmp_path).class_names == ["OWL"]


def test_which_names_are_followed(tmp_path):
    picture(tmp_path / "disk/OWL/a.png")
    root = tmp_path / "photos"
    picture(root / "JAY/b.png")
    os.symlink("../disk/OWL", root / "OWL")
    os.symlink("..", root / "up")
    assert names(root) == ["JAY/b.png", "OWL/a.png"]
    for name in ("JAY/b.png", "OWL/a.png", "OWL/gone.jpg"):
        assert files.is_followed(str(root), name)
    for name in (
        "up/disk/OWL/a.png",
        "../disk/OWL/a.png",
        "OWL/../../disk/OWL/a.png",
        "OWL/./a.png",
        "OWL//a.png",
        "OWL/.a.png",
        "OWL/@eaDir/a.png",
        "OWL/a.txt",
        str(root / "JAY/b.png"),
        "",
    ):
        assert not files.is_followed(str(root), name), name


# What cannot be read ---------------------------------------------------------------------


@pytest.fixture
def three(tmp_path):
    picture(tmp_path / "JAY/a.png")
    picture(tmp_path / "OWL/b.png", "green")
    picture(tmp_path / "OWL/2024/c.png", "blue")
    return tmp_path


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_read_is_named(three, closed, error):
    closed["2024"] = error
    place, why = (
        str(three / "OWL/2024"),
        f"this folder cannot be read: {os.strerror(error).lower()}",
    )
    report = be.verify(three)
    assert report.checked == 2
    assert report.failures == [(-1, place, why)]
    assert not report
    assert duplicate_groups(three)[1] == [(-1, place, why)]
    model = be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64))
    index = be.Index.build(model, three)
    assert list(index.ids) == ["JAY/a.png", "OWL/b.png"]
    assert index.report.failures == [(-1, place, why)]
    for call in (
        lambda: be.Index.build(model, three, on_error="raise"),
        lambda: be.ImageFolder(three),
        lambda: be.ImageFolder.from_paths(three),
        lambda: be.recalibrate_batch_norm(model, three),
        lambda: files.image_paths(three),
    ):
        with pytest.raises(OSError, match="2024"):
            call()
    assert len(be.ImageFolder(three, classes=["JAY"])) == 1


def test_a_root_that_cannot_be_read(three, closed):
    closed[three.name] = errno.EACCES
    assert [failure.name for failure in be.verify(three).failures] == [str(three)]
    for call in (be.ImageFolder, be.ImageFolder.from_paths):
        with pytest.raises(PermissionError):
            call(three)


def test_a_disk_that_fails_half_way(three, closed, monkeypatch):
    def entries(path):
        yield from real(path)
        if path.endswith("OWL"):
            raise OSError(errno.EIO, "Input/output error")

    real = files.entries
    monkeypatch.setattr(files, "entries", entries)
    found = list_images(three)
    assert [path for path, _ in found.failures] == [str(three / "OWL")]
    assert "OWL/b.png" in found.names


def test_nothing_is_not_all_well(tmp_path):
    (tmp_path / "DSC_0001.NEF").write_bytes(b"MM\0*" + bytes(100))
    with pytest.raises(ValueError, match="no images in this folder"):
        be.verify(tmp_path)


# Names -----------------------------------------------------------------------------------


def test_folders_of_systems_are_left_out(tmp_path):
    picture(tmp_path / "OWL/a.png")
    for name in (
        "OWL/@eaDir/a.png/SYNOPHOTO_THUMB_M.png",
        "#recycle/old.png",
        "#snapshot/GMT+01-2026.11.30/OWL/a.png",
        "@Recycle/old.png",
        "@Recently-Snapshot/GMT+01_2026-11-30/OWL/a.png",
        "$RECYCLE.BIN/S-1/b.png",
        "System Volume Information/c.png",
        "__MACOSX/OWL/d.png",
        "lost+found/e.png",
        ".git/f.png",
        "OWL/._a.png",
    ):
        picture(tmp_path / name)
    assert names(tmp_path) == ["OWL/a.png"]
    assert be.ImageFolder(tmp_path).class_names == ["OWL"]


def test_the_endings_of_what_pillow_reads_count():
    """Without icons, and without endings that are often other files: .ras, .rgb, .pfm."""
    Image.init()
    left_out = set(".ico .icns .pfm .ras .bw .rgb .rgba .icb .vda .vst".split())
    readable = {ending for ending, name in Image.EXTENSION.items() if name in FORMATS}
    assert readable - left_out <= IMAGE_ENDINGS
    assert not left_out & IMAGE_ENDINGS


@pytest.mark.parametrize(
    "ending", "hif HIF heif heics jpe pjpeg pjp j2k jpx jpf apng psd qoi pcx sgi dds".split()
)
def test_endings_of_cameras(tmp_path, ending):
    (tmp_path / f"DSC00001.{ending}").write_bytes(b"")
    assert names(tmp_path) == [f"DSC00001.{ending}"]


def test_classes_whose_accents_are_written_in_two_ways_are_one(tmp_path):
    one, two = (unicodedata.normalize(form, "Wendehälse") for form in ("NFC", "NFD"))
    picture(tmp_path / one / "a.png")
    picture(tmp_path / two / "b.png")
    picture(tmp_path / "Owl/c.png")
    if len(os.listdir(tmp_path)) == 2:
        pytest.skip("this file system knows one form")
    for classes in (None, ["Owl", one], ["Owl", two]):
        data = be.ImageFolder(tmp_path, classes=classes)
        assert data.class_names == ["Owl", one]
        assert data.names == ["Owl", one, one]
        assert all(os.path.exists(path) for path in data.paths)
    assert len(data.select([two])) == 2
    assert be.ImageFolder.from_lists(["a", "b"], [one, two]).class_names == [one]
    assert be.ImageFolder.from_lists(["a", "b"], [two, one], [two]).class_names == [one]


def test_threads_below_one_are_refused(tmp_path):
    for call in (
        lambda: be.verify(tmp_path, num_threads=-1),
        lambda: be.recalibrate_batch_norm(make_model(), tmp_path, num_threads=0),
    ):
        with pytest.raises(ValueError, match="num_threads"):
            call()
