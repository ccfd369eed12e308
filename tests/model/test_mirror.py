"""`mirror=True`: the mean with the mirror image's vector, exactly the same for both."""

import numpy as np
import pytest

import birdembed as be
from tests.support import seeded
from tests.support.models import make_model

SIZES = [(40, 61), (61, 40), (64, 64), (47, 95), (32, 33), (200, 31)]


def mirroring(cfg, **options):
    return make_model(num_classes=3, preprocess=cfg, **options)


@pytest.fixture(scope="module")
def model():
    return mirroring(be.Preprocess(size=32, mirror=True))


@pytest.mark.parametrize("resize", ["squash", "shortest"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [1.0, 0.875])
def test_flip_changes_nothing(model, resize, interpolation, crop_pct):
    model.preprocess = be.Preprocess(
        size=32, resize=resize, interpolation=interpolation, crop_pct=crop_pct, mirror=True
    )
    images = [seeded.pictures(1, h, w, seed=h)[0] for h, w in SIZES]
    flipped = [image[:, ::-1] for image in images]
    np.testing.assert_array_equal(model.encode(images), model.encode(flipped))
    np.testing.assert_array_equal(model.logits(images), model.logits(flipped))
    assert model.encode(images[0]).any()


def test_without_mirror_a_flip_shows(small, pictures):
    assert not np.array_equal(small.encode(pictures[0]), small.encode(pictures[0][:, ::-1]))


def test_files_and_bad_ones_among_them(model, tmp_path):
    image = pytest.importorskip("PIL.Image")
    model.preprocess = be.Preprocess(size=32, resize="shortest", mirror=True)
    pictures = seeded.pictures(3, 33, 46)
    files = []
    for i, picture in enumerate(pictures):
        files.append(tmp_path / f"{i}.png")
        image.fromarray(picture).save(files[-1])
    webp = tmp_path / "3.webp"  # what Pillow decodes is mirrored too
    image.fromarray(pictures[0][:, ::-1]).save(webp, lossless=True)
    expected = model.encode(pictures)
    found, report = model.encode(
        [files[0], b"bad", files[1], files[2], webp], on_error="skip", return_report=True
    )
    np.testing.assert_array_equal(found, expected[[0, 1, 2, 0]])
    assert report.kept == [0, 2, 3, 4]
    assert report.decoders[-1] == "pillow"


def test_it_is_the_mean_of_both(model):
    model.preprocess = be.Preprocess(size=32, mirror=True)
    plain = make_model(num_classes=3, size=32)
    images = seeded.pictures(2, 50, 70)
    both = (plain.encode(images) + plain.encode([i[:, ::-1] for i in images])) * np.float32(0.5)
    np.testing.assert_array_equal(model.encode(images), both)


def test_forward_tensor(model):
    """Squashed pictures mirror exactly, so the contract's equality holds with mirror too."""
    model.preprocess = be.Preprocess(size=32, mirror=True)
    images = seeded.pictures(4, 45, 71)
    x = be.preprocess(images, model.preprocess)
    np.testing.assert_array_equal(model.forward_tensor(x), model.encode(images))
    np.testing.assert_array_equal(
        model.forward_tensor(np.ascontiguousarray(x[..., ::-1])), model.forward_tensor(x)
    )


def test_squash_commutes_with_flips():
    """On which the equality above rests."""
    rng = np.random.default_rng(0)
    for interpolation in ("bilinear", "bicubic"):
        cfg = be.Preprocess(size=56, interpolation=interpolation)
        for _ in range(40):
            image = rng.integers(0, 256, (*rng.integers(8, 300, 2), 3), np.uint8)
            flipped = be.preprocess(image[:, ::-1], cfg)
            np.testing.assert_array_equal(be.preprocess(image, cfg), flipped[..., ::-1])


def test_preprocess_itself_does_not_mirror():
    image = seeded.pictures(1)[0]
    cfg = be.Preprocess(size=32)
    mirroring_cfg = be.Preprocess(size=32, mirror=True)
    np.testing.assert_array_equal(be.preprocess(image, cfg), be.preprocess(image, mirroring_cfg))


def test_fingerprint_tells_them_apart(model):
    model.preprocess = be.Preprocess(size=32)
    plain = model.fingerprint
    model.preprocess = be.Preprocess(size=32, mirror=True)
    assert model.fingerprint != plain
