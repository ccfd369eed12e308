"""Ray itself: a local cluster of two workers, one of which is killed."""

import os
import signal

import numpy as np
import pytest

import birdembed as be
from tests.support.small import picture

ray = pytest.importorskip("ray", reason="Ray is not installed: extra ray")
pytest.importorskip("ray.data", reason="Ray Data is not installed: extra ray")

from birdembed.integrations.ray import embed_dataset  # noqa: E402

COUNT = 48


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=3,  # two actors, and one for what reads and writes
        include_dashboard=False,
        object_store_memory=200 << 20,
        logging_level="ERROR",
        log_to_driver=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def small():
    return be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=64))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Return rows with a path and a number; the files of 7 and 30 are bad."""
    root = tmp_path_factory.mktemp("many")
    for i in range(COUNT):
        picture(i, 48).save(root / f"{i}.png")
    (root / "7.png").write_bytes(b"no picture at all")
    (root / "30.png").unlink()
    return [{"path": str(root / f"{i}.png"), "number": i} for i in range(COUNT)]


def expected(model, rows):
    return model.encode([row["path"] for row in rows], on_error="nan")


def check(table, model, rows):
    """Hold a table of Arrow against what one process computes."""
    assert sorted(table.column("number").to_pylist()) == list(range(len(rows)))
    vectors = expected(model, rows)
    for row in table.to_pylist():
        number = row["number"]
        assert row["path"] == rows[number]["path"]
        if number in (7, 30):
            assert row["embedding"] is None
            assert ("not a JPEG" if number == 7 else "No such file") in row["error"]
        else:
            assert row["error"] is None
            assert (np.asarray(row["embedding"], "f4") == vectors[number]).all()


def test_a_killed_worker_loses_nothing_and_doubles_nothing(cluster, small, rows, tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    killed = tmp_path / "killed"
    log = tmp_path / "log"
    log.mkdir()

    class Mortal:  # sent by value: the workers need not find this file
        """A model whose process dies once, in the middle of a batch in the middle of the work."""

        def __init__(self, model):
            self.model = model

        def encode(self, images, **options):
            (log / f"{os.getpid()}-{os.path.basename(images[0])}").touch()
            if any(path.endswith(f"/{COUNT // 2 + 3}.png") for path in images):
                if not killed.exists():
                    killed.write_text(str(os.getpid()))
                    os.kill(os.getpid(), signal.SIGKILL)
            return self.model.encode(images, **options)

    dataset = ray.data.from_items(rows).repartition(12)
    out = embed_dataset(dataset, Mortal(small), column="path", batch_size=4, concurrency=2)
    if int(pa.__version__.split(".")[0]) >= 26:
        out.write_parquet(str(tmp_path / "out"))
        table = parquet.read_table(tmp_path / "out")
    else:  # cannot read back from Parquet what it wrote for a null list of fixed size
        table = pa.Table.from_pylist(out.take_all())
    victim = killed.read_text()
    done = [name.split("-") for name in os.listdir(log)]
    assert victim in {pid for pid, _ in done}
    assert len({pid for pid, _ in done}) >= 2
    again = [pid for pid, first in done if first == f"{COUNT // 2}.png"]
    assert len(set(again)) == 2  # the victim, and who took over
    check(table, small, rows)


def test_lance_table_is_one_of_lancedb(cluster, small, rows, tmp_path):
    pytest.importorskip("lance", reason="pylance is not installed: extra ray")
    lancedb = pytest.importorskip("lancedb", reason="LanceDB is not installed: extra lancedb")
    small.save_pretrained(tmp_path / "model")
    out = embed_dataset(ray.data.from_items(rows), tmp_path / "model", column="path", batch_size=8)
    out.write_lance(str(tmp_path / "birds.lance"))
    table = lancedb.connect(tmp_path).open_table("birds")
    check(table.to_arrow(), small, rows)
    query = small.encode(rows[3]["path"])
    found = table.search(query, vector_column_name="embedding").distance_type("cosine").limit(1)
    assert found.to_list()[0]["number"] == 3


def test_files_as_bytes(cluster, small, rows):
    items = [
        {"file": open(row["path"], "rb").read() if number != 30 else None, "number": number}
        for number, row in enumerate(rows)
    ]
    out = embed_dataset(
        ray.data.from_items(items), small, column="file", normalize_embeddings=True
    ).to_pandas()
    out = out.sort_values("number").reset_index()
    assert out["error"].notna().to_numpy().nonzero()[0].tolist() == [7, 30]
    assert "image 7" not in out["error"][7]  # its place in a batch says nothing
    assert out["error"][30] == "null: no image"
    good = [number for number in range(COUNT) if number not in (7, 30)]
    vectors = np.stack([np.asarray(out["embedding"][number], "f4") for number in good])
    paths = [rows[number]["path"] for number in good]
    assert (vectors == small.encode(paths, normalize_embeddings=True)).all()


def test_index_from_what_ray_wrote(cluster, small, rows, tmp_path):
    pytest.importorskip("pyarrow.parquet")
    out = embed_dataset(ray.data.from_items(rows[:6]), small, column="path")
    out = out.rename_columns({"embedding": "vector"}).map(lambda row: {**row, "id": row["path"]})
    out.write_parquet(str(tmp_path / "out"))
    index = be.Index.from_parquet(tmp_path / "out")
    assert sorted(index.ids) == sorted(row["path"] for row in rows[:6])
    assert index.search(small.encode(rows[3]["path"]), 1)[0].path == rows[3]["path"]


def test_what_does_not_fit_is_refused(cluster, small, rows):
    dataset = ray.data.from_items(rows)
    with pytest.raises(TypeError, match="model must be"):
        embed_dataset(dataset, 3)
    with pytest.raises(ValueError, match="batch_size"):
        embed_dataset(dataset, small, batch_size=0)
    with pytest.raises(Exception, match="no column 'photo'"):
        embed_dataset(dataset, small, column="photo").materialize()
    with pytest.raises(Exception, match="column 'error'"):
        embed_dataset(ray.data.from_items([{"path": "a", "error": "b"}]), small).materialize()
    with pytest.raises(Exception, match="must hold paths"):
        embed_dataset(dataset, small, column="number").materialize()
