"""MLflow: trainings as runs, models as MLflow models, against a real tracking server.

The network is a small stand-in; test_train_flow.py and test_mlflow_clean.py have the real one.
"""

import base64
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from tests.support import fake_core_trainer as fake
from tests.support.train_data import make_folder

pytest.importorskip("pandas", reason="needs the extra mlflow")
mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")

from birdembed.integrations import mlflow as birds  # noqa: E402
from birdembed.integrations.mlflow.pyfunc import (  # noqa: E402
    Scorer,
    images_of,
)

OPTIONS = {"batch_size": 8, "image_size": 96}
EPOCHS = 2


def small_model(**options):
    return be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64), **options)


@pytest.fixture(scope="module", autouse=True)
def small_network():
    with pytest.MonkeyPatch.context() as patch:
        fake.install(patch)
        yield


@pytest.fixture(scope="module")
def server(tracking_server):
    mlflow.set_tracking_uri(tracking_server)
    yield tracking_server
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return make_folder(root / "train", per_class=4), make_folder(
        root / "valid", per_class=2, seed=1
    )


@pytest.fixture(scope="module")
def trained(server, data, tmp_path_factory):
    """A finished training: model, history, callback."""
    model = small_model()
    callback = birds.MlflowCallback(
        run_name="first", registered_model_name="birds", alias="champion"
    )
    history = be.fine_tune(
        model,
        *data,
        epochs=EPOCHS,
        checkpoint_dir=tmp_path_factory.mktemp("checkpoints"),
        callbacks=callback,
        **OPTIONS,
    )
    return model, history, callback


@pytest.fixture(scope="module")
def scorer(data):
    """A model with classifier and gallery behind MLflow's interface."""
    model = small_model(num_classes=4, class_names=["finch", "jay", "owl", "wren"])
    model.fit_gallery(data[0])
    return Scorer(model)


# Trainings


def test_a_training_is_a_run(trained):
    _, history, callback = trained
    client = mlflow.MlflowClient()
    run = client.get_run(callback.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first"
    params = run.data.params
    assert params["epochs"] == "2"
    assert params["optimizer"] == "adamw"
    assert params["train_images"] == "16"
    assert "checkpoint_dir" not in params
    for key in set(history.epochs[0]) - {"epoch"}:
        logged = {m.step: m.value for m in client.get_metric_history(callback.run_id, key)}
        assert logged == {logs["epoch"]: pytest.approx(logs[key]) for logs in history.epochs}, key
    steps = client.get_metric_history(callback.run_id, "step/train_loss")
    assert sorted(m.step for m in steps) == [1, 2, 3, 4]


def test_curves_and_pictures_are_logged(trained):
    client = mlflow.MlflowClient()
    found = {item.path for item in client.list_artifacts(trained[2].run_id, "plots")}
    assert found == {f"plots/{n}.png" for n in ("confusion", "history", "matches", "similarity")}


def test_training_goes_on_from_the_logged_checkpoint(trained, data, tmp_path):
    run_id = trained[2].run_id
    names = [item.path for item in mlflow.MlflowClient().list_artifacts(run_id, "checkpoints")]
    assert sum("step-" in name for name in names) == 1  # older ones are gone
    folder = mlflow.artifacts.download_artifacts(
        run_id=run_id, artifact_path="checkpoints", dst_path=tmp_path
    )
    trainer = be.Trainer.resume(folder, *data)
    assert trainer.step_count == 4
    assert trainer.history.epochs == trained[1].epochs


def test_a_resumed_training_completes_a_new_run(trained, data, server):
    """Epochs of before the interruption are logged too."""
    trainer = be.Trainer(small_model(), *data, epochs=EPOCHS, **OPTIONS)
    trainer.history.epochs[:] = trained[1].epochs
    with mlflow.start_run() as run:
        callback = birds.MlflowCallback(log_model=False)
        callback.on_train_begin(trainer)
        callback.on_train_begin(trainer)  # a second time adds nothing
        logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "valid_accuracy")
        assert [m.step for m in logged] == [1, 2]
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"


def test_a_failed_training_is_a_failed_run(server, data):
    callback = birds.MlflowCallback(log_model=False)

    def fail(trainer, logs):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        be.fine_tune(small_model(), data[0], epochs=1, callbacks=[callback, fail], **OPTIONS)
    assert mlflow.active_run() is None
    run = mlflow.get_run(callback.run_id)
    assert run.info.status == "FAILED"
    assert run.data.metrics["train_loss"] > 0


def test_a_run_that_is_open_stays_open(server, data, monkeypatch):
    trainer = be.Trainer(small_model(), *data, epochs=EPOCHS, **OPTIONS)
    with mlflow.start_run() as run:
        callback = birds.MlflowCallback()
        callback.on_train_begin(trainer)
        callback.on_train_error(trainer, KeyboardInterrupt())
        assert callback.run_id == run.info.run_id
        assert mlflow.get_run(run.info.run_id).info.status == "RUNNING"


def test_a_silent_server_costs_a_warning_and_nothing_else(server, data, monkeypatch, caplog):
    trainer = be.Trainer(small_model(), *data, epochs=EPOCHS, **OPTIONS)
    with mlflow.start_run() as run:
        callback = birds.MlflowCallback(plots=False)
        callback.on_train_begin(trainer)
        real, answers = callback._client.log_batch, [mlflow.exceptions.MlflowException("gone")]

        def log_batch(*args, **kwargs):
            if answers:
                raise answers.pop()
            return real(*args, **kwargs)

        monkeypatch.setattr(callback._client, "log_batch", log_batch)
        callback.on_epoch_end(trainer, {"epoch": 1, "train_loss": 2.0})
        assert "gone" in caplog.text
        callback.on_epoch_end(trainer, {"epoch": 2, "train_loss": 1.0})
        logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")
    assert [(m.step, m.value) for m in logged] == [(1, 2.0), (2, 1.0)]


