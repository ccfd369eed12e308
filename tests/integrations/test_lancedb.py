"""LanceDB itself: the embedding function, an index as a table, the command line."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

import birdembed as be
from birdembed.cli import main
from birdembed.model import shared
from tests.support.indexes import filled, same, vectors
from tests.support.small import picture

lancedb = pytest.importorskip("lancedb", reason="LanceDB is not installed: extra lancedb")

from lancedb.pydantic import LanceModel, Vector  # noqa: E402

import birdembed.integrations.lancedb as bridge  # noqa: E402


def function(**options):
    return lancedb.embeddings.get_registry().get("birdembed").create(**options)


def schema_of(embed, source=str):
    class Photograph(LanceModel):
        image: source = embed.SourceField()
        vector: Vector(embed.ndims()) = embed.VectorField()

    return Photograph


# --- the embedding function ----------------------------------------------------------


def test_function_embeds_what_is_added_in_batches(tmp_path, model, model_dir, photos, encodings):
    table = lancedb.connect(tmp_path).create_table("t", schema=schema_of(function(name=model_dir)))
    paths = [str(p) for p in sorted(photos.rglob("*.png"))]
    del encodings[:]
    table.add([{"image": path} for path in paths])
    assert encodings == [8]
    rows = table.to_arrow().to_pylist()
    assert [row["image"] for row in rows] == paths
    assert (np.asarray([row["vector"] for row in rows], "f4") == model.encode(paths)).all()


def test_function_takes_bytes_and_searches_by_picture(tmp_path, model_dir, photos):
    embed = function(name=model_dir)
    table = lancedb.connect(tmp_path).create_table("t", schema=schema_of(embed, bytes))
    files = [p.read_bytes() for p in sorted(photos.rglob("*.png"))]
    table.add([{"image": data} for data in files])
    for query in (files[3], picture(3)):
        found = table.search(query, query_type="vector").distance_type("cosine").limit(2).to_list()
        assert found[0]["image"] == files[3]
        assert found[0]["_distance"] < 1e-5


def test_function_leaves_a_null_vector_and_names_the_bad_file(tmp_path, model_dir, photos):
    table = lancedb.connect(tmp_path).create_table("t", schema=schema_of(function(name=model_dir)))
    paths = [str(photos / "ROBIN/0.png"), str(photos / "WREN/bad.jpg"), str(photos / "gone.png")]
    begin = time.monotonic()
    with pytest.warns(UserWarning, match="null vector") as seen:
        table.add([{"image": path} for path in paths], on_bad_vectors="null")
    text = str(seen[0].message)
    assert paths[1] in text
    assert paths[2] in text
    assert paths[0] not in text
    with pytest.warns(UserWarning, match="bad.jpg"), pytest.raises(Exception, match="vector"):
        table.add([{"image": paths[1]}])  # LanceDB's own default: the rows are refused
    assert time.monotonic() - begin < 30  # LanceDB would try again for ten minutes
    rows = table.to_arrow().to_pylist()
    assert [row["vector"] is None for row in rows] == [False, True, True]
    assert len(table.search(paths[0]).distance_type("cosine").limit(3).to_list()) == 1


def test_function_can_raise_at_once(tmp_path, model_dir, photos):
    embed = function(name=model_dir, on_error="raise", max_retries=7)
    table = lancedb.connect(tmp_path).create_table("t", schema=schema_of(embed))
    begin = time.monotonic()
    with pytest.raises(Exception, match=r"bad\.jpg"):
        table.add([{"image": str(photos / "WREN/bad.jpg")}])
    with pytest.raises(be.DecodeError, match=r"bad\.jpg"):
        table.search(str(photos / "WREN/bad.jpg"))
    assert time.monotonic() - begin < 30
    assert table.count_rows() == 0


def test_function_loads_its_model_once(tmp_path, model_dir, photos, loads):
    table = lancedb.connect(tmp_path).create_table("t", schema=schema_of(function(name=model_dir)))
    for name in ("0.png", "1.png"):
        table.add([{"image": str(photos / "WREN" / name)}])
    table = lancedb.connect(tmp_path).open_table("t")
    table.search(str(photos / "WREN/0.png")).limit(1).to_list()
    assert loads == [model_dir]


def test_function_refuses_a_model_that_has_changed(tmp_path, model, photos, other_dir):
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    made = lancedb.connect(tmp_path / "db").create_table(
        "t", schema=schema_of(function(name=folder))
    )
    made.add([{"image": str(photos / "WREN/0.png")}])
    assert model.fingerprint.encode() in made.schema.metadata[b"embedding_functions"]
    be.load_model(other_dir).save_pretrained(folder)
    table = lancedb.connect(tmp_path / "db").open_table("t")
    with pytest.raises(be.FingerprintMismatch, match="create the table again"):
        table.search(str(photos / "WREN/0.png"))
    with pytest.raises(Exception, match="create the table again"):
        table.add([{"image": str(photos / "WREN/1.png")}])
    assert table.count_rows() == 1


def test_function_says_what_it_takes(model_dir):
    with pytest.raises(ValueError, match="on_error must be"):
        function(name=model_dir, on_error="skip")
    with pytest.raises(TypeError, match="got device"):
        function(name=model_dir, device="gpu")


# --- an index as a table -------------------------------------------------------------


def test_index_goes_there_and_back(tmp_path):
    index = filled()
    table = index.to_lancedb(tmp_path, "birds")
    assert table.schema.names[:4] == ["id", "path", "label", "vector"]
    assert table.schema.metadata[b"birdembed.fingerprint"] == b"a" * 64
    assert same(be.Index.from_lancedb(tmp_path, "birds"), index)
    assert same(be.Index.from_lancedb(lancedb.connect(tmp_path), "birds"), index)


def test_index_without_labels_paths_and_rows(tmp_path):
    index = be.Index(dim=8)
    index.to_lancedb(tmp_path, "birds")
    assert same(be.Index.from_lancedb(tmp_path, "birds"), index)
    index.add(["a", "b"], vectors(2))
    index.to_lancedb(tmp_path, "birds")
    assert same(be.Index.from_lancedb(tmp_path, "birds"), index)
    with pytest.raises(ValueError, match="empty"):
        be.Index().to_lancedb(tmp_path, "birds")


def test_table_is_searched_by_cosine(tmp_path):
    index = filled()
    table = index.to_lancedb(tmp_path, "birds")
    query = vectors(1, seed=5)[0]
    found = index.search(query, 7)
    rows = table.search(query).distance_type("cosine").limit(7).to_list()
    assert [row["id"] for row in rows] == found.ids.tolist()
    np.testing.assert_allclose([1 - row["_distance"] for row in rows], found.scores, atol=1e-6)


def test_modes(tmp_path):
    index = filled()
    index.to_lancedb(tmp_path, "birds")
    with pytest.raises(ValueError, match="exists"):
        index.to_lancedb(tmp_path, "birds", mode="create")
    with pytest.raises(ValueError, match="mode must be"):
        index.to_lancedb(tmp_path, "birds", mode="append")
    part, rest = filled(), filled()
    part.remove(part.ids[10:].tolist())
    rest.remove(rest.ids[:8].tolist())
    part.to_lancedb(tmp_path, "birds")  # replaces
    assert same(be.Index.from_lancedb(tmp_path, "birds"), part)
    for _ in range(2):  # what comes twice is there once
        table = rest.to_lancedb(tmp_path, "birds", mode="merge")
        assert table.count_rows() == 20
    back = be.Index.from_lancedb(tmp_path, "birds")
    order = [back.ids.tolist().index(name) for name in index.ids]
    assert (back.embeddings[order] == index.embeddings).all()
    assert part.to_lancedb(tmp_path, "new", mode="merge").count_rows() == 10


@pytest.mark.parametrize(
    "name", ["a`b", "a.b", "x\0y", "*", "", "_rowid", "_distance", "_score", "_relevance_score"]
)
def test_names_of_columns_that_could_not_be_read_again_are_refused(tmp_path, name):
    index = be.Index()
    index.add(["x"], vectors(1), metadata={name: [1]})
    with pytest.raises(ValueError, match=r"cannot read a column named .*; rename"):
        index.to_lancedb(tmp_path, "t")
    assert lancedb.connect(tmp_path).list_tables().tables == []


def test_a_merge_with_a_new_column_names_it(tmp_path):
    index = be.Index()
    index.add(["x"], vectors(1))
    index.to_lancedb(tmp_path, "t")
    index = be.Index()
    index.add(["y"], vectors(1), metadata={"year": [2020]})
    with pytest.raises(ValueError, match=r"the table 't' has no column 'year'; write to another"):
        index.to_lancedb(tmp_path, "t", mode="merge")
    assert be.Index.from_lancedb(tmp_path, "t").ids.tolist() == ["x"]
    with pytest.raises(TypeError, match="expected a path, got NoneType"):
        be.Index.from_lancedb(None, "t")


def test_another_model_is_refused(tmp_path, model):
    index = filled()
    table = index.to_lancedb(tmp_path, "birds")
    other = be.Index(fingerprint="b" * 64)
    other.add(["x"], vectors(1))
    with pytest.raises(be.FingerprintMismatch, match="birds"):
        other.to_lancedb(tmp_path, "birds", mode="merge")
    with pytest.raises(be.FingerprintMismatch):
        be.Index.from_lancedb(tmp_path, "birds", model=model)
    with pytest.raises(be.FingerprintMismatch):
        bridge.search(table, vectors(1)[0], fingerprint="b" * 64)
    with pytest.raises(be.FingerprintMismatch):
        bridge.search(table, picture(0), model=model)
    longer = be.Index()
    longer.add(["x"], vectors(1, dim=9))
    with pytest.raises(ValueError, match="birds"):
        longer.to_lancedb(tmp_path, "birds", mode="merge")
    assert table.count_rows() == 20


def test_search_of_the_table(tmp_path, model, photos):
    index = be.Index.build(model, photos)
    table = index.to_lancedb(tmp_path, "birds")
    path = str(photos / "WREN/2.png")
    for query in (path, model.encode(path)):
        ours, theirs = index.search(query, 3), bridge.search(table, query, 3, model=model)
        assert theirs.ids.tolist() == ours.ids.tolist()
        assert theirs.paths.tolist() == ours.paths.tolist()
        np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-5)
    many = bridge.search(table, [path, photos / "ROBIN/1.png"], 20, "label = 'ROBIN'", model=model)
    assert many.ids.shape == (2, 4)
    assert set(many.labels.ravel()) == {"ROBIN"}
    assert many[1][0].id == "ROBIN/1.png"
    every = bridge.search(table, vectors(1, dim=2048), 10**12)
    assert len(every.ids[0]) == table.count_rows()  # of one query, and not an overflow
    with pytest.raises(ValueError, match="pass model="):
        bridge.search(table, path)
    with pytest.raises(ValueError, match="k must be"):
        bridge.search(table, vectors(1, dim=2048), 0)
    with pytest.raises(ValueError, match="row 1"):
        bridge.search(table, np.full((2, 2048), [[0], [np.nan]], "f4"))


def test_a_query_of_zeros(tmp_path):
    """It found no rows; an index finds all of them, with the score 0."""
    index = filled()
    table = index.to_lancedb(tmp_path, "birds")
    zero = np.zeros(8, np.float32)
    for k in (3, 30):
        ours, theirs = index.search(zero, k), bridge.search(table, zero, k)
        assert theirs.ids.tolist() == ours.ids.tolist()
        assert theirs.labels.tolist() == ours.labels.tolist()
        assert theirs.scores.tolist() == ours.scores.tolist() == [0] * min(k, 20)
    label = index.labels[0]
    chosen = bridge.search(table, zero, 30, f"label = '{label}' OR label = 'none'")
    assert set(chosen.labels) == {label}
    both = bridge.search(table, np.stack([zero, index.embeddings[0]]), 2)
    assert both.scores[0].tolist() == [0, 0]
    assert both.ids[1][0] == index.ids[0]


def test_reading_creates_nothing(tmp_path):
    for missing in (tmp_path / "nowhere", str(tmp_path / "nowhere" / "deep")):
        with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
            be.Index.from_lancedb(missing, "t")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"expected a folder, got a file: .*file"):
        be.Index.from_lancedb(tmp_path / "file", "t")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("table", ["a/b", "", "..", "é", "a" * 201, "a\n", None, 3])
def test_names_that_no_table_has(tmp_path, table):
    error = ValueError if isinstance(table, str) else TypeError
    index = filled()
    with pytest.raises(error, match="table"):
        index.to_lancedb(tmp_path / "db", table)
    assert not (tmp_path / "db").exists()
    with pytest.raises(error, match="table"):
        be.Index.from_lancedb(tmp_path, table)


def test_other_peoples_tables(tmp_path):
    import pyarrow as pa

    db = lancedb.connect(tmp_path)
    vector = pa.array([[0.0] * 15 + [1.0], None, [1.0] * 16], pa.list_(pa.float32(), 16))
    columns = {"id": ["a", "b", "c"], "vector": vector, "photo": [b"1", b"2", b"3"], "n": [1, 2, 3]}
    db.create_table("t", pa.table(columns), on_bad_vectors="null")
    with pytest.warns(UserWarning, match="skipped") as seen:
        index = be.Index.from_lancedb(tmp_path, "t")
    texts = " ".join(str(w.message) for w in seen)
    assert "photo (binary)" in texts
    assert "without a vector: 'b'" in texts
    assert index.ids.tolist() == ["a", "c"]
    assert index.metadata["n"].tolist() == [1, 3]
    assert index.fingerprint is None
    db.create_table("u", pa.table({"name": ["a"], "vector": vector[:1]}))
    with pytest.raises(ValueError, match="no column id"):
        be.Index.from_lancedb(tmp_path, "u")
    with pytest.raises(ValueError, match="no table 'birds'"):
        be.Index.from_lancedb(tmp_path, "birds")


def test_index_from_a_table_of_the_function(tmp_path, model, model_dir, photos):
    embed = function(name=model_dir)

    class Photograph(LanceModel):
        id: str
        path: str = embed.SourceField()
        vector: Vector(embed.ndims()) = embed.VectorField()

    table = lancedb.connect(tmp_path).create_table("t", schema=Photograph)
    paths = sorted(str(p) for p in photos.rglob("*.png"))
    table.add([{"id": f"{i}", "path": path} for i, path in enumerate(paths)])
    index = be.Index.from_lancedb(tmp_path, "t", model=model)
    assert index.fingerprint == model.fingerprint
    assert index.search(paths[3], 1)[0].path == paths[3]


def test_an_index_is_merged_into_a_table_of_the_function(tmp_path, model_dir, photos):
    """By a process that has never imported the integration: LanceDB asks for the function."""
    embed = function(name=model_dir)

    class Photograph(LanceModel):
        id: str
        path: str = embed.SourceField()
        label: str
        vector: Vector(embed.ndims()) = embed.VectorField()

    table = lancedb.connect(tmp_path).create_table("t", schema=Photograph)
    table.add([{"id": "a", "path": str(photos / "ROBIN/1.png"), "label": "ROBIN"}])
    program = (
        "import sys, birdembed as be; index = be.Index.from_lancedb(sys.argv[1], 't'); "
        "index.add(['b'], index.embeddings, ['ROBIN'], {'path': ['b.png']}); "
        "table = index.to_lancedb(sys.argv[1], 't', mode='merge')\n"
        "try: table.search('b.png').to_list()\n"
        "except ImportError as error: assert 'birdembed.integrations.lancedb' in str(error)\n"
        "else: raise AssertionError('the function itself was imported')"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert lancedb.connect(tmp_path).open_table("t").count_rows() == 2


# --- the command line, and where LanceDB is missing ----------------------------------


def test_command_line(tmp_path, monkeypatch, capsys, photos, model_dir):
    uri, file = str(tmp_path / "db"), str(tmp_path / "birds.index")
    words = ["index", str(photos), "--model", model_dir, "--lancedb", uri]
    assert main([*words, "--table", "garden", "-o", file]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [file, f"{uri} garden"]
    assert "bad.jpg" in shown.err
    assert same(be.Index.from_lancedb(uri, "garden"), be.Index.load(file))
    assert main([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["table"], shown["rows"], shown["labels"]) == ("birds", 8, 2)
    assert lancedb.connect(uri).open_table("birds").count_rows() == 8
    assert main(["index", str(photos), "--model", model_dir]) == 2
    assert main(["index", str(photos), "-o", file, "--table", "t"]) == 2


def test_shared_model_follows_its_folder(tmp_path, model, other_dir, loads):
    folder = tmp_path / "m"
    model.save_pretrained(folder)
    first = shared.shared_model(folder)
    assert shared.shared_model(str(folder)) is first
    be.load_model(other_dir).save_pretrained(folder)
    second = shared.shared_model(folder)
    assert second.fingerprint != first.fingerprint
    assert len(loads) == 2
    assert len(shared._models) == 1
