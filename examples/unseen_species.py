"""Measure how well a model separates species that it was not trained on.

The training leaves out the last species in the alphabet, as is usual in metric learning, or every
N-th species. The script then measures two things:

- Search: how well are images of unseen species found among images of all species (precision@1,
  MAP@R; the query itself does not count)?
- Rejection: the threshold accepts 95 % of new images of the known species. How many images of
  unseen species does it accept, and how many of twenty images that do not show birds? This is
  measured with the cosine to the mean of the nearest species, and with the logits of the
  classifier of a fine-tuned model.

It measures the pre-trained network, a projection fitted on images of the known species, and a
fine-tuned model, at several image sizes, with and without the mirror image.

    python examples/unseen_species.py --train birds/train --valid birds/valid --model MODEL

MODEL must be trained on the known species only (--list prints them). Without --model, the script
trains one first. This takes about an hour on two cores, and --resume continues an interrupted
training. --no-training skips it. Two training options matter. With --layer-decay the first blocks
learn far more slowly than the last, so they keep their general knowledge of birds. With --supcon
a mild contrastive loss, added to the cross-entropy, pulls images of known species together, so
that the cosine separates the others from them. A strong one makes unseen species worse.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import common
import no_birds
import numpy as np

import birdembed as be

#: Measured once with torch, on other images of the same species.
REFERENCE = {
    "pre-trained": "P@1 0.44, MAP@R 0.08, AUROC 0.62",
    "projection": "P@1 0.62, MAP@R 0.15, AUROC 0.79",
    "fine-tuned": "P@1 0.77, MAP@R 0.33, AUROC 0.968",
    "fine-tuned, mirror": "P@1 0.81, MAP@R 0.35, AUROC 0.972",
}


def sizes(word: str) -> list[int]:
    """Parse a list of sizes, such as 160,192,224."""
    return [int(part) for part in word.split(",")]


def arguments() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    common.add_folders(parser)
    parser.add_argument("-o", "--output", default="unseen-species", metavar="DIR")
    parser.add_argument("--model", metavar="DIR", help="model trained on the known species only")
    parser.add_argument("--list", action="store_true", help="print the species and exit")
    left_out = parser.add_mutually_exclusive_group()
    left_out.add_argument(
        "--unseen", type=int, default=11, metavar="N", help="leave out the last N species"
    )
    left_out.add_argument("--every", type=int, metavar="N", help="leave out every N-th species")
    parser.add_argument("--gallery", type=int, default=20, metavar="N", help="images per species")
    parser.add_argument(
        "--fit", type=int, default=100, metavar="N", help="images per species for the projection"
    )
    parser.add_argument("--sizes", type=sizes, default=[160, 192, 224], metavar="A,B")
    parser.add_argument("--start-sizes", type=sizes, default=[224], metavar="A,B")
    parser.add_argument("--no-mirror", action="store_true", help="do not use the mirror image")
    parser.add_argument("--no-birds", metavar="DIR", help="your own images without birds")
    group = parser.add_argument_group("training (without --model)")
    group.add_argument("--no-training", action="store_true")
    group.add_argument("--resume", action="store_true", help="continue an interrupted training")
    group.add_argument("--epochs", type=int, default=12)
    group.add_argument("--batch-size", type=int, default=32)
    group.add_argument(
        "--image-size",
        type=sizes,
        default=[128],
        metavar="A,B",
        help="size; with B, the last 3 epochs use B",
    )
    group.add_argument("--supcon", type=float, default=0.1, metavar="WEIGHT")
    group.add_argument("--layer-decay", type=float, default=0.9, metavar="SHARE")
    return parser


class Pictures(NamedTuple):
    """The images that are embedded."""

    gallery: be.ImageFolder  # of all species
    new: be.ImageFolder  # of the known species, not in training
    fit: be.ImageFolder  # of the known species
    others: dict[str, np.ndarray]  # images without birds
    unseen: list[str]


class Vectors(NamedTuple):
    """The embeddings of `Pictures`, field by field."""

    gallery: np.ndarray
    new: np.ndarray
    others: np.ndarray

    def mapped(self, function: Any) -> Vectors:
        """Return the result of applying a function to each field."""
        return Vectors(*map(function, self))

    def mean_with(self, other: Vectors) -> Vectors:
        """Return the mean of two sets of embeddings."""
        return Vectors(*((a + b) / 2 for a, b in zip(self, other, strict=True)))


def split_species(names: list[str], last: int, every: int | None) -> tuple[list[str], list[str]]:
    """Return known and unseen species; the last ones are unseen, or every `every`-th."""
    unseen = names[::every] if every else names[len(names) - last :]
    return [name for name in names if name not in unseen], unseen


def mirrored(paths: list[str]) -> list[np.ndarray]:
    """Return the mirror images of files."""
    return [np.ascontiguousarray(be.decode_image(path)[:, ::-1]) for path in paths]


def embed(model: be.Model, pictures: Pictures, cache: Path, mirror: bool = False) -> Vectors:
    """Embed all images, or with `mirror` their mirror images."""
    others = list(pictures.others.values())
    if mirror:
        others = [np.ascontiguousarray(pixels[:, ::-1]) for pixels in others]
    gallery, new = (
        common.embed(model, mirrored(data.paths) if mirror else data.paths, cache)
        for data in (pictures.gallery, pictures.new)
    )
    return Vectors(gallery, new, model.encode(others))


def measure(model: be.Model, vectors: Vectors, pictures: Pictures) -> dict[str, Any]:
    """Return the metrics of one set of embeddings."""
    names = pictures.gallery.names
    known = np.asarray([name not in pictures.unseen for name in names])
    p1, map_at_r = common.unseen_metrics(vectors.gallery, names, pictures.unseen)
    new = be.retrieval_metrics(vectors.new, pictures.new.names, vectors.gallery, names)
    # The gallery has the known species; the threshold is chosen on their new images.
    rows = be.Index(model=model)
    rows.add(pictures.new.paths, vectors.new, pictures.new.names)
    labels = [name for name in names if name not in pictures.unseen]
    fit = model.fit_gallery(
        vectors.gallery[known], vectors.gallery[~known], labels=labels, valid=rows
    )
    assert model.gallery is not None
    scores = be.cosine_similarity(vectors.others, model.gallery.embeddings).max(axis=1)
    return {
        "unseen_precision_at_1": p1,
        "unseen_map_at_r": map_at_r,
        "known_precision_at_1": new.precision_at_1,
        "known_same": new.same_similarity,
        "known_different": new.different_similarity,
        "auroc": fit.auroc,
        "threshold": fit.threshold,
        "known_accepted": fit.known_accepted,
        "unseen_accepted": fit.unknown_accepted,
        "no_birds_accepted": [
            name
            for name, score in zip(pictures.others, scores, strict=True)
            if score >= fit.threshold
        ],
    }


def by_classifier(model: be.Model, pictures: Pictures) -> dict[str, Any]:
    """Return how well a classifier separates unseen species from known ones.

    The score is the distance of the largest logit from the mean of all logits of the image, in
    standard deviations: for an unseen bird, many species answer a little.
    """

    def scores(images: list[Any]) -> np.ndarray:
        logits = model.logits(images)
        return np.asarray((logits.max(axis=1) - logits.mean(axis=1)) / logits.std(axis=1))

    gallery = zip(pictures.gallery.paths, pictures.gallery.names, strict=True)
    known = scores(pictures.new.paths)
    unseen = scores([path for path, name in gallery if name in pictures.unseen])
    others = scores(list(pictures.others.values()))
    # The largest threshold that 95 % reach, counted as in fit_gallery.
    threshold = float(np.sort(known)[int(0.05 * len(known) + 1e-9)])
    return {
        "auroc": be.open_set_auroc(known, unseen),
        "threshold": threshold,
        "known_accepted": float(np.mean(known >= threshold)),
        "unseen_accepted": float(np.mean(unseen >= threshold)),
        "no_birds_accepted": [
            name for name, score in zip(pictures.others, others, strict=True) if score >= threshold
        ],
    }


def with_and_without_mirror(
    name: str, model: be.Model, pictures: Pictures, args: argparse.Namespace
) -> tuple[dict[str, dict[str, Any]], dict[str, Vectors]]:
    """Return the metrics and the embeddings by name."""
    cache = Path(args.output) / "cache"
    vectors = {name: embed(model, pictures, cache)}
    if not args.no_mirror:
        flipped = embed(model, pictures, cache, mirror=True)
        vectors[f"{name}, mirror"] = vectors[name].mean_with(flipped)
    return {key: measure(model, value, pictures) for key, value in vectors.items()}, vectors


def at_size(model: be.Model, size: int) -> be.Model:
    """Set the input size of a model; this script makes the mirror images itself."""
    model.preprocess = dataclasses.replace(model.preprocess, size=size, mirror=False)
    return model


def pre_trained(args: argparse.Namespace, pictures: Pictures, say: common.Clock) -> dict[str, Any]:
    """Measure the model to start from, without and with a projection."""
    found = {}
    cache = Path(args.output) / "cache"
    for size in args.start_sizes:
        model = at_size(be.load_model(args.start, num_classes=0), size)
        say(f"pre-trained at {size} px: {len(pictures.gallery)} images in the gallery")
        rows, vectors = with_and_without_mirror("pre-trained", model, pictures, args)
        say(f"fitting a projection on {len(pictures.fit)} images of the known species")
        fit = model.fit_projection(
            common.embed(model, pictures.fit.paths, cache), pictures.fit.names
        )
        assert model.projection is not None
        mean, matrix = model.projection.mean, model.projection.matrix
        say(f"fitted: {fit.dim} numbers, shrinkage {fit.shrinkage}, judged by {fit.judged_by}")
        for key, value in vectors.items():
            rows[key.replace("pre-trained", "projection")] = measure(
                model, value.mapped(lambda x, m=mean, w=matrix: (x - m) @ w), pictures
            )
        found |= {f"{key} @ {size}": row for key, row in rows.items()}
    return found


def train_model(args: argparse.Namespace, known: be.ImageFolder) -> be.Model:
    """Fine-tune on all images of the known species and keep the last epoch."""
    model = be.load_model(args.start, num_classes=0)
    first, last = args.image_size[0], args.image_size[-1]
    at_last = min(3, args.epochs - 1) if last != first else 0
    loss = be.SupCon(temperature=0.1, weight=args.supcon) if args.supcon else "cross_entropy"
    be.fine_tune(
        model,
        known,
        epochs=args.epochs,
        resume=args.resume,
        batch_size=args.batch_size,
        image_size=[(args.epochs - at_last, first), (at_last, last)] if at_last else first,
        eval_size=args.sizes[0],
        loss=loss,
        layer_decay=args.layer_decay,
        checkpoint_dir=Path(args.output) / "checkpoints",
        show_progress_bar=True,
    )
    model.save_pretrained(Path(args.output) / "model")
    return model


def open_set(row: dict[str, Any]) -> str:
    """Return the table's last four columns."""
    return (
        f"{row['auroc']:9.3f} {row['threshold']:9.3f} "
        f"{row['unseen_accepted']:9.3f} {len(row['no_birds_accepted']):9d}"
    )


