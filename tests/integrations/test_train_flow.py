"""The training flow, run by Metaflow as released, with the real network on small pictures.

Each run is one of `python flows/train_flow.py run ...`, with Metaflow's home in a temporary folder
and from a folder that is not this checkout.
"""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import birdembed as be
from tests.support import ROOT
from tests.support.train_data import make_folder

for needed in ("metaflow", "metaflow_extensions.obcheckpoint", "mlflow", "lancedb", "matplotlib"):
    pytest.importorskip(needed, reason="needs the extras metaflow, mlflow, lancedb and plot")

import mlflow  # noqa: E402

FLOW = ROOT / "flows" / "train_flow.py"
OPTIONS = {"epochs": 2, "batch_size": 8, "image_size": 96, "checkpoint_every": 2}
KILL_AT = 4  # steps: after the first of the second epoch's three
PATIENCE = 900  # seconds

# Reads a finished run with Metaflow's own client, in a process that has its settings.
LOOK = """
import json, sys
from metaflow import Flow, namespace
from metaflow.cards import get_cards
namespace(None)
run = Flow("TrainFlow").latest_run
data = run.data
train = run["train"].task
steps = sorted(step.id for step in run)
found = {
    "successful": run.successful,
    "steps": steps,
    "verdict": data.verdict,
    "attempt": train.current_attempt,
    "loaded": train.metadata_dict.get("checkpoint-load-key"),
    "mlflow_run_id": data.mlflow_run_id,
    "model_uri": getattr(data, "model_uri", None),
    "table_uri": getattr(data, "table_uri", None),
    "unembedded": getattr(data, "unembedded", None),
    "scores": data.scores,
    "cards": [[c.id, c.get()] for n in ("train", "evaluate") for c in get_cards(run[n].task)],
}
data.model.save_pretrained(sys.argv[1])
json.dump(found, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures, a model to start from, and Metaflow's home."""
    root = tmp_path_factory.mktemp("flow")
    make_folder(root / "train", per_class=6)
    make_folder(root / "valid", per_class=2, seed=1)
    make_folder(root / "photos", per_class=3, seed=2)
    (root / "photos" / "bad.jpg").write_bytes(b"no picture")
    model = be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=96))
    model.save_pretrained(root / "model")
    (root / "elsewhere").mkdir()
    return root


