"""Train `birds477`, the bundled model, from `birds51` and two teachers.

    python tools/train_birds.py PHOTOS WORK START [--tuning] [--no-birds FOLDER]

PHOTOS is the folder described in bird_photographs.py. START is the model that train_birds51.py
writes. WORK contains the embeddings of the teachers: aiy.npz and lite0.npz for the photos, written
by teacher_embeddings.py, and views/, written by bird_views.py. Checkpoints are also written to
WORK. If a run is stopped, run the same command again to continue it.

The first three stages leave out 48 species. With --tuning the training ends after them: use
measure_birds.py to evaluate the result, WORK/tuned, on these species. If its output is in
WORK/measured.json, it becomes a part of the model's training.json. The other stages add the 48
species. The fifth photos of the species and the photos of valid/ are never trained on: the
threshold and the calibration of the gallery are fitted on them, and the figures in training.json
are measured on them. FOLDER contains other images without birds, to measure how many the threshold
accepts.
"""

import argparse
import json
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from bird_photographs import Photograph, Photographs
from feature_codes import feature_codes, unit
from publish_birds import folder, publish

import birdembed as be

Array = np.ndarray
SIZE = 192
#: The map to a teacher's space makes the network see what the teacher sees. The relation does it in
#: the features themselves, which are what `encode` returns. The contrastive loss and the cosines
#: keep species far apart there: without them two species have a cosine of 0.57.
WEIGHTS = {"aiy": 6.0, "lite0": 3.0, "relation": 3.0}
COMMON: dict[str, Any] = {
    "batch_size": 64,
    "layer_decay": 0.9,
    "precision": "bfloat16",
    "checkpoint_every": 50,
}


class Stage(NamedTuple):
    """A part of the training.

    `often` is the number of times that an epoch shows a photo of a species with five photos; None
    samples all species equally often. `supcon`, `cosines` and `codes` are weights of the losses.
    """

    name: str
    often: int | None
    supcon: float
    cosines: float
    options: dict[str, Any]
    codes: float = 0.0


