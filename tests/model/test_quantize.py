"""`Model.quantize`: int8 with what was measured on images, and what becomes of it."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed import _core
from birdembed.model import precision as precision_
from tests.support import ROOT, seeded
from tests.support.models import make_model

native = pytest.mark.skipif(
    not _core.backend()["int8"],
    reason=f"{_core.backend()['isa']}: this processor has no AVX2",
)
NOT_QUANTIZED = r"model\.quantize\(images\)"


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


@pytest.fixture(scope="module")
def quantized(pictures):
    """resnet50 on 64 px with ranges; nobody changes it."""
    if not _core.backend()["int8"]:
        pytest.skip(f"{_core.backend()['isa']}: this processor has no AVX2")
    return make_model(size=64).quantize(pictures[:9])


@pytest.fixture
def nothing_known(monkeypatch, tmp_path):
    """No choice of "auto" was made yet, here or by another process."""
    monkeypatch.setattr(precision_, "_choices", {})
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))


@native
def test_it_computes_in_int8_near_to_float32(small, pictures):
    model = make_model(size=64)
    exact = model.encode(pictures)
    assert model.quantize(pictures, show_progress_bar=False) is model
    assert model.precision == "int8"
    assert "int8" in repr(model)
    assert model.source == "quantized from seeded"
    found = model.encode(pictures)
    assert not np.array_equal(exact, found)
    assert cosines(exact, found).min() >= 0.99
    for n in (1, 5):
        np.testing.assert_array_equal(model.encode(pictures[:n], batch_size=2), found[:n])
    maps = model.forward_features(pictures[:2])
    np.testing.assert_allclose(maps.mean((2, 3)), found[:2], rtol=1e-5, atol=1e-6)
    # The weights are rounded to 8 bits.
    model.precision = "float32"
    assert cosines(model.encode(pictures), exact).min() >= 0.999
    assert not np.array_equal(model.encode(pictures), exact)
    model.precision = "int8"
    np.testing.assert_array_equal(model.encode(pictures), found)


@native
def test_the_fingerprint_is_of_the_ranges(small, quantized, pictures):
    assert quantized.fingerprint != small.fingerprint
    again = make_model(size=64).quantize(pictures[8::-1])
    assert again.fingerprint == quantized.fingerprint  # in any order
    other = make_model(size=64).quantize(pictures[:2])
    assert other.fingerprint not in (small.fingerprint, quantized.fingerprint)
    assert other.quantize(pictures[:9]).fingerprint == quantized.fingerprint
    assert other.source == "quantized from seeded"
    other.precision = "float32"
    assert other.fingerprint == quantized.fingerprint


@native
@pytest.mark.parametrize("dtype", [None, "float32", "float16", "int8"])
def test_a_folder_keeps_it(quantized, pictures, tmp_path, dtype, monkeypatch):
    monkeypatch.delenv("BIRDEMBED_PRECISION", raising=False)
    model = copy.copy(quantized)
    model.save_pretrained(tmp_path / "model", dtype=dtype)
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert (size < 25e6) == (dtype in (None, "int8"))  # None is int8
    saved = be.load_model(tmp_path / "model")
    assert saved.precision == "int8"
    found = saved.encode(pictures)
    if dtype != "float16":
        assert saved.fingerprint == quantized.fingerprint
        np.testing.assert_array_equal(found, quantized.encode(pictures))
    else:
        assert saved.fingerprint != quantized.fingerprint
        assert cosines(found, quantized.encode(pictures)).min() > 0.999
    exact = be.load_model(tmp_path / "model", precision="float32")
    assert exact.precision == "float32"
    assert exact.fingerprint == saved.fingerprint
    monkeypatch.setenv("BIRDEMBED_PRECISION", "float32")
    assert be.load_model(tmp_path / "model").precision == "float32"
    # The next save of a model without ranges leaves none behind.
    make_model(size=64).save_pretrained(tmp_path / "model")
    monkeypatch.delenv("BIRDEMBED_PRECISION")
    assert be.load_model(tmp_path / "model").precision == "float32"


@native
def test_damaged_ranges_are_named(quantized, tmp_path):
    copy.copy(quantized).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    for damaged in ({}, {"ranges": [1.0]}, {"ranges": ["x"] * 54}, {"ranges": [-1.0] * 54}):
        config["birdembed"]["int8"] = damaged
        path.write_text(json.dumps(config))
        with pytest.raises(be.WeightsError, match=r"config\.json: int8: ranges"):
            be.load_model(tmp_path)


@native
def test_copies_and_pickles_keep_it(quantized, pictures):
    expected = quantized.encode(pictures[:3])
    for other in (
        copy.copy(quantized),
        copy.deepcopy(quantized),
        pickle.loads(pickle.dumps(quantized)),
    ):
        assert other.precision == "int8"
        assert other.fingerprint == quantized.fingerprint
        np.testing.assert_array_equal(other.encode(pictures[:3]), expected)


@native
def test_other_weights_have_no_ranges(quantized, small):
    model = copy.copy(quantized)
    model.reset_classifier(3)
    model.threshold = 0.5
    assert model.precision == "int8"  # that leaves the embeddings alone
    assert model.fingerprint == quantized.fingerprint
    model.load_state_dict(seeded.state("resnet50", 3, 0))
    assert model.precision == "float32"
    assert model.fingerprint == small.fingerprint
    with pytest.raises(ValueError, match=NOT_QUANTIZED):
        model.precision = "int8"


@native
def test_a_training_ends_in_float32(quantized, tmp_path, pictures):
    from PIL import Image

    for i, picture in enumerate(pictures[:8]):
        folder = tmp_path / f"species {i % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i}.png")
    model = copy.copy(quantized)
    be.fine_tune(
        model, be.ImageFolder(tmp_path), epochs=1, batch_size=4, image_size=96, head_epochs=0
    )
    assert model.precision == "float32"
    with pytest.raises(ValueError, match=NOT_QUANTIZED):
        model.precision = "int8"
    assert model.quantize(pictures[:8]).precision == "int8"


@native
def test_the_gallery_stays(pictures, tmp_path):
    model = make_model(size=64)
    model.fit_gallery(model.encode(pictures[:8]), labels=["a", "b"] * 4)
    before = copy.copy(model)
    expected = before.identify(pictures[:4])
    model.quantize(pictures[:9])
    found = model.identify(pictures[:4])
    assert model.threshold == before.threshold
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.01)
    assert [one.species for one in before.identify(pictures[:4])] == [
        one.species for one in expected
    ]
    model.save_pretrained(tmp_path)
    assert len(be.load_model(tmp_path).gallery) == 2


@native
def test_auto_takes_int8_where_it_is_near_enough(nothing_known, pictures, monkeypatch):
    model = make_model(size=64).quantize(pictures[:9])
    model.precision = "auto"
    monkeypatch.setattr(precision_, "LEAST_COSINE", 0.9)
    assert model.choose_precision(pictures) == "int8"
    assert "cosine to float32 at least 0.99" in model.precision_reason
    monkeypatch.setattr(precision_, "LEAST_COSINE", 0.9999999999)
    other = make_model(size=64).quantize(pictures[:2])
    other.precision = "auto"
    assert other.choose_precision(pictures) == "float32"
    assert "int8 has a cosine of 0.99" in other.precision_reason
    plain = make_model(size=64)  # without ranges
    plain.precision = "auto"
    monkeypatch.setattr(precision_, "LEAST_COSINE", 0.9)
    assert plain.choose_precision(pictures) != "int8"


@native
def test_refusals(pictures, tmp_path, monkeypatch):
    model = make_model(size=64)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="quantize needs at least one image"):
        model.quantize([])
    with pytest.raises(be.DecodeError, match="no such"):
        model.quantize([pictures[0], "no such.jpg"])
    assert model.precision == "float32"
    with pytest.raises(ValueError, match=NOT_QUANTIZED):
        model.precision = "int8"
    with pytest.raises(ValueError, match=NOT_QUANTIZED):
        be.load_model(tmp_path, precision="int8")
    monkeypatch.setenv("BIRDEMBED_PRECISION", "int8")
    with pytest.raises(ValueError, match=NOT_QUANTIZED):
        be.load_model(tmp_path)
    with pytest.raises(ValueError, match="precision must be one of"):
        be.TrainConfig(precision="int8")


def test_a_machine_without_it(tmp_path):
    """The folder of a quantized model says what to do, and loads in float32."""
    folder = tmp_path / "model"
    make_model(size=64).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["birdembed"]["int8"] = {"ranges": [1.0] * 54}
    (folder / "config.json").write_text(json.dumps(config))
    code = (
        "import sys\n"
        "import birdembed as be\n"
        "from tests.support import seeded\n"
        "from tests.support.models import make_model\n"
        "for go in (lambda: be.load_model(sys.argv[1]),\n"
        "           lambda: make_model(size=64).quantize(seeded.pictures(2))):\n"
        "    try:\n"
        "        go()\n"
        "    except be.BackendError as error:\n"
        "        print(error)\n"
        "print(be.load_model(sys.argv[1], precision='float32').encode(seeded.pictures(2)).shape)\n"
        "print(be.info()['precisions'])\n"
    )
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "SSE41", "PYTHONPATH": str(ROOT)}
    env.pop("BIRDEMBED_PRECISION", None)
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    *errors, shape, precisions = run.stdout.splitlines()
    assert len(errors) == 2
    assert all("with AVX2" in line and "precision='float32'" in line for line in errors)
    assert shape == "(2, 2048)"
    assert precisions == "['float32']"


@native
@pytest.mark.skipif("BIRDEMBED_DATA" not in os.environ, reason="BIRDEMBED_DATA is not set")
def test_photographs():
    """The bundled model, quantized on some birds, on others."""
    files = sorted(Path(os.environ["BIRDEMBED_DATA"]).glob("valid/*/*.jpg"))
    model = be.load_model(precision="float32")
    seen, measured = files[::10], files[5::10]
    exact, names = model.encode(seen), [one.species for one in model.identify(seen)]
    model.quantize(measured)
    found = cosines(exact, model.encode(seen))
    same = np.mean([a == b.species for a, b in zip(names, model.identify(seen), strict=True)])
    print(f"\n{len(seen)} photographs: cosine at least {found.min():.5f}, mean {found.mean():.5f}")
    print(f"the same species: {same:.3f}")
    assert found.mean() >= 0.99
    assert same >= 0.95
