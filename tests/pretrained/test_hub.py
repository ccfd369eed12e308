"""Hub models, against a stand-in for the hub on loopback."""

import json
import subprocess
import sys

import pytest

from birdembed.pretrained import hub as hub_
from birdembed.pretrained.fingerprint import trunk_digest
from birdembed.pretrained.hub import hub_id, pinned_models
from tests.support import ROOT
from tests.support.hub_server import Hub
from tests.support.networks import numpy_state, random_network, vision

pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Folders as timm writes them: (files by name, trunk digest) for two seeds and a resnet50d."""
    timm = vision()[2]
    made = {}
    for key, architecture, seed in (
        ("first", "resnet50", 0),
        ("second", "resnet50", 1),
        ("deep", "resnet50d", 0),
    ):
        folder = tmp_path_factory.mktemp(key)
        network = random_network(architecture, 2, seed)
        timm.models.save_for_hf(network, folder, safe_serialization=True)
        files = {}
        for path in sorted(folder.iterdir()):
            files[path.name] = path.read_bytes()
            path.unlink()
        state = {n: a for n, a in numpy_state(network).items() if "num_batches" not in n}
        made[key] = (files, trunk_digest(state, architecture))
    return made


@pytest.fixture
def hub():
    server = Hub()
    yield server
    server.close()


@pytest.fixture
def load(hub, tmp_path):
    """Call a new process that loads a model with this test's caches."""

    def run(name, *options, **environment):
        done = subprocess.run(
            [sys.executable, ROOT / "tests/support/hub_client.py", name, *options],
            env={**hub.environment(tmp_path), **environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    yield run
    for path in (tmp_path / "hf").rglob("*.safetensors"):
        path.resolve().unlink(missing_ok=True)


def record(tmp_path, name="timm--resnet50.tv_in1k"):
    return json.loads((tmp_path / "cache" / "hub" / f"{name}.json").read_text())


def test_names():
    assert hub_id("resnet50") == "timm/resnet50.tv_in1k"
    assert hub_id("resnet50d") == "timm/resnet50d.ra2_in1k"
    assert hub_id("resnet50d.a1_in1k") == "timm/resnet50d.a1_in1k"
    assert hub_id("resnet101") == "timm/resnet101.tv_in1k"
    assert hub_id("resnet34d") == "timm/resnet34d.ra2_in1k"
    assert hub_id("microsoft/resnet-50") == "microsoft/resnet-50"
    assert hub_id("resnet51") is None
    assert hub_id("a/b/c") is None


def test_pinned_at_the_first_download_and_offline_after(
    hub, load, tmp_path, checkpoints, monkeypatch
):
    files, digest = checkpoints["first"]
    commit = hub.publish("timm/resnet50.tv_in1k", files)
    first = load("resnet50")
    assert first == {
        "architecture": "resnet50",
        "source": f"timm/resnet50.tv_in1k@{commit[:12]}",
        "classes": 2,
        "digest": digest,
        "size": 224,
        "crop_pct": first["crop_pct"],
    }
    kept = record(tmp_path)
    assert kept["commits"] == {"main": commit}
    assert set(kept["files"][commit]) == {"config.json", "model.safetensors"}

    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path / "cache"))
    assert pinned_models() == ["resnet50"]

    # The branch moves on; the name keeps its meaning, and no request is made.
    moved = hub.publish("timm/resnet50.tv_in1k", checkpoints["second"][0])
    hub.requests.clear()
    assert load("resnet50") == first
    assert hub.requests == []
    assert load("resnet50", HF_HUB_OFFLINE="1") == first
    assert load("resnet50", "local_files_only=1") == first
    assert hub.requests == []

    # A revision that is asked for by name is pinned beside it.
    second = load("resnet50", f"revision={moved}")
    assert second["digest"] == checkpoints["second"][1]
    assert record(tmp_path)["commits"] == {"main": commit, moved: moved}


def test_damaged_and_exchanged_files_are_found(hub, load, tmp_path, checkpoints):
    hub.publish("timm/resnet50.tv_in1k", checkpoints["first"][0])
    load("resnet50")
    cached = next((tmp_path / "hf").rglob("model.safetensors")).resolve()
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    answer = load("resnet50")
    assert "SHA-256 is" in answer["error"]
    assert str(cached) in answer["error"]


