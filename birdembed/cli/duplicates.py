"""Find photos that show the same picture, in groups.

A copy in another size or quality, or mirrored, counts as the same picture. No model is needed: the
command compares pixels, not vectors. A link to one of the photos is no copy. Prints one path per
line, with an empty line between groups; the most similar groups come first. Files that cannot be
read are skipped and listed.

--json prints `groups`, each with `paths` and `score` (the highest --threshold at which the photos
still form one group), and `failures`, each with `id` (the path) and `reason`.
"""

from __future__ import annotations

import argparse

from birdembed.base.text import counted, in_one_line
from birdembed.cli import common

EXAMPLES = ("birdembed duplicates photos/ --threshold 0.95",)


def threshold(word: str) -> float:
    """Argument type: a number above 0 and at most 1."""
    number = common.number(word)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0, at most 1, got {word!r}")
    return number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    common.add_images(parser)
    parser.add_argument(
        "--threshold",
        type=threshold,
        default=0.9,
        metavar="T",
        help="minimum similarity of two photos in a group, up to 1",
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Compare the photos of a folder and print those that show the same picture."""
    from birdembed.evaluation.duplicates import duplicate_groups

    images = common.images_of(args)
    groups, unreadable = duplicate_groups(images.paths, threshold=args.threshold)
    failures = [*unreadable, *images.failures]
    common.list_failures(failures)
    if args.json:
        common.print_json(
            {
                "groups": [group._asdict() for group in groups],
                "failures": common.failures_json(failures),
            }
        )
    else:
        if groups:
            print("\n\n".join("\n".join(map(in_one_line, group.paths)) for group in groups))
        photos = sum(len(group.paths) for group in groups)
        common.say(f"{counted(len(groups), 'group')}, {counted(photos, 'photo')}")
    return 0
