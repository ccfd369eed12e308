"""A registered model in a clean environment: only the wheel and mlflow are in it."""

import os
import subprocess
import sys

import numpy as np
import pytest

import birdembed as be
from tests.support import ROOT
from tests.support.train_data import make_folder

mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")


CLEAN = """
import sys
import mlflow, numpy
import birdembed
from birdembed.integrations.mlflow import load_model
embeddings, wrapped, *paths = sys.argv[1:]
assert birdembed.__file__.startswith(sys.prefix), birdembed.__file__
numpy.save(embeddings, load_model("models:/clean@champion").encode(paths))
model = mlflow.pyfunc.load_model("models:/clean@champion")
numpy.save(wrapped, model.predict([open(path, "rb").read() for path in paths]))
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_clean_environment_loads_the_registered_model(tracking_server, tmp_path, monkeypatch):
    from birdembed.integrations.mlflow import log_model

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    data = make_folder(tmp_path / "birds", per_class=3)
    model = be.Model("resnet50", num_classes=4, seed=0, class_names=data.class_names)
    model.fit_gallery(data)
    with mlflow.start_run():
        log_model(model, registered_model_name="clean", alias="champion")
    dropped = ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in dropped}

    def run(*words):
        done = subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    run(
        *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
        *("-w", tmp_path, ROOT),
    )
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel, "mlflow")
    run(python, "-c", CLEAN, tmp_path / "a.npy", tmp_path / "b.npy", *data.paths)
    expected = model.encode(data)
    for name in ("a.npy", "b.npy"):
        np.testing.assert_allclose(np.load(tmp_path / name), expected, rtol=0, atol=1e-6)
