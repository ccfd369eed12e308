"""Draw the image in README.md from the sample photos: `make pictures`.

    python tools/result_picture.py docs/images

`search.png` shows three of the photos and the most similar others, found with the default model.
Thumbnails are at most 160 pixels wide and high. `made_with.json` contains the fingerprint of the
model: tests/docs/test_pictures.py fails if the default model has changed since.
"""

import io
import json
import sys
from pathlib import Path

from PIL import Image

import birdembed as be
from birdembed.downloads.sample_species import species_of

QUERIES = ["seagull.png", "rooster.png", "adelaide-rosella.png"]
MATCHES = 4
DOTS_PER_INCH = 72


def search_picture(model: be.Model) -> Image.Image:
    """Draw three photos and the matches of each."""
    photos = Path(be.fetch("samples"))
    paths = sorted(photos.glob("*.png"))
    names = [path.name for path in paths]
    index = be.Index.build(model, paths, names, [species_of(path.stem)[0] for path in paths])
    found = index.search([photos / name for name in QUERIES], k=MATCHES, exclude_ids=QUERIES)
    drawn = io.BytesIO()
    found.plot().savefig(drawn, dpi=DOTS_PER_INCH)  # a cell is 2 inches wide
    with Image.open(drawn) as image:
        return image.convert("RGB").quantize(128)


def main(folder: str) -> None:
    """Draw the image, and write it with the fingerprint of the model."""
    model = be.load_model()
    search_picture(model).save(Path(folder) / "search.png", optimize=True)
    made = {"search.png": model.fingerprint}
    text = json.dumps(made, indent=1) + "\n"
    (Path(folder) / "made_with.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