def print_table(
    rows: dict[str, dict[str, Any]], classifier: dict[str, dict[str, Any]], pictures: Pictures
) -> None:
    """Print the metrics."""
    print(
        f"\n{'':28} {'unseen':>13} {'known':>6} {'open set':>9} {'threshold':>9} "
        f"{'accepted':>9} {'no birds':>9}\n{'':28} {'P@1':>6} {'MAP@R':>6} {'P@1':>6} "
        f"{'AUROC':>9} {'':>9} {'unseen':>9} {'of ' + str(len(pictures.others)):>9}"
    )
    for name, row in rows.items():
        print(
            f"{name:28} {row['unseen_precision_at_1']:6.3f} {row['unseen_map_at_r']:6.3f} "
            f"{row['known_precision_at_1']:6.3f} {open_set(row)}"
        )
    for name, row in classifier.items():
        print(f"{name:28} {'':20} {open_set(row)}")
    print("\nFor comparison, measured with torch on other images of these species:")
    for name, line in REFERENCE.items():
        print(f"  {name:26} {line}")


def check_known(model: be.Model, unseen: list[str]) -> None:
    """Raise an error if the model was trained on unseen species."""
    both = sorted(set(model.class_names or ()) & set(unseen))
    if both:
        raise SystemExit(
            f"--model was trained on {len(both)} of the {len(unseen)} species that must be "
            f"unseen ({both[0]} ...); train a model on the known species (--list prints them)"
        )


