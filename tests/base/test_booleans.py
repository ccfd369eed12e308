"""Every public argument that is True or False refuses anything else."""

import importlib

import numpy as np
import pytest

import birdembed as be
from birdembed.base.checks import check_boolean
from tests.docs.public import parameters, public_names

#: A result, which only the package makes: its fields are what was found, not options.
RESULTS = {"birdembed.Identification"}
VECTORS = np.eye(4, dtype=np.float32)
PICTURE = np.zeros((96, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    model = be.Model("resnet18", preprocess=be.Preprocess(size=96), num_classes=2)
    model.fit_gallery(np.eye(4, 512, dtype=np.float32), labels=list("aabb"))
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of two classes; its images are never read."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("wren/a.jpg", "wren/b.jpg", "robin/a.jpg", "robin/b.jpg"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return folder


def _integration(name):
    home, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(f"birdembed.integrations.{home}"), attribute)


def calls(model, data):
    """Return a call of each public function that has such an argument, without that argument."""
    index = be.Index(4)
    metrics = be.retrieval_metrics(VECTORS, list("aabb"))
    raw = np.eye(4, 512, dtype=np.float32)
    return {
        "birdembed.Evaluation.to_dict": metrics.to_dict,
        "birdembed.History": be.History,
        "birdembed.Index.add": lambda **wrong: index.add("a", VECTORS[0], **wrong),
        "birdembed.Index.build": lambda **wrong: be.Index.build(model, [PICTURE], **wrong),
        "birdembed.Index.load": lambda **wrong: be.Index.load("nowhere", **wrong),
        "birdembed.Model.encode": lambda **wrong: model.encode(PICTURE, **wrong),
        "birdembed.Model.encode_and_classify": lambda **wrong: model.encode_and_classify(
            PICTURE, **wrong
        ),
        "birdembed.Model.encode_iter": lambda **wrong: model.encode_iter(PICTURE, **wrong),
        "birdembed.Model.export_onnx": lambda **wrong: model.export_onnx("nowhere/x.onnx", **wrong),
        "birdembed.Model.fit_gallery": lambda **wrong: model.fit_gallery(
            raw, labels=list("aabb"), **wrong
        ),
        "birdembed.Model.fit_projection": lambda **wrong: model.fit_projection(
            raw, list("aabb"), dim=1, **wrong
        ),
        "birdembed.Model.forward_tensor": lambda **wrong: model.forward_tensor(
            np.zeros((1, 3, 96, 96), np.float32), **wrong
        ),
        "birdembed.Model.from_pretrained": lambda **wrong: be.Model.from_pretrained(
            "nowhere", **wrong
        ),
        "birdembed.Model.identify": lambda **wrong: model.identify(PICTURE, **wrong),
        "birdembed.Model.load_state_dict": lambda **wrong: model.load_state_dict({}, **wrong),
        "birdembed.Model.push_to_hub": lambda **wrong: model.push_to_hub("nobody/x", **wrong),
        "birdembed.Model.quantize": lambda **wrong: model.quantize([PICTURE], **wrong),
        "birdembed.Preprocess": be.Preprocess,
        "birdembed.TrainConfig": be.TrainConfig,
        "birdembed.Trainer": lambda **wrong: be.Trainer(model, data, **wrong),
        "birdembed.cosine_topk": lambda **wrong: be.cosine_topk(VECTORS, VECTORS, 1, **wrong),
        "birdembed.evaluate": lambda **wrong: be.evaluate(model, data, **wrong),
        "birdembed.explain_match": lambda **wrong: be.explain_match(
            model, PICTURE, PICTURE, **wrong
        ),
        "birdembed.fine_tune": lambda **wrong: be.fine_tune(
            model, data, checkpoint_dir="nowhere", **wrong
        ),
        "birdembed.load_model": lambda **wrong: be.load_model("nowhere", **wrong),
        "birdembed.lr_find": lambda **wrong: be.lr_find(model, data, **wrong),
        "birdembed.verify": lambda **wrong: be.verify(data, **wrong),
        "birdembed.integrations.metaflow.MetaflowCallback": lambda **wrong: _integration(
            "metaflow.MetaflowCallback"
        )(**wrong),
        "birdembed.integrations.mlflow.MlflowCallback": lambda **wrong: _integration(
            "mlflow.MlflowCallback"
        )(**wrong),
        "birdembed.integrations.ray.embed_dataset": lambda **wrong: _integration(
            "ray.embed_dataset"
        )(None, model, **wrong),
        "birdembed.integrations.sklearn.ImageEmbedder": lambda **wrong: _integration(
            "sklearn.ImageEmbedder"
        )(**wrong).transform([PICTURE]),
    }


def arguments():
    """Return the public names with their arguments that are annotated as booleans."""
    found = []
    for name, value in public_names():
        if name in RESULTS:
            continue
        for option in parameters(value):
            kinds = [kind.strip(" '\"") for kind in str(option.annotation).split("|")]
            if "bool" in kinds or option.annotation is bool or isinstance(option.default, bool):
                found.append((name, option.name))
    return found


#: Trainer.resume needs a checkpoint before it makes the `Trainer` that checks the argument.
ELSEWHERE = {("birdembed.Trainer.resume", "show_progress_bar")}


@pytest.mark.parametrize(("name", "argument"), sorted({*arguments()} - ELSEWHERE))
def test_arguments_that_are_true_or_false(model, data, name, argument):
    call = calls(model, data).get(name)
    assert call is not None, f"add a call of {name} to this test"
    weights = model.fingerprint
    for wrong in ("no", 0, np.array([1, 0])):
        with pytest.raises(TypeError, match=f"^{argument} must be True or False, got "):
            call(**{argument: wrong})
    assert model.fingerprint == weights


def test_booleans_of_numpy_are_booleans(model):
    assert check_boolean("x", np.True_) is True
    given = {"normalize_embeddings": np.True_, "projection": np.False_, "return_report": np.True_}
    vectors, report = model.encode([PICTURE], show_progress_bar=np.False_, **given)
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-6)
    assert report.kept == [0]
