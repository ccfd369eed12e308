"""Train `birds477`, the model that comes with the package, from `birds51` and two teachers.

    python tools/train_birds.py PHOTOS WORK START [--tuning]

PHOTOS is what bird_photographs.py says. WORK holds the teachers' embeddings, aiy.npz and
lite0.npz, which teacher_embeddings.py writes for the folders of PHOTOS, and gets the checkpoints:
stopped and run again, the training goes on. START is the model that train_birds51.py makes.

The first three stages leave out 48 species and the fifth photograph of the others; --tuning stops
there, and measure_birds.py says what WORK/tuned, the mean of START and the last two of them, makes
of those; what it writes to WORK/measured.json becomes a part of the model's training.json.
The other stages add the 48 species. The fifth photographs and those of valid/ are never trained on:
they find the gallery's threshold and how probable its answers are, and the figures in training.json
are theirs.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bird_photographs import Photograph, Photographs, names
from train_birds51 import figures

import birdembed as be

Array = np.ndarray
COMMAND = "python tools/train_birds.py PHOTOS WORK START"
TARGET = Path(__file__).resolve().parent.parent / "birdembed" / "pretrained" / "bundled"
NAME = "birds477"
SIZE = 192
#: The map to a teacher's space makes the network see what the teacher sees. The relation does it in
#: the features themselves, which are what `encode` returns. The contrastive loss and the cosines
#: keep species far apart there: without them two species have a cosine of 0.57.
WEIGHTS = {"aiy": 6.0, "lite0": 3.0, "relation": 3.0}
COMMON: dict[str, Any] = {
    "batch_size": 64,
    "layer_decay": 0.9,
    "augment": "turned",
    "precision": "bfloat16",
    "checkpoint_every": 50,
}


class Stage(NamedTuple):
    """A part of the training.

    `often` says how often an epoch shows a photograph of a species that has five; None draws all
    species equally often. `supcon` and `cosines` are weights of the losses.
    """

    name: str
    often: int | None
    supcon: float
    cosines: float
    options: dict[str, Any]


LARGE_IMAGES = {"image_size": 160, "eval_size": SIZE}
SMALL = Stage(
    "small", None, 0.3, 0.0, {"epochs": 8, "image_size": 96, "eval_size": 128, "lr": 1e-3}
)
#: All species equally often: it finds species that were not in training best (0.82).
EVEN = Stage("even", None, 0.3, 20.0, {**LARGE_IMAGES, "epochs": 3, "lr": 6e-4})
#: The 51 species with a hundred photographs more often: they stand further from the others and
#: closer together (0.79 and 0.16 for 0.70 and 0.22), and unseen species are found less well (0.77).
UNEVEN = Stage("uneven", 2, 1.0, 40.0, {**LARGE_IMAGES, "epochs": 1, "lr": 4e-4})
#: The same with all species: two short stages at 160 px, a long one on smaller images, and one
#: more at 160 px, near the size that the model is used at.
LAST = [
    Stage("all", 4, 1.0, 40.0, {**LARGE_IMAGES, "epochs": 1, "lr": 4e-4, "head_epochs": 1}),
    Stage("more", 4, 1.0, 40.0, {**LARGE_IMAGES, "epochs": 1, "lr": 6e-4, "head_epochs": 0}),
    Stage(
        "long",
        4,
        1.0,
        40.0,
        {"image_size": 128, "eval_size": 160, "epochs": 6, "lr": 1e-3, "head_epochs": 0},
    ),
    Stage("last", 4, 1.0, 40.0, {**LARGE_IMAGES, "epochs": 1, "lr": 6e-4, "head_epochs": 0}),
]
#: The model is the mean of the weights of START and of the last two stages, by these shares. The
#: classifier is right for 249 of the 255 photos of valid/ (248 for the last stage alone), and a
#: larger share of START costs more of the species that have few photos.
SHARES = {"start": 0.1, "long": 0.2, "last": 0.7}


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
    start = be.load_model(given.start)
    model = start
    for stage in (SMALL, EVEN, UNEVEN):
        model = trained(work, stage, model, photos.tuning())
    if given.tuning:
        earlier = {0.2: start, 0.4: be.load_model(work / EVEN.name)}
        averaged(model, earlier).save_pretrained(work / "tuned")
        return
    known = photos.known()
    for stage in LAST:
        model = trained(work, stage, model, known)
    earlier = {SHARES["start"]: start, SHARES["long"]: be.load_model(work / "long")}
    averaged(model, earlier).save_pretrained(work / "stored", dtype="float16")
    publish(work, photos, known)


def averaged(model: be.Model, earlier: dict[float, be.Model]) -> be.Model:
    """Return the model with the mean of its weights and those of earlier models, by their shares.

    The classifier stays its own. Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
    """
    weights = model.state_dict()
    own = 1 - sum(earlier)
    others = [(share, other.state_dict()) for share, other in earlier.items()]
    for name, last in weights.items():
        if not name.startswith("fc."):
            mean = own * last + sum(share * state[name] for share, state in others)
            weights[name] = mean.astype(last.dtype)
    model.load_state_dict(weights)
    return model


def trained(work: Path, stage: Stage, model: be.Model, photos: list[Photograph]) -> be.Model:
    """Train on photographs, or load what an earlier run of this stage left."""
    done = work / stage.name
    if (done / "config.json").exists():
        return be.load_model(done)
    if stage.often is not None:
        photos = [photo for photo in photos for _ in range(times(photo, stage.often))]
    history = be.fine_tune(
        model,
        folder(photos),
        balanced=stage.often is None,
        loss=losses(work, [photo.key for photo in photos], stage),
        checkpoint_dir=work / f"{stage.name}-checkpoints",
        resume=True,
        **COMMON,
        **stage.options,
    )
    (work / f"{stage.name}.json").write_text(json.dumps(history.epochs, indent=1) + "\n")
    model.save_pretrained(done)
    return be.load_model(done)


def times(photo: Photograph, often: int) -> int:
    """Return how often an epoch shows a photograph."""
    return often if photo.key.startswith("birds-more/") else 1


def losses(work: Path, keys: list[str], stage: Stage) -> list[Any]:
    """Return what is added to the cross entropy, for photographs in this order."""
    targets = {name: teacher(work / f"{name}.npz", keys) for name in ("aiy", "lite0")}
    both = np.concatenate(list(targets.values()), axis=1)
    return [
        *(be.Distill(rows, weight=WEIGHTS[name]) for name, rows in targets.items()),
        be.Distill(both, weight=WEIGHTS["relation"], form="relation", temperature=0.1),
        be.SupCon(temperature=0.1, weight=stage.supcon),
        *([Cosines(both, stage.cosines)] if stage.cosines else []),
    ]


class Cosines:
    """How far the cosines of a batch are from the teachers', which see two species far apart.

    Squared, the mean of pairs of one species and that of other pairs. A pair of one species should
    have 0.9 at least, another 0 at least. A softmax of cosines, as the other losses have it, does
    not see what is added to all of them; this one does.
    """

    needs_batch = True

    def __init__(self, teachers: Array, weight: float) -> None:
        self.teachers, self.weight = unit(teachers), weight

    def __repr__(self) -> str:
        """Return what a checkpoint knows the loss by."""
        return f"Cosines({self.weight})"

    def __call__(self, features: Array, batch: Any) -> tuple[float, Array]:
        """Return loss and gradient of features (n, dim)."""
        z, rows = unit(np.asarray(features, np.float64)), self.teachers[batch.positions]
        same = batch.labels[:, None] == batch.labels[None]
        wanted = np.maximum(rows @ rows.T, np.where(same, 0.9, 0))
        others = ~same
        np.fill_diagonal(same, False)
        share = same / max(1, same.sum()) + others / max(1, others.sum())
        apart = z @ z.T - wanted
        slope = 4 * self.weight * (share * apart) @ z
        slope -= (slope * z).sum(axis=1, keepdims=True) * z
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        loss = self.weight * (share * apart * apart).sum()
        return float(loss), (slope / lengths).astype(features.dtype)


def teacher(file: Path, keys: list[str]) -> Array:
    """Return a teacher's embeddings less their mean, scaled to length 1: (n, dim) float32.

    Its cosines are all high, as those of any network that ends in a ReLU. Less the mean they tell
    birds apart.
    """
    with np.load(file) as content:
        rows, row_of = content["embeddings"], {key: i for i, key in enumerate(content["paths"])}
    rows = unit(rows - rows.mean(axis=0))
    return np.asarray(rows[[row_of[key] for key in keys]], np.float32)


def unit(rows: Array) -> Array:
    """Return the rows scaled to length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def publish(work: Path, photos: Photographs, known: list[Photograph]) -> None:
    """Give the model its gallery and its names, measure it, and put it into the package."""
    model = be.load_model(without_map(work / "stored"))
    valid, fifth = folder(photos.valid), folder(photos.fifth + photos.unseen_fifth)
    index = be.Index.build(model, folder(known))
    fit = model.fit_gallery(index, valid=folder(photos.valid + photos.fifth + photos.unseen_fifth))
    print(fit)
    listed = names()
    model.species_names = {label: listed[label] for label in model.class_names or ()}
    threshold = set_threshold(model, {"valid": valid, "fifth": fifth})
    target = TARGET / NAME
    model.save_pretrained(target, dtype="float16")
    among_51 = be.Index.build(model, folder(photos.train))
    measured = work / "measured.json"
    record = {
        "command": COMMAND,
        "valid": figures(model, among_51, valid),
        "fifth": figures(model, index, fifth),
        "threshold": threshold,
        "calibration_error": round(fit.calibration_error or 0, 4),
        "left_out": json.loads(measured.read_text()) if measured.exists() else {},
    }
    (target / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def set_threshold(model: be.Model, parts: dict[str, be.ImageFolder]) -> dict[str, float]:
    """Set the threshold that accepts 95 % of valid/; return it and what it accepts of each part.

    The threshold of `fit_gallery` counts the fifth photos too. It would accept 95 % of them, of
    which the model names only half, and with them 44 % of pictures without birds.
    """
    scores = {name: [a.score for a in model.identify(part.paths)] for name, part in parts.items()}
    least = float(np.quantile(scores["valid"], 0.05))
    model.threshold = least
    accepted = {
        f"{name}_accepted": float(np.mean(np.array(s) >= least)) for name, s in scores.items()
    }
    return {name: round(value, 4) for name, value in {"value": least, **accepted}.items()}


def without_map(stored: Path) -> Path:
    """Take the map to a teacher's space out of a folder: 10 MB that only training needs."""
    config = stored / "config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    content["birdembed"].pop("projection", None)
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (stored / "projection.safetensors").unlink(missing_ok=True)
    return stored


def folder(photos: list[Photograph]) -> be.ImageFolder:
    """Return photographs with their species as labels."""
    return be.ImageFolder.from_lists(
        [str(photo.path) for photo in photos], [photo.species for photo in photos]
    )


if __name__ == "__main__":
    main()
