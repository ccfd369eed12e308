"""Draw the result that README.md shows, from the sample photographs.

    python tools/result_picture.py docs/images/search.png

Three of the photographs are searched for among the others, with the default model. Thumbnails are
at most 160 pixels wide and high.
"""

import io
import sys
from pathlib import Path

from PIL import Image

import birdembed as be

QUERIES = ["seagull.png", "rooster.png", "adelaide-rosella.png"]
MATCHES = 4
DOTS_PER_INCH = 72


def main(path: str) -> None:
    """Draw it."""
    photos = Path(be.fetch("samples"))
    index = be.Index.build(be.load_model(), photos)
    # What a photograph shows is its label here, so that the captions are short.
    names = {id_: Path(id_).stem.replace("_", " ").replace("-", " ") for id_ in index.ids}
    index.add(
        list(index.ids),
        index.embeddings,
        [names[id_] for id_ in index.ids],
        index.metadata,
        replace=True,
    )
    found = index.search([photos / name for name in QUERIES], k=MATCHES, exclude_ids=QUERIES)
    drawn = io.BytesIO()
    found.plot().savefig(drawn, dpi=DOTS_PER_INCH)  # a cell is 2 inches wide
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