def test_a_download_that_is_not_the_hubs_own_hash(hub, load, checkpoints):
    files = dict(checkpoints["first"][0])
    commit = hub.publish("timm/resnet50.tv_in1k", files)
    answer_file = hub.files[commit]

    class Lying(dict):
        """Gives the true file for its hash and another of the same length for its body."""

        calls = 0

        def get(self, name, default=None):
            content = answer_file.get(name, default)
            if name == "model.safetensors":
                self.calls += 1
                if self.calls > 1:
                    return content[:-1] + bytes([content[-1] ^ 1])
            return content

    hub.files[commit] = Lying(answer_file)
    answer = load("resnet50")
    assert "error" in answer, answer


def test_other_names_and_networks(hub, load, checkpoints):
    hub.publish("timm/resnet50d.ra2_in1k", checkpoints["deep"][0])
    assert load("resnet50d")["architecture"] == "resnet50d"
    files = checkpoints["first"][0]
    hub.publish("someone/birds", files)
    assert load("someone/birds")["digest"] == checkpoints["first"][1]
    config = json.loads(files["config.json"])
    hub.publish("someone/bare", {"config.json": json.dumps(config).encode()})
    assert "has none of model.safetensors" in load("someone/bare")["error"]
    hub.publish("someone/nothing", {"README.md": b"hello"})
    assert "has no config.json" in load("someone/nothing")["error"]


def test_what_cannot_be_had_names_the_ways_out(hub, load):
    ways = "birdembed fetch sscd"
    for answer in (
        load("someone/absent"),
        load("resnet50", HF_HUB_OFFLINE="1"),
        load("resnet50", "local_files_only=1"),
    ):
        assert ways in answer["error"]
        assert "could not get config.json" in answer["error"]
    without = load("resnet50", "without_library=1")
    assert "pip install 'birdembed[hub]'" in without["error"]
    assert ways in without["error"]


@pytest.mark.slow
def test_no_network(load):
    """huggingface_hub tries again for 20 seconds first."""
    answer = load("resnet50", HF_ENDPOINT="http://127.0.0.1:9")
    assert "birdembed fetch sscd" in answer["error"]


def test_a_damaged_record(hub, load, tmp_path, checkpoints):
    hub.publish("timm/resnet50.tv_in1k", checkpoints["first"][0])
    load("resnet50")
    record = tmp_path / "cache" / "hub" / "timm--resnet50.tv_in1k.json"
    for text in ("{", "[]", '{"commits": {"main": 5}, "files": {}}', '{"commits": {}, "files": 5}'):
        record.write_text(text)
        assert "delete it to pin again" in load("resnet50")["error"]


def test_two_processes_that_pin_keep_both(monkeypatch, tmp_path):
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path))
    one, two = (hub_._Hub("owner/name", revision, False) for revision in ("v1", "v2"))
    for hub, commit in ((one, "a" * 40), (two, "b" * 40)):
        file = tmp_path / "snapshots" / commit / "config.json"
        file.parent.mkdir(parents=True)
        file.write_text(commit)
        hub._check(file, "config.json")
        hub.pin()
    record = json.loads((tmp_path / "hub" / "owner--name.json").read_text())
    assert record["commits"] == {"v1": "a" * 40, "v2": "b" * 40}
    assert record["files"].keys() == {"a" * 40, "b" * 40}


def test_records_of_other_types(monkeypatch, tmp_path):
    from birdembed.pretrained.hub import load_hub

    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("BIRDEMBED_CACHE", str(tmp_path))
    (tmp_path / "hub").mkdir()
    for text in (
        '{"commits": {"main": "abc"}, "files": {"abc": "x"}}',
        '{"commits": {"main": "abc"}, "files": {"abc": {"config.json": 5}}}',
        '{"commits": [["main", "abc"]], "files": {}}',
        '{"commits": "ab", "files": {}}',
    ):
        (tmp_path / "hub" / "timm--resnet50.tv_in1k.json").write_text(text)
        with pytest.raises(ValueError, match=r"json: damaged .*delete it to pin again"):
            load_hub("resnet50", local_files_only=True)
