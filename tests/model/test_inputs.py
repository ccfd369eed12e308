"""Folders, and the columns of Hugging Face datasets, as inputs of a model."""

import shutil

import numpy as np
import pytest

import birdembed as be
from tests.support import seeded


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two folders of two images each, and a file beside them that is no image."""
    image = pytest.importorskip("PIL.Image")
    root = tmp_path_factory.mktemp("photos")
    for i, picture in enumerate(seeded.pictures(4, seed=9)):
        folder = root / ("wren" if i % 2 else "auk")
        folder.mkdir(exist_ok=True)
        image.fromarray(picture).save(folder / f"{i}.png")
    (root / "notes.txt").write_text("no image")
    return root


@pytest.fixture(scope="module")
def rows(tiny, photos):
    return tiny.encode(be.ImageFolder(photos))


def test_a_folder_is_all_images_below_it(tiny, photos, rows):
    for folder in (photos, str(photos), f"{photos}/"):
        vectors, report = tiny.encode(folder, return_report=True)
        assert np.array_equal(vectors, rows)
        assert report.names == be.ImageFolder(photos).paths
    positions, parts = zip(*tiny.encode_iter(str(photos), batch_size=3), strict=True)
    assert np.array_equal(np.concatenate(parts), rows)
    assert np.concatenate(positions).tolist() == [0, 1, 2, 3]


def test_a_folder_is_classified_image_by_image(tiny, photos):
    one = be.ImageFolder(photos)[0]
    assert len(tiny.predict(str(photos))) == 4
    assert tiny.predict(str(photos))[0] == tiny.predict(one)


def test_a_folder_without_images(tiny, tmp_path):
    with pytest.raises(ValueError, match=str(tmp_path)):
        tiny.encode(tmp_path)
    with pytest.raises(be.DecodeError, match="nowhere"):
        tiny.encode(tmp_path / "nowhere")


def test_a_folder_is_an_answer_to_search_and_index(tiny, photos, rows):
    index = be.Index.build(tiny, str(photos))
    found = index.search(str(photos), k=1)
    assert [hits[0].id for hits in found] == list(index.ids)


def stored(photos):
    """Images as datasets stores them: with their bytes, or with their path alone."""
    paths = be.ImageFolder(photos).paths
    with open(paths[1], "rb") as file:
        return [{"bytes": None, "path": paths[0]}, {"bytes": file.read(), "path": "1.png"}], paths


def test_images_stored_with_bytes_and_path(tiny, photos, rows, tmp_path):
    items, paths = stored(photos)
    vectors, report = tiny.encode(items, return_report=True)
    assert np.array_equal(vectors, rows[:2])
    assert report.names == [paths[0], "image 1"]
    assert np.array_equal(tiny.encode(items[1]), rows[1])
    index = be.Index.build(tiny, items, ids=["a", "b"], cache=tmp_path / "cache")
    assert np.array_equal(index.embeddings, rows[:2])
    assert index.search(items[1], k=1)[0].id == "b"
    empty = {"bytes": None, "path": None}
    _, report = tiny.encode([*items, empty], on_error="skip", return_report=True)
    assert [position for position, _, _ in report.failures] == [2]


def test_a_column_of_pyarrow(tiny, photos, rows):
    pyarrow = pytest.importorskip("pyarrow")
    items, _ = stored(photos)
    table = pyarrow.table({"image": items})
    assert np.array_equal(tiny.encode(table["image"]), rows[:2])
    with pytest.raises(TypeError, match="column"):
        tiny.encode(table)


def test_columns_of_datasets(tiny, photos, rows):
    datasets = pytest.importorskip("datasets")
    paths = be.ImageFolder(photos).paths
    data = datasets.Dataset.from_dict({"image": paths, "label": list("aabb")})
    data = data.cast_column("image", datasets.Image())
    assert np.array_equal(tiny.encode(data["image"]), rows)
    assert np.array_equal(tiny.encode(data[0]["image"]), rows[0])
    undecoded = data.cast_column("image", datasets.Image(decode=False))
    assert np.array_equal(tiny.encode(undecoded["image"]), rows)
    index = be.Index.build(tiny, data["image"], labels=data["label"])
    assert np.array_equal(index.embeddings, rows)
    assert list(index.labels) == list("aabb")
    with pytest.raises(TypeError, match="column"):
        tiny.encode(data)


def test_truncate_dim(tiny, photos, rows):
    short = tiny.encode(str(photos), truncate_dim=7)
    assert np.array_equal(short, rows[:, :7])
    assert short.flags.c_contiguous
    one = tiny.encode(be.ImageFolder(photos)[0], truncate_dim=7, normalize_embeddings=True)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
    assert np.allclose(one * np.linalg.norm(rows[0, :7]), rows[0, :7], rtol=1e-5, atol=1e-7)
    for _, part in tiny.encode_iter(str(photos), truncate_dim=3):
        assert part.shape == (4, 3)
    assert tiny.encode([], truncate_dim=7).shape == (0, 7)
    assert tiny.encode(str(photos), truncate_dim=2048).shape == (4, 2048)
    for wrong, error in ((0, ValueError), (2049, ValueError), (7.0, TypeError)):
        with pytest.raises(error, match="truncate_dim"):
            tiny.encode(str(photos), truncate_dim=wrong)


def test_similarity(tiny, rows):
    assert np.array_equal(tiny.similarity(rows, rows[:2]), be.cosine_similarity(rows, rows[:2]))
    assert tiny.similarity(rows[0], rows).shape == (1, 4)
    assert tiny.similarity(rows[0], rows[1]).shape == (1, 1)
    with pytest.raises(TypeError):
        tiny.similarity("a.jpg", rows)


def test_vectors_go_to_other_libraries_by_dlpack(rows):
    again = np.from_dlpack(rows)
    assert np.shares_memory(again, rows)
    torch = pytest.importorskip("torch")
    tensor = torch.from_dlpack(rows)
    assert tensor.data_ptr() == rows.ctypes.data


def test_folders_wherever_labelled_images_go(tiny, photos, tmp_path):
    data = be.ImageFolder(photos)
    shutil.copytree(photos, tmp_path / "reference")
    model = be.Model._of(tiny._current.pretrained())
    ours = be.evaluate(model, str(photos), reference=tmp_path / "reference")
    theirs = be.evaluate(model, data, reference=be.ImageFolder(tmp_path / "reference"))
    assert ours.precision_at_1 == theirs.precision_at_1
    assert be.top_losses(model, str(photos), k=1) == be.top_losses(model, data, k=1)
    assert model.fit_gallery(str(photos), accept=None) == model.fit_gallery(data, accept=None)
    fit = model.fit_projection(str(photos), method="lda", dim=1, shrinkage=0.5)
    assert fit == model.fit_projection(data, method="lda", dim=1, shrinkage=0.5)
