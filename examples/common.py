"""Code that the examples share: folders, embeddings, metrics of unseen species, tables."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import birdembed as be


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options --train, --valid, --start and --threads."""
    parser.add_argument("--train", metavar="DIR", help="folder with one subfolder per species")
    parser.add_argument("--valid", metavar="DIR", help="other photos of the same species")
    parser.add_argument(
        "--start", default="sscd", metavar="MODEL", help="model to start from (default: sscd)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="number of threads (default: all cores)"
    )


def folders(args: argparse.Namespace) -> tuple[be.ImageFolder, be.ImageFolder]:
    """Return the training and validation data, by default from BIRDEMBED_DATA."""
    if args.threads:
        be.set_num_threads(args.threads)
    root = os.environ.get("BIRDEMBED_DATA")
    if root is None and None in (args.train, args.valid):
        raise SystemExit(
            "pass --train DIR and --valid DIR, or set BIRDEMBED_DATA to a folder that contains "
            "train/ and valid/, each with one subfolder per species"
        )
    train = be.ImageFolder(args.train or Path(root or "") / "train")
    valid = be.ImageFolder(args.valid or Path(root or "") / "valid")
    lacking = sorted(set(valid.class_names) - set(train.class_names))
    if lacking:
        raise SystemExit(f"{valid.root} has the species {lacking[0]!r}, which {train.root} lacks")
    return train, valid


class Clock:
    """Print progress with the time since the start."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()

    def __call__(self, what: str) -> None:
        """Print one line."""
        minutes, seconds = divmod(int(time.perf_counter() - self.begun), 60)
        print(f"[{minutes:3d}:{seconds:02d}] {what}", flush=True)


def embed(model: be.Model, paths: Sequence[str], cache: Path | None) -> np.ndarray:
    """Return ``(n, dim)`` embeddings; those in the cache are not computed again."""
    return np.array(be.Index.build(model, paths, cache=cache, on_error="raise").embeddings)


def unseen_metrics(
    vectors: np.ndarray, names: Sequence[str], unseen: Iterable[str]
) -> tuple[float, float]:
    """Return precision@1 and MAP@R of the unseen species, not counting the query image itself.

    Parameters
    ----------
    vectors : (n, dim) array
        Embeddings of images of all species; a match can be any of them.
    names : sequence of str
        Species of each row.
    unseen : iterable of str
        Species whose images are the queries.
    """
    found = be.retrieval_metrics(vectors, names)
    rows = [found.per_class[name] for name in unseen]
    counts = np.asarray([row["n"] for row in rows], float)
    p1, map_at_r = (
        float(np.average([row[key] for row in rows], weights=counts))
        for key in ("precision_at_1", "map_at_r")
    )
    return p1, map_at_r


def write_json(path: Path, values: Any) -> None:
    """Write values to a JSON file."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def megabytes(folder: Path) -> float:
    """Return the size of a model's weights in megabytes."""
    return (folder / "model.safetensors").stat().st_size / 1e6


def show(value: float | None, digits: int = 3) -> str:
    """Format a number for a table."""
    return "-" if value is None else f"{value:.{digits}f}"
