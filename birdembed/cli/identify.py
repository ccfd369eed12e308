"""Name the species on photos.

Of a folder all photos below it are taken. Where no species is near enough, the answer is
`none of the known species`, and the nearest are listed all the same.

--json prints a list of objects with `query`, `species`, `score`, `known` and `results`, each
result with id, label, score.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from birdembed.base.text import in_one_line
from birdembed.cli import common

UNKNOWN = "none of the known species"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "images", type=common.path, metavar="IMAGE|DIR", nargs="+", help="photos, or folders"
    )
    parser.add_argument("-k", type=common.positive, default=5, help="species to list (default: 5)")
    common.add_model(parser)
    common.add_json(parser)


def collect(words: list[str]) -> list[str]:
    """Return the paths of the photos that the arguments name, also those in folders."""
    from birdembed.images.files import image_paths

    paths: list[str] = []
    for word in words:
        if not Path(word).is_dir():
            paths.append(word)
            continue
        found = image_paths(word)
        if not found:
            raise ValueError(f"{word}: no photographs in this folder")
        paths += found
    return paths


def run(args: argparse.Namespace) -> int:
    """Identify the species on photos and print them."""
    paths = collect(args.images)
    model = common.load_model(args)
    found, report = model.identify(paths, k=args.k, on_error="skip", return_report=True)
    common.list_failures(report.failures)
    if not found:
        raise ValueError("none of the given photos could be read")
    if args.json:
        common.print_json(
            [
                {
                    "query": name,
                    "species": one.species if one.known else None,
                    "score": one.score,
                    "known": one.known,
                    "results": [
                        {"id": label, "label": label, "score": score}
                        for label, score in one.matches
                    ],
                }
                for name, one in zip(report.names, found, strict=True)
            ]
        )
        return 0
    for name, one in zip(report.names, found, strict=True):
        print(f"{in_one_line(str(name))}: {one.species if one.known else UNKNOWN}")
        for rank, (label, score) in enumerate(one.matches, 1):
            print(f"{rank:>4}  {score:.4f}  {in_one_line(label)}")
    return 0
