"""Decode every photo of a folder, without embedding it.

Prints what cannot be read (`bad`) and what only Pillow could read (`suspect`), with the reason.
Exit code 1 where a file is bad.

--json prints `bad` and `suspect`, lists of objects with `id`, the path, and `reason`.
"""

from __future__ import annotations

import argparse

from birdembed.base.text import in_one_line
from birdembed.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("folder", type=common.path, metavar="DIR", help="folder of photos")
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Decode every photo of a folder and print the bad ones."""
    import birdembed as be

    report = be.verify(args.folder)
    kinds = {"bad": report.failures, "suspect": report.suspect}
    if args.json:
        common.print_json({kind: common.failures_json(items) for kind, items in kinds.items()})
    else:
        for kind, items in kinds.items():
            for _, name, reason in items:
                print(f"{kind}\t{in_one_line(str(name))}\t{in_one_line(reason)}")
        common.say(
            f"{report.checked} checked: {len(report.failures)} bad, {len(report.suspect)} suspect"
        )
    return 1 if report.failures else 0
