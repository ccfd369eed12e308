"""Measure a model on a folder with one subfolder a species.

Each photograph is searched among all the others, or among those of --reference. Prints
precision@1, MAP@R, mean similarity of the same and of different species; with --robustness the
same for flipped, rotated, darkened and brightened copies.
"""

from __future__ import annotations

import argparse
from typing import Any

from birdembed.cli import _common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("folder", metavar="DIR", help="one subfolder a species")
    parser.add_argument("--reference", metavar="DIR", help="search here instead")
    parser.add_argument("--robustness", action="store_true", help="changed copies too")
    parser.add_argument("--threads", type=_common.positive, metavar="N")
    _common.add_json(parser)


def lines(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested results into (name, number) lines."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += lines(value, f"{prefix}{key}.")
        elif isinstance(value, float):
            found.append((prefix + str(key), f"{value:.4f}"))
        elif value is not None:
            found.append((prefix + str(key), str(value)))
    return found


def run(args: argparse.Namespace) -> int:
    """Do it."""
    import birdembed as be

    model = _common.load_model(args)
    data = be.ImageFolder(args.folder)
    reference = be.ImageFolder(args.reference) if args.reference else None
    result = be.evaluate(model, data, reference=reference, robustness=args.robustness)
    scalars = result.to_dict(scalars=True)
    if args.json:
        _common.print_json(scalars)
    else:
        table = lines(scalars)
        width = max(len(name) for name, _ in table)
        for name, number in table:
            print(f"{name:<{width}}  {number}")
    return 0
