"""Run an end-to-end demo on sample photos: embed them, then search for changed copies of each.

Each photo is flipped, rotated by 90 degrees and darkened, and each copy is searched for. The demo
prints how often the original comes first and how similar different photos are, and writes a plot.
It does so for the pre-trained model, if it was downloaded, and then for the model fine-tuned on
birds.

The samples are downloaded once (`birdembed fetch samples`). Use --images for a folder of your own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from birdembed.cli import common

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    import birdembed as be

EXAMPLES = (
    "birdembed demo",
    "birdembed demo --images photos/ --limit 50",
)
TOP = 3  # matches to look at
BINS = 20  # of similarity between 0 and 1
BAR = 32  # length of the longest bar in characters
SHOWN = 5  # photos to list with their species


def _flip(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, ::-1]


def _rotate(pixels: np.ndarray) -> np.ndarray:
    return pixels.swapaxes(0, 1)[::-1]  # 90 degrees counter-clockwise


def _darken(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 0.6).astype(pixels.dtype)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flipped": _flip,
    "rotated": _rotate,
    "darkened": _darken,
}


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
        help="maximum number of photos, spread evenly over the folder (default: 60)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=common.path,
        default="birdembed-demo.png",
        metavar="PNG",
        help="the plot to write",
    )
    common.add_model(parser)
    common.add_precision(parser)


def choose(folder: Path, limit: int) -> tuple[list[str], int]:
    """Return at most `limit` photos, evenly spread over a folder, and the number of all photos."""
    from birdembed.images.files import folder_of_images

    paths = folder_of_images(folder).whole().paths
    step = max(1.0, len(paths) / limit)
    return [paths[int(i * step)] for i in range(min(limit, len(paths)))], len(paths)


def changed(paths: list[str], change: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the pixels of each photo after a change."""
    import numpy as np

    import birdembed as be

    for path in paths:
        yield np.ascontiguousarray(change(be.decode_image(path)))


def ranks(found: be.SearchResult, rows: int) -> np.ndarray:
    """Return the rank (from 0) at which query i found row i; k if it is not among the k matches."""
    import numpy as np

    hits = found.indices == np.arange(rows)[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), found.indices.shape[1])


def short(name: str) -> str:
    """Return the name of a photo for a table; only the end of a long name."""
    name = str(Path(name).with_suffix(""))
    return name if len(name) <= 24 else "..." + name[-21:]


def print_table(results: dict[str, be.SearchResult], own: dict[str, np.ndarray], rows: int) -> None:
    """Print how often the original was found, for each change."""
    print(f"{'changed':<10} {'original first':>15} {f'in first {TOP}':>11}   score of the original")
    for name, found in results.items():
        place = ranks(found, rows)
        scores = own[name]
        print(
            f"{name:<10} {f'{(place == 0).sum()} of {rows}':>15} {(place < TOP).sum():>11}"
            f"   {scores.mean():.3f} on average, {scores.min():.3f} the lowest"
        )


def print_hardest(
    names: list[str], results: dict[str, be.SearchResult], own: dict[str, np.ndarray]
) -> None:
    """Print the search in which the original got the lowest score."""
    name = min(own, key=lambda key: float(own[key].min()))
    row = int(own[name].argmin())
    matches = list(results[name][row])
    found = [int(i) for i in results[name].indices[row]]
    print(f"\nThe hardest: {short(names[row])}, {name}; the original scores {own[name][row]:.3f}\n")
    for match, i in zip(matches, found, strict=True):
        print(f"  {match.score:.3f}  {short(match.id)}{'   <- the original' if i == row else ''}")


def print_similarity(vectors: np.ndarray, names: list[str]) -> None:
    """Print a histogram of the similarities of different photos."""
    import numpy as np

    import birdembed as be

    matrix = np.asarray(be.cosine_similarity(vectors))
    first, second = np.triu_indices(len(matrix), 1)
    pairs = matrix[first, second]
    print(f"\nHow similar are two different photos? ({len(pairs)} pairs)\n")
    counts, edges = np.histogram(pairs, bins=np.linspace(0, 1, BINS + 1))
    used = np.flatnonzero(counts)
    for i in range(used[0], used[-1] + 1) if len(used) else ():
        bar = "#" * int(np.ceil(counts[i] * BAR / counts.max()))
        print(f"  {edges[i]:.2f} to {edges[i + 1]:.2f}  {bar} {counts[i]}")
    low, high = int(pairs.argmin()), int(pairs.argmax())
    print(f"\n  mean     {pairs.mean():.3f}")
    for word, i in ("least", low), ("most", high):
        a, b = short(names[first[i]]), short(names[second[i]])
        print(f"  {word:<8} {pairs[i]:.3f}  {a} and {b}")


