"""Show version, oneDNN, instruction set, threads and precisions.

With --check, also read a model, compute the fingerprint of its weights and compare it with the one
stored in its files. The exit code is 1 if they differ.
"""

from __future__ import annotations

import argparse

from birdembed.cli import common

EXAMPLES = (
    "birdembed info",
    "birdembed info --check my-birds",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--check", type=common.path, metavar="MODEL", help="verify the fingerprint of a model"
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the facts about this installation, and check a model."""
    import birdembed as be

    facts: dict[str, object] = dict(be.info())
    if args.check:
        from birdembed.pretrained.contents import check_fingerprint
        from birdembed.pretrained.registry import read_model

        found = read_model(args.check)
        facts |= {
            "model": found.source,
            "architecture": found.architecture,
            "fingerprint": check_fingerprint(found),  # raises if the files store another one
            "checked": "matches the stored one" if found.fingerprint else "no fingerprint stored",
        }
    if args.json:
        common.print_json(facts)
    else:
        width = max(map(len, facts))
        for key, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple, set)) else value
            print(f"{key:<{width}}  {text}")
    return 0