LARGE_IMAGES = {"image_size": 160, "eval_size": SIZE}
SMALL = Stage(
    "small", None, 0.3, 0.0, {"epochs": 8, "image_size": 96, "eval_size": 128, "lr": 1e-3}
)
#: All species equally often: best for species that were not in the training (precision@1 0.82).
EVEN = Stage("even", None, 0.3, 20.0, {**LARGE_IMAGES, "epochs": 3, "lr": 6e-4})
#: The 51 species with a hundred photos more often: their photos become more similar to each other
#: (0.79 instead of 0.70) and less similar to other species (0.16 instead of 0.22), but unseen
#: species get worse (precision@1 0.77).
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
#: The mean of the weights of START and of the last two stages, by these shares.
PHOTO_SHARES = {"start": 0.1, "long": 0.2, "last": 0.7}
#: From this mean, views of all species equally often. The teachers saw each view unchanged.
VIEWS = Stage(
    "of-views", None, 0.3, 20.0, {**LARGE_IMAGES, "epochs": 1, "lr": 5e-4, "head_epochs": 0}
)
#: Share of the views that this stage uses. The next stage uses all.
VIEWS_USED = 0.6
#: The mean of the weights before and after the views: half each, for the classifier 0.6 and 0.4.
#: The views alone improve the nearest photos of the 425 species, and the mean also keeps the
#: results of the 51: precision@1 of valid/ and of the fifth photos is 0.980 and 0.539 before, 0.980
#: and 0.558 after, 0.980 and 0.574 for the mean.
BEFORE_VIEWS, CLASSIFIER_BEFORE_VIEWS = 0.5, 0.6
#: From this mean, all views three times. The first layers hardly change any more, so they are
#: frozen, and a step takes 0.8 of the time.
MORE_VIEWS = Stage(
    "more-views",
    None,
    0.3,
    20.0,
    {
        "image_size": ((2, 128), (1, 160)),
        "eval_size": SIZE,
        "epochs": 3,
        "lr": 1e-3,
        "head_epochs": 0,
        "freeze": ("conv1", "bn1", "layer1."),
    },
)
#: Again a mean, but with the later classifier. Precision@1 of the fifth photos is 0.577 before,
#: 0.609 after and 0.6 for the mean. The mean also keeps the photos of the 51 species close
#: together: their cosine is 0.83 before, 0.74 after and 0.81 for the mean.
BEFORE_MORE_VIEWS = 0.7
#: From this mean, all views four times, with the codes of feature_codes.py as targets of the
#: features, instead of the relation, the contrastive loss and the cosines. These only compare the
#: images of a batch, so they seldom see two similar species. Precision@1 of the fifth photos is
#: 0.605 before and 0.649 after, the cosine of different species 0.134 and 0.043.
CODES = Stage(
    "codes",
    None,
    0.0,
    0.0,
    {
        "image_size": 128,
        "eval_size": SIZE,
        "epochs": 4,
        "lr": 1e-3,
        "head_epochs": 0,
        "freeze": ("conv1", "bn1", "layer1."),
    },
    codes=15.0,
)
#: Again a mean, and one of the classifiers: the mean of a species is then nearest for 0.689 of the
#: fifth photos instead of 0.675, and the classifier names 0.645 of them instead of 0.612.
BEFORE_CODES, CLASSIFIER_BEFORE_CODES = 0.2, 0.3
#: From this mean, views that the network has not seen, and blends, which have no label. Before, the
#: features of its own photos were closer to the code (cosine 0.87) than those of the fifth photos
#: (0.69). Precision@1 of the fifth photos is 0.647 before and 0.675 after.
BLENDS = Stage("blends", None, 0.0, 0.0, {**CODES.options, "epochs": 2}, codes=15.0)
#: Again a mean, which keeps precision@1 of valid/: 0.980, after the views and blends 0.977. Of the
#: fifth photos it has 0.659, and the mean of a species is nearest for 0.713 instead of 0.689.
BEFORE_BLENDS = 0.4
#: The parts of the views, see bird_views.py.
FIRST, SECOND = ("part",), ("again", "blends")
UNLABELLED = {"no-bird", "blend"}


def main() -> None:
    """Train, and write the model into the package."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos")
    parser.add_argument("work", type=Path)
    parser.add_argument("start")
    parser.add_argument("--tuning", action="store_true", help="stop before the 48 species come in")
    parser.add_argument("--no-birds", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    photos = Photographs(given.photos)
    work: Path = given.work
    start = be.load_model(given.start)
    model, known = start, Photos(work, photos.tuning())
    for stage in (SMALL, EVEN, UNEVEN):
        model = trained(work, stage, model, known)
    if given.tuning:
        earlier = {0.2: start, 0.4: be.load_model(work / EVEN.name)}
        averaged(model, earlier).save_pretrained(work / "tuned")
        return
    everything = Photos(work, photos.known())
    for stage in LAST:
        model = trained(work, stage, model, everything)
    earlier = {PHOTO_SHARES["start"]: start, PHOTO_SHARES["long"]: be.load_model(work / "long")}
    averaged(model, earlier).save_pretrained(work / "of-photos")
    before = be.load_model(work / "of-photos")
    model = trained(work, VIEWS, be.load_model(work / "of-photos"), Views(work, VIEWS_USED))
    averaged(model, {BEFORE_VIEWS: before}, {CLASSIFIER_BEFORE_VIEWS: before})
    model.save_pretrained(work / "mean", dtype="float16")
    model = trained(work, MORE_VIEWS, be.load_model(work / "mean"), Views(work, 1))
    averaged(model, {BEFORE_MORE_VIEWS: be.load_model(work / "mean")})
    model.save_pretrained(work / "before-codes", dtype="float16")
    before = be.load_model(work / "before-codes")
    model = trained(work, CODES, be.load_model(work / "before-codes"), Views(work, 1))
    averaged(model, {BEFORE_CODES: before}, {CLASSIFIER_BEFORE_CODES: before})
    model.save_pretrained(work / "before-blends", dtype="float16")
    before = be.load_model(work / "before-blends")
    model = trained(work, BLENDS, be.load_model(work / "before-blends"), Views(work, 1, SECOND))
    averaged(model, {BEFORE_BLENDS: before}, {BEFORE_BLENDS: before})
    model.save_pretrained(work / "stored", dtype="float16")
    publish(work, photos, given.no_birds)


class Photos:
    """Photos to train on, and the teachers' embeddings of each.

    Attributes
    ----------
    augment : str or None
        Augmentation in training.
    lengths : dict of str to float
        Length of each teacher's vectors when the vectors of both are concatenated.
    """

    augment: str | None = "turned"
    lengths: ClassVar = {"aiy": 1.0, "lite0": 1.0}

    def __init__(self, work: Path, photos: list[Photograph]) -> None:
        self.photos = photos
        keys = [photo.key for photo in photos]
        self.teachers = {name: teacher(work / f"{name}.npz", keys) for name in self.lengths}

    def repeated(self, often: int | None) -> tuple[be.ImageFolder, dict[str, Array]]:
        """Return the images of an epoch and the teachers' rows, in the same order."""
        times = [often if often and few_photos(photo) else 1 for photo in self.photos]
        rows = np.repeat(np.arange(len(self.photos)), times)
        images = folder([self.photos[row] for row in rows])
        return images, {name: found[rows] for name, found in self.teachers.items()}


