"""List the names that --model and `load_model` accept.

--model also accepts a folder written by `birdembed finetune` or save_pretrained, and the
OWNER/NAME of a ResNet of these depths on the Hugging Face Hub.

The models that are `ready` can be loaded without a download. The others, except sscd, are
downloaded from the Hugging Face Hub when they are first used.

--json prints a list of objects with `name`, `here` (whether it is ready) and `about`.
"""

from __future__ import annotations

import argparse
from typing import Any

from birdembed.cli import common

EXAMPLES = ("birdembed models",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the names of the models, and how to get those that are not downloaded yet."""
    models = _models()
    if args.json:
        common.print_json(models)
        return 0
    rows = [
        (one["name"], "ready" if one["here"] else "not downloaded", one["about"]) for one in models
    ]
    print("\n".join(common.columns(rows)))
    return 0


def _models() -> list[dict[str, Any]]:
    """Return each model's name, whether it is on this machine, and what it is."""
    import birdembed as be
    from birdembed.pretrained.hub import HUB_NAMES
    from birdembed.pretrained.registry import DEFAULT_MODEL, known_names

    here = be.list_models()
    about = {
        DEFAULT_MODEL: "default: identifies 476 species of birds",
        "sscd": "pre-trained, to start fine-tuning from"
        if "sscd" in here
        else "pre-trained; get it: birdembed fetch sscd",
    }
    names = [*known_names(), *(name for name in here if name not in known_names())]
    hub = "from the Hugging Face Hub (extra: hub)"
    return [
        {
            "name": name,
            "here": name in here or HUB_NAMES.get(name) in here,
            "about": about.get(name, hub),
        }
        for name in names
    ]
