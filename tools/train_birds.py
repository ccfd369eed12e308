"""Train `birds477`, the model that comes with the package, from `birds51` and two teachers.

    python tools/train_birds.py PHOTOS WORK START [--tuning]

PHOTOS is what bird_photographs.py says. WORK holds the teachers' embeddings, aiy.npz and
lite0.npz, which teacher_embeddings.py writes for the folders of PHOTOS, and gets the checkpoints:
stopped and run again, the training goes on. START is the model that train_birds51.py makes.

The tuning stage leaves out 48 species and the fifth photograph of the others: measure_birds.py
says what its model makes of them, and --tuning stops there. The last stage adds the 48 species. The
fifth photographs and those of valid/ are never trained on: they find the gallery's threshold and
how probable its answers are, and the figures in training.json are theirs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from bird_photographs import Photograph, Photographs, names

import birdembed as be

COMMAND = "python tools/train_birds.py PHOTOS WORK START"
TARGET = Path(__file__).resolve().parent.parent / "birdembed" / "pretrained" / "bundled"
NAME = "birds477"
SIZE = 160
#: What a species with five photographs is drawn for each one with a hundred: each photograph twice.
REPEATED = 2
#: The map to a teacher's space makes the network see what the teacher sees. The relation does it in
#: the features themselves, which are what `encode` returns. The contrastive loss keeps the species
#: far apart there: without it two species have a cosine of 0.57.
WEIGHTS = {"aiy": 6.0, "lite0": 3.0, "relation": 2.0, "supcon": 1.0}
COMMON: dict[str, Any] = {
    "batch_size": 64,
    "layer_decay": 0.9,
    "augment": "turned",
    "precision": "bfloat16",
    "eval_size": SIZE,
    "checkpoint_every": 50,
}
TUNING = {"epochs": 12, "image_size": [(8, 96), (4, 128)], "lr": 1e-3, "head_epochs": 1}
LAST = {"epochs": 4, "image_size": 128, "lr": 4e-4, "head_epochs": 2}


def main() -> None:
    """Train, and write the model into the package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos")
    parser.add_argument("work", type=Path)
    parser.add_argument("start")
    parser.add_argument("--tuning", action="store_true", help="stop before the last stage")
    given = parser.parse_args()
    photos = Photographs(given.photos)
    work: Path = given.work
    tuned = stage(work, "tuning", be.load_model(given.start), photos.tuning(), TUNING)
    if given.tuning:
        return
    known = photos.known()
    model = stage(work, "last", tuned, known, LAST)
    model.save_pretrained(work / "stored", dtype="float16")
    publish(be.load_model(work / "stored"), photos, known)


def stage(
    work: Path, name: str, model: be.Model, photos: list[Photograph], options: dict[str, Any]
) -> be.Model:
    """Train on photographs, or load what an earlier run of this stage left."""
    done = work / name
    if (done / "config.json").exists():
        return be.load_model(done)
    often = [photo for photo in photos for _ in range(times(photo))]
    history = be.fine_tune(
        model,
        be.ImageFolder.from_lists(
            [str(photo.path) for photo in often], [photo.species for photo in often]
        ),
        loss=losses(work, [photo.key for photo in often]),
        checkpoint_dir=work / f"{name}-checkpoints",
        resume=True,
        **COMMON,
        **options,
    )
    (work / f"{name}.json").write_text(json.dumps(history.epochs, indent=1) + "\n")
    model.save_pretrained(done)
    return be.load_model(done)


def times(photo: Photograph) -> int:
    """Return how often an epoch shows a photograph."""
    return REPEATED if photo.key.startswith("birds-more/") else 1


def losses(work: Path, keys: list[str]) -> list[Any]:
    """Return what is added to the cross entropy, for photographs in this order."""
    targets = {name: teacher(work / f"{name}.npz", keys) for name in ("aiy", "lite0")}
    return [
        *(be.Distill(rows, weight=WEIGHTS[name]) for name, rows in targets.items()),
        be.Distill(
            np.concatenate(list(targets.values()), axis=1),
            weight=WEIGHTS["relation"],
            form="relation",
            temperature=0.1,
        ),
        be.SupCon(temperature=0.1, weight=WEIGHTS["supcon"]),
    ]


def teacher(file: Path, keys: list[str]) -> np.ndarray:
    """Return a teacher's embeddings less their mean, scaled to length 1: (n, dim) float32.

    Its cosines are all high, as those of any network that ends in a ReLU. Less the mean they tell
    birds apart.
    """
    with np.load(file) as content:
        rows, row_of = content["embeddings"], {key: i for i, key in enumerate(content["paths"])}
    rows = rows - rows.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows[[row_of[key] for key in keys]], np.float32)


def publish(model: be.Model, photos: Photographs, known: list[Photograph]) -> None:
    """Give the model its gallery and its names, measure it, and put it into the package."""
    fifth = photos.fifth + photos.unseen_fifth
    seen, new = folder(known), folder(photos.valid + fifth)
    index = be.Index.build(model, seen)
    print(model.fit_gallery(index, valid=new))
    listed = names()
    model.species_names = {label: listed[label] for label in model.class_names}
    target = TARGET / NAME
    model.save_pretrained(target, dtype="float16")
    record = {
        "command": COMMAND,
        "valid": figures(model, be.Index.build(model, folder(photos.train)), folder(photos.valid)),
        "fifth": figures(model, index, folder(fifth)),
    }
    (target / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def folder(photos: list[Photograph]) -> be.ImageFolder:
    """Return photographs with their species as labels."""
    return be.ImageFolder.from_lists(
        [str(photo.path) for photo in photos], [photo.species for photo in photos]
    )


def figures(model: be.Model, reference: be.Index, photos: be.ImageFolder) -> dict[str, float]:
    """Measure on photographs that were not trained on, as they are and changed."""
    found = be.evaluate(model, photos, reference=reference, robustness=True)
    return {name: round(value, 4) for name, value in found.to_dict(scalars=True).items()}


if __name__ == "__main__":
    main()