class Views:
    """A share of the views that bird_views.py wrote, and the teachers' embeddings. See `Photos`.

    `files` are the first words of its .npz files.
    """

    augment: str | None = None
    lengths: ClassVar = {"aiy": 1.0, "lite0": 0.7}

    def __init__(self, work: Path, share: float, files: tuple[str, ...] = FIRST) -> None:
        views = work / "views"
        found = [file for name in files for file in sorted(views.glob(f"{name}-*.npz"))]
        parts = [dict(np.load(file)) for file in found]
        names = np.concatenate([part["paths"] for part in parts])
        species = [str(name).split("/")[0] for name in names]
        labels = [None if name in UNLABELLED else name for name in species]
        data = be.ImageFolder.from_lists([str(views / name) for name in names], labels)
        birds = data.labels >= 0
        used = np.random.default_rng(0).permutation(len(data))[: int(share * len(data))]
        used.sort()
        self.data = data[used]
        self.teachers = {
            name: evened(np.concatenate([part[name] for part in parts]), birds)[used]
            for name in self.lengths
        }

    def repeated(self, _often: int | None) -> tuple[be.ImageFolder, dict[str, Array]]:
        """Return the images of an epoch and the teachers' rows, in the same order."""
        return self.data, self.teachers


def averaged(
    model: be.Model, earlier: dict[float, be.Model], classifier: dict[float, be.Model] | None = None
) -> be.Model:
    """Return the model with the mean of its weights and those of earlier models, by their shares.

    The classifier has its own shares; without them it does not change. (Wortsman et al. 2022,
    "Robust fine-tuning of zero-shot models".)
    """
    weights = model.state_dict()
    states, heads = (
        [(share, other.state_dict()) for share, other in models.items()]
        for models in (earlier, classifier or {})
    )
    for name, last in weights.items():
        others = heads if name.startswith("fc.") else states
        own = 1 - sum(share for share, _ in others)
        mean = own * last + sum(share * state[name] for share, state in others)
        weights[name] = mean.astype(last.dtype)
    model.load_state_dict(weights)
    return model


def trained(work: Path, stage: Stage, model: be.Model, photos: Photos | Views) -> be.Model:
    """Train on photos or their views, or load the result of an earlier run of this stage."""
    done = work / stage.name
    if (done / "config.json").exists():
        return be.load_model(done)
    data, teachers = photos.repeated(stage.often)
    targets = codes(done, model, data, both(teachers, photos.lengths)) if stage.codes else None
    history = be.fine_tune(
        model,
        data,
        balanced=stage.often is None,
        augment=photos.augment,
        loss=losses(teachers, photos.lengths, stage, targets),
        checkpoint_dir=work / f"{stage.name}-checkpoints",
        resume=True,
        **COMMON,
        **stage.options,
    )
    (work / f"{stage.name}.json").write_text(json.dumps(history.epochs, indent=1) + "\n")
    model.save_pretrained(done)
    return be.load_model(done)