# Models


def test_the_registered_model_is_loaded_by_its_alias(trained, data):
    model = trained[0]
    loaded = birds.load_model("models:/birds@champion")
    assert loaded.fingerprint == model.fingerprint
    assert loaded.class_names == model.class_names
    expected = model.encode(data[1].paths)
    np.testing.assert_array_equal(loaded.encode(data[1].paths), expected)
    version = mlflow.MlflowClient().get_model_version_by_alias("birds", "champion")
    assert version.run_id == trained[2].run_id
    scored = mlflow.pyfunc.load_model("models:/birds@champion").predict(data[1].paths)
    np.testing.assert_array_equal(scored, expected)


def test_what_a_saved_model_says_of_itself(scorer, data, tmp_path):
    birds.save_model(scorer.model, tmp_path / "saved", extra_pip_requirements=["pillow"])
    info = mlflow.models.get_model_info(str(tmp_path / "saved"))
    assert {"birdembed", "python_function"} <= set(info.flavors)
    assert info.signature.inputs is None
    assert info.signature.outputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 2048)
    assert {p.name: p.default for p in info.signature.params} == {
        "task": "embed",
        "k": 5,
        "on_error": "raise",
    }
    requirements = (tmp_path / "saved" / "requirements.txt").read_text()
    for line in (f"birdembed=={be.__version__}", "pillow", "mlflow=="):
        assert line in requirements
    scored = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    assert scored.predict(scored.input_example).shape == (1, 2048)
    assert scored.predict(data[0].paths[:3], params={"task": "identify"}).species.notna().all()
    assert birds.load_model(tmp_path / "saved").gallery is not None


def test_a_model_of_another_flavour_is_refused(tmp_path):
    mlflow.models.Model().save(str(tmp_path / "MLmodel"))
    with pytest.raises(be.WeightsError, match="no flavour 'birdembed'"):
        birds.load_model(tmp_path)
    with pytest.raises(TypeError, match=r"must be a birdembed\.Model"):
        birds.save_model("sscd", tmp_path / "x")
    with pytest.raises(ValueError, match="registered_model_name="):
        birds.log_model(small_model(), alias="champion")


# What it is asked


def frames(paths):
    import pandas

    contents = [Path(path).read_bytes() for path in paths]
    arrays = [be.decode_image(path) for path in paths]
    text = [base64.encodebytes(data).decode() for data in contents]
    uri = ["data:image/bmp;base64," + base64.b64encode(data).decode() for data in contents]
    return {
        "paths": pandas.DataFrame({"image": paths, "other": 1}),
        "bytes": pandas.DataFrame({"image": contents}),
        "arrays": pandas.DataFrame({"image": arrays}),
        "the only column": pandas.DataFrame({"photo": paths}),
        "base64": pandas.DataFrame({"image": text}),
        "data URI": pandas.DataFrame({"image": uri}),
        "nested lists": pandas.DataFrame({"image": [a.tolist() for a in arrays]}),
        "array": np.stack(arrays),
        "integers": np.stack(arrays).astype(np.int64),
        "list": [paths[0], contents[1], arrays[2]],
        "series": pandas.Series(contents),
        "dict": {"image": paths},
        "texts": np.array(paths),
    }


def test_images_of_every_kind_give_the_same_vectors(scorer, data):
    paths = data[0].paths[:3]
    expected = scorer.model.encode(paths)
    for kind, given in frames(paths).items():
        found = scorer.predict(given)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected, err_msg=kind)
    for one in (paths[0], be.decode_image(paths[0]), Path(paths[0]).read_bytes()):
        np.testing.assert_array_equal(scorer.predict(one), expected[:1])
    assert scorer.predict([]).shape == (0, 2048)


def test_species_and_classes_come_as_a_table(scorer, data):
    import pandas

    paths = data[0].paths[::4]
    frame = pandas.DataFrame({"image": paths}, index=[10, 20, 30, 40])
    found = scorer.predict(frame, params={"task": "identify", "k": 2})
    assert list(found.columns) == ["species", "score", "known", "matches"]
    assert list(found.index) == [10, 20, 30, 40]
    expected = scorer.model.identify(paths, 2)
    assert list(found.species) == [one.species for one in expected]
    assert [m["label"] for m in found.matches[10]] == [label for label, _ in expected[0].matches]
    found = scorer.predict(frame, params={"task": "predict", "k": 3})
    assert list(found.label) == [top[0][0] for top in scorer.model.predict(paths)]
    assert all(len(matches) == 3 for matches in found.matches)


def test_an_unreadable_picture_is_an_error_or_an_empty_row(scorer, data, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    given = [data[0].paths[0], str(bad), None, data[0].paths[5]]
    with pytest.raises(be.DecodeError, match=r"bad\.jpg"):
        scorer.predict(given[:2])
    vectors = scorer.predict(given, params={"on_error": "nan"})
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, True, False]
    for task, column in (("identify", "species"), ("predict", "label")):
        found = scorer.predict(given, params={"task": task, "on_error": "nan"})
        assert found[column].isna().tolist() == [False, True, True, False]


def test_wrong_questions_are_explained(scorer):
    import pandas

    with pytest.raises(ValueError, match="must be one of"):
        scorer.predict([], params={"task": "classify"})
    with pytest.raises(ValueError, match="'n'; "):
        scorer.predict([], params={"n": 1})
    with pytest.raises(ValueError, match="'image'"):
        images_of(pandas.DataFrame({"a": ["x"], "b": ["y"]}))
    with pytest.raises(TypeError, match="expected uint8 pixels"):
        images_of(np.zeros((2, 8, 8, 3)))
