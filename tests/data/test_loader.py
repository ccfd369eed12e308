"""Batches of whole data sets: order, determinism, mixing, balance, cache, bad files."""

import os
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import birdembed as be
from birdembed import _core
from birdembed.data.batch_options import BatchOptions
from birdembed.data.folder import ImageFolder
from birdembed.data.image_cache import MAX_SIDE
from birdembed.data.loader import Batches
from tests.support.pictures import photo

CFG = be.Preprocess(size=64)
SHAPES = [(60, 80), (96, 64), (64, 64), (200, 150)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 12, 7 and 4 pictures of several shapes."""
    root = tmp_path_factory.mktemp("birds")
    for label, (name, n) in enumerate([("heron", 12), ("kite", 7), ("wren", 4)]):
        (root / name).mkdir()
        for i in range(n):
            height, width = SHAPES[i % 4]
            picture = Image.fromarray(photo(height, width, seed=20 * label + i))
            picture.save(root / name / f"{i:02}.png")
    return root


@pytest.fixture
def data(folder):
    return ImageFolder(folder)


def made(data, batch_size, preprocess, augment="default", **options):
    return Batches(data, BatchOptions(batch_size, preprocess, augment, **options))


def pixels_of(batches, epoch=3, size=64, start_step=0):
    """{position: pixels} of an epoch without repetitions."""
    found = {}
    for batch in batches.epoch(epoch, size, start_step):
        for position, pixels in zip(batch.positions.tolist(), batch.pixels, strict=True):
            assert position not in found
            found[position] = pixels
    return found


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def equal_batches(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# What is in a batch


def test_an_epoch_holds_everything_once(data):
    batches = made(data, 5, CFG)
    assert batches.steps_per_epoch == 5
    seen = list(batches.epoch(0, 64))
    assert [len(batch.labels) for batch in seen] == [5, 5, 5, 5, 3]
    positions = np.concatenate([batch.positions for batch in seen])
    assert sorted(positions) == list(range(23))
    assert list(positions) != list(range(23))
    for batch in seen:
        n = len(batch.positions)
        assert batch.pixels.shape == (n, 3, 64, 64)
        assert batch.pixels.dtype == np.float32
        assert batch.labels.dtype == np.int64
        assert batch.positions.dtype == np.int64
        assert np.array_equal(batch.labels, data.labels[batch.positions])
        assert np.array_equal(batch.targets, np.eye(3, dtype=np.float32)[batch.labels])
    other = np.concatenate([batch.positions for batch in batches.epoch(1, 64)])
    assert list(other) != list(positions)


def test_a_last_single_picture_is_left_out(data):
    batches = made(data, 11, CFG)
    assert batches.steps_per_epoch == 2
    assert [len(batch.labels) for batch in batches.epoch(0, 64)] == [11, 11]
    dropped = {(set(range(23)) - set(pixels_of(batches, epoch))).pop() for epoch in range(8)}
    assert len(dropped) > 3  # not always the same one
    assert made(data, 1, CFG).steps_per_epoch == 23
    assert made(data, 100, CFG).steps_per_epoch == 1


@pytest.mark.parametrize("cfg", [CFG, be.Preprocess(64, "shortest", 0.875, "bicubic")])
def test_no_augmentation_is_preprocess(data, cfg):
    for size in (64, 32):
        expected = be.preprocess(
            data, be.Preprocess(size, cfg.resize, cfg.crop_pct, cfg.interpolation)
        )
        for position, pixels in pixels_of(made(data, 6, cfg, None), size=size).items():
            assert np.array_equal(pixels, expected[position])


def test_label_smoothing(data):
    batch = next(made(data, 8, CFG, label_smoothing=0.1, num_classes=5).epoch(0, 32))
    expected = np.eye(5)[batch.labels] * 0.9 + 0.1 / 5
    assert batch.targets.shape == (8, 5)
    assert np.abs(batch.targets - expected).max() < 1e-7


# What pixels depend on


@pytest.mark.parametrize("augment", ["default", "turned", "robust", "strong"])
def test_threads_and_batch_size_change_no_pixel(data, augment):
    expected = pixels_of(made(data, 5, CFG, augment, num_threads=1))
    for batch_size, threads in [(5, 2), (23, 7), (2, 3), (8, 1)]:
        found = pixels_of(made(data, batch_size, CFG, augment, num_threads=threads))
        assert all(np.array_equal(found[key], expected[key]) for key in found)
        assert len(found) >= 22


@pytest.mark.parametrize("options", [{}, {"mixup": 0.4, "cutmix": 1.0, "balanced": True}])
def test_resuming_changes_nothing(data, options):
    whole = list(made(data, 4, CFG, **options).epoch(2, 64))
    for start in range(len(whole) + 1):
        rest = list(made(data, 4, CFG, **options).epoch(2, 64, start))
        assert len(rest) == len(whole) - start
        assert all(map(equal_batches, rest, whole[start:]))


@pytest.mark.parametrize("cache_bytes", [0, 100_000])
def test_the_cache_changes_nothing(data, cache_bytes):
    """With growing and shrinking sizes: neither does what was kept for another size."""
    kept, other = made(data, 5, CFG), made(data, 5, CFG, cache_bytes=cache_bytes)
    for epoch, size in enumerate([32, 64, 32, 96]):
        fresh = made(data, 5, CFG, cache_bytes=0)
        expected = pixels_of(fresh, epoch, size)
        assert same(pixels_of(kept, epoch, size), expected)
        assert same(pixels_of(other, epoch, size), expected)
        assert other.cached_bytes <= cache_bytes
    assert kept.cached_bytes > 100_000
    assert fresh.cached_bytes == 0


def test_the_cache_is_used(folder, tmp_path):
    paths = ImageFolder(folder).paths
    copies = [tmp_path / f"{i}.png" for i in range(len(paths))]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(open(path, "rb").read())
    data = ImageFolder.from_lists(copies, ["a", "b"] * 11 + ["a"])
    batches = made(data, 5, CFG)
    before = pixels_of(batches, 0)
    for copy in copies:
        copy.unlink()
    assert same(pixels_of(batches, 0), before)
    batches._store._kept.clear()
    with pytest.raises(be.DecodeError, match=r"\d\.png.*when training started"):
        pixels_of(batches, 1)


def test_seed_epoch_and_position_each_matter(data):
    base = pixels_of(made(data, 5, CFG), 0)
    others = [pixels_of(made(data, 5, CFG), 1), pixels_of(made(data, 5, CFG, seed=1), 0)]
    for other in others:
        assert not any(np.array_equal(base[key], other[key]) for key in base)
    twice = ImageFolder.from_lists([data.paths[0]] * 2, ["a", "b"])
    found = pixels_of(made(twice, 2, CFG), 0)
    assert not np.array_equal(found[0], found[1])


def test_a_picture_keeps_its_views_when_another_is_bad(folder, tmp_path):
    data = ImageFolder(folder)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    paths = list(data.paths)
    paths[3] = str(bad)
    with pytest.warns(UserWarning, match="bad.jpg"):
        found = pixels_of(made(ImageFolder.from_lists(paths, data.names), 5, CFG))
    whole = pixels_of(made(data, 5, CFG))
    assert found.keys() == whole.keys() - {3}
    assert all(np.array_equal(found[key], whole[key]) for key in found)


# Mixing


@pytest.mark.parametrize("alphas", [(0.4, 0), (0, 1.0), (0.4, 1.0)])
def test_mixing_matches_its_targets(data, alphas):
    mixup, cutmix = alphas
    plain = list(made(data, 6, CFG).epoch(1, 64))
    mixed = list(made(data, 6, CFG, mixup=mixup, cutmix=cutmix).epoch(1, 64))
    shares = []
    for before, after in zip(plain, mixed, strict=True):
        assert np.array_equal(before.positions, after.positions)
        assert np.array_equal(before.labels, after.labels)
        assert np.abs(after.targets.sum(1) - 1).max() < 1e-6
        n = len(before.labels)
        for i in range(n):
            own, other = before.pixels[i], before.pixels[(i + 1) % n]
            taken = (after.pixels[i] == other).all(0)
            kept = (after.pixels[i] == own).all(0)
            if (taken | kept).all():  # a box of the other's
                assert cutmix
                share = 1 - (taken & ~kept).mean()
                rows, columns = np.nonzero(taken & ~kept)
                if len(rows):
                    assert np.ptp(rows) * np.ptp(columns) <= len(rows)
            else:
                assert mixup
                difference = (own - other).ravel()
                share = (after.pixels[i] - other).ravel() @ difference / (difference @ difference)
                blend = share * own + (1 - share) * other
                assert np.abs(after.pixels[i] - blend).max() < 1e-4
            target = share * before.targets[i] + (1 - share) * before.targets[(i + 1) % n]
            assert np.abs(after.targets[i] - target).max() < 2e-3
            shares.append(share)
    assert 0.499 < min(shares) < 0.75
    assert np.std(shares) > 0.08


# Balance


@pytest.mark.parametrize("options", [{}, {"mixup": 0.4, "cutmix": 1.0}])
def test_pictures_without_a_label(data, options):
    """7 of 23; in balanced epochs they come once each, and the 16 others balanced."""
    labels = [None if name == "kite" else name for name in data.names]
    part = ImageFolder.from_lists(data.paths, labels)
    plain = list(made(data, 4, CFG, **options).epoch(2, 64))
    seen = list(made(part, 4, CFG, label_smoothing=0.1, **options).epoch(2, 64))
    for a, b in zip(plain, seen, strict=True):
        assert np.array_equal(a.positions, b.positions)
        assert np.array_equal(a.pixels, b.pixels)
        assert np.array_equal(part.labels[b.positions], b.labels)
        if not options:
            assert b.targets.sum(axis=1) == pytest.approx((b.labels >= 0).astype(float))
            assert not b.targets[b.labels < 0].any()
    batches = made(part, 4, CFG, balanced=True, **options)
    whole = list(batches.epoch(1, 64))
    labels = np.concatenate([b.labels for b in whole])
    assert Counter(labels.tolist()) == {-1: 7, 0: 8, 1: 8}
    positions = np.concatenate([b.positions for b in whole])
    assert len(set(positions[labels < 0].tolist())) == 7
    assert (labels[:12] < 0).any()
    assert (labels[12:] < 0).any()
    for a, b in zip(batches.epoch(1, 64, start_step=3), whole[3:], strict=True):
        assert equal_batches(a, b)
    nothing = ImageFolder.from_paths(data.paths)
    for balanced in (False, True):
        batches = made(nothing, 4, CFG, balanced=balanced, **options)
        found = list(batches.epoch(0, 64))
        assert sorted(np.concatenate([b.positions for b in found])) == list(range(len(data)))
        assert found[0].targets.shape == (4, 0)


def test_balanced_epochs(data):
    batches = made(data, 4, CFG, balanced=True)
    assert batches.steps_per_epoch == 6
    totals, extra = Counter(), set()
    for epoch in range(30):
        seen = list(batches.epoch(epoch, 32))
        positions = np.concatenate([batch.positions for batch in seen])
        assert len(positions) == 23
        counts = Counter(data.labels[positions].tolist())
        assert sorted(counts.values()) == [7, 8, 8]
        extra.add(min(counts, key=counts.get))
        times = Counter(positions.tolist())
        assert max(times[p] for p in range(12)) <= 1  # heron: 7 or 8 of 12
        assert {times[p] for p in range(19, 23)} <= {1, 2}  # wren: 4
        totals.update(times)
    assert extra == {0, 1, 2}
    heron = [totals[p] for p in range(12)]
    assert min(heron) > 8  # 30 * 7.67 / 12 = 19 are expected
    assert max(heron) < 30


def test_a_second_time_is_another_view(data):
    batches = made(data, 23, CFG, balanced=True)
    (batch,) = batches.epoch(0, 64)
    positions = batch.positions.tolist()
    twice = [p for p, times in Counter(positions).items() if times == 2]
    assert twice
    for p in twice:
        first, second = (batch.pixels[i] for i, q in enumerate(positions) if q == p)
        assert not np.array_equal(first, second)


# Bad files


@pytest.fixture
def damaged(folder, tmp_path):
    """The folder's pictures with a text file, a missing one and a cut one among them."""
    data = ImageFolder(folder)
    paths = list(data.paths)
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes(open(paths[1], "rb").read()[:900])
    paths[2], paths[9], paths[20] = (
        str(tmp_path / name) for name in ["text.jpg", "missing.jpg", "cut.png"]
    )
    return ImageFolder.from_lists(paths, data.names)


def test_bad_files_are_left_out_and_told_of_once(damaged):
    batches = made(damaged, 4, CFG)
    with pytest.warns(UserWarning, match=r"3 of 23 images.*text\.jpg") as told:
        found = pixels_of(batches, 0)
    assert len(told) == 1
    assert found.keys() == set(range(23)) - {2, 9, 20}
    assert [(f.position, os.path.basename(f.name)) for f in batches.failures] == [
        (2, "text.jpg"),
        (9, "missing.jpg"),
        (20, "cut.png"),
    ]
    assert all(f.reason for f in batches.failures)
    assert batches.steps_per_epoch == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels_of(batches, 1).keys() == found.keys()


def test_a_picture_too_long_to_train_on_is_named(data, tmp_path):
    path = tmp_path / "line.png"
    Image.fromarray(np.zeros((1, MAX_SIDE, 3), np.uint8)).save(path)
    long = ImageFolder.from_lists([*data.paths, path], [*data.names, data.names[0]])
    with pytest.warns(UserWarning, match=r"line\.png: 1048576 x 1 pixels: training allows"):
        assert len(pixels_of(made(long, 4, CFG), 0)) == len(data)
    with pytest.raises(be.DecodeError, match=r"line\.png"):
        made(long, 4, CFG, on_error="raise").epoch(0, 64)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a\0b", r"'a\\x00b': a path cannot hold a NUL character"),
        ("a\ud800b", r"'a\\ud800b': a path cannot hold the character '\\ud800'"),
        ("", "an empty string is not a path"),
    ],
)
def test_impossible_paths_are_bad_files(data, path, reason):
    paths, names = [*data.paths[:2], path, *data.paths[2:], "missing.jpg"], data.names
    mixed = ImageFolder.from_lists(paths, [*names[:3], *names[2:], names[-1]])
    batches = made(mixed, 4, CFG)
    with pytest.warns(UserWarning, match=f"2 of 25 images.*{reason}"):
        found = pixels_of(batches, 0)
    assert found.keys() == set(range(24)) - {2}
    assert [failure.position for failure in batches.failures] == [2, 24]
    with pytest.raises(be.DecodeError, match=reason):
        made(mixed, 4, CFG, on_error="raise").epoch(0, 64)