def few_photos(photo: Photograph) -> bool:
    """Return whether a photo shows a species that has five photos."""
    return photo.key.startswith("birds-more/")


def codes(done: Path, model: be.Model, data: be.ImageFolder, embeddings: Array) -> Array:
    """Return the targets for the features, the same ones when a training continues."""
    file = done.with_suffix(".npy")
    if not file.exists():
        half = done.with_suffix(".half.npy")
        np.save(half, feature_codes(model, data, embeddings))
        half.rename(file)
    return np.asarray(np.load(file))


def both(teachers: dict[str, Array], lengths: dict[str, float]) -> Array:
    """Return the embeddings of both teachers side by side."""
    return np.concatenate([rows * lengths[name] for name, rows in teachers.items()], axis=1)


def losses(
    teachers: dict[str, Array], lengths: dict[str, float], stage: Stage, codes: Array | None = None
) -> list[Any]:
    """Return the losses that are added to the cross-entropy."""
    maps = [be.Distill(rows, weight=WEIGHTS[name]) for name, rows in teachers.items()]
    if codes is not None:
        return [*maps, be.Distill(codes, weight=stage.codes, form="features")]
    rows = both(teachers, lengths)
    return [
        *maps,
        be.Distill(rows, weight=WEIGHTS["relation"], form="relation", temperature=0.1),
        be.SupCon(temperature=0.1, weight=stage.supcon),
        *([Cosines(rows, stage.cosines)] if stage.cosines else []),
    ]


class Cosines:
    """Loss: the squared difference between the cosines in a batch and those of the teachers.

    It is the mean over pairs of the same species plus the mean over other pairs. The target of a
    pair is the teachers' cosine, but at least 0.9 for the same species and at least 0 for others.
    The other losses use a softmax of cosines, so they do not notice if all cosines are too high.
    This one does.
    """

    needs_batch = True

    def __init__(self, teachers: Array, weight: float) -> None:
        self.teachers, self.weight = unit(teachers), weight

    def __repr__(self) -> str:
        """Return the text that identifies the loss in a checkpoint."""
        return f"Cosines({self.weight})"

    def __call__(self, features: Array, batch: Any) -> tuple[float, Array]:
        """Return loss and gradient of features (n, dim)."""
        z, rows = unit(np.asarray(features, np.float64)), self.teachers[batch.positions]
        same = (batch.labels[:, None] == batch.labels[None]) & (batch.labels >= 0)
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
    """Return a teacher's embeddings minus their mean, scaled to length 1: (n, dim) float32.

    The cosines of a network that ends in a ReLU are all high. Without the mean, they tell birds
    apart.
    """
    with np.load(file) as content:
        rows, row_of = content["embeddings"], {key: i for i, key in enumerate(content["paths"])}
    rows = unit(rows - rows.mean(axis=0))
    return np.asarray(rows[[row_of[key] for key in keys]], np.float32)


def evened(rows: Array, birds: Array) -> Array:
    """Return embeddings minus their mean, with weaker main directions, scaled to length 1.

    Mean and directions are computed from the rows with birds. Each direction is divided by the
    square root of its standard deviation. This raises the teachers' own precision@1 on the 48
    species from 0.954 to 0.963, and on the fifth photos from 0.86 to 0.89 (AIY) and from 0.72 to
    0.75 (Lite0).
    """
    rows = np.asarray(rows, np.float32)
    rows = rows - rows[birds].mean(axis=0)
    variance, directions = np.linalg.eigh(np.cov(rows[birds][::3].T))
    even = directions / (variance + 0.05 * variance.mean()) ** 0.25
    return unit(rows @ even.astype(np.float32))


if __name__ == "__main__":
    main()
