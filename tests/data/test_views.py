"""Single views: geometry and colour against Pillow, drawing against the distributions meant."""

import math

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

import birdembed as be
from birdembed import _core
from tests.support.pictures import photo
from tests.support.tolerances import WARP

NO_WARP = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
IMAGE = photo(150, 190)


def render(image, size, box=None, flip=False, warp=NO_WARP, ops=(), interpolation="bilinear"):
    height, width = image.shape[:2]
    box = box or (0, 0, width, height)
    return _core.render_view(image, size, interpolation, box, flip, warp, list(ops))


def turn(degrees):
    a = math.radians(degrees)
    return (math.cos(a), -math.sin(a), math.sin(a), math.cos(a), 0.0, 0.0)


def apart(a, b):
    return np.abs(a.astype(int) - b.astype(int))


# Geometry


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("box", [(0, 0, 190, 150), (17, 31, 120, 95), (189, 0, 1, 150)])
@pytest.mark.parametrize("size", [64, 160])
def test_box_without_warp_is_pillows_crop_and_resize(box, size, interpolation):
    x, y, w, h = box
    cut = np.ascontiguousarray(IMAGE[y : y + h, x : x + w])
    ours = render(IMAGE, size, box, interpolation=interpolation)
    assert np.array_equal(ours, _core.resize(cut, size, size, interpolation))
    flipped = render(IMAGE, size, box, flip=True, interpolation=interpolation)
    assert np.array_equal(flipped, ours[:, ::-1])


def test_nothing_done_is_preprocess():
    ours = render(IMAGE, 96).astype(np.float32) / np.float32(255)
    cfg = be.Preprocess(size=96, mean=(0, 0, 0), std=(1, 1, 1))
    assert np.array_equal(ours.transpose(2, 0, 1)[None], be.preprocess(IMAGE, cfg))


def mirrored_around(image):
    """The picture with itself mirrored on all sides: what lies beyond the edge."""
    height, width = image.shape[:2]
    return np.pad(image, ((height, height), (width, width), (0, 0)), "symmetric")


@pytest.mark.parametrize("degrees", [-135, -20, -7.5, 0.5, 13, 90, 180])
def test_turn_at_own_size_is_pillows(degrees):
    square = np.ascontiguousarray(IMAGE[:128, :128])
    wide = Image.fromarray(mirrored_around(square)).rotate(degrees, Image.Resampling.BILINEAR)
    expected = np.asarray(wide)[128:256, 128:256]
    assert apart(render(square, 128, warp=turn(degrees)), expected).max() <= WARP


def test_turn_brings_in_what_lies_beside_the_box():
    box = (40, 30, 96, 96)
    turned = Image.fromarray(IMAGE).rotate(20, Image.Resampling.BILINEAR, center=(88, 78))
    expected = np.asarray(turned)[30:126, 40:136]
    assert apart(render(IMAGE, 96, box, warp=turn(20)), expected).max() <= WARP


def test_flip_comes_before_the_turn():
    square = np.ascontiguousarray(IMAGE[:128, :128])
    mirror = np.ascontiguousarray(square[:, ::-1])
    ours = render(square, 128, flip=True, warp=turn(17))
    assert apart(ours, render(mirror, 128, warp=turn(17))).max() <= 1  # ties fall either way
    assert apart(ours, render(square, 128, warp=turn(17))[:, ::-1]).mean() > 5


@pytest.mark.parametrize(
    ("warp", "pillow"),
    [
        ((1, 0.5, 0, 1, 0, 0), (1, 0.5, -32, 0, 1, 0)),
        ((1, 0, -0.3, 1, 0, 0), (1, 0, 0, -0.3, 1, 19.2)),
        ((1, 0, 0, 1, 11, -6), (1, 0, 11, 0, 1, -6)),
        ((1, 0, 0, 1, 4.5, 0), (1, 0, 4.5, 0, 1, 0)),
    ],
)
def test_shear_and_shift_are_pillows(warp, pillow):
    square = np.ascontiguousarray(IMAGE[:128, :128])
    a, b, c, d, e, f = pillow
    # Into the middle of the mirrored picture, which is 128 further on both axes.
    moved = (a, b, c + 128 * (1 - a - b), d, e, f + 128 * (1 - d - e))
    big = Image.fromarray(mirrored_around(square))
    wide = big.transform(big.size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR)
    expected = np.asarray(wide)[128:256, 128:256]
    assert apart(render(square, 128, warp=warp), expected).max() <= WARP


@pytest.mark.parametrize("degrees", [0.01, 15])
def test_edges_of_a_reduced_turn_know_what_lies_beyond(degrees):
    """Antialiasing at the view's edge looks beyond it, as the turn of a larger box does."""
    big = photo(640, 640, seed=4)
    ours = render(big, 40, (160, 160, 320, 320), warp=turn(degrees))
    larger = render(big, 60, (80, 80, 480, 480), warp=turn(degrees))[10:50, 10:50]
    difference = apart(ours, larger)
    edge = np.ones((40, 40), bool)
    edge[1:-1, 1:-1] = False
    assert difference[edge].mean() < 1.2 * difference[~edge].mean() + 0.5


