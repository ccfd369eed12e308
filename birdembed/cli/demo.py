"""Show what training on birds changes: how similar pictures of the same and other species are.

The demo embeds pictures of birds with the pre-trained network (`sscd`, if it was downloaded) and
with a model that was trained on birds. For both it prints how similar pictures of the same species
and pictures of different species are, and how often the nearest picture is right. It then asks
the trained model for the species, and writes a plot of some searches that marks right matches.

The sample photos are downloaded once (`birdembed fetch samples`). Use --images for your own photos:
a folder with one subfolder per species, or a folder of photos.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from birdembed.base.text import counted, in_one_line
from birdembed.cli import common, output

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    import birdembed as be
    from birdembed.downloads.demo_pictures import DemoPictures

EXAMPLES = (
    "birdembed demo",
    "birdembed demo --images photos/ --limit 50",
)
BAR = 12  # characters of the longest bar of the histogram
KNOWN, UNSEEN = 4, 2  # number of trained and of other species whose answers are shown
SEARCHES, MATCHES = 3, 4  # number of plotted searches, and of matches for each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "--images", type=common.path, metavar="DIR", help="your photos instead of the samples"
    )
    parser.add_argument(
        "--limit",
        type=common.positive,
        default=60,
        metavar="N",
        help="maximum number of photos, spread evenly over the folder, at most 4 per species "
        "(default: 60)",
    )
    output.add_output(
        parser, output.PICTURES, default="birdembed-demo.png", help="file to write the plot to"
    )
    common.add_model(parser)
    common.add_precision(parser)


class Stage(NamedTuple):
    """A model with its index of the pictures."""

    title: str  # "before" or "after"; "" if there is only one model
    model: be.Model
    rows: be.Index


def load_models(args: argparse.Namespace) -> list[tuple[str, be.Model]]:
    """Load the model and, if it knows species, the pre-trained one to compare it with."""
    import birdembed as be

    model = common.load_model(args)
    if model.gallery is None or "sscd" not in be.list_models():
        return [("", model)]
    before = be.load_model("sscd", precision=args.model_precision)
    return [("before", before), ("after", model)]


def embed(title: str, model: be.Model, data: be.ImageFolder) -> Stage:
    """Embed the pictures, and print how long it took."""
    import birdembed as be

    begun = time.perf_counter()
    index = be.Index.build(model, data, on_error="raise")
    seconds = time.perf_counter() - begun
    about = "not trained on species"
    if model.gallery is not None:
        about = f"trained to know {common.label_count(model.gallery)} species"
    name = f"{title}: " if title else ""
    print(f"{name:8}{model.source or 'the model'}, {about}")
    threads = counted(be.info()["threads"], "thread")
    print(f"{'':8}{len(data) / seconds:.1f} pictures per second, {threads}")
    return Stage(title, model, index)


def pairs_of(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarities of pairs with the same label, and of pairs with different ones."""
    import numpy as np

    import birdembed as be

    matrix = np.asarray(be.cosine_similarity(stage.rows.embeddings))
    first, second = np.triu_indices(len(matrix), 1)
    labels = np.asarray(stage.rows.labels)
    same = labels[first] == labels[second]
    return matrix[first, second][same], matrix[first, second][~same]


def print_table(stages: list[Stage], what: str) -> None:
    """Print the mean similarities of pictures of the same `what` and of different ones."""
    import birdembed as be

    found = [be.retrieval_metrics(one.rows.embeddings, list(one.rows.labels)) for one in stages]
    heads = "".join(f"{stage.title or 'result':>9}" for stage in stages)
    print(f"\n{'':38}{heads}    ideal")
    for name, key, ideal in (
        (f"mean similarity, same {what}", "same_similarity", "near 1"),
        (f"mean similarity, different {what}", "different_similarity", "near 0"),
        ("nearest picture is right", "precision_at_1", "100%"),
    ):
        values = [getattr(one, key) for one in found]
        shown = ["-" if v is None else f"{v:.0%}" if "%" in ideal else f"{v:.3f}" for v in values]
        print(f"{name:38}" + "".join(f"{value:>9}" for value in shown) + f"    {ideal}")


def print_histogram(stages: list[Stage], what: str) -> None:
    """Print how often each similarity occurs, for pairs of the same and of different `what`."""
    import numpy as np

    columns = []
    for stage in stages:
        for pairs in pairs_of(stage):
            counts, _ = np.histogram(np.maximum(pairs, -0.05), bins=np.linspace(-0.1, 1, 12))
            columns.append(counts / max(counts.max(), 1))
    print("\nHow often each similarity of two pictures occurs (each column has its own scale)")
    width = BAR + 2
    if len(stages) > 1:
        print(f"\n{'':12}" + "".join(f"{stage.title:{2 * width}}" for stage in stages).rstrip())
    kinds = (f"same {what}", "different")
    print(f"{'':12}" + "".join(f"{kind:{width}}" for kind in kinds * len(stages)).rstrip())
    for row in range(10, -1, -1):
        if not any(column[: row + 1].any() for column in columns):
            break
        label = "below 0" if row == 0 else f"{row / 10 - 0.1:.1f} to {row / 10:.1f}"
        bars = "".join(f"{'#' * int(np.ceil(column[row] * BAR)):{width}}" for column in columns)
        print(f"{label:>10}  {bars}".rstrip())


