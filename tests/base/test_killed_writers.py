"""Writers killed at 25 random moments each: what was there before or the new one loads."""

import os
import random
import signal
import time
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

import birdembed as be
from birdembed import _core
from birdembed.search.embedding_cache import EmbeddingCache
from birdembed.training import checkpoint
from birdembed.training.run import Position

KILLS = 25
pytestmark = pytest.mark.slow


def killed(write, after):
    """Let a forked process write again and again, and kill it after so many seconds."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                write()
        finally:
            os._exit(1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer failed"


@pytest.fixture
def moments():
    """Random times; where a test fails, pytest shows the seed."""
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}")
    rng = random.Random(seed)
    return [rng.uniform(0, 0.3) for _ in range(KILLS)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_index(tmp_path, moments):
    path = tmp_path / "x.index"
    new, old = be.Index(256), be.Index(256)
    new.add([str(i) for i in range(4000)], np.ones((4000, 256), "f4"))
    old.add(["old"], np.ones((1, 256), "f4"))
    old.save(path)
    for after in moments:
        killed(lambda: new.save(path), after)
        assert len(be.Index.load(path)) in (1, 4000)
    old.save(path)
    assert names(tmp_path) == ["x.index"]


def test_model(tmp_path, moments):
    model = be.Model("resnet50", 2, seed=0)
    model.save_pretrained(tmp_path)
    before = names(tmp_path)
    for after in moments:
        killed(lambda: model.save_pretrained(tmp_path), 3 * after)
        assert be.load_model(tmp_path).num_classes == 2
    model.save_pretrained(tmp_path)
    assert names(tmp_path) == before


def test_checkpoint(tmp_path, moments, monkeypatch):
    table = [("conv1.weight", (500, 300)), ("fc.weight", (2, 300))]
    core = SimpleNamespace(architectures=_core.architectures, parameter_table=lambda *_: table)
    monkeypatch.setattr(checkpoint, "_core", core)
    arrays = {kind: [np.ones(shape, "f4") for _, shape in table] for kind in ("model", "m")}
    state = checkpoint.Checkpoint(
        "resnet50",
        ["wren", "tit"],
        be.Preprocess(size=96),
        arrays,
        step=0,
        position=asdict(Position()),
        config={"epochs": 1, "lr": 0.1},
        history=[],
        data={},
        base_size=96,
    )

    def write():
        state.step += 1
        checkpoint.write_checkpoint(tmp_path, state)

    write()
    before = len(names(tmp_path))
    for after in moments:
        killed(write, after)
        assert checkpoint.read_checkpoint(tmp_path).step >= 1
    write()
    assert len(names(tmp_path)) == before


def test_cache(tmp_path, moments):
    rows = np.ones((32, 2048), "f4")
    cache = EmbeddingCache(tmp_path, "f" * 64)
    count = iter(range(10**9))
    written = []  # by this process

    def write():
        prefix = os.getpid().to_bytes(8, "little") + next(count).to_bytes(16, "little")
        keys = [prefix + i.to_bytes(8, "little") for i in range(32)]
        cache.put(keys, rows, ["birdembed"] * 32)
        written.extend(keys)

    write()
    kept = 0
    for after in moments:
        killed(write, after / 3)
        write()
        again = EmbeddingCache(tmp_path, "f" * 64)
        assert len(again) >= max(kept, len(written))
        assert all(again.get(key) is not None for key in written)
        assert again.damaged == 0
        kept = len(again)
    assert names(tmp_path) == [cache.path.name]
