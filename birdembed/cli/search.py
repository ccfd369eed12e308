"""Find the photos most similar to given ones.

The first argument is an index written by `birdembed index`, a folder, or `-` for the paths on
standard input. Photos are indexed first, and their vectors are cached for the next search. An index
is searched with the model that made it.

"nothing close" means that even the best match scores below the model's threshold for a known
species.

--json prints a list of objects with `query`, `close` and `results`, each result with id, label
and score. An image that cannot be read has `query` and `reason`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birdembed.base.optional import need
from birdembed.base.text import in_one_line
from birdembed.cli import common, output
from birdembed.cli.inputs import (
    HELP,
    check_standard_input,
    is_index,
    named_like_image,
    place_to_search,
)

if TYPE_CHECKING:
    import birdembed as be

EXAMPLES = (
    "birdembed search photos.index unknown.jpg",
    "birdembed search photos/ unknown.jpg -k 3 --min-score 0.5",
)


def score(word: str) -> float:
    """Argument type: a cosine similarity."""
    number = common.number(word)
    if not -1 <= number <= 1:
        raise argparse.ArgumentTypeError(f"expected a similarity from -1 to 1, got {word!r}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "index",
        type=common.path,
        metavar="INDEX|DIR|-",
        help="where to search: an index, a folder, or - to read paths from standard input",
    )
    common.add_images(parser, f"what to search for: {HELP}")
    parser.add_argument(
        "-k", type=common.positive, default=5, metavar="N", help="number of matches per image"
    )
    parser.add_argument(
        "--min-score", type=score, metavar="S", help="leave out matches with a lower similarity"
    )
    parser.add_argument(
        "--plot",
        type=output.OutputFile(output.PICTURES),
        metavar="X.png|svg|pdf|jpg",
        help="write a plot of images and matches",
    )
    common.add_model(parser, "the model that made the index; birds477 for a folder")
    common.add_precision(parser)
    common.add_json(parser)


def _cache() -> Path | None:
    """Return the folder that caches vectors; print a message and return None if it is read-only."""
    from birdembed.base.files import cache_dir, staging

    try:
        folder = cache_dir() / "vectors"
    except FileNotFoundError as error:  # no home folder; the message says what to set
        common.say(f"vectors are not cached: {common.one_line(error)}")
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with staging(folder, "probe"):
            return folder
    except OSError as error:
        reason = common.one_line(error)
        common.say(f"vectors are not cached: {reason}; set BIRDEMBED_CACHE to a writable folder")
        return None


def run(args: argparse.Namespace) -> int:
    """Search an index or a folder for photos and print the matches."""
    import birdembed as be

    place = place_to_search(args.index, args.images)
    if place is not None:
        raise common.UsageError(
            f"{args.index} is an image and {place} is where to search; swap the two: "
            f"birdembed search {place} {args.index}"
        )
    check_standard_input(
        {"where to search": args.index, "what to search for": "-" if "-" in args.images else None}
    )
    if args.index != "-" and not Path(args.index).exists():
        raise FileNotFoundError(f"no such index or folder: {args.index}")
    if named_like_image(args.index) and not is_index(args.index):
        raise common.UsageError(
            f"{args.index} is an image: name first where to search, an index or a folder, as in "
            f"birdembed search FOLDER {args.index}"
        )
    images = common.images_of(args)
    if args.plot:
        need("matplotlib", "plot", "--plot")
        output.need_target(args.plot, [args.index])
        output.check_not_read(args.plot, images.paths)
    model, index = common.open_index(args, args.index, _cache)
    if args.plot and args.index == "-":  # only now the paths are known
        output.check_not_read(args.plot, filter(None, index.paths))
    vectors, report = model.encode(images.paths, on_error="skip", return_report=True)
    failures = [*report.failures, *images.failures]
    common.list_failures(failures)
    if len(vectors) == 0:
        if args.json:
            common.print_json(common.with_bad_queries([], [], failures))
        raise ValueError("none of the given photos can be read")
    found = index.search(vectors, k=args.k, fingerprint=model.fingerprint, min_score=args.min_score)
    names = [str(name) for name in report.names]
    if args.plot:
        output.save_figure(be.plot_grid(names, found), args.plot)
    if args.json:
        rows = [_as_json(name, result) for name, result in zip(names, found, strict=True)]
        common.print_json(common.with_bad_queries(rows, report.kept, failures))
    else:
        for name, result in zip(names, found, strict=True):
            print("\n".join(_lines(name, result, args.min_score)))
    if args.plot:
        common.say(args.plot) if args.json else print(args.plot)
    return 0


def _as_json(name: str, result: be.SearchResult) -> dict[str, Any]:
    """Return the matches of one image as printed by --json."""
    matches = [{"id": m.id, "label": m.label, "score": float(m.score)} for m in result]
    return {"query": name, "close": result.close, "results": matches}


def _lines(name: str, result: be.SearchResult, min_score: float | None) -> Sequence[str]:
    """Return the matches of one image as text: rank, score, label and id in columns."""
    from birdembed.search.results import NOTHING_CLOSE

    notes = [NOTHING_CLOSE] if result.close is False else []
    if not len(result) and min_score is not None:
        notes.append(f"no match scores {min_score:g} or more")
    far = f"  ({common.paint(', '.join(notes), 'yellow')})" if notes else ""
    head = common.paint(in_one_line(name), "bold") + far
    rows = [
        (str(rank), f"{match.score:.4f}", in_one_line(match.label or "-"), in_one_line(match.id))
        for rank, match in enumerate(result, 1)
    ]
    if rows and all(id_.startswith(f"{label}/") for _, _, label, id_ in rows):
        rows = [(rank, score, id_) for rank, score, _, id_ in rows]  # type: ignore[misc]
    return [head, *(f"  {line}" for line in common.columns(rows, right=(0,)))]
