"""What the pictures show, read off the figures themselves."""

import sys

import numpy as np
import pytest

import birdembed as be
from birdembed.display.map import plane
from birdembed.evaluation.top_losses import Loss
from tests.support.species import clouds

pytest.importorskip("matplotlib", reason="needs matplotlib")


def drawn(figure, tmp_path):
    """Draw for real: layout errors show only then."""
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert (tmp_path / "figure.png").stat().st_size > 300
    return figure


def test_similarity(tmp_path):
    rows, labels = clouds(3, 6, 16)
    tags = np.asarray(["A", "B", "C"])[labels]
    figure = drawn(be.plot_similarity(rows, tags, title="t"), tmp_path)
    measured = be.retrieval_metrics(rows, tags)
    left, right = figure.axes[:2]
    texts = [text.get_text() for text in left.get_legend().get_texts()]
    # The means come from bins 0.01 wide.
    shown = {text.split(":")[0]: float(text.split()[-1]) for text in texts}
    assert shown["same"] == pytest.approx(measured.same_similarity, abs=0.006)
    assert shown["different"] == pytest.approx(measured.different_similarity, abs=0.006)
    means = right.images[0].get_array()
    cosines = be.cosine_similarity(rows)
    off = ~np.eye(len(rows), dtype=bool)
    for i in range(3):
        for j in range(3):
            chosen = np.outer(labels == i, labels == j) & off
            assert means[i, j] == pytest.approx(cosines[chosen].mean(), abs=1e-5)


def test_similarity_to_a_reference(tmp_path):
    """The means are those that evaluate prints; a row that is in the reference is no pair."""
    rows, labels = clouds(3, 6, 16)
    corpus = np.concatenate([rows[:2], clouds(3, 9, 16, seed=1)[0]])
    tags = np.concatenate([labels[:2], np.repeat([0, 1, 3], 9)])
    own = np.where(np.arange(len(rows)) < 2, np.arange(len(rows)), -1)
    figure = drawn(
        be.plot_similarity(rows, labels, reference=corpus, reference_labels=tags, own=own), tmp_path
    )
    cosines = be.cosine_similarity(rows, corpus).astype(float)
    cosines[[0, 1], [0, 1]] = np.nan
    alike = labels[:, None] == tags[None]
    shown = {
        text.get_text().split(":")[0]: float(text.get_text().split()[-1])
        for text in figure.axes[0].get_legend().get_texts()
    }
    assert shown["same"] == pytest.approx(np.nanmean(cosines[alike]), abs=0.006)
    assert shown["different"] == pytest.approx(np.nanmean(cosines[~alike]), abs=0.006)
    means = figure.axes[1].images[0].get_array()
    assert means.shape == (3, 3)
    assert means[0, 0] == pytest.approx(np.nanmean(cosines[:6][:, tags == 0]), abs=1e-5)
    assert means[2, 2] == pytest.approx(np.nanmean(cosines[12:][:, tags == 3]), abs=1e-5)
    with pytest.raises(ValueError, match="given together"):
        be.plot_similarity(rows, labels, reference=corpus)
    with pytest.raises(ValueError, match="dimensions"):
        be.plot_similarity(rows, labels, reference=corpus[:, :5], reference_labels=tags)
    with pytest.raises(ValueError, match="reference has 29 rows"):
        be.plot_similarity(rows, labels, reference=corpus, reference_labels=tags[1:])


def test_similarity_of_single_pictures(tmp_path):
    drawn(be.plot_similarity(np.eye(3), ["A", "B", "C"]), tmp_path)


EPOCHS = [
    {"epoch": 1, "train_loss": 2.0, "valid_accuracy": 0.5, "valid_loss": None},
    {"epoch": 2, "train_loss": 1.0, "valid_accuracy": 0.75, "valid_loss": None},
]