@pytest.fixture
def environment(place, tracking_server):
    cache = "METAFLOW_CLIENT_CACHE_PATH"  # of tests/conftest.py
    kept = {k: v for k, v in os.environ.items() if k == cache or not k.startswith("METAFLOW_")}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {
        **kept,
        "PYTHONPATH": paths,
        "METAFLOW_HOME": str(place / "home"),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(place),
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_USER": "tester",
        "MLFLOW_TRACKING_URI": tracking_server,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def start(place, environment, *words):
    log = open(place / "flow.log", "wb")
    with log:
        return subprocess.Popen(
            [
                *(sys.executable, str(FLOW), "run", "--max-workers", "1"),
                *("--train", str(place / "train"), "--valid", str(place / "valid")),
                *("--model", str(place / "model"), *words),
            ],
            cwd=place / "elsewhere",
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextlib.contextmanager
def stopped_at_the_end(process):
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def log_of(place):
    return (place / "flow.log").read_text(errors="replace")


def look(place, environment, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path / "model"), str(tmp_path / "found.json")],
        cwd=place / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((tmp_path / "found.json").read_text()), be.load_model(tmp_path / "model")


def training_task(process):
    """Return the pid of the task that trains: a child of the flow's own process."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == process.pid and b"step" in words and b"train" in words:
                return int(folder.name)
    return None


def checkpoint_step(place):
    """Return the step of the last checkpoint in Metaflow's datastore."""
    for path in place.glob(
        ".metaflow/mf.checkpoints/checkpoints/metadata/TrainFlow/*/train/*/latest"
    ):
        with contextlib.suppress(ValueError):
            return json.loads(path.read_text())["metadata"]["step"]
    return 0


def kill_training(place, process):
    """Send SIGKILL to the training task once it has handed over a checkpoint."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        step = checkpoint_step(place)
        if step >= KILL_AT:
            pid = training_task(process)
            assert pid is not None, log_of(place)[-3000:]
            os.kill(pid, signal.SIGKILL)
            return step
        time.sleep(0.05)
    pytest.fail(f"no checkpoint came:\n{log_of(place)[-3000:]}")


def words_of(options):
    return [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(
    place, environment, tracking_server, tmp_path, monkeypatch
):
    words = [
        *words_of(OPTIONS),
        *("--accuracy-threshold", "0", "--collection", str(place / "photos")),
        *("--shard-size", "5", "--registered-model", "flow-birds"),
    ]
    with stopped_at_the_end(start(place, environment, *words)) as process:
        killed_at = kill_training(place, process)
        assert process.wait(PATIENCE) == 0, log_of(place)[-4000:]
    log = log_of(place)
    found, model = look(place, environment, tmp_path)
    assert found["successful"]
    assert found["attempt"] == 1
    assert found["loaded"]
    (went_on,) = re.findall(r"resumed from the checkpoint at step (\d+)", log)
    assert int(went_on) >= killed_at

    # The same weights, to the bit, as a training that nobody stopped.
    whole = be.load_model(place / "model")
    be.fine_tune(whole, be.ImageFolder(place / "train"), be.ImageFolder(place / "valid"), **OPTIONS)
    expected, state = whole.state_dict(), model.state_dict()
    assert state.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(state[name], expected[name], err_msg=name)

    check_registered(found, model, tracking_server, monkeypatch)
    check_table(found, model, place)
    check_cards(found)


def check_registered(found, model, tracking_server, monkeypatch):
    from birdembed.integrations.mlflow import load_model

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    assert found["verdict"] == "accepted"
    assert found["model_uri"] == "models:/flow-birds/1"
    run = mlflow.get_run(found["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["evaluation/accuracy"] == found["scores"]["accuracy"]
    client = mlflow.MlflowClient()
    epochs = {m.step for m in client.get_metric_history(run.info.run_id, "valid_accuracy")}
    assert epochs == {1, 2}
    registered = load_model("models:/flow-birds@champion")
    assert registered.fingerprint == model.fingerprint
    assert registered.gallery is not None


def check_table(found, model, place):
    index = be.Index.from_lancedb(place / "photos.lancedb", "birds", model=model)
    paths = sorted(
        path.relative_to(place / "photos").as_posix() for path in place.glob("photos/*/*")
    )
    assert sorted(index.ids) == paths
    assert index.fingerprint == model.fingerprint
    row = list(index.ids).index("jay/01.bmp")
    assert index.labels[row] == "jay"
    np.testing.assert_array_equal(
        index.embeddings[row], model.encode(place / "photos" / "jay" / "01.bmp")
    )
    assert [name for name, _ in found["unembedded"]] == ["bad.jpg"]


def check_cards(found):
    for name, words in {
        "training": ("Fine-tuning resnet50", "finished", "Loss", "Most similar images"),
        "evaluation": ("Accepted", "precision_at_1", "Confusion matrix"),
    }.items():
        # A card is a page whose data are JSON in base64. An attempt that was killed leaves one too.
        pages = [page for card, page in found["cards"] if card == name]
        texts = []
        for page in pages:
            (data,) = re.findall(r'__MF_DATA__\["[^"]*"\] = "([^"]+)"', page)
            texts.append(base64.b64decode(data).decode())
        missing = [[word for word in words if word not in text] for text in texts]
        assert [] in missing, (name, missing)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_below_the_threshold_nothing_is_registered(
    place, environment, tracking_server, tmp_path, monkeypatch
):
    words = [
        *("--epochs", "1", "--batch-size", "24", "--image-size", "96"),
        *("--accuracy-threshold", "1.01", "--registered-model", "poor-birds"),
        *("--collection", str(place / "photos"), "--table", "none"),
    ]
    with stopped_at_the_end(start(place, environment, *words)) as process:
        assert process.wait(PATIENCE) == 0, log_of(place)[-4000:]
    assert "below the threshold: nothing was registered" in log_of(place)
    found, _ = look(place, environment, tmp_path)
    assert found["verdict"] == "rejected"
    assert found["steps"] == ["end", "evaluate", "start", "train"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server)
    client = mlflow.MlflowClient()
    assert [m.name for m in client.search_registered_models() if m.name == "poor-birds"] == []
    run = client.get_run(found["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["verdict"] == "rejected"
    assert not (run.outputs and run.outputs.model_outputs)
