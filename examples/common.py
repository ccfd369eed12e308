"""What the examples share: where the photographs are, raw vectors, unseen species, tables."""

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
    """Add --train, --valid, --start, --threads."""
    parser.add_argument("--train", metavar="DIR", help="one subfolder a species")
    parser.add_argument("--valid", metavar="DIR", help="other photographs of the same species")
    parser.add_argument(
        "--start", default="sscd", metavar="MODEL", help="model to start from (default: sscd)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: all cores")


def folders(args: argparse.Namespace) -> tuple[be.ImageFolder, be.ImageFolder]:
    """Return train and valid; without arguments those of BIRDEMBED_DATA."""
    if args.threads:
        be.set_num_threads(args.threads)
    root = os.environ.get("BIRDEMBED_DATA")
    if root is None and None in (args.train, args.valid):
        raise SystemExit(
            "give --train DIR and --valid DIR, or set BIRDEMBED_DATA to a folder with train/ and "
            "valid/ in it, one subfolder a species in each"
        )
    train = be.ImageFolder(args.train or Path(root or "") / "train")
    valid = be.ImageFolder(args.valid or Path(root or "") / "valid")
    lacking = sorted(set(valid.class_names) - set(train.class_names))
    if lacking:
        raise SystemExit(f"{valid.root} has the species {lacking[0]!r}, which {train.root} lacks")
    return train, valid


class Clock:
    """Say what is being done, and how long it took."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()

    def __call__(self, what: str) -> None:
        """Print a line with the time since the start."""
        minutes, seconds = divmod(int(time.perf_counter() - self.begun), 60)
        print(f"[{minutes:3d}:{seconds:02d}] {what}", flush=True)


def embed(model: be.Model, paths: Sequence[str], cache: Path | None) -> np.ndarray:
    """Return ``(n, dim)`` vectors; what the cache holds is not computed again."""
    return np.array(be.Index.build(model, paths, cache=cache, on_error="raise").embeddings)


def unseen_metrics(
    vectors: np.ndarray, names: Sequence[str], unseen: Iterable[str]
) -> tuple[float, float]:
    """Return precision@1 and MAP@R of the unseen species, each picture leaving itself out.

    Parameters
    ----------
    vectors : (n, dim) array
        A gallery of all species: what is found may be of any of them.
    names : sequence of str
        Species of each row.
    unseen : iterable of str
        Species whose pictures are searched for.
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
    """Write numbers for other programs."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def megabytes(folder: Path) -> float:
    """Return the size of a model's weights."""
    return (folder / "model.safetensors").stat().st_size / 1e6


def show(value: float | None, digits: int = 3) -> str:
    """Return a number for a table."""
    return "-" if value is None else f"{value:.{digits}f}"