def test_history(tmp_path):
    class History:
        epochs = EPOCHS
        best = EPOCHS[1]

    for history in (EPOCHS, History()):
        figure = drawn(be.plot_history(history), tmp_path)
        left, right = figure.axes
        assert [line.get_label() for line in left.lines] == ["train_loss"]
        assert right.lines[0].get_label() == "valid_accuracy"
        assert right.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.75]]
    assert right.lines[1].get_xdata()[0] == 2
    with pytest.raises(ValueError, match="no epochs"):
        be.plot_history([])


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_plane_is_that_of_the_svd(shape):
    rows = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    points, shares = plane(rows)
    units = rows.astype(float) / np.linalg.norm(rows.astype(float), axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(units - units.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(u[:, :2] * s[:2]), atol=1e-8)
    np.testing.assert_allclose(shares, s[:2] ** 2 / (s**2).sum(), atol=1e-10)


def test_map(tmp_path):
    rows, labels = clouds(3, 6, 16)
    figure = drawn(be.plot_map(rows, np.asarray(["A", "B", "C"])[labels]), tmp_path)
    (axes,) = figure.axes
    assert sorted(text.get_text() for text in axes.texts) == ["A", "B", "C"]
    assert sum(len(points.get_offsets()) for points in axes.collections) == len(rows)
    drawn(be.plot_map(rows), tmp_path)
    drawn(be.plot_map(np.eye(2), ["A", "B"]), tmp_path)
    pictures = [np.zeros((4, 4, 3), np.uint8)] * (len(rows) - 1) + ["missing.jpg"]
    figure = drawn(be.plot_map(rows, labels, images=pictures), tmp_path)
    assert len(figure.axes[0].artists) == len(rows) - 1
    with pytest.raises(ValueError, match="images has 2 values"):
        be.plot_map(rows, labels, images=pictures[:2])
    with pytest.raises(ValueError, match="method"):
        be.plot_map(rows, method="umap")


def test_names_on_a_map(tmp_path):
    """Within the frame, none on another, none on a point; who had to move has a line home."""
    rows, labels = clouds(12, 5, 16, spread=1.0)
    names = np.asarray([f"A RATHER LONG NAME {i}" for i in range(12)])
    figure = drawn(be.plot_map(rows, names[labels], title="t"), tmp_path)
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 12
    frame = axes.get_window_extent()
    points = axes.transData.transform(np.concatenate([c.get_offsets() for c in axes.collections]))
    for i, box in enumerate(boxes):
        assert frame.x0 < box.x0 < box.x1 < frame.x1
        assert frame.y0 < box.y0 < box.y1 < frame.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.contains(x, y) for x, y in points)
    lines = [line for line in axes.get_children() if type(line).__name__ == "Line2D"]
    places = {text.get_position() for text in axes.texts}
    assert lines
    assert all(tuple(line.get_xydata()[1]) in places for line in lines)
    # Sixty heaps in one place: full, and still within the frame.
    rows, labels = clouds(60, 3, 16, spread=0.0)
    figure = drawn(be.plot_map(rows, names[labels % 12] + labels.astype(str)), tmp_path)
    frame = figure.axes[0].get_window_extent()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert frame.x0 < box.x0 < box.x1 < frame.x1
        assert frame.y0 < box.y0 < box.y1 < frame.y1


def test_nothing_is_cut_off(tmp_path):
    rows, labels = clouds(4, 6, 16)
    names = np.asarray([f"{i} IS A VERY LONG NAME OF A BIRD" for i in range(4)])
    figure = be.plot_similarity(rows, names[labels])
    figure.savefig(tmp_path / "figure.png")
    pixels = be.decode_image(tmp_path / "figure.png")
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all()


