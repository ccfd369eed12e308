"""Embed the photographs of a folder and write an index, one file that `birdembed search` reads.

With --cache, finished vectors are kept by the content of their files: a second run after an
interruption, or after ten new photographs, computes only what is missing.
"""

from __future__ import annotations

import argparse

from birdembed.cli import _common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("folder", metavar="DIR", help="folder of photographs")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the index")
    parser.add_argument("--cache", metavar="DIR", help="keep finished vectors here")
    _common.add_model(parser)
    _common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Do it."""
    _common.need_target(args.output)
    index = _common.build_index(_common.load_model(args), args.folder, args.cache)
    index.save(args.output)
    if args.json:
        _common.print_json(
            {
                "file": args.output,
                "rows": len(index),
                "labels": _common.label_count(index),
                "failures": _common.failures_json(index),
            }
        )
    else:
        print(args.output)
        _common.say(f"{len(index)} photographs, {_common.label_count(index)} labels")
    return 0
