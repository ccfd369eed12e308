"""bfloat16 inference, and how a precision is chosen."""

import copy
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from birdembed import _core
from birdembed.base.precisions import asked_precision
from birdembed.model import precision as precision_
from tests.support import ROOT, seeded
from tests.support.models import make_model

NATIVE = _core.backend()["bfloat16"]
native = pytest.mark.skipif(
    not NATIVE, reason=f"{_core.backend()['isa']}: this processor has no bfloat16"
)


@pytest.fixture
def nothing_known(monkeypatch, tmp_path):
    """No choice was made yet, here or by another process."""
    monkeypatch.setattr(precision_, "_choices", {})
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def rounding(small):
    model = make_model(size=64)
    assert model.fingerprint == small.fingerprint
    model.precision = "bfloat16"
    return model


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


# bfloat16 ----------------------------------------------------------------------------------


@native
def test_near_to_float32(small, rounding, pictures):
    exact, found = small.encode(pictures), rounding.encode(pictures)
    assert found.dtype == np.float32
    assert not np.array_equal(exact, found)
    assert cosines(exact, found).min() >= precision_.LEAST_COSINE
    assert rounding.precision == "bfloat16"
    maps = rounding.forward_features(pictures[:2])
    np.testing.assert_allclose(maps.mean((2, 3)), found[:2], rtol=1e-5, atol=1e-6)


@native
@pytest.mark.parametrize("architecture", ["resnet50", "resnet50d"])
def test_rows_do_not_depend_on_batch_position_or_threads(architecture):
    model = make_model(architecture, 0)
    model.precision = "bfloat16"
    for size in (64, 96):
        x = seeded.tensor(2, 9, size, size)
        whole = model.forward_tensor(x, num_threads=1)
        assert len(np.unique(whole, axis=0)) == 9
        for threads in (1, 2, 3, 5, 12):
            for n in (1, 2, 8, 9):
                found = model.forward_tensor(x[:n], num_threads=threads)
                np.testing.assert_array_equal(found, whole[:n])
            alone = model.forward_tensor(x[5:6], num_threads=threads)
            np.testing.assert_array_equal(alone[0], whole[5])


@native
@pytest.mark.skipif("BIRDEMBED_DATA" not in os.environ, reason="BIRDEMBED_DATA is not set")
def test_photographs():
    """The bundled model on real birds: as near as is promised, with the same nearest species."""
    files = sorted(Path(os.environ["BIRDEMBED_DATA"]).glob("valid/*/*.jpg"))[::10]
    model = be.load_model()
    exact, names = model.encode(files), [one.species for one in model.identify(files)]
    model.precision = "bfloat16"
    found = cosines(exact, model.encode(files))
    print(f"\n{len(files)} photographs: cosine at least {found.min():.6f}, mean {found.mean():.6f}")
    assert found.min() >= precision_.LEAST_COSINE
    same = np.mean([a == b.species for a, b in zip(names, model.identify(files), strict=True)])
    assert same >= 0.95


@native
def test_projection_mirror_and_head_are_float32(projecting, pictures):
    """What comes after the feature map does not know of it."""
    model = copy.copy(projecting)
    exact = model.encode(pictures)
    model.precision = "bfloat16"
    found = model.encode(pictures)
    assert found.shape == exact.shape
    assert cosines(exact, found).min() > 0.99


def test_what_is_not_there_is_refused():
    code = (
        "import birdembed as be\n"
        "from tests.support.models import make_model\n"
        "from tests.support import seeded\n"
        "model = make_model(size=64)\n"
        "for go in (lambda: be.load_model(precision='bfloat16'),\n"
        "           lambda: setattr(model, 'precision', 'bfloat16'),\n"
        "           lambda: model._current.trunk.network.features(\n"
        "               seeded.tensor(1, 1, 64, 64), precision='bfloat16')):\n"
        "    try:\n"
        "        go()\n"
        "    except be.BackendError as error:\n"
        "        print(error)\n"
        "model = be.load_model(precision='auto')\n"
        "model.choose_precision(seeded.pictures(2))\n"
        "print(model.precision, model.precision_reason)\n"
        "print(be.info()['faster'])\n"
    )
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    *errors, chosen, faster = run.stdout.splitlines()
    assert len(errors) == 3
    assert all("AVX512_BF16 or AMX" in line and "AVX2" in line for line in errors)
    assert chosen.startswith("float32 because AVX2 supports no faster one for this model")
    assert faster.startswith("int8 ")


# Choosing ----------------------------------------------------------------------------------


def test_words(monkeypatch):
    monkeypatch.delenv("BIRDEMBED_PRECISION", raising=False)
    assert asked_precision(None) == "float32"
    monkeypatch.setenv("BIRDEMBED_PRECISION", "auto")
    assert asked_precision(None) == "auto"
    assert asked_precision("float32") == "float32"
    assert be.info()["precision"] == "auto"
    monkeypatch.setenv("BIRDEMBED_PRECISION", "float64")
    with pytest.raises(ValueError, match=r"BIRDEMBED_PRECISION must be one of .*'float64'"):
        be.load_model()
    with pytest.raises(ValueError, match=r"precision must be one of 'float32', "):
        be.load_model(precision="half")
    with pytest.raises(ValueError, match="precision must be"):
        make_model(size=32).precision = None