def test_losses(photos, tmp_path):
    losses = [Loss(photos.paths[0], "A", "B", 1.5), Loss("missing.jpg", "A", "A", 0.5)]
    figure = drawn(be.plot_losses(losses), tmp_path)
    captions = [axes.get_xlabel() for axes in figure.axes]
    assert captions[0] == "A\nfound: B\nloss 1.500"
    assert len(figure.axes[0].images) == 1
    assert len(figure.axes[1].images) == 0  # it says why instead
    drawn(be.plot_losses([]), tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: be.plot_grid([], None), "results must be a SearchResult, .* got None"),
        (lambda: be.plot_grid(["a.jpg"], [3]), "results must be a SearchResult, .* got 3"),
        (lambda: be.plot_grid([], [], max_queries=0), "max_queries must be at least 1, got 0"),
        (lambda: be.plot_grid([], [], max_matches="3"), "max_matches must be an int, got '3'"),
        (lambda: be.plot_grid(3, []), "queries must be images, got 3"),
        (lambda: be.plot_losses(None), "losses must be what top_losses returns, got None"),
        (lambda: be.plot_losses([], columns=0), "columns must be at least 1, got 0"),
        (lambda: be.plot_duplicates(None), "pairs must be what find_duplicates returns, got None"),
        (lambda: be.plot_duplicates([], columns=2.5), "columns must be an int, got 2.5"),
    ],
)
def test_wrong_arguments_of_grids_are_named(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_per_class(tmp_path):
    rows, labels = clouds(3, 6, 16, spread=0.3)
    result = be.retrieval_metrics(rows, labels)
    figure = drawn(result.plot_per_class("map_at_r"), tmp_path)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == sorted(row["map_at_r"] for row in result.per_class.values())
    assert figure.axes[0].get_legend() is None  # it would lie on the bars
    assert f"mean of the classes, {np.mean(widths):.3f}" in figure.axes[0].get_xlabel()
    with pytest.raises(ValueError, match="accuracy"):
        result.plot_per_class("accuracy")


def test_explanation(model, photos, tmp_path):
    model.preprocess = be.Preprocess(size=96)
    found = be.explain_match(model, photos.paths[0], photos.paths[-1])
    figure = drawn(found.plot(pairs=2), tmp_path)
    assert f"{found.score:.3f}" in figure.texts[0].get_text()
    assert len(figure.axes[0].patches) == len(figure.axes[1].patches) == 2
    assert (figure.axes[0].images[0].get_array() == found.image_a).all()  # 96 px: not made smaller
    np.testing.assert_allclose(figure.axes[2].images[1].get_array(), found.map_a)
    drawn(be.plot_explanation(found, pairs=0, title="t"), tmp_path)


@pytest.mark.parametrize(
    ("rows", "labels", "words"),
    [
        (np.ones((3, 2)), ["A"], "3 rows, labels has 1"),
        (np.ones((1, 2)), ["A"], "at least 2"),
        (np.asarray([[1, 2], [np.nan, 1]]), ["A", "B"], "row 1"),
    ],
)
@pytest.mark.parametrize("plot", ["plot_similarity", "plot_map"])
def test_refused(plot, rows, labels, words):
    with pytest.raises(ValueError, match=words):
        getattr(be, plot)(rows, labels)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"birdembed\[plot\]"):
        be.plot_history(EPOCHS)


def test_a_map_of_something_else():
    with pytest.raises(TypeError, match=r"embeddings must be an array \(n, dim\), got NoneType"):
        be.plot_map(None)


def test_a_confusion_matrix_of_many_classes(tmp_path):
    """Only classes that occur are drawn, and the names of hundreds of them are left out."""
    names = [f"species {number}" for number in range(300)]
    eye = np.eye(300, 8, dtype=np.float32)[[0, 1, 1, 2]]
    judged = be.retrieval_metrics(eye, ["c", "a", "a", "b"], eye, ["c", "a", "d", "b"])
    axes = drawn(judged.plot_confusion(), tmp_path).axes[0]
    shown = [text.get_text() for text in axes.get_yticklabels()]
    occurs = judged.confusion.any(axis=0) | judged.confusion.any(axis=1)
    assert shown == [name for name, there in zip(judged.class_names, occurs, strict=True) if there]
    figure = drawn(be.plot_confusion(np.eye(300, dtype=np.int64), names), tmp_path)
    assert max(figure.get_size_inches()) < 30
    assert not set(names) & {text.get_text() for text in figure.axes[0].get_yticklabels()}
