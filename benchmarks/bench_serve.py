"""The JSON service: many clients at once, compared with `Model.encode` on the same photos."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_embed import export
from benchmarks.common import Result, Settings, Work, compare, relative_l2
from benchmarks.pictures import photographs
from benchmarks.served import embedding, served

COUNT = 96
CLIENTS = 32


def _served(options: dict[str, Any], clients: int) -> Work:
    import birdembed.serve  # noqa: F401  (ImportError if the extra is missing)

    port = served(["--model", options["model"], "--threads", str(options["threads"])])
    data = [Path(path).read_bytes() for path in options["paths"]]
    pool = ThreadPoolExecutor(clients)
    return lambda: np.asarray(list(pool.map(partial(embedding, port), data)), np.float32)


def many(options: dict[str, Any]) -> Work:
    return _served(options, CLIENTS)


def one(options: dict[str, Any]) -> Work:
    return _served(options, 1)


def without(options: dict[str, Any]) -> Work:
    import birdembed as be

    model = be.load_model(options["model"])
    data = [Path(path).read_bytes() for path in options["paths"]]
    return lambda: model.encode(data, show_progress_bar=False)


CONTENDERS = {
    "birdembed": many,
    "birdembed, one client": one,
    "Model.encode, no server": without,
}


def main(settings: Settings) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        paths, what = photographs(COUNT, Path(folder))
        result = compare(
            f"{COUNT} requests to /embed from {CLIENTS} clients at once",
            __name__,
            list(CONTENDERS),
            {**export(Path(folder)), "paths": paths},
            settings,
            amount=COUNT,
            check=relative_l2(0),  # the very same numbers
        )
    result.notes.append(what)
    return [result]
