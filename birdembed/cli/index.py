"""Embed photos and write an index: a file, a LanceDB table, or both.

`birdembed search` reads the file. The table has the columns id, path, label and vector; a table of
the same name is replaced (LanceDB keeps the previous version). --lancedb needs the extra:
pip install 'birdembed[lancedb]'

--cache stores each vector under a hash of its photo, so a run after an interruption, or after
adding ten photos, only computes what is missing.
"""

from __future__ import annotations

import argparse
import os
import shlex

from birdembed.base.text import counted
from birdembed.cli import common, output
from birdembed.cli.inputs import is_index

EXAMPLES = (
    "birdembed index photos/ -o photos.index",
    "birdembed index photos/ -o photos.index --cache photos.cache --model my-birds",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    common.add_images(parser)
    parser.add_argument(
        "-o", "--output", type=common.path, metavar="FILE", help="index file to write"
    )
    parser.add_argument(
        "--lancedb", type=common.path, metavar="URI", help="LanceDB database to write a table to"
    )
    parser.add_argument(
        "--table", metavar="NAME", help="name of the LanceDB table (default: birds)"
    )
    common.add_cache(parser)
    common.add_model(parser)
    common.add_precision(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Embed a folder and write the index."""
    if not (args.output or args.lancedb):
        raise common.UsageError("an output is required: -o FILE, --lancedb URI, or both")
    if args.table and not args.lancedb:
        raise common.UsageError("--table needs a database; add --lancedb URI")
    table = args.table or "birds"
    if args.output:
        _need_index(args.output)
    if args.lancedb:
        _need_table(args.lancedb, table)
    only_utf8 = "LanceDB" if args.lancedb else ""
    model = common.load_model(args)
    index = common.build_index(model, args.images, args.cache, only_utf8, as_json=args.json)
    written = {}
    if args.output:
        index.save(args.output)
        written["file"] = args.output
    if args.lancedb:
        index.to_lancedb(args.lancedb, table)
        written |= {"lancedb": args.lancedb, "table": table}
    if args.json:
        common.print_json(
            {
                **written,
                "rows": len(index),
                "labels": common.label_count(index),
                "failures": common.failures_json(common.failures_of(index)),
            }
        )
    else:
        if args.output:
            print(args.output)
        if args.lancedb:
            print(f"{args.lancedb} {table}")
        common.say(f"{counted(len(index), 'photo')}, {counted(common.label_count(index), 'label')}")
        if args.output:
            common.say(f"next: birdembed search {shlex.quote(args.output)} PHOTO.jpg")
    return 0


def _need_index(path: str) -> None:
    """Check that the index can be written, and that the file it replaces, if any, is an index.

    The name may have any ending, so that of a photo is no reason to write there.
    """
    output.need_target(path)
    if os.path.isfile(path) and os.path.getsize(path) and not is_index(path):
        raise FileExistsError(
            f"cannot write {path}: this file is not an index; choose another name, or delete the "
            "file first"
        )


def _need_table(uri: str, table: str) -> None:
    """Check that the table can be written, and that LanceDB is installed."""
    from birdembed.search import lancedb

    lancedb.check_target(uri, table)
