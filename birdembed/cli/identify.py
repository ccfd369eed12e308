"""Identify the species in photos.

Folders are searched recursively. If no species is similar enough, the answer is `none of the
known species`, followed by the most similar species.

If the model's gallery is calibrated, the probability that the species is right is printed next
to it. It applies to photos of one of the gallery's species, unless the gallery was also
calibrated on photos of other things.

--json prints a list of objects with `query`, `species`, `score`, `known` and `results`, each
result with id, label, score, and (if the model has them) common_name and scientific_name; if the
gallery is calibrated, also `probability`. An image that cannot be read has `query` and `reason`.

-o writes the answers to a file instead:

  X.csv      one row per photo, columns query, species, common_name, scientific_name, score,
             probability, known, nearest, reason; species is empty if the bird is none of the
             known species, nearest is always the most similar species
  X.parquet  the same columns; needs the extra: pip install 'birdembed[parquet]'; bytes of a name
             that are not UTF-8 are escaped as in Python
  X.json     what --json prints
  X.jsonl    the same, one object per line
"""

from __future__ import annotations

import argparse
from typing import Any

from birdembed.base.files import replacing
from birdembed.base.json_text import json_text
from birdembed.base.text import counted, in_one_line
from birdembed.cli import common, output

EXAMPLES = (
    "birdembed identify photo.jpg",
    "birdembed identify photos/ -o answers.csv",
    "birdembed identify photos/ --model my-birds --json",
    "find photos/ -name '*.jpg' | birdembed identify -",
)
UNKNOWN = "none of the known species"
COLUMNS = {
    "query": "string",
    "species": "string",
    "common_name": "string",
    "scientific_name": "string",
    "score": "float64",
    "probability": "float64",
    "known": "bool",
    "nearest": "string",
    "reason": "string",
}


def write_csv(rows: list[dict[str, Any]], path: str) -> None:
    """Write the answers to a .csv file, one row per photo."""
    output.write_table(path, list(COLUMNS), map(_columns, rows))


def write_parquet(rows: list[dict[str, Any]], path: str) -> None:
    """Write the answers to a .parquet file, one row per photo."""
    import pyarrow as pa
    import pyarrow.parquet

    table = {
        name: pa.array([_utf8(v) if kind == "string" and v else v for v in values], kind)
        for (name, kind), values in zip(
            COLUMNS.items(), zip(*map(_columns, rows), strict=True), strict=True
        )
    }
    with replacing(path) as name:
        pyarrow.parquet.write_table(pa.table(table), name)


def _utf8(text: str) -> str:
    """Return text that is UTF-8, with other bytes of names as escapes, so that names differ."""
    return text.encode(errors="backslashreplace").decode()


def write_json(rows: list[dict[str, Any]], path: str) -> None:
    """Write what --json prints to a .json file."""
    output.write_text(path, json_text(rows, indent=1) + "\n")


def write_jsonl(rows: list[dict[str, Any]], path: str) -> None:
    """Write what --json prints to a .jsonl file, one object per line."""
    output.write_text(path, "".join(json_text(row) + "\n" for row in rows))


WRITERS = {
    ".csv": write_csv,
    ".json": write_json,
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    common.add_images(parser)
    parser.add_argument(
        "-k", type=common.positive, default=5, metavar="N", help="number of species to list"
    )
    output.add_output(
        parser, WRITERS, help="write the answers to a file; the ending sets the format"
    )
    common.add_model(parser)
    common.add_precision(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Identify the species in photos, and print them or write them to a file."""
    if args.output:
        output.need_target(args.output, args.images)
    images = common.images_of(args)
    model = common.load_model(args)
    found, report = model.identify(images.paths, k=args.k, on_error="skip", return_report=True)
    failures = [*report.failures, *images.failures]
    common.list_failures(failures)
    answers = list(zip(map(str, report.names), found, strict=True))
    rows = common.with_bad_queries(
        [_as_json(name, one) for name, one in answers], report.kept, failures
    )
    if not found:
        if args.json:
            common.print_json(rows)
        raise ValueError("none of the given photos can be read")
    if args.output:
        WRITERS[output.ending(args.output)](rows, args.output)
        known = sum(one.known for one in found)
        _print_written(args, len(found), known, failures)
    elif args.json:
        common.print_json(rows)
    else:
        assert model.threshold is not None  # identify raises an error without one
        for name, one in answers:
            print("\n".join(_lines(name, one, model.threshold)))
    return 0


def _print_written(
    args: argparse.Namespace, count: int, known: int, failures: list[tuple[int, str, str]]
) -> None:
    """Print the name of the file of -o, and how many photos it has answers for."""
    if args.json:
        unreadable = common.failures_json(failures)
        common.print_json(
            {"file": args.output, "rows": count, "known": known, "failures": unreadable}
        )
    else:
        print(args.output)
        common.say(f"{counted(count, 'photo')}, {known} of a known species")


def _columns(row: dict[str, Any]) -> list[Any]:
    """Return the values of COLUMNS of an answer as printed by --json."""
    nearest = row["results"][0] if "results" in row else {}
    named = nearest if row.get("known") else {}
    shown = {
        **row,
        "common_name": named.get("common_name"),
        "scientific_name": named.get("scientific_name"),
        "nearest": nearest.get("label"),
    }
    return [shown.get(name) for name in COLUMNS]


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


def _lines(name: str, one: Any, threshold: float) -> list[str]:
    """Return an identification as text: the answer, then the most similar species in columns."""
    from birdembed.base.text import probability

    shown = [in_one_line(match) for match in one.full_names()]
    if one.known:
        stated = ", ".join(filter(None, [shown[0], probability(one.probability)]))
    else:
        stated = f"{UNKNOWN} (best score {one.score:.4f}, threshold {threshold:.4f})"
    answer = common.paint(stated, "bold" if one.known else "yellow")
    rows = [
        (str(rank), f"{score:.4f}", match)
        for rank, (match, (_, score)) in enumerate(zip(shown, one.matches, strict=True), 1)
    ]
    return [
        f"{in_one_line(name)}: {answer}",
        *(f"  {line}" for line in common.columns(rows, right=(0,))),
    ]