@native
def test_the_environment_and_the_argument(monkeypatch):
    monkeypatch.setenv("BIRDEMBED_PRECISION", "bfloat16")
    assert be.load_model().precision == "bfloat16"
    assert be.Model.from_pretrained(precision="float32").precision == "float32"
    assert "faster" not in be.info()
    monkeypatch.delenv("BIRDEMBED_PRECISION")
    assert be.load_model().precision == "float32"
    assert "bfloat16" in be.info()["faster"]


@native
def test_auto_is_decided_on_the_first_images(nothing_known, small, pictures, caplog):
    model = make_model(size=64)
    model.precision = "auto"
    assert model.precision == "auto"
    assert repr(model).endswith("seeded, auto)")
    assert model.encode([]).shape == (0, 2048)
    assert model.precision == "auto"
    with caplog.at_level(logging.INFO, "birdembed.precision"):
        found = model.encode(pictures)
        model.encode(pictures[:3])
    assert model.precision == "bfloat16"
    assert "0.99" in model.precision_reason
    assert repr(model).endswith("seeded, auto: bfloat16)")
    assert model.precision_reason in model._repr_html_()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"precision: bfloat16, {model.precision_reason}"
    # The images that decided have the same bits as ever after.
    np.testing.assert_array_equal(found[:3], model.encode(pictures[:3]))
    model.precision = "float32"
    np.testing.assert_array_equal(model.encode(pictures[:3]), small.encode(pictures[:3]))
    assert "float32" not in repr(model)


@native
def test_a_choice_is_kept_by_model_and_machine(nothing_known, pictures, monkeypatch):
    model = make_model(size=32)
    model.precision = "auto"
    model.encode(pictures[:2])
    assert not list(nothing_known.rglob("*.json"))  # two images say too little for others
    monkeypatch.setattr(precision_, "_choices", {})
    assert model.choose_precision(pictures) == "bfloat16"
    (file,) = nothing_known.rglob("precision/*.json")
    monkeypatch.setattr(precision_, "_choices", {})
    monkeypatch.setattr(precision_, "_checked", None)  # another process: nothing is compared
    assert model.precision == "bfloat16"
    model.encode(pictures[:1])
    other = make_model(size=64)
    other.precision = "auto"
    assert other.precision == "auto"
    monkeypatch.setattr(precision_, "_choices", {})
    file.write_text("{}")
    assert model.precision == "auto"


@native
def test_auto_stays_in_float32_where_the_others_are_too_far(nothing_known, pictures, monkeypatch):
    monkeypatch.setattr(precision_, "LEAST_COSINE", 0.9999999999)
    model = make_model(size=32)
    expected = model.encode(pictures)
    model.precision = "auto"
    np.testing.assert_array_equal(model.encode(pictures), expected)
    assert model.precision == "float32"
    assert "bfloat16 has a cosine of 0.99" in model.precision_reason


# What becomes of it ------------------------------------------------------------------------


@native
def test_copies_and_pickles_keep_it_and_files_do_not(rounding, pictures, tmp_path):
    expected = rounding.encode(pictures[:2])
    for other in (copy.copy(rounding), copy.deepcopy(rounding)):
        np.testing.assert_array_equal(other.encode(pictures[:2]), expected)
    again = pickle.loads(pickle.dumps(rounding))
    assert again.precision == "bfloat16"
    assert again.fingerprint == rounding.fingerprint
    rounding.save_pretrained(tmp_path / "model")
    saved = be.load_model(tmp_path / "model")
    assert saved.precision == "float32"
    assert saved.fingerprint == rounding.fingerprint
    state, before = saved.state_dict(), rounding.state_dict()
    assert all(np.array_equal(state[name], before[name]) for name in before)


@native
def test_a_change_of_the_model_keeps_it(rounding):
    rounding.preprocess = be.Preprocess(size=32)
    rounding.load_state_dict(seeded.state("resnet50", 8, 3))
    rounding.threshold = 0.5
    assert rounding.precision == "bfloat16"


@native
def test_an_index_takes_both_and_its_cache_keeps_them_apart(small, rounding, pictures, tmp_path):
    cache = tmp_path / "rows"
    index = be.Index.build(small, pictures[:4], cache=cache)
    found = be.Index.build(rounding, pictures[:4], cache=cache)
    assert len(list(cache.glob("*.rows"))) == 2
    np.testing.assert_array_equal(found.embeddings, rounding.encode(pictures[:4]))
    np.testing.assert_array_equal(index.embeddings, small.encode(pictures[:4]))
    again = be.Index.build(rounding, pictures[:4], cache=cache)
    np.testing.assert_array_equal(found.embeddings, again.embeddings)
    both = be.Index.build(small, pictures[:4])
    both.model = rounding
    assert [matches[0].id for matches in both.search(pictures[:4], k=1)] == ["0", "1", "2", "3"]


@native
def test_auto_is_decided_before_the_cache_is_asked(nothing_known, pictures, tmp_path):
    model = make_model(size=32)
    model.precision = "auto"
    be.Index.build(model, pictures, cache=tmp_path / "rows")
    assert [path.name.split("-")[1] for path in (tmp_path / "rows").iterdir()] == ["bfloat16.rows"]
