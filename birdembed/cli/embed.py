"""Embed photos and write the vectors to a file.

  X.npy      float32, one row per photo; the names go to X.names.txt, one per line (a line break
             in a name is written as a backslash and an n)
  X.csv      columns id, label, v0, v1, ...
  X.parquet  columns id, path, label, vector; needs the extra: pip install 'birdembed[parquet]'

Rows are sorted by name. Files that cannot be read are skipped and listed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from birdembed.base.files import replacing
from birdembed.base.text import counted, in_one_line
from birdembed.cli import common, output

if TYPE_CHECKING:
    import birdembed as be

EXAMPLES = (
    "birdembed embed photos/ -o vectors.npy",
    "birdembed embed a.jpg b.jpg -o vectors.csv --model my-birds",
)


def targets(path: str) -> list[str]:
    """Return the files that are written for -o: the vectors and, for .npy, the names."""
    names = [str(Path(path).with_suffix(".names.txt"))] if output.ending(path) == ".npy" else []
    return [path, *names]


def write_npy(index: be.Index, path: str) -> None:
    """Write the rows to a .npy file, and their names to a text file."""
    import numpy as np

    vectors = np.ascontiguousarray(index.embeddings)
    _, names = targets(path)
    with replacing(path) as rows:
        with open(rows, "wb") as file:
            about = np.lib.format.header_data_from_array_1_0(vectors)
            np.lib.format.write_array_header_1_0(file, about)
            file.write(vectors.data)  # np.save would not say why a disk refuses
        with replacing(names) as text:
            lines = "".join(f"{in_one_line(name)}\n" for name in index.ids)
            text.write_text(lines, encoding="utf-8", errors=output.NAMES)


def write_csv(index: be.Index, path: str) -> None:
    """Write ids, labels and vectors to a .csv file; the numbers read back as the same float32."""
    head = ["id", "label", *(f"v{i}" for i in range(index.embeddings.shape[1]))]
    rows = zip(index.ids, index.labels, index.embeddings, strict=True)
    lines = ([id_, label, *(format(float(v), ".9g") for v in row)] for id_, label, row in rows)
    output.write_table(path, head, lines)


def write_parquet(index: be.Index, path: str) -> None:
    """Write a table with a vector column to a .parquet file."""
    index.to_parquet(path)


WRITERS = {".npy": write_npy, ".csv": write_csv, ".parquet": write_parquet}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    common.add_images(parser)
    output.add_output(
        parser, WRITERS, required=True, help="file to write; the ending sets the format"
    )
    common.add_cache(parser)
    common.add_model(parser)
    common.add_precision(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Embed a folder and write the vectors to a file."""
    files = targets(args.output)
    for file in files:
        output.need_target(file, args.images)
    only_utf8 = "Parquet" if output.ending(args.output) == ".parquet" else ""
    model = common.load_model(args)
    index = common.build_index(model, args.images, args.cache, only_utf8, as_json=args.json)
    WRITERS[output.ending(args.output)](index, args.output)
    if args.json:
        common.print_json(
            {
                "files": files,
                "rows": len(index),
                "dim": int(index.embeddings.shape[1]),
                "failures": common.failures_json(common.failures_of(index)),
            }
        )
    else:
        print("\n".join(files))
        common.say(f"{counted(len(index), 'vector')}, {index.embeddings.shape[1]} dimensions")
    return 0