def labels_known(model: be.Model, pictures: DemoPictures) -> dict[str, str]:
    """Return the model's label for each species of the pictures that the model knows."""
    gallery, names = model.gallery, model.species_names
    assert gallery is not None
    found: dict[str, str] = {}
    for label in gallery.labels:
        for name in (label, *names.get(str(label), ())):
            found[str(name).lower()] = str(label)
    known = {}
    for name in pictures.data.class_names:
        for spelling in (name, *pictures.species.get(name, ())):
            if spelling and spelling.lower() in found:
                known[name] = found[spelling.lower()]
    return known


def print_species(stage: Stage, pictures: DemoPictures) -> None:
    """Print what the model says about species that it knows and species that it does not."""
    answers = stage.model.identify(list(stage.rows.paths), k=1, show_progress_bar=False)
    known = labels_known(stage.model, pictures)
    labels = list(stage.rows.labels)
    groups: dict[bool, dict[str, list[Any]]] = {True: {}, False: {}}
    for label, answer in zip(labels, answers, strict=True):
        groups[label in known][label] = [*groups[label in known].get(label, []), answer]
    print("\nWhich species is it? The answers for some species, one picture each, right ones first")
    print_examples(groups, known)
    print()
    for knows, name in (True, "species it was trained on"), (False, "unseen species"):
        every = [(known.get(k), answer) for k, some in groups[knows].items() for answer in some]
        if every:
            verdicts = [verdict_on(answer, label) for label, answer in every]
            right, wrong, unsure = map(verdicts.count, ("right", "wrong", "unsure"))
            parts = [f"{right} named right", f"{unsure} not recognised"] if knows else []
            parts = parts or [f"{right} right (none of the known species)"]
            print(f"  {len(every)} pictures of {name}: {', '.join(parts)}, {wrong} named wrong")


def print_examples(groups: dict[bool, dict[str, list[Any]]], known: dict[str, str]) -> None:
    """Print the answer for the first picture of some species, right answers first."""
    for knows, most in (True, KNOWN), (False, UNSEEN):
        if groups[knows]:
            print("\n  species it was trained on" if knows else "\n  unseen species")
        answers = {label: some[0] for label, some in groups[knows].items()}
        verdicts = {label: verdict_on(one, known.get(label)) for label, one in answers.items()}
        for label in sorted(answers, key=lambda label: (verdicts[label] != "right", label))[:most]:
            answer = answers[label]
            said = answer.full_names()[0] if answer.known else "none of the known species"
            name = in_one_line(label)[:24]
            print(f"    {verdicts[label]:6}  {name:24}  {in_one_line(said)} ({answer.score:.2f})")


def verdict_on(answer: be.Identification, label: str | None) -> str:
    """Return whether an answer is right, wrong, or says that no species is similar enough.

    The last is right if `label` is None, a species that the model does not know.
    """
    if not answer.known:
        return "right" if label is None else "unsure"
    return "right" if str(answer.species) == label else "wrong"


def draw(stages: list[Stage], names: Sequence[str]) -> Figure:
    """Plot some searches with each model, with right matches in green."""
    import birdembed as be

    count = len(names)
    rows = sorted({(2 * n + 1) * count // (2 * SEARCHES) for n in range(min(SEARCHES, count))})
    asked, found, expected, captions = [], [], [], []
    for row in rows:
        for stage in stages:
            ids = stage.rows.ids
            vector = stage.rows.embeddings[row]
            asked.append(stage.rows.paths[row])
            found.append(stage.rows.search(vector, k=MATCHES, exclude_ids=ids[row]))
            expected.append(names[row])
            captions.append("\n".join(filter(None, (names[row], stage.title))))
    title = "Pictures and their best matches (green: right)"
    return be.plot_grid(asked, found, expected=expected, captions=captions, title=title)


def show(args: argparse.Namespace, pictures: DemoPictures) -> None:
    """Embed the pictures, print the results of the models, and write the plot."""
    what = "species" if pictures.labelled else "photo"
    print(f"{pictures.text}\n")
    stages = [embed(title, model, pictures.data) for title, model in load_models(args)]
    print_table(stages, what)
    print_histogram(stages, what)
    if stages[-1].model.gallery is not None and pictures.labelled:
        print_species(stages[-1], pictures)
    if not args.images:
        print("\nThese scenes are artificial, but the model was trained on photos. To try it with")
        print("your photos: birdembed demo --images DIR, a folder with one subfolder per species")
    try:
        figure = draw(stages, pictures.data.names)
    except ImportError as error:
        common.say(f"no plot: {common.one_line(error)}")
        return
    output.save_figure(figure, args.output)
    print(f"\nThe plot: {args.output}")


def run(args: argparse.Namespace) -> int:
    """Show the pictures' similarities and species, and write a plot."""
    from birdembed.downloads.demo_pictures import demo_pictures

    output.need_target(args.output, [args.images] if args.images else [])
    with tempfile.TemporaryDirectory() as work:
        folder = Path(args.images) if args.images else None
        pictures = demo_pictures(folder, args.limit, Path(work))
        common.list_failures(pictures.failures)
        show(args, pictures)
    return 0
