"""Export a model to an ONNX file, for ONNX Runtime, browsers and other programs.

The input of the network is `pixels`, (n, 3, size, size) float32; the output is `embeddings`, and
with --head also `logits`. The metadata of the file describes the preprocessing. Needs the extra:
pip install 'birdembed[onnx]'
"""

from __future__ import annotations

import argparse

from birdembed.cli import common, output

EXAMPLES = ("birdembed export -o birds.onnx", "birdembed export --model my-birds --head -o m.onnx")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    output.add_output(parser, [".onnx"], required=True, help="file to write")
    parser.add_argument(
        "--head", action="store_true", help="also write the classifier, as the output `logits`"
    )
    parser.add_argument("--normalize", action="store_true", help="scale each embedding to length 1")
    common.add_model(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the ONNX file of a model."""
    output.need_target(args.output)
    model = common.load_model(args)
    model.export_onnx(args.output, head=args.head, normalize=args.normalize)
    if args.json:
        side = model.preprocess.size
        common.print_json(
            {
                "file": args.output,
                "model": model.source,
                "input": [3, side, side],
                "dim": model.embedding_dim,
                "classes": model.class_names if args.head else None,
            }
        )
    else:
        print(args.output)
    return 0