@pytest.mark.parametrize("size", [48, 100])
def test_reduced_turn_is_as_good_as_resizing_then_turning(size):
    """Against a fine turn at full size, resized afterwards: no worse than torchvision's order."""
    big = photo(400, 400, seed=3)
    fine = Image.fromarray(mirrored_around(big)).rotate(15, Image.Resampling.BICUBIC)
    fine = fine.crop((400, 400, 800, 800))
    ours = render(big, size, warp=turn(15))
    bilinear = Image.Resampling.BILINEAR
    usual = Image.fromarray(big).resize((size, size), bilinear).rotate(15, bilinear)
    plain = fine.resize((size, size), Image.Resampling.NEAREST)
    middle = slice(size // 4, -(size // 4))  # where the usual way knows all it needs

    def error(view):
        exact = np.asarray(fine.resize((size, size), bilinear))
        return apart(np.asarray(view), exact)[middle, middle].mean()

    assert error(ours) < 1.1 * error(usual)
    assert error(ours) < 0.7 * error(plain)


def test_slight_turn_is_continuous():
    for size in (96, 224):
        difference = apart(render(IMAGE, size), render(IMAGE, size, warp=turn(1e-7)))
        assert difference.mean() < 1.5  # noise, which a second resampling blurs
        smooth = np.add.outer(np.arange(150), np.arange(190))[..., None].repeat(3, 2)
        smooth = (smooth * 0.7).astype(np.uint8)
        assert apart(render(smooth, size), render(smooth, size, warp=turn(1e-7))).max() <= 1


def test_far_warp_is_refused():
    with pytest.raises(ValueError, match="too far"):
        render(IMAGE, 64, warp=(1, 0, 0, 1, 1e9, 0))
    with pytest.raises(ValueError, match="too far"):
        render(IMAGE, 64, warp=(math.nan, 0, 0, 1, 0, 0))
    with pytest.raises(ValueError, match="out of range"):
        render(IMAGE, 64, box=(100, 0, 91, 10))


# Colour


def enhanced(kind, amount, image):
    picture = Image.fromarray(image)
    if kind == "posterize":
        return np.asarray(ImageOps.posterize(picture, int(amount)))
    if kind == "solarize":
        return np.asarray(ImageOps.solarize(picture, amount))
    if kind in ("autocontrast", "equalize"):
        return np.asarray(getattr(ImageOps, kind)(picture))
    name = {"saturation": "Color"}.get(kind, kind.capitalize())
    return np.asarray(getattr(ImageEnhance, name)(picture).enhance(amount))


FACTORS = [0.01, 0.6, 0.77, 1.0, 1.23, 1.4, 1.99]
CASES = (
    [(k, f) for k in ("brightness", "contrast", "saturation", "sharpness") for f in FACTORS]
    + [("posterize", n) for n in (1, 2, 5, 8)]
    + [("solarize", n) for n in (0, 1, 127.5, 200, 256)]
    + [("autocontrast", 0), ("equalize", 0)]
)


@pytest.mark.parametrize(("kind", "amount"), CASES)
def test_colour_is_pillows(kind, amount):
    rng = np.random.default_rng(1)
    pictures = [
        IMAGE[:128, :128],
        rng.integers(0, 256, (128, 128, 3), dtype=np.uint8),
        IMAGE[:128, :128] // 3 + 40,
        np.full((128, 128, 3), 77, np.uint8),
    ]
    for picture in map(np.ascontiguousarray, pictures):
        ours = render(picture, 128, ops=[(kind, amount)])
        assert np.array_equal(ours, enhanced(kind, amount, picture))


def test_colours_follow_each_other():
    square = np.ascontiguousarray(IMAGE[:96, :96])
    ops = [("brightness", 1.3), ("contrast", 0.8), ("saturation", 1.2)]
    expected = square
    for kind, amount in ops:
        expected = enhanced(kind, amount, expected)
    assert np.array_equal(render(square, 96, ops=ops), expected)


def test_bad_amounts_are_refused():
    for op in [("posterize", 0), ("solarize", 257), ("brightness", math.nan), ("contrast", -0.1)]:
        with pytest.raises(ValueError, match="amount"):
            render(IMAGE, 32, ops=[op])
    with pytest.raises(ValueError, match="'hue'"):
        render(IMAGE, 32, ops=[("hue", 0.1)])


# What is drawn


def views(augment, height=150, width=190, n=4000, size=160):
    return [_core.draw_view(augment, height, width, size, 5, 2, key) for key in range(n)]


def reference_boxes(height, width, n):
    """torchvision's RandomResizedCrop in NumPy."""
    rng = np.random.default_rng(0)
    boxes = []
    while len(boxes) < n:
        area = height * width * rng.uniform(0.35, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            boxes.append((rng.integers(0, width - w + 1), rng.integers(0, height - h + 1), w, h))
    return np.array(boxes, float)


@pytest.mark.parametrize("augment", ["default", "turned", "robust", "strong"])
@pytest.mark.parametrize(("height", "width"), [(224, 224), (150, 190)])
def test_boxes_are_random_resized_crops(augment, height, width):
    boxes = np.array([view[0] for view in views(augment, height, width)], float)
    x, y, w, h = boxes.T
    assert (x >= 0).all()
    assert (y >= 0).all()
    assert (x + w <= width).all()
    assert (y + h <= height).all()
    share = w * h / (height * width)
    assert 0.34 < share.min() < 0.36
    assert 0.96 < share.max() <= 1
    assert ((w / h > 0.73) & (w / h < 1.37)).all()
    expected = reference_boxes(height, width, 40000)
    # Standard errors of a mean of 4000 are a 63rd of the spread; five of them.
    ratios = (w / h, expected[:, 2] / expected[:, 3])
    for ours, theirs in [*zip(boxes.T, expected.T, strict=True), ratios]:
        assert abs(ours.mean() - theirs.mean()) < 5 * theirs.std() / math.sqrt(len(ours))
        assert abs(ours.std() / theirs.std() - 1) < 0.06


def test_odd_shapes_fall_back_to_the_centre():
    assert {view[0] for view in views("default", 10, 1000, 50)} == {(493, 0, 13, 10)}
    assert {view[0] for view in views("default", 1000, 12, 50)} == {(0, 492, 12, 16)}
    assert {view[0] for view in views("default", 1, 1, 50)} == {(0, 0, 1, 1)}


@pytest.mark.parametrize("augment", ["default", "turned", "robust"])
def test_the_recipe_is_drawn(augment):
    drawn = views(augment)
    assert 0.47 < np.mean([view[1] for view in drawn]) < 0.53
    degrees = np.array([math.degrees(math.atan2(v[2][2], v[2][0])) for v in drawn])
    if augment != "default":
        # A quarter of them lie on a side, as often on one as on the other.
        sides = np.round(degrees / 90)
        assert set(sides) == {-1, 0, 1}
        assert 0.11 < np.mean(sides == 1) < 0.14
        assert 0.11 < np.mean(sides == -1) < 0.14
        degrees = degrees - 90 * sides
    light = (0.4, 1.6) if augment == "robust" else (0.6, 1.4)
    limits = {"brightness": light, "contrast": (0.7, 1.3), "saturation": (0.6, 1.4)}
    columns = [(degrees, -20, 20)]
    for i, (name, (low, high)) in enumerate(limits.items()):
        assert {view[3][i][0] for view in drawn} == {name}
        columns.append((np.array([view[3][i][1] for view in drawn]), low, high))
    for values, low, high in columns:
        span = high - low
        assert low <= values.min() < low + 0.01 * span
        assert high - 0.01 * span < values.max() <= high
        counts = np.histogram(values, 10, (low, high))[0]
        assert counts.min() > 320
        assert counts.max() < 480
    # One does not tell of another.
    table = np.corrcoef([values for values, _, _ in columns] + [[v[1] for v in drawn]])
    assert np.abs(table - np.eye(len(table))).max() < 0.08
    assert {view[4] for view in drawn} == {(0, 0, 0, 0)}


def test_strong_is_trivial_augment_and_erasing():
    drawn = views("strong", n=7000)
    counts = {}
    for _, _, warp, ops, _ in drawn:
        if ops:
            kind = ops[0][0]
        elif warp == NO_WARP:
            kind = "none"  # the identity, and every strength 0
        elif warp[4]:
            kind = "shift x"
        elif warp[5]:
            kind = "shift y"
        elif warp[0] != 1:
            kind = "turn"
        else:
            kind = "shear x" if warp[1] else "shear y"
        counts[kind] = counts.get(kind, 0) + 1
        assert len(ops) <= 1
    assert len(counts) == 14
    assert counts.pop("none") > 500
    assert min(counts.values()) > 390  # 500 each are expected, geometric ones a 31st less
    assert max(counts.values()) < 610
    shifts = [abs(view[2][4]) for view in drawn if view[2][4]]
    assert max(shifts) == pytest.approx(160 * 32 / 224)
    assert len({round(shift, 6) for shift in shifts}) == 30
    erased = np.array([view[4] for view in drawn if view[4][2]])
    assert 0.22 < len(erased) / len(drawn) < 0.28
    x, y, w, h = erased.T
    assert (x + w <= 160).all()
    assert (y + h <= 160).all()
    assert ((w * h / 160**2 > 0.018) & (w * h / 160**2 < 0.345)).all()


def test_views_belong_to_seed_epoch_and_sample():
    def view(seed, epoch, key):
        return repr(_core.draw_view("default", 100, 100, 64, seed, epoch, key))

    assert view(1, 2, 3) == view(1, 2, 3)
    assert len({view(*numbers) for numbers in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (3, 2, 1)]}) == 4
    assert len({view(0, epoch, key) for epoch in range(30) for key in range(30)}) == 900
