"""Name the species on photos.

Of a folder all photos below it are taken. Where no species is near enough, the answer is
`none of the known species`, and the nearest are listed all the same.

The probability that a named species is right stands beside it where the model's gallery has
one. It is that of a photo of one of the gallery's species, unless the gallery was made with
photos of other things too.

--json prints a list of objects with `query`, `species`, `score`, `known` and `results`, each
result with id, label, score, and common_name and scientific_name where the model has them;
and with `probability` where there is one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

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
    common.add_precision(parser)
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
    from birdembed.base.text import probability

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
                    **({} if one.probability is None else {"probability": one.probability}),
                    "known": one.known,
                    "results": [_result(match) for match in one.to_dict()["matches"]],
                }
                for name, one in zip(report.names, found, strict=True)
            ]
        )
        return 0
    for name, one in zip(report.names, found, strict=True):
        shown = [in_one_line(match) for match in one.full_names()]
        stated = [shown[0], probability(one.probability)] if one.known else [UNKNOWN]
        print(f"{in_one_line(str(name))}: {', '.join(filter(None, stated))}")
        for rank, (match, (_, score)) in enumerate(zip(shown, one.matches, strict=True), 1):
            print(f"{rank:>4}  {score:.4f}  {match}")
    return 0


def _result(match: dict[str, Any]) -> dict[str, Any]:
    """Return a match as --json prints it; names only where there are any."""
    label = match["species"]
    result = {"id": label, "label": label, "score": match["score"]}
    if match["common_name"] is not None:
        result |= {key: match[key] for key in ("common_name", "scientific_name")}
    return result
