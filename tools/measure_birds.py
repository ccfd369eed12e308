"""Evaluate models and teachers on the photos that a tuning run leaves out.

    python tools/measure_birds.py PHOTOS OUT.json NAME [NAME ...] [--no-birds FOLDER]

PHOTOS is the folder described in `bird_photographs.py`. NAME is a model (a name or a folder), or
an .npz file with the embeddings of a teacher, written by teacher_embeddings.py. With
`MODEL+TEACHER.npz`, the embeddings of the model are mapped to the space of the teacher by ridge
regression, without a training step.

The results are only fair for models that were trained without these photos: the output of
`train_birds.py --tuning`, `birds51`, `sscd`. FOLDER contains images without birds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from bird_photographs import Photograph, Photographs
from feature_codes import unit

import birdembed as be
from birdembed.training.ridge import fit_ridge

Array = np.ndarray


class Encoder:
    """Encodes photos, each only once."""

    def __init__(self, name: str) -> None:
        self.model = None if name.endswith(".npz") else be.load_model(name)
        self.known: dict[str, Array] = {}
        if self.model is None:
            with np.load(name) as file:
                self.known = dict(zip(file["paths"], file["embeddings"], strict=True))

    def __call__(self, photos: list[Photograph]) -> Array:
        """Return the vectors (n, dim), scaled to length 1."""
        missing = [photo for photo in photos if photo.key not in self.known]
        if missing:
            rows = self.encode([str(photo.path) for photo in missing])
            self.known.update(zip((photo.key for photo in missing), rows, strict=True))
        return unit(np.stack([self.known[photo.key] for photo in photos]))

    def encode(self, paths: list[str]) -> Array:
        """Return the vectors of image files."""
        if self.model is None:
            raise SystemExit("the .npz file lacks " + paths[0])
        return np.asarray(self.model.encode(paths))


class Mapped(Encoder):
    """Encodes photos and maps them to the space of a teacher, with the initial map of `Distill`."""

    def __init__(self, model: str, teacher: str, photos: list[Photograph]) -> None:
        super().__init__(model)
        x, target = super().__call__(photos), Encoder(teacher)(photos)
        self.map = fit_ridge(x, unit(target - target.mean(axis=0))).matrix

    def __call__(self, photos: list[Photograph]) -> Array:
        """Return the vectors in the space of the teacher, scaled to length 1."""
        return unit(super().__call__(photos) @ self.map)


def neighbours(encoder: Encoder, photos: Photographs) -> dict[str, float]:
    """Return retrieval metrics for each split that was left out."""
    known = photos.tuning()
    unseen, pool = encoder(photos.unseen), encoder(known)
    labels = [photo.species for photo in photos.unseen]
    alone = be.retrieval_metrics(unseen, labels)
    everywhere = among_all(unseen, labels, pool)
    found = {
        "unseen.precision_at_1": alone.precision_at_1,
        "unseen.map_at_r": alone.map_at_r,
        "unseen_among_all.precision_at_1": everywhere[0],
        "unseen_among_all.map_at_r": everywhere[1],
    }
    for part, among in (("valid", photos.train), ("fifth", known)):
        queries = getattr(photos, part)
        judged = be.retrieval_metrics(
            encoder(queries),
            [photo.species for photo in queries],
            encoder(among),
            [photo.species for photo in among],
        )
        found[f"{part}.precision_at_1"] = judged.precision_at_1
        found[f"{part}.same_similarity"] = judged.same_similarity
        found[f"{part}.different_similarity"] = judged.different_similarity
    return found


def among_all(rows: Array, labels: list[str], others: Array) -> tuple[float, float]:
    """Return precision@1 and MAP@R of rows among themselves and others with other labels."""
    scores = rows @ np.concatenate([rows, others]).T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1)
    same = np.array([*labels, *[None] * len(others)])[nearest] == np.array(labels)[:, None]
    precisions = []
    for row, label in zip(same, labels, strict=True):
        first = row[: labels.count(label) - 1]
        precisions.append((first * first.cumsum() / np.arange(1, len(first) + 1)).mean())
    return float(same[:, 0].mean()), float(np.mean(precisions))


def strangers(encoder: Encoder, photos: Photographs, no_birds: Path | None) -> dict[str, float]:
    """Return how well known species are separated from unseen ones and from other things.

    Each species is represented by the mean of its vectors; the score of an image is its cosine
    similarity to the nearest species.
    """
    known = photos.tuning()
    species = sorted({photo.species for photo in known})
    number = {name: i for i, name in enumerate(species)}
    sums = np.zeros((len(species), encoder(known[:1]).shape[1]))
    np.add.at(sums, [number[photo.species] for photo in known], encoder(known))
    means = unit(sums).T

    queries = photos.valid + photos.fifth
    scores = encoder(queries) @ means
    right = scores.argmax(axis=1) == [number[photo.species] for photo in queries]
    inside, outside = scores.max(axis=1), (encoder(photos.unseen) @ means).max(axis=1)
    threshold = np.quantile(inside, 0.05)
    found = {
        "known.nearest_mean_right": right.mean(),
        "auroc": be.open_set_auroc(inside, outside),
        "threshold": threshold,
        "unseen_accepted": (outside >= threshold).mean(),
    }
    if no_birds is not None and encoder.model is not None and type(encoder) is Encoder:
        files = sorted(str(path) for path in no_birds.iterdir())
        best = (unit(encoder.encode(files)) @ means).max(axis=1)
        found["no_birds"] = len(files)
        found["no_birds_accepted"] = (best >= threshold).mean()
    return found


def encoder_of(name: str, photos: Photographs) -> Encoder:
    """Return the encoder for an argument."""
    model, plus, teacher = name.partition("+")
    return Mapped(model, teacher, photos.tuning()) if plus else Encoder(name)


def main() -> None:
    """Evaluate all, print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos")
    parser.add_argument("output", type=Path)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--no-birds", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    photos = Photographs(given.photos)
    measured: dict[str, Any] = {}
    for name in given.names:
        encoder = encoder_of(name, photos)
        found = neighbours(encoder, photos) | strangers(encoder, photos, given.no_birds)
        label = "+".join(Path(part).stem for part in name.split("+"))
        measured[label] = {key: round(float(value), 4) for key, value in found.items()}
        print(label, json.dumps(measured[label], indent=1), flush=True)
    given.output.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
