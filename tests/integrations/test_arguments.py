"""Wrong arguments of the integrations: the error names the argument and what it should be."""

import pytest

import birdembed as be


def embed_dataset(**options):
    pytest.importorskip("ray.data", reason="Ray Data is not installed: extra ray")
    from birdembed.integrations.ray import embed_dataset

    embed_dataset(options.pop("dataset", None), "nowhere", **options)


def lance(query=(1.0,), table="birds", **options):
    pytest.importorskip("lancedb", reason="LanceDB is not installed: extra lancedb")
    from birdembed.integrations import lancedb

    lancedb.search(table, list(query), **options)


def lance_function(**options):
    lancedb = pytest.importorskip("lancedb", reason="LanceDB is not installed: extra lancedb")
    import birdembed.integrations.lancedb  # noqa: F401

    lancedb.embeddings.get_registry().get("birdembed").create(**options)


def shard_files(*sizes):
    pytest.importorskip("metaflow", reason="needs the extra metaflow")
    from birdembed.integrations.metaflow import shard_files

    shard_files(".", *sizes)


def card(**options):
    pytest.importorskip("metaflow", reason="needs the extra metaflow")
    from birdembed.integrations.metaflow import MetaflowCallback

    MetaflowCallback(**options)


def run(**options):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from birdembed.integrations.mlflow import MlflowCallback

    MlflowCallback(**options)


def predict(data=(), params=None):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from birdembed.integrations.mlflow.pyfunc import Scorer

    model = be.Model("resnet18", num_classes=0, seed=0)
    Scorer(model).predict(list(data) if data == () else data, params)


WRONG = [
    (embed_dataset, {"batch_size": "8"}, "batch_size must be an int, got '8'"),
    (embed_dataset, {"batch_size": 2.5}, "batch_size must be an int, got 2.5"),
    (embed_dataset, {"batch_size": True}, "batch_size must be an int, got True"),
    (embed_dataset, {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    (embed_dataset, {"concurrency": "2"}, "concurrency must be an int, got '2'"),
    (embed_dataset, {"concurrency": 0}, "concurrency must be at least 1, got 0"),
    (embed_dataset, {"concurrency": (1, 2, 3)}, r"minimum and maximum, got \(1, 2, 3\)"),
    (embed_dataset, {"concurrency": (3, 1)}, "maximum of concurrency must be at least 3, got 1"),
    (embed_dataset, {"num_cpus": "1"}, "num_cpus must be a number, got '1'"),
    (embed_dataset, {"num_cpus": -1}, "num_cpus must be finite, at least 0, got -1"),
    (embed_dataset, {"normalize_embeddings": "no"}, "normalize_embeddings must be True or False"),
    (embed_dataset, {"column": 3}, "column must be a string, got 3"),
    (embed_dataset, {"dataset": ["a.jpg"]}, r"dataset must be a Ray Dataset.*got \['a.jpg'\]"),
    (lance, {"k": 2.5}, "k must be an int"),
    (lance, {"where": {"label": "x"}}, "where must be a string, got {'label': 'x'}"),
    (lance, {"fingerprint": 3}, "fingerprint must be a string, got 3"),
    (lance, {}, r"table must be an open table.*got 'birds'; open it with .*open_table"),
    (lance_function, {"batch_size": "8"}, "batch_size must be an int, got '8'"),
    (lance_function, {"name": 3}, "expected a path, got int"),
    (card, {"keep": "3"}, "keep must be an int, got '3'"),
    (card, {"keep": 0}, "keep must be at least 1, got 0"),
    (card, {"refresh_every": "1"}, "refresh_every must be a number, got '1'"),
    (card, {"pictures": 1}, "pictures must be True or False, got 1"),
    (card, {"card_id": 1}, "card_id must be a string, got 1"),
    (run, {"plots": "no"}, "plots must be True or False, got 'no'"),
    (predict, {"params": {"k": 2.7}}, r"params\['k'\] must be an int, got 2.7"),
    (predict, {"params": {"k": "x"}}, r"params\['k'\] must be an int, got 'x'"),
    (predict, {"params": {"k": 0}}, r"params\['k'\] must be at least 1, got 0"),
    (predict, {"params": {3: 1}}, "params has 3; the params are task"),
    (predict, {"params": "embed"}, "params must be a dict, got 'embed'"),
    (predict, {"data": None}, "the input must hold images, got None"),
    (predict, {"data": 3}, "the input must hold images, got 3"),
]


@pytest.mark.parametrize(("call", "options", "message"), WRONG)
def test_wrong_arguments_are_named(call, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(**options)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2.5,), "per_shard must be an int, got 2.5"),
        ((0,), "per_shard must be at least 1, got 0"),
        ((2, 0), "most must be at least 1, got 0"),
        ((2, -1), "most must be at least 1, got -1"),
    ],
)
def test_wrong_sizes_of_shards(sizes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        shard_files(*sizes)
