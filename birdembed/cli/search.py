"""Find the photos most like the given ones.

The first argument is an index that `birdembed index` wrote, or simply a folder: it is indexed
first, and what was computed is kept for the next time.

--json prints a list of objects with `query` and `results`, each result with id, label, score.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from birdembed.base.text import in_one_line
from birdembed.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("index", type=common.path, metavar="INDEX|DIR", help="where to search")
    parser.add_argument(
        "images", type=common.path, metavar="IMAGE", nargs="+", help="what to search for"
    )
    parser.add_argument("-k", type=common.positive, default=5, help="matches a query (default: 5)")
    parser.add_argument(
        "--plot", type=common.path, metavar="PNG", help="write a plot of queries and matches"
    )
    common.add_model(parser)
    common.add_precision(parser)
    common.add_json(parser)


def _cache() -> Path | None:
    """Return the folder that keeps vectors; None, which is said, where it cannot be written."""
    from birdembed.base.files import cache_dir, staging

    try:
        folder = cache_dir() / "vectors"
        folder.mkdir(parents=True, exist_ok=True)
        with staging(folder, "probe"):
            return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows of a home
        common.say(
            f"vectors are not kept for the next time: {common.one_line(error)}; "
            "BIRDEMBED_CACHE=FOLDER names another place"
        )
        return None


def run(args: argparse.Namespace) -> int:
    """Search an index or a folder for photos and print the matches."""
    import birdembed as be

    if args.plot:
        common.need_target(args.plot)
    if not Path(args.index).exists():
        raise FileNotFoundError(f"no index and no folder: {args.index}")
    model = common.load_model(args)
    if Path(args.index).is_dir():
        index = common.build_index(model, args.index, _cache())
    else:
        index = be.Index.load(args.index, model=model)
    vectors, report = model.encode(args.images, on_error="skip", return_report=True)
    common.list_failures(report.failures)
    if len(vectors) == 0:
        raise ValueError("none of the given photos could be read")
    found = index.search(vectors, k=args.k, fingerprint=model.fingerprint)
    names = [str(name) for name in report.names]
    if args.plot:
        figure = be.plot_grid(names, found)
        common.save_figure(figure, args.plot)
    if args.json:
        common.print_json(
            [
                {
                    "query": name,
                    "results": [
                        {"id": m.id, "label": m.label, "score": float(m.score)} for m in result
                    ],
                }
                for name, result in zip(names, found, strict=True)
            ]
        )
    else:
        for name, result in zip(names, found, strict=True):
            print(in_one_line(name))
            for rank, match in enumerate(result, 1):
                label, id_ = in_one_line(match.label or "-"), in_one_line(match.id)
                print(f"{rank:>4}  {match.score:.4f}  {label}  {id_}")
    if args.plot:
        common.say(args.plot) if args.json else print(args.plot)
    return 0
