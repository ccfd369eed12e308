"""Identify the species on photos.

Folders are searched recursively. If no species is similar enough, the answer is `none of the
known species`, followed by the most similar species.

If the model's gallery is calibrated, the probability that the species is right is printed next
to it. It applies to photos of one of the gallery's species, unless the gallery was also
calibrated on photos of other things.

--json prints a list of objects with `query`, `species`, `score`, `known` and `results`, each
result with id, label, score, and (if the model has them) common_name and scientific_name; if the
gallery is calibrated, also `probability`. An image that cannot be read has `query` and `reason`.
"""

from __future__ import annotations

import argparse
from typing import Any

from birdembed.base.text import in_one_line
from birdembed.cli import common
from birdembed.cli.inputs import find_images

EXAMPLES = (
    "birdembed identify photo.jpg",
    "birdembed identify photos/ --model my-birds --json",
    "find photos/ -name '*.jpg' | birdembed identify -",
)
UNKNOWN = "none of the known species"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    common.add_images(parser)
    parser.add_argument(
        "-k", type=common.positive, default=5, metavar="N", help="number of species to list"
    )
    common.add_model(parser)
    common.add_precision(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Identify the species on photos and print them."""
    images = find_images(args.images)
    model = common.load_model(args)
    found, report = model.identify(images.paths, k=args.k, on_error="skip", return_report=True)
    failures = [*report.failures, *images.failures]
    common.list_failures(failures)
    if not found:
        raise ValueError("none of the given photos can be read")
    if args.json:
        rows = [_as_json(str(name), one) for name, one in zip(report.names, found, strict=True)]
        common.print_json(rows + common.bad_queries(failures))
        return 0
    for name, one in zip(report.names, found, strict=True):
        print("\n".join(_lines(str(name), one)))
    return 0


def _as_json(name: str, one: Any) -> dict[str, Any]:
    """Return an identification as printed by --json."""
    return {
        "query": name,
        "species": one.species if one.known else None,
        "score": one.score,
        **({} if one.probability is None else {"probability": one.probability}),
        "known": one.known,
        "results": [_result(match) for match in one.to_dict()["matches"]],
    }


def _result(match: dict[str, Any]) -> dict[str, Any]:
    """Return a match as printed by --json, with species names if the model has them."""
    label = match["species"]
    result = {"id": label, "label": label, "score": match["score"]}
    if match["common_name"] is not None:
        result |= {key: match[key] for key in ("common_name", "scientific_name")}
    return result


def _lines(name: str, one: Any) -> list[str]:
    """Return an identification as text: the answer, then the most similar species in columns."""
    from birdembed.base.text import probability

    shown = [in_one_line(match) for match in one.full_names()]
    stated = [shown[0], probability(one.probability)] if one.known else [UNKNOWN]
    answer = common.paint(", ".join(filter(None, stated)), "bold" if one.known else "yellow")
    rows = [
        (str(rank), f"{score:.4f}", match)
        for rank, (match, (_, score)) in enumerate(zip(shown, one.matches, strict=True), 1)
    ]
    return [
        f"{in_one_line(name)}: {answer}",
        *(f"  {line}" for line in common.columns(rows, right=(0,))),
    ]