def why_together() -> None:
    """Explain the scores of a pre-trained model."""
    print(
        "\nWhy all scores are high: the features of this network are never negative, so any two\n"
        "vectors point in a similar direction, and the network has not learned which differences\n"
        "matter between birds. Look at the order of the matches, not at the scores. Training on\n"
        "species spreads the scores."
    )


def draw(
    paths: list[str], names: list[str], results: dict[str, be.SearchResult], title: str
) -> Figure:
    """Plot queries with their best matches, the originals in green."""
    import birdembed as be

    # Two queries per change, spread over the list of photos.
    per_change = min(2, len(paths))
    rows = [
        (name, (place * len(results) + n) * len(paths) // (per_change * len(results)))
        for n, name in enumerate(results)
        for place in range(per_change)
    ]
    return be.plot_grid(
        [CHANGES[name](be.decode_image(paths[i])) for name, i in rows],
        [results[name][i] for name, i in rows],
        expected=[names[i] for _, i in rows],
        captions=[f"{Path(names[i]).name}\n{name}" for name, i in rows],
        title=title,
    )


def print_species(model: be.Model, paths: list[str]) -> None:
    """Print which species the model identifies on the photos."""
    answers = model.identify(paths, k=1)
    known = sorted(
        ((a, path) for a, path in zip(answers, paths, strict=True) if a.known),
        key=lambda pair: -pair[0].score,
    )
    species = common.label_count(model.gallery) if model.gallery else 0
    print(
        f"\n{len(paths) - len(known)} of {len(paths)} photos match none of the {species} species "
        + ("the model knows. Some of the others:\n" if known else "the model knows.")
    )
    for answer, path in known[:SHOWN]:
        print(f"  {answer.score:.3f}  {short(Path(path).name)}: {answer.full_names()[0]}")


def load_models(args: argparse.Namespace) -> list[be.Model]:
    """Load the model given by --model, or the pre-trained and the default model."""
    import birdembed as be

    models = [common.load_model(args)]
    if not args.model and models[0].gallery is not None and "sscd" in be.list_models():
        models.insert(0, be.load_model("sscd", precision=args.model_precision))
    return models


class Searched(NamedTuple):
    """An index of the photos, and the results of the searches."""

    rows: be.Index
    results: dict[str, be.SearchResult]  # by change


def search(model: be.Model, folder: Path, chosen: list[str], total: int) -> Searched:
    """Embed the photos, search for changed copies, and print the scores."""
    import numpy as np

    import birdembed as be

    begun = time.perf_counter()
    ids = [Path(path).relative_to(folder).as_posix() for path in chosen]
    index = be.Index.build(model, chosen, ids=ids, on_error="skip")
    seconds = time.perf_counter() - begun
    common.list_failures(common.failures_of(index))
    if len(index) < 2:
        raise ValueError(f"{folder}: the demo needs at least two readable photos")
    paths = [str(path) for path in index.paths]
    rows, dim = index.embeddings.shape
    print(f"{model!r}\n")
    print(
        f"Embedded {rows} of {total} photos in {folder}\n({dim} dimensions) in {seconds:.1f} s,"
        f" {rows / seconds:.0f} per second with {be.info()['threads']} threads\n"
    )

    unit = index.embeddings / np.linalg.norm(index.embeddings, axis=1, keepdims=True)
    results, own = {}, {}
    for name, change in CHANGES.items():
        vectors = model.encode(changed(paths, change), show_progress_bar=False)
        results[name] = index.search(vectors, k=TOP + 1, fingerprint=model.fingerprint)
        own[name] = (unit * vectors).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    print_table(results, own, rows)
    print_hardest(list(index.ids), results, own)
    print_similarity(index.embeddings, list(index.ids))
    if model.gallery is None:
        why_together()
    else:
        print_species(model, paths)
    return Searched(index, results)


def run(args: argparse.Namespace) -> int:
    """Embed the sample photos, search for changed copies, and print and plot the results."""
    import birdembed as be

    common.need_target(args.output)
    folder = Path(args.images) if args.images else Path(be.fetch("samples"))
    chosen, total = choose(folder, args.limit)
    models = load_models(args)
    for n, model in enumerate(models):
        if len(models) > 1:
            print(f"{'=' * 78}\n{('Before', 'After')[n]} training on photos of birds\n")
        rows, results = search(model, folder, chosen, total)
        print()
    try:
        figure = draw(
            [str(path) for path in rows.paths],
            list(rows.ids),
            results,
            "Changed photos and their best matches",
        )
    except ImportError as error:
        common.say(f"no plot: {error}")
        return 0
    common.save_figure(figure, args.output)
    print(f"The plot: {args.output}")
    return 0
