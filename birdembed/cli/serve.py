"""Run a web page and a JSON service that name species and find the nearest photos.

Open the address it prints in a browser, and drop a photo. For programs:

    curl -F file=@robin.jpg http://127.0.0.1:8000/identify    (or /search, /embed)

Listens on this machine alone unless --host says otherwise; there is no password. Ctrl-C or
SIGTERM ends it, after the requests that are under way.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from birdembed.cli import common

if TYPE_CHECKING:
    import birdembed as be


def port(word: str) -> int:
    """Argument type: a port, or 0 for any that is free."""
    if not word.isdecimal() or int(word) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {word!r}")
    return int(word)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--index",
        type=common.path,
        metavar="FILE|DIR",
        help="where to search: an index, or a folder of photos",
    )
    parser.add_argument(
        "--photos",
        type=common.path,
        metavar="DIR",
        help="folder of the index's photos, where it is not the one they were indexed in",
    )
    parser.add_argument("--port", type=port, default=8000, help="default: 8000; 0: any free one")
    parser.add_argument("--host", help="address to listen on (default: this machine alone)")
    common.add_model(parser)
    common.add_precision(parser)


def run(args: argparse.Namespace) -> int:
    """Load model and index, and serve until interrupted."""
    if args.photos and not args.index:
        raise common.UsageError("--photos says where the photos of --index are")
    if args.index and not Path(args.index).exists():
        raise FileNotFoundError(f"no index and no folder: {args.index}")
    from birdembed.serve import create_app
    from birdembed.serve.middleware import LocalNamesOnly
    from birdembed.serve.run import bind, log_to_stderr, serve

    listening = bind(args.host or "127.0.0.1", args.port)  # before the model is loaded
    with listening:
        model = common.load_model(args)
        index = None if args.index is None else open_index(model, args.index)
        app = create_app(model, index, photos=args.photos)
        if not args.host:
            app.add_middleware(LocalNamesOnly)
        common.say(f"birdembed serve: {model!r}")
        common.say(
            f"birdembed serve: {'no index' if index is None else f'{len(index)} photos'}, "
            + ("no gallery" if model.gallery is None else f"{len(model.gallery)} species")
        )
        log_to_stderr()
        serve(app, listening, lambda text: common.say(f"birdembed serve: {text}"))
    return 0


def open_index(model: be.Model, name: str) -> be.Index:
    """Load an index, or index a folder, keeping what was computed for the next time."""
    import birdembed as be
    from birdembed.base.files import cache_dir

    if Path(name).is_dir():
        return common.build_index(model, name, cache_dir() / "vectors")
    return be.Index.load(name, model=model)
