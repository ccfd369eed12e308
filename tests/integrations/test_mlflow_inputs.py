"""What a model behind MLflow is given: base64 text of every format, and rows that are wrong."""

import base64
import io

import numpy as np
import pytest

import birdembed as be
from tests.support.species import picture

pytest.importorskip("pandas", reason="needs the extra mlflow")
pytest.importorskip("mlflow", reason="needs the extra mlflow")
Image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")

from birdembed.integrations.mlflow.pyfunc import Scorer, images_of  # noqa: E402

KINDS = "JPEG PNG GIF BMP WEBP TIFF HEIF AVIF JPEG2000 ICO TGA PPM QOI".split()
PHOTO = picture(0, 0, 64)


@pytest.fixture(scope="module")
def scorer():
    return Scorer(be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64)))


def encoded(kind):
    """Return a picture in a format; one that this Pillow cannot write is left out."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs the extra heic").register_heif_opener()
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    file = io.BytesIO()
    PHOTO.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_base64_of_every_format(kind):
    """Only six formats were recognized; the text of the others was taken for a path."""
    data = encoded(kind)
    text = base64.b64encode(data).decode()
    url_safe = base64.urlsafe_b64encode(data).decode()
    for given in (
        *(text, text.rstrip("="), base64.encodebytes(data).decode()),
        *(url_safe, url_safe.rstrip("=")),
        *(f"data:image/x;base64,{text}", f"DATA:IMAGE/X;BASE64,{text}", f"data:;base64,{text}"),
        f"data:image/x;base64,{url_safe}",
        "data:image/x;base64," + text.replace("=", "%3D").replace("+", "%2B"),
    ):
        assert images_of([given])[0] == [data], given[:40]


def test_texts_that_are_paths(tmp_path):
    long = "a" * 80
    (tmp_path / long).write_bytes(b"x")
    for text in ("bird.jpg", "", long, str(tmp_path / long), "b" * 80 + "/c", "data:image/png,%00"):
        assert images_of([text])[0] == [text]


BAD = ["data:image/jpeg;base64,abcde", "data:image/jpeg;base64,/+-_", "data:;base64,\u00e9"]


@pytest.mark.parametrize("text", BAD)
def test_data_uris_that_are_no_base64(scorer, text):
    with pytest.raises(ValueError, match=r"image 1: the data URI 'data:.* is not valid base64"):
        scorer.predict([encoded("PNG"), text])


WRONG = [
    *BAD,
    *(np.zeros((8, 8, 3)), np.full((8, 8), 300), np.zeros((8, 8, 5), np.uint8)),
    *(np.zeros((0, 8, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8), np.zeros(3, np.uint8)),
    *([[1, 2], [3]], [["a"]], 5, 1.5, {"a": 1}, ..., b"", "", b"no image"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda one: str(one)[:30])
def test_one_wrong_row_leaves_the_others(scorer, wrong):
    """It failed the whole batch."""
    good = encoded("PNG")
    nan = {"on_error": "nan"}
    vectors = scorer.predict([good, wrong, good], params=nan)
    np.testing.assert_array_equal(vectors[[0, 2]], scorer.model.encode([good, good]))
    assert np.isnan(vectors[1]).all()
    with pytest.raises((ValueError, TypeError)):
        scorer.predict([good, wrong, good])


def test_a_column_of_texts(scorer, tmp_path):
    """As tables of NumPy have them."""
    for number in range(2):
        picture(number, 0, 64).save(tmp_path / f"{number}.png")
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    expected = scorer.model.encode(paths)
    for column in (np.array(paths), np.array(paths, object)):
        np.testing.assert_array_equal(scorer.predict(column[:, None]), expected)
    with pytest.raises(ValueError, match="the input must have one column"):
        scorer.predict(np.array([paths]))


def test_species_that_are_no_utf8():
    """Names of folders may have any bytes."""
    model = be.Model("resnet18", seed=0, preprocess=be.Preprocess(size=64))
    vectors = model.encode([picture(number, view, 64) for number in range(2) for view in range(2)])
    model.fit_gallery(vectors, labels=["caf\udce9"] * 2 + ["owl"] * 2, accept=1.0)
    table = Scorer(model).predict([np.asarray(picture(0, 0, 64))], {"task": "identify"})
    assert table["species"].tolist() == ["caf\udce9"]
