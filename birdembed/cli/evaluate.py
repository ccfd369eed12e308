"""Measure how well a model tells species apart.

Searches for each photo among all the others, or among the photos of --reference. Prints
precision@1, MAP@R, and the mean similarity within a species and between species; with
--robustness also for flipped, rotated, darkened and brightened copies.

What is printed:

  n                     photos that were searched for
  lone                  photos without another photo of their species; they do not count below
  precision_at_1        how often the best match is of the same species
  map_at_r              how many of the first R matches are, and how early; R is their number
  recall_at_5           how often one of the first 5 matches is
  same_similarity       mean cosine of two photos of a species; near 1 is best
  different_similarity  mean cosine of photos of two species; near 0 is best
  accuracy, top5        how often the classifier's first answer, or one of five, is right
  robustness.X.kept     how often a right best match stays right if photos are changed by X
  robustness.X.self_similarity  mean cosine of a photo and its changed copy

With --reference, photos that are in both folders are listed first, because they make the scores
too good. --details lists the species that are confused most often, the photos with the highest
loss, and the scores of each species. --plots DIR writes plots of the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birdembed.base.files import check_creatable, made_folder
from birdembed.base.text import in_one_line
from birdembed.cli import common, output
from birdembed.cli.inputs import (
    LABELLED,
    LABELLED_HELP,
    check_standard_input,
    files_of,
    is_index,
    labelled_images,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    import birdembed as be

EXAMPLES = (
    "birdembed evaluate photos/valid --reference photos/train --model my-birds",
    "birdembed evaluate photos/ --robustness",
)
PLOTS = ("confusion", "per_class", "losses", "similarity", "map")
SCORES = ("precision_at_1", "map_at_r", "accuracy")  # of a class


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument(
        "folder",
        type=common.path,
        metavar=LABELLED,
        help=f"photos to evaluate: {LABELLED_HELP}",
    )
    parser.add_argument(
        "--reference",
        type=common.path,
        metavar=LABELLED,
        help="labelled photos to search in, instead of the evaluated photos themselves; given in "
        "the same ways",
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="also evaluate flipped, rotated, darkened and brightened copies",
    )
    parser.add_argument(
        "--details", action="store_true", help="also list errors and the scores of each species"
    )
    parser.add_argument(
        "--plots", type=common.path, metavar="DIR", help="folder to write plots of the results to"
    )
    common.add_model(parser, "the model that made the index, if one is given, else birds477")
    common.add_precision(parser)
    common.add_json(parser)


def details(result: be.Evaluation, losses: list[Any]) -> dict[str, Any]:
    """Return the results that --details shows, as plain values."""
    return {
        "most_confused": [one._asdict() for one in result.most_confused()],
        "top_losses": [one._asdict() for one in losses],
        "per_class": result.per_class,
    }


def _pairs(
    vectors: NDArray[np.float32],
    data: be.ImageFolder,
    report: Any,
    reference: be.Index | None,
) -> dict[str, Any]:
    """Return the arguments of `plot_similarity`, for the pairs of the printed means.

    A file that is listed several times is plotted once, so that it is not compared with itself.
    """
    from birdembed.base.real_paths import file_numbers
    from birdembed.evaluation.judged import own_rows

    paths, names = [data.paths[row] for row in report.kept], data.names
    first = sorted(set(file_numbers(paths).tolist()))
    tags = [names[report.kept[row]] for row in first]
    pairs: dict[str, Any] = {"embeddings": vectors[first], "labels": tags}
    if reference is None:
        return pairs
    there = sorted(set(file_numbers(reference.paths.tolist()).tolist()))
    return pairs | {
        "reference": reference.embeddings[there],
        "reference_labels": reference.labels[there],
        "own": own_rows([paths[row] for row in first], reference.paths[there].tolist()),
    }


def print_details(result: be.Evaluation, losses: list[Any]) -> None:
    """Print the results that --details shows."""
    confused = result.most_confused()
    print("\nmost confused" if confused else "\nmost confused: none")
    for one in confused:
        pair = in_one_line(f"{one.true} -> {one.found}")
        print(f"  {one.pictures:>4}  {one.share:6.1%}  {pair}")
    print("\nhighest loss")
    for one in losses:
        print(f"  {one.loss:7.3f}  {in_one_line(f'{one.label} -> {one.found}  {one.path}')}")
    keys = [k for k in SCORES if k in _first(result.per_class)]
    print("\nn, " + ", ".join(keys) + " per species")
    for name, row in sorted(result.per_class.items(), key=lambda item: item[1][keys[0]] or 0):
        numbers = "  ".join("     -" if row[k] is None else f"{row[k]:.4f}" for k in keys)
        print(f"  {row['n']:>4}  {numbers}  {in_one_line(name)}")


def _first(table: dict[str, Any]) -> dict[str, Any]:
    return next(iter(table.values()), {"precision_at_1": None})


def write_plots(
    folder: str,
    result: be.Evaluation,
    losses: list[Any],
    model: be.Model,
    data: be.ImageFolder,
    reference: be.Index | None,
) -> list[str]:
    """Write the plots and return their paths; report plots that cannot be drawn."""
    import birdembed as be

    vectors, report = model.encode(data, on_error="skip", return_report=True)
    names = [data.names[row] for row in report.kept]
    drawings: tuple[Callable[[], Figure], ...] = (
        result.plot_confusion,
        lambda: result.plot_per_class(_score_of_classes(result)),
        lambda: be.plot_losses(losses),
        lambda: be.plot_similarity(**_pairs(vectors, data, report, reference)),
        lambda: be.plot_map(vectors, names),
    )
    paths = []
    with made_folder(folder) as place:
        for name, draw in zip(PLOTS, drawings, strict=True):
            path = _plot(place, name)
            try:
                figure = draw()
            except ValueError as error:  # too few photos, or of too few species
                common.say(f"no plot {path}: {common.one_line(error)}")
                continue
            output.save_figure(figure, path)
            paths.append(path)
    return paths


def _plot(folder: str | Path, name: str) -> str:
    """Return the path of a plot in the folder of --plots."""
    return str(Path(folder) / f"{name}.png")


def _score_of_classes(result: be.Evaluation) -> str:
    """Return the first score that is defined for at least one class.

    A species with a single photo has no precision@1, because there is no other photo to find.
    """
    rows = result.per_class.values()
    found = [key for key in SCORES if any(row.get(key) is not None for row in rows)]
    return found[0] if found else SCORES[0]


def _model_of(args: argparse.Namespace) -> be.Model:
    """Return the model given by --model, else the one that made the index to evaluate."""
    import birdembed as be

    if args.model or args.folder == "-" or not is_index(args.folder):
        return common.load_model(args)
    made_it = common.model_of_index(args, be.Index.load(args.folder))
    return common.load_model(args) if made_it is None else made_it


def _check_plots(folder: str, data: be.ImageFolder, reference: list[str]) -> None:
    """Check that the plots of --plots can be written, and that none replaces a photo."""
    check_creatable(folder)
    for name in PLOTS:
        if Path(folder).is_dir():
            output.need_target(_plot(folder, name))
        photos = chain(data.paths, *map(files_of, reference))
        output.check_not_read(_plot(folder, name), photos)


def run(args: argparse.Namespace) -> int:
    """Evaluate a model on a folder and print its scores."""
    import birdembed as be

    check_standard_input({"the photos to evaluate": args.folder, "--reference": args.reference})
    data = labelled_images(args.folder)
    if args.plots:
        _check_plots(args.plots, data, [args.reference] if args.reference else [])
    reference = None
    if args.reference and is_index(args.reference):
        model, reference = common.open_index(args, args.reference, None)
    else:
        model = _model_of(args)
    if args.reference and reference is None:  # embed the reference once for all searches
        reference = be.Index.build(model, labelled_images(args.reference))
    result = be.evaluate(model, data, reference=reference, robustness=args.robustness)
    bad = [*(common.failures_of(reference) if reference else ()), *(result.failures or ())]
    common.list_failures(bad)
    for pair in (result.duplicates or ())[:20]:
        common.say(in_one_line(f"copy: {pair.path} is also in the reference: {pair.other}"))
    losses = []
    if args.details or args.plots:
        losses = be.top_losses(model, data, reference=reference)
    scalars = result.to_dict(scalars=True)
    if args.json:
        more = details(result, losses) if args.details else {}
        common.print_json(scalars | more | {"failures": common.failures_json(bad)})
    else:
        common.print_table(scalars)
        if args.details:
            print_details(result, losses)
    if args.plots:  # last, so that the scores are printed even if plotting fails
        for path in write_plots(args.plots, result, losses, model, data, reference):
            common.say(path) if args.json else print(path)
    return 0
