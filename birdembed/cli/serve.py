"""Start a web page and a JSON API that identify species and show similar photos.

Open the printed address in a browser and drop a photo on the page. From a program:

    curl -F file=@robin.jpg http://127.0.0.1:8000/identify    (or /search, /embed)

The server only accepts connections from this machine unless --host is given; it has no password.
Ctrl-C or SIGTERM stops it after the current requests are finished.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from birdembed.base.text import counted
from birdembed.cli import common

EXAMPLES = (
    "birdembed serve --index photos.index",
    "birdembed serve --model my-birds --port 8080",
)


def port(word: str) -> int:
    """Argument type: a port, or 0 for any free port."""
    if not (word.isascii() and word.isdecimal()) or int(word) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {word!r}")
    return int(word)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--index",
        type=common.path,
        metavar="FILE|DIR",
        help="index or folder to search for similar photos",
    )
    parser.add_argument(
        "--photos",
        type=common.path,
        metavar="DIR",
        help="folder with the photos of the index, if they have been moved",
    )
    parser.add_argument(
        "--port",
        type=port,
        default=8000,
        metavar="N",
        help="port to listen on; 0 picks any free port",
    )
    parser.add_argument("--host", help="address to listen on (default: this machine only)")
    common.add_model(parser, "the model that made the index, or birds477 without an index")
    common.add_precision(parser)


def run(args: argparse.Namespace) -> int:
    """Load model and index, and serve until interrupted."""
    if args.photos and not args.index:
        raise common.UsageError("--photos is the folder with the photos of an index; add --index")
    if args.index and not Path(args.index).exists():
        raise FileNotFoundError(f"no such index or folder: {args.index}")
    from birdembed.base.files import cache_dir
    from birdembed.pretrained.registry import DEFAULT_MODEL
    from birdembed.serve import create_app
    from birdembed.serve.middleware import local_names_only
    from birdembed.serve.run import bind, log_to_stderr, serve

    listening = bind(args.host or "127.0.0.1", args.port)  # before the model is loaded
    with listening:
        given = filter(None, (args.model, args.index))
        common.say(f"birdembed serve: loading {' and '.join(given) or DEFAULT_MODEL} ...")
        if args.index is None:
            model, index = common.load_model(args), None
        else:
            model, index = common.open_index(args, args.index, lambda: cache_dir() / "vectors")
        app = create_app(model, index, photos=args.photos)
        if not args.host:
            local_names_only(app)
        common.say(f"birdembed serve: {model!r}")
        common.say(
            f"birdembed serve: {'no index' if index is None else counted(len(index), 'photo')}, "
            + ("no gallery" if model.gallery is None else f"{len(model.gallery)} species")
        )
        log_to_stderr()
        serve(app, listening, lambda text: common.say(f"birdembed serve: {text}"))
    return 0
