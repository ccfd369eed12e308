"""Measure what each ingredient of the training is worth on species that were left out.

    python tools/ablate_birds.py PHOTOS WORK START [--seeds N]

The arguments are those of train_birds.py. Every run starts from START, changes one thing in a short
training, and is measured on the 48 species that it was not trained on. Results are appended to
WORK/ablation.jsonl, and runs that are already in this file are skipped. At the end the script
prints a table with the mean and the range over the seeds.

A run trains on a few thousand images of 96 px, with the first half of the layers frozen. So the
numbers say which ingredient helps, not how good the result of a long training is.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bird_photographs import Photographs
from feature_codes import feature_codes
from train_birds import CODES, COMMON, EVEN, Photos, Views, both, losses

import birdembed as be

Array = np.ndarray
OPTIONS: dict[str, Any] = {
    **COMMON,
    "epochs": 1,
    "head_epochs": 1,
    "image_size": 96,
    "eval_size": 128,
    "lr": 1e-3,
    "freeze": ("conv1", "bn1", "layer1.", "layer2."),
    "checkpoint_every": None,
}
#: The parts of `losses` in train_birds.py.
MAP, RELATION, CONTRASTIVE, COSINES = "map", "relation", "contrastive", "cosines"
FROM_TEACHERS = frozenset({MAP, RELATION, COSINES})


class Recipe(NamedTuple):
    """One training: the losses and images that it leaves out, and the options that it changes.

    With `codes`, the losses are those of the stage `CODES`.
    """

    name: str
    without: frozenset[str] = frozenset()
    teachers: tuple[str, ...] = ("aiy", "lite0")
    images: str = "photos"
    options: tuple[tuple[str, Any], ...] = ()
    codes: bool = False


RECIPES = [
    Recipe("everything"),
    Recipe("labels only (cross-entropy)", FROM_TEACHERS | {CONTRASTIVE}),
    Recipe("labels only, with contrastive loss", FROM_TEACHERS),
    Recipe("teachers only, no labels", frozenset({CONTRASTIVE}), images="no labels"),
    Recipe("the 51 species only", images="51"),
    Recipe("without AIY", teachers=("lite0",)),
    Recipe("without EfficientNet-Lite0", teachers=("aiy",)),
    Recipe("without the maps", frozenset({MAP})),
    Recipe("without the relation", frozenset({RELATION})),
    Recipe("without the contrastive loss", frozenset({CONTRASTIVE})),
    Recipe("without the cosines", frozenset({COSINES})),
    Recipe("teachers see the same view", images="views"),
    Recipe("images of 128 px", options=(("image_size", 128),)),
    Recipe("twice as long", options=(("epochs", 2),)),
    Recipe("codes, maps and labels", codes=True),
]


def main() -> None:
    """Run the missing trainings, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos")
    parser.add_argument("work", type=Path)
    parser.add_argument("start")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    photos = Photographs(given.photos)
    file: Path = given.work / "ablation.jsonl"
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(result["name"], result["seed"]) for result in results}
    if not done:
        start = be.load_model(given.start)
        start.preprocess = dataclasses.replace(start.preprocess, size=OPTIONS["eval_size"])
        results.append({"name": "no training", "seed": 0, **found(start, photos)})
        write(file, results[-1])
    for seed in range(given.seeds):
        for recipe in RECIPES:
            if (recipe.name, seed) in done:
                continue
            model = trained(given.start, recipe, photos, given.work, seed)
            results.append({"name": recipe.name, "seed": seed, **found(model, photos)})
            write(file, results[-1])
            print(json.dumps(results[-1]), flush=True)
    print(table(results))


def write(file: Path, result: dict[str, Any]) -> None:
    """Append a result to the file."""
    with file.open("a") as lines:
        lines.write(json.dumps(result) + "\n")


def trained(start: str, recipe: Recipe, photos: Photographs, work: Path, seed: int) -> be.Model:
    """Return a model after one short training."""
    model = be.load_model(start, precision="bfloat16")
    data, teachers, lengths = images(recipe, photos, work, seed)
    teachers = {name: teachers[name] for name in recipe.teachers}
    stage, targets = EVEN, None
    if recipe.codes:
        stage = EVEN._replace(codes=CODES.codes)
        targets = feature_codes(model, data, both(teachers, lengths))
    added = [
        loss
        for loss in losses(teachers, lengths, stage, targets)
        if kind_of(loss) not in recipe.without
    ]
    be.fine_tune(
        model,
        data,
        balanced=recipe.images != "no labels",
        augment=None if recipe.images == "views" else Photos.augment,
        loss=added or "cross_entropy",  # which is always part of the loss if there are labels
        seed=seed,
        **{**OPTIONS, **dict(recipe.options)},
    )
    return model


def kind_of(loss: Any) -> str:
    """Return the name that recipes use for a loss."""
    if isinstance(loss, be.SupCon):
        return CONTRASTIVE
    return str(loss.form) if isinstance(loss, be.Distill) else COSINES


def images(
    recipe: Recipe, photos: Photographs, work: Path, seed: int
) -> tuple[be.ImageFolder, dict[str, Array], dict[str, float]]:
    """Return the images, the teachers' rows, and the `lengths` of both (see `Photos`)."""
    known = photos.tuning()
    if recipe.images == "views":
        return (
            *some_views(work, {photo.species for photo in known}, len(known), seed),
            Views.lengths,
        )
    given = Photos(work, photos.train if recipe.images == "51" else known)
    data, teachers = given.repeated(None)
    if recipe.images == "no labels":
        data = be.ImageFolder.from_paths(data.paths)
    return data, teachers, given.lengths


def some_views(
    work: Path, species: set[str], n: int, seed: int
) -> tuple[be.ImageFolder, dict[str, Array]]:
    """Return n views of these species, at least one of each."""
    views = Views(work, 1)
    names = np.array([*views.data.class_names, ""])[views.data.labels]  # -1: no bird
    rows = np.flatnonzero(np.isin(names, sorted(species)))
    rows = np.random.default_rng(seed).permutation(rows)
    _, first = np.unique(names[rows], return_index=True)
    others = np.delete(np.arange(len(rows)), first)[: n - len(first)]
    rows = np.sort(rows[np.concatenate([first, others])])
    data = be.ImageFolder.from_lists([views.data.paths[row] for row in rows], names[rows])
    return data, {name: found[rows] for name, found in views.teachers.items()}


def found(model: be.Model, photos: Photographs) -> dict[str, float]:
    """Return precision@1 and MAP@R of the species that were left out of the training."""
    rows = model.encode([str(photo.path) for photo in photos.unseen], projection=False)
    judged = be.retrieval_metrics(rows, [photo.species for photo in photos.unseen])
    return {"precision_at_1": judged.precision_at_1, "map_at_r": judged.map_at_r}


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table: the mean and, in parentheses, the range."""
    lines = ["| training | seeds | precision@1 | MAP@R |", "|---|---:|---:|---:|"]
    for name in dict.fromkeys(result["name"] for result in results):
        own = [result for result in results if result["name"] == name]
        cells = [name, str(len(own))]
        for measure in ("precision_at_1", "map_at_r"):
            values = [result[measure] for result in own]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
