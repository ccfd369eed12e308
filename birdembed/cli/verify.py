"""Find photos that cannot be decoded, without embedding them.

Prints files that cannot be read (`bad`) and files that only Pillow can read (`suspect`), with the
reason. The exit code is 1 if a file is bad.

--json prints `bad` and `suspect`, lists of objects with `id` (the path) and `reason`.
"""

from __future__ import annotations

import argparse
from typing import Any

from birdembed.base.text import in_one_line
from birdembed.cli import common

EXAMPLES = ("birdembed verify photos/",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    common.add_images(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Decode every photo of a folder and print the bad ones."""
    import birdembed as be

    images = common.images_of(args)
    report = be.verify(images.paths)
    bad = [*report.failures, *images.failures]
    kinds: dict[str, list[Any]] = {"bad": bad, "suspect": report.suspect}
    if args.json:
        common.print_json({kind: common.failures_json(items) for kind, items in kinds.items()})
    else:
        for kind, items in kinds.items():
            for _, name, reason in items:
                print(f"{kind}\t{in_one_line(str(name))}\t{in_one_line(reason)}")
        common.say(f"{report.checked} checked: {len(bad)} bad, {len(report.suspect)} suspect")
    return 1 if bad else 0