def main(words: list[str] | None = None) -> dict[str, Any]:
    """Run the script and return the content of report.json."""
    args = arguments().parse_args(words)
    train, valid = common.folders(args)
    known, unseen = split_species(train.class_names, args.unseen, args.every)
    if args.list:
        print("known:", *known, "unseen:", *unseen, sep="\n")
        return {}
    out = Path(args.output)
    out.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(
        train.select(per_class=args.gallery),
        valid.select([name for name in valid.class_names if name in known]),
        train.select(known, per_class=args.fit),
        no_birds.no_birds(args.no_birds),
        unseen,
    )
    say = common.Clock()
    say(f"{len(known)} known species, {len(unseen)} unseen: {', '.join(unseen)}")
    say(f"{len(pictures.others)} images without birds: {', '.join(pictures.others)}")
    model = None
    if args.model:
        model = be.load_model(args.model)
        check_known(model, unseen)
    rows = pre_trained(args, pictures, say)
    if model is None and not args.no_training:
        say(f"{args.epochs} epochs on {len(known)} species")
        model = train_model(args, train.select(known))
    classifier = {}
    for size in args.sizes if model is not None else ():
        say(f"fine-tuned at {size} px")
        found, _ = with_and_without_mirror("fine-tuned", at_size(model, size), pictures, args)
        rows |= {f"{key} @ {size}": row for key, row in found.items()}
        if model.num_classes:
            classifier[f"its classifier @ {size}"] = by_classifier(model, pictures)
    report = {
        "known": known,
        "unseen": unseen,
        "no_birds": list(pictures.others),
        "rows": rows,
        "classifier": classifier,
    }
    common.write_json(out / "report.json", report)
    print_table(rows, classifier, pictures)
    say(f"written: {out / 'report.json'}")
    return report


if __name__ == "__main__":
    main()
