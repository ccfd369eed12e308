"""What notebooks get to see: harmless whatever the names, few small thumbnails, no exceptions."""

import base64
import io
import pickle
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import birdembed as be
from birdembed.images.thumbnails import LARGEST, thumbnail

Image = pytest.importorskip("PIL.Image", reason="needs Pillow for thumbnails")

#: Names that a careless display would run, or that would end an attribute or a tag.
NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "&lt;b&gt; & 5 < 6 $x_1$",
]
TAGS = set("table thead tbody tr td th div b br img".split())
ATTRIBUTES = set("style title alt src width height".split())


class Page(HTMLParser):
    """Collects tags, attributes, text and pictures."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.pictures = set(), [], "", []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("img", "br"):
            self._open.append(tag)
        if tag == "img":
            head, data = dict(attrs)["src"].split(",", 1)
            assert head == "data:image/jpeg;base64"
            self.pictures.append(Image.open(io.BytesIO(base64.b64decode(data))))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page(thing, pictures):
    """Check what every display promises; return it parsed."""
    text = thing._repr_html_()
    found = Page(text)
    assert found.tags <= TAGS
    assert {name for name, _ in found.attributes} <= ATTRIBUTES
    assert len(found.pictures) == pictures
    for small in found.pictures:
        assert max(small.size) <= LARGEST
    assert len(text) < 400_000
    assert repr(thing)
    return found


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """Four classes with nasty names, three pictures each, of a file name as nasty."""
    root = tmp_path_factory.mktemp("nasty")
    rng = np.random.default_rng(0)
    for name in NASTY:
        folder = root / name.replace("/", "_")
        folder.mkdir()
        for number in range(3):
            pixels = rng.integers(0, 256, (90 + 200 * number, 300, 3), np.uint8)
            file = folder / f"{number}{NASTY[number].replace('/', '_')}.png"
            Image.fromarray(pixels).save(file)
    return be.ImageFolder(root)


@pytest.fixture(scope="module")
def model():
    return be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64))


@pytest.fixture(scope="module")
def index(model, nasty):
    return be.Index.build(model, nasty)


def test_the_nasty_names_are_nasty():
    """The check below is worth nothing if it lets them through."""
    assert not Page(f"<b>{NASTY[0]}</b>").tags <= TAGS
    assert dict(Page(f"<td title='{NASTY[2]}'></td>").attributes).keys() > {"title"}


def test_dataset(nasty):
    found = page(nasty, pictures=4)
    assert "12 images, 4 classes" in found.text
    assert nasty.class_names[0] in " ".join(value for _, value in found.attributes)


def test_dataset_of_many_classes_and_of_missing_files():
    many = be.ImageFolder.from_lists(
        [f"no/{i}.jpg" for i in range(40)], [f"c{i}" for i in range(40)]
    )
    found = page(many, pictures=0)
    assert "and 32 more classes" in found.text
    assert "no such file" in found.text.lower()


def test_index(index):
    found = page(index, pictures=8)
    assert index.fingerprint[:12] in found.text
    page(be.Index(4), pictures=0)


def test_one_query(index, nasty):
    result = index.search(nasty.paths[0], k=5)
    found = page(result, pictures=6)
    assert f"{result.scores[1]:.3f}" in found.text
    assert page(index.search(index.embeddings[0], k=2), pictures=2).text.count("searched for") == 1


def test_many_queries_show_a_few(index, nasty):
    found = page(index.search(nasty.paths, k=9), pictures=4 * (1 + 6))
    assert "3 more matches" in found.text
    assert "8 more queries" in found.text
    page(index.search(np.empty((0, 2048), np.float32)), pictures=0)


def test_nothing_found(index, nasty):
    page(index.search(nasty.paths[0], where={"label": "nobody"}), pictures=1)


def test_model(model, nasty):
    assert "none" in page(model, pictures=0).text
    named = be.Model("resnet50", num_classes=4, class_names=NASTY)
    assert NASTY[0] in page(named, pictures=0).text


def test_history():
    logs = {"epoch": 1, "train_loss": 0.5, NASTY[0]: float("nan"), "valid_accuracy": None}
    assert NASTY[0] in page(be.History([logs]), pictures=0).text
    page(be.History(), pictures=0)
    long = be.History([{"epoch": i, "valid_accuracy": i == 3} for i in range(1, 101)])
    text = page(long, pictures=0).text
    assert "30 of 100 epochs and the best" in text
    marked = [value for key, value in Page(long._repr_html_()).attributes if "bold" in str(value)]
    assert len(marked) == 2  # the cells of one row


def test_identifications(model, nasty):
    net = be.Model._of(model._current.pretrained())
    net.fit_gallery(nasty)
    net.threshold = 2.0
    many = net.identify(nasty.paths)
    assert page(many, pictures=12).text.count("none of the known") == 12
    assert isinstance(many, list)
    one = net.identify(nasty.paths[0])
    found = page(one, pictures=1)
    assert "none of the known species" in found.text
    net.threshold = -1.0
    assert "none of the known" not in page(net.identify(iter(nasty.paths)), pictures=12).text
    assert page(net, pictures=0).text.count("species") >= 1
    for thing in (one, many):
        again = pickle.loads(pickle.dumps(thing))
        assert again == thing
        assert len(pickle.dumps(thing)) < 5000
    assert one == tuple(one)
    assert one.species == one[0]


def test_an_identified_array_shows_itself(model, nasty):
    net = be.Model._of(model._current.pretrained())
    net.fit_gallery(nasty)
    pixels = np.zeros((2, 50, 70, 3), np.uint8)
    found = page(net.identify(pixels), pictures=2)
    assert found.pictures[0].size == (70, 50)


def test_evaluation(model, nasty):
    found = page(be.evaluate(model, nasty, robustness=True), pictures=0)
    for word in ("precision_at_1", "brightness_0.6", "self_similarity"):
        assert word in found.text


def test_thumbnail(tmp_path):
    wide = np.zeros((10, 1000, 3), np.uint8)
    assert thumbnail(wide, 160).shape == (2, 160, 3)
    assert thumbnail(np.zeros((5, 7), np.uint8)).shape == (5, 7, 3)
    assert isinstance(thumbnail(None), str)
    assert "nowhere.png" in thumbnail(tmp_path / "nowhere.png")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    assert isinstance(thumbnail(tmp_path / "bad.jpg"), str)


def test_without_pillow(index, nasty, monkeypatch):
    """Everything but the thumbnails is there, and it says what to install."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    found = page(index.search(nasty.paths[0], k=2), pictures=0)
    assert "birdembed[pillow]" in found.text
    assert found.text.count("0.") >= 1
    assert thumbnail(np.zeros((400, 100, 3), np.uint8), 160).shape == (134, 34, 3)


