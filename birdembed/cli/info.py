"""Show version, oneDNN, instruction set, threads and precisions.

With --check, load a model, compute its fingerprint afresh from the weights and compare it with
the one that its files carry; exit code 1 where they differ.
"""

from __future__ import annotations

import argparse

from birdembed.cli import _common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("--check", metavar="MODEL", help="verify the fingerprint of a model")
    _common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Do it."""
    import birdembed as be

    facts = dict(be.info())
    code = 0
    if args.check:
        model = be.load_model(args.check)
        kept, computed = model.fingerprint, model.compute_fingerprint()
        facts |= {"model": repr(model), "fingerprint": kept, "fingerprint_ok": kept == computed}
        if kept != computed:
            code = 1
            _common.say(
                f"birdembed: {args.check}: its weights give the fingerprint {computed}, its config"
                f" says {kept}: the files do not belong together or were changed; save or fetch"
                " the model again"
            )
    if args.json:
        _common.print_json(facts)
    else:
        width = max(map(len, facts))
        for key, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple, set)) else value
            print(f"{key:<{width}}  {text}")
    return code
