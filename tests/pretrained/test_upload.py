"""push_to_hub, against a stand-in for the hub on loopback, and the way back."""

import json
import subprocess
import sys

import pytest

import birdembed as be
from tests.support.hub_server import Hub

pytest.importorskip("huggingface_hub")

#: huggingface_hub reads its settings once, at import: a process of its own.
PROGRAM = """
import json, sys
import birdembed as be
model = be.Model("resnet50", num_classes=2, seed=0, class_names=["auk", "owl"])
source = model.source
url = model.push_to_hub("me/my-birds", private=True, token="hf_secret", commit_message="First")
assert model.source == source, model.source
again = be.load_model("me/my-birds")
print(json.dumps({"url": url, "same": again.fingerprint == model.fingerprint,
                  "classes": again.class_names, "source": again.source}))
"""


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


def test_up_and_down_again(hub, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=hub.environment(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    commit = hub.models["me/my-birds"]["main"]
    assert told == {
        "url": f"{hub.endpoint}/me/my-birds/commit/{commit}",
        "same": True,
        "classes": ["auk", "owl"],
        "source": f"me/my-birds@{commit[:12]}",
    }
    (asked,) = hub.created
    assert asked.get("private") is True or asked.get("visibility") == "private"
    assert "Bearer hf_secret" in hub.tokens
    files = hub.files[commit]
    assert {"README.md", "config.json", "model.safetensors"} <= set(files)
    card = files["README.md"].decode()
    assert card.startswith("---\n")
    assert "# my-birds" in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize(
    "name", ["", None, 5, "..", "me/..", "me/", "a/b/c", "/tmp/x", "me/a\nb", "me/b\n", "x" * 97]
)
def test_names_that_are_no_repository(tmp_path, monkeypatch, name):
    """Nothing is written: the name becomes that of a folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = be.Model("resnet18", seed=0)
    with pytest.raises(ValueError, match="repo_id must be 'owner/name' or 'name', got"):
        model.push_to_hub(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("no route to host.\nmore"), "OSError: no route to host"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_a_hub_that_cannot_be_reached(monkeypatch, error, text):
    def fail(*_, **__):
        raise error

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", fail)
    model = be.Model("resnet18", seed=0)
    wanted = (
        rf"me/birds: could not upload the model to the hub: {text}\. Check .*`hf upload me/birds"
    )
    with pytest.raises(be.BirdembedError, match=wanted) as caught:
        model.push_to_hub("me/birds")
    assert caught.value.__cause__ is error
    assert model.source == "random weights, seed 0"


def test_no_server_is_an_error_of_this_package(hub, tmp_path):
    environment = hub.environment(tmp_path)
    hub.close()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("birdembed.BirdembedError: me/my-birds: could not upload the model")
