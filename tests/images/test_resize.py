"""Resizing and preprocessing against Pillow and torchvision's arithmetic."""

import math

import numpy as np
import PIL
import pytest
from PIL import Image

import birdembed as be
from birdembed import _core
from tests.support.pictures import encode, photo

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SAME_ORDER = int(PIL.__version__.split(".")[0]) >= 13


def pillow_resize(array, height, width, interpolation):
    """Pillow's resize as version 13 does it, by any version of it.

    The two passes each round, so their order shows. Up to version 12 columns always came first;
    13 begins with the rows where the height loses more than twice what the width does. A resize
    in one direction is the same in all.
    """
    image, kind = Image.fromarray(array), FILTERS[interpolation]
    if SAME_ORDER:
        return np.asarray(image.resize((width, height), kind))
    less_height, less_width = image.height - height, image.width - width
    if less_height > 0 and less_height > 2 * less_width:
        half = image.resize((image.width, height), kind)
    else:
        half = image.resize((width, image.height), kind)
    return np.asarray(half.resize((width, height), kind))


@pytest.mark.parametrize("interpolation", FILTERS)
def test_random_sizes_are_bit_exact(interpolation):
    rng = np.random.default_rng(7)
    for _ in range(250):
        h, w, to_h, to_w = (int(n) for n in rng.integers(1, 130, 4))
        array = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        ours = _core.resize(array, to_h, to_w, interpolation)
        wanted = pillow_resize(array, to_h, to_w, interpolation)
        assert np.array_equal(ours, wanted), (h, w, to_h, to_w)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(
    "size", [(600, 800), (801, 533), (224, 1000), (1500, 224), (223, 225), (100, 60), (1, 700)]
)
def test_sizes_of_photographs_are_bit_exact(size, interpolation):
    array = photo(*size)
    for to_h, to_w in ((224, 224), (256, 341), (160, 160), (size[0], 224), (224, size[1])):
        ours = _core.resize(array, to_h, to_w, interpolation)
        assert np.array_equal(ours, pillow_resize(array, to_h, to_w, interpolation))


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_extremes_do_not_overflow(value):
    checker = np.full((97, 89, 3), value, np.uint8)
    checker[::2, ::2] = 255 - value
    for interpolation in FILTERS:
        for to_h, to_w in ((31, 200), (200, 31), (13, 17), (97, 89)):
            ours = _core.resize(checker, to_h, to_w, interpolation)
            assert np.array_equal(ours, pillow_resize(checker, to_h, to_w, interpolation))


def wanted_input(array, cfg):
    """`preprocess` in Pillow and NumPy, by the rules of torchvision."""
    height, width = array.shape[:2]
    side = math.floor(cfg.size / cfg.crop_pct)
    if cfg.resize == "squash":
        to_h = to_w = side
    elif width <= height:
        to_h, to_w = int(side * height / width), side
    else:
        to_h, to_w = side, int(side * width / height)
    if (to_h, to_w) != (height, width):
        array = pillow_resize(array, to_h, to_w, cfg.interpolation)
    top, left = round((to_h - cfg.size) / 2.0), round((to_w - cfg.size) / 2.0)
    array = array[top : top + cfg.size, left : left + cfg.size]
    scaled = array.astype(np.float32) / np.float32(255)
    normal = (scaled - np.float32(cfg.mean)) / np.float32(cfg.std)
    return normal.transpose(2, 0, 1)


@pytest.mark.parametrize(
    "cfg",
    [
        be.Preprocess(),
        be.Preprocess(size=32),
        be.Preprocess(size=33, resize="shortest", crop_pct=0.875),
        be.Preprocess(size=32, resize="shortest", crop_pct=0.95, interpolation="bicubic"),
        be.Preprocess(size=31, resize="shortest"),
        be.Preprocess(size=40, crop_pct=0.8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 1.0)),
    ],
    ids=repr,
)
def test_preprocess_equals_torchvisions_arithmetic(cfg):
    sizes = [(61, 83), (83, 61), (50, 50), (32, 32), (33, 32), (20, 31), (200, 37), (5, 90)]
    pictures = [photo(*size, seed=i) for i, size in enumerate(sizes)]
    batch = be.preprocess(pictures, cfg)
    assert batch.dtype == np.float32
    assert batch.shape == (len(sizes), 3, cfg.size, cfg.size)
    for ours, picture in zip(batch, pictures, strict=True):
        assert np.array_equal(ours, wanted_input(picture, cfg))


def test_preprocess_equals_torch_itself():
    torch = pytest.importorskip("torch")
    picture = photo(64, 64)
    ours = be.preprocess(picture, be.Preprocess(size=64))[0]
    x = torch.from_numpy(picture.transpose(2, 0, 1).copy()).to(torch.float32).div(255)
    mean, std = torch.tensor(be.Preprocess().mean), torch.tensor(be.Preprocess().std)
    x = x.sub_(mean[:, None, None]).div_(std[:, None, None])
    assert np.array_equal(ours, x.numpy())


def test_a_strip_does_not_unfold_into_gigabytes():
    """The long side would become 16 million pixels; only the crop is computed."""
    strip = np.zeros((2, 60000, 3), np.uint8)
    strip[:, 30000:] = 255
    cfg = be.Preprocess(size=224, resize="shortest", mean=(0, 0, 0), std=(1, 1, 1))
    x = be.preprocess(strip, cfg)
    assert x.shape == (1, 3, 224, 224)
    assert x[0, 0, 0, 0] == 0
    assert x[0, 0, 0, -1] == 1


def test_threads_change_nothing():
    files = [encode(photo(60 + 7 * i, 90, seed=i), "JPEG") for i in range(12)]
    from birdembed.images import batches

    cfg = be.Preprocess(size=48)
    results = [
        next(batches.batches(files, cfg, 12, num_threads=n)).pixels.tobytes() for n in (1, 2, 7)
    ]
    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("size", 0, ValueError),
        ("size", 10**6, ValueError),
        ("size", 2.5, TypeError),
        ("size", True, TypeError),
        ("resize", "stretch", ValueError),
        ("crop_pct", 0, ValueError),
        ("crop_pct", 1.01, ValueError),
        ("crop_pct", float("nan"), ValueError),
        ("crop_pct", "1", TypeError),
        ("interpolation", "nearest", ValueError),
        ("mean", (0.5, 0.5), ValueError),
        ("mean", 0.5, TypeError),
        ("std", (0.2, 0, 0.2), ValueError),
        ("std", (0.2, float("inf"), 0.2), ValueError),
        ("mirror", 1, TypeError),
    ],
)
def test_bad_configurations_name_the_field(field, value, error):
    with pytest.raises(error, match=field):
        be.Preprocess(**{field: value})


def test_configurations_are_plain_and_hashable():
    cfg = be.Preprocess(size=np.int64(64), mean=[0.5, 0.5, 0.5], std=np.array([1, 2, 3]))
    assert type(cfg.size) is int
    assert cfg.std == (1.0, 2.0, 3.0)
    assert hash(cfg) == hash(be.Preprocess(64, mean=(0.5,) * 3, std=(1.0, 2.0, 3.0)))
    with pytest.raises(AttributeError):
        cfg.size = 3