# Figures ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures(index, nasty, model):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    from birdembed.evaluation.duplicates import Duplicate
    from birdembed.evaluation.top_losses import Loss

    found = index.search(nasty.paths[:2], k=3)
    losses = [Loss(nasty.paths[i], NASTY[0], NASTY[i % 2], 0.5) for i in range(7)]
    pairs = [Duplicate(*nasty.paths[i : i + 2], *nasty.names[i : i + 2], 0.9) for i in range(5)]
    return {
        "grid": be.plot_grid(nasty.paths[:2], found, expected=nasty.names[:2], title=NASTY[3]),
        "losses": be.plot_losses(losses),
        "duplicates": be.plot_duplicates(pairs),
        "map": be.plot_map(index.embeddings, index.labels, images=nasty.paths),
        "explanation": be.explain_match(model, *nasty.paths[:2]).plot(),
        "similarity": be.plot_similarity(index.embeddings, index.labels, title=NASTY[3]),
    }


def test_figures_show_themselves_once(figures):
    for name, figure in figures.items():
        png, jpeg = figure._repr_png_(), figure._repr_jpeg_()
        assert (png is None) == (name != "similarity"), name
        assert (png is None) != (jpeg is None)
        size = Image.open(io.BytesIO(png or jpeg)).size
        assert max(size) < 1400, name


def test_photographs_in_figures_are_small(figures):
    """At most 160 pixels on the screen, whatever the photograph's size and shape."""
    for name in ("grid", "losses", "duplicates", "explanation"):
        figure = figures[name]
        figure.canvas.draw()
        shown = 0
        for axes in figure.axes:
            for image in axes.images:
                box = image.get_window_extent()
                assert max(box.width, box.height) <= LARGEST + 1e-6, name
                shown += 1
        assert shown >= 4, name


def test_grid_is_even(figures):
    """All cells of one size, and no caption over another one's picture."""
    figure = figures["grid"]
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert len(boxes) == 8
    assert (
        len({round(box.width, 3) for box in boxes} | {round(box.height, 3) for box in boxes}) == 1
    )
    captions = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    for caption in captions:
        assert not any(caption.overlaps(box) for box in boxes)
    heads = [text.get_text() for text in figure.texts]
    assert heads == [NASTY[3], "query", "match 1", "match 2", "match 3"]


def test_expected_matches_are_framed(index, nasty):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    from matplotlib.colors import to_hex

    found = index.search(nasty.paths[0], k=12)
    figure = be.plot_grid(nasty.paths[0], found, expected=nasty.names[0], max_matches=12)
    colors = [to_hex(axes.spines["left"].get_edgecolor()) for axes in figure.axes]
    right = [label == nasty.names[0] for label in found.labels]
    assert [color == "#2a9d3f" for color in colors[1:]] == right
    with pytest.raises(ValueError, match="expected has 2 values, but there are 1 results"):
        be.plot_grid(nasty.paths[0], found, expected=["a", "b"])


def test_nothing_depends_on_a_display(figures):
    """No figure is registered anywhere: a notebook would show it twice, a script leak it."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    assert pyplot.get_fignums() == []
    assert figures