def test_bad_files_raise_where_wanted(damaged):
    with pytest.raises(be.DecodeError, match=r"text\.jpg"):
        made(damaged, 4, CFG, on_error="raise").epoch(0, 64)


def test_a_class_without_a_readable_picture_is_named(data, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    broken = ImageFolder.from_lists([*data.paths, tmp_path / "x.jpg"], [*data.names, "zebra finch"])
    with pytest.raises(be.DecodeError, match=r"'zebra finch': none of its 1 images.*x\.jpg"):
        made(broken, 4, CFG).epoch(0, 64)


def test_pillow_reads_what_the_core_does_not(data, tmp_path):
    path = tmp_path / "picture.tif"
    picture = photo(300, 200, seed=99)
    Image.fromarray(picture).save(path)
    mixed = ImageFolder.from_lists([*data.paths, path], [*data.names, "wren"])
    batches = made(mixed, 4, CFG)
    found = pixels_of(batches, 0)
    assert batches.failures == []
    Image.fromarray(picture).save(tmp_path / "picture.png")
    same_place = ImageFolder.from_lists([*data.paths, tmp_path / "picture.png"], mixed.names)
    assert np.array_equal(found[23], pixels_of(made(same_place, 4, CFG), 0)[23])


def test_large_pictures_are_kept_reduced(tmp_path):
    for i in range(3):
        Image.fromarray(photo(400, 600, seed=i)).save(tmp_path / f"{i}.png")
    data = ImageFolder.from_lists(sorted(tmp_path.iterdir()), ["a", "b", "a"])
    batches = made(data, 3, CFG)
    list(batches.epoch(0, 64))
    assert batches.cached_bytes == 3 * 128 * 192 * 3
    list(batches.epoch(0, 96))
    assert batches.cached_bytes == 3 * 192 * 288 * 3


# Wrong arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"augment": "weak"}, ValueError, "augment must be one of None, 'default', 'turned', "),
        ({"on_error": "nan"}, ValueError, "on_error"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size"),
        ({"mixup": -1}, ValueError, "mixup"),
        ({"cutmix": float("nan")}, ValueError, "cutmix"),
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing"),
        ({"num_classes": 2}, ValueError, "num_classes is 2, but the data has 3"),
        ({"seed": -1}, ValueError, "seed"),
        ({"cache_bytes": -1}, ValueError, "cache_bytes"),
        ({"num_threads": 0}, ValueError, "num_threads"),
    ],
)
def test_wrong_options(data, options, error, message):
    with pytest.raises(error, match=message):
        made(data, **{"batch_size": 4, "preprocess": CFG, **options})


def test_wrong_calls(data):
    batches = made(data, 4, CFG)
    with pytest.raises(ValueError, match="start_step is 7, but an epoch has 6"):
        batches.epoch(0, 64, 7)
    with pytest.raises(ValueError, match="epoch"):
        batches.epoch(-1, 64)
    with pytest.raises(ValueError, match="size"):
        batches.epoch(0, 0)
    with pytest.raises(ValueError, match="at least 2 images"):
        made(ImageFolder.from_lists(data.paths[:1], ["a"]), 4, CFG).check()


def test_progress_of_the_check(data):
    told = []
    made(data, 4, CFG).check(64, lambda done, total: told.append((done, total)))
    assert told == [(23, 23)]


# The core's functions refuse what does not fit


def test_core_checks_its_arguments():
    pixels, targets = np.zeros((2, 3, 4, 4), np.float32), np.zeros((2, 5), np.float32)
    keys = np.arange(2)
    with pytest.raises(ValueError, match="do not match"):
        _core.mix_batch(pixels, targets[:1].copy(), keys, 1.0, 0.0, 0, 0)
    with pytest.raises(ValueError, match="mixup and cutmix"):
        _core.mix_batch(pixels, targets, keys, 0.0, 0.0, 0, 0)
    targets.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _core.mix_batch(pixels, targets, keys, 1.0, 0.0, 0, 0)
    with pytest.raises(ValueError, match="label 3 of sample 1"):
        _core.epoch_order(np.array([0, 3]), 3, True, 0, 0)
    shared = (16, "squash", 1.0, "bilinear", (0.0,) * 3, (1.0,) * 3, 0, 0, 1)
    image = np.zeros((5, 6, 3), np.uint8)
    with pytest.raises(ValueError, match="keys has 2 entries for 1 images"):
        _core.fill_batch([image], keys, "default", *shared)
    with pytest.raises(ValueError, match=r"shape \(height, width, 3\)"):
        _core.fill_batch([image[..., :2].copy()], keys[:1], "default", *shared)
    with pytest.raises(TypeError, match="image must be a NumPy array"):
        _core.fill_batch([None], keys[:1], "default", *shared)
    with pytest.raises(ValueError, match="augment"):
        _core.fill_batch([image], keys[:1], "weak", *shared)
