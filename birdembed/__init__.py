"""Image embeddings, cosine search and fine-tuning with ResNets, on an ordinary CPU.

Compute the embeddings of photos, and find the photos most similar to a given one::

    import birdembed as be

    model = be.load_model()
    vectors = model.encode(["a.jpg", "b.jpg"])  # (2, 2048) float32
    index = be.Index.build(model, "photos/")  # a folder; labels are its subfolders
    print(index.search("unknown.jpg", k=5))

Start with `load_model`, `Model` and `Index`. To train a model on your own species, see
`ImageFolder` and `fine_tune`, and measure the result with `evaluate`. `info` shows versions and
processor features, `set_num_threads` sets the number of threads, and all errors are subclasses of
`BirdembedError`. See `birdembed.integrations` for other tools, and ``birdembed --help`` for the
command line.
"""

from __future__ import annotations

import os
import sys


def _is_command() -> bool:
    """Return whether this process is the command line: `birdembed` or `python -m birdembed`."""
    first = getattr(sys, "argv", None) or [""]
    if first[0] == "-m":  # Python is still looking for the module
        return any(text in " ".join(sys.orig_argv) for text in ("-m birdembed", "-mbirdembed"))
    return os.path.basename(first[0]) == "birdembed"


def _in_one_line(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print Ctrl-C during the imports as `birdembed.cli.main` prints a later one, and exit."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    if sys.stderr is not None:
        print("birdembed: interrupted", file=sys.stderr)
    raise SystemExit(130)


if _is_command():
    sys.excepthook = _in_one_line
    import datetime  # noqa: F401 (NumPy imports it in a way that turns Ctrl-C into an ImportError)

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

# GNU OpenMP threads wait for each other in a busy loop of a few milliseconds. If the machine is
# also busy with something else, this makes a forward pass several times slower. A loop of about 50
# microseconds, then sleep, costs nothing on an idle machine. libgomp reads the variable once, when
# it is loaded. A value set by the user is kept, and ours is removed afterwards.
_OURS = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
if _OURS:
    os.environ["GOMP_SPINCOUNT"] = "2000"
try:
    from birdembed._core import (
        BackendError,
        BirdembedError,
        DecodeError,
        FingerprintMismatch,
        WeightsError,
    )
finally:
    if _OURS:
        del os.environ["GOMP_SPINCOUNT"]

from birdembed._version import __version__  # noqa: E402
from birdembed.base.makers import Maker as _Maker  # noqa: E402
from birdembed.base.makers import set_loader as _set_loader  # noqa: E402

if TYPE_CHECKING:
    from birdembed.base.system import info, set_num_threads
    from birdembed.data.folder import ImageFolder
    from birdembed.display.classes import plot_confusion, plot_per_class
    from birdembed.display.curves import plot_history
    from birdembed.display.explanation import plot_explanation
    from birdembed.display.grid import plot_duplicates, plot_grid, plot_losses
    from birdembed.display.map import plot_map
    from birdembed.display.similarity import plot_similarity
    from birdembed.downloads.fetch import fetch
    from birdembed.downloads.sample_data import SampleData, sample_data, sample_photographs
    from birdembed.evaluation.duplicates import find_duplicates
    from birdembed.evaluation.evaluate import evaluate
    from birdembed.evaluation.evaluation import Evaluation, most_confused, retrieval_metrics
    from birdembed.evaluation.top_losses import top_losses
    from birdembed.images.batches import preprocess
    from birdembed.images.decoding import decode_image
    from birdembed.images.preprocess import Preprocess
    from birdembed.images.report import EncodeReport, Failure
    from birdembed.images.verify import VerifyReport, verify
    from birdembed.model.explain import Explanation, explain_match
    from birdembed.model.load import load_model
    from birdembed.model.model import Model
    from birdembed.pretrained.registry import list_models
    from birdembed.search.cosine import cosine_similarity, cosine_topk
    from birdembed.search.index import Index
    from birdembed.search.results import Match, SearchResult
    from birdembed.species.gallery_fit import GalleryFit
    from birdembed.species.identify import Identification
    from birdembed.species.projection_fit import ProjectionFit
    from birdembed.species.threshold import open_set_auroc
    from birdembed.training.batch_norm import recalibrate_batch_norm
    from birdembed.training.callbacks import Callback
    from birdembed.training.config import TrainConfig
    from birdembed.training.distill import Distill
    from birdembed.training.fine_tune import fine_tune
    from birdembed.training.history import History
    from birdembed.training.live_plot import LivePlot
    from birdembed.training.losses import SupCon
    from birdembed.training.lr_find import LrFind, lr_find
    from birdembed.training.trainer import Trainer
    from birdembed.weights.projection import Projection

# Loaded on first use, so that importing the package is as fast as importing NumPy.
_HOMES = {
    "base.system": ["info", "set_num_threads"],
    "data.folder": ["ImageFolder"],
    "display.classes": ["plot_confusion", "plot_per_class"],
    "display.curves": ["plot_history"],
    "display.explanation": ["plot_explanation"],
    "display.grid": ["plot_duplicates", "plot_grid", "plot_losses"],
    "display.map": ["plot_map"],
    "display.similarity": ["plot_similarity"],
    "downloads.fetch": ["fetch"],
    "downloads.sample_data": ["SampleData", "sample_data", "sample_photographs"],
    "evaluation.duplicates": ["find_duplicates"],
    "evaluation.evaluate": ["evaluate"],
    "evaluation.evaluation": ["Evaluation", "most_confused", "retrieval_metrics"],
    "evaluation.top_losses": ["top_losses"],
    "images.batches": ["preprocess"],
    "images.decoding": ["decode_image"],
    "images.preprocess": ["Preprocess"],
    "images.report": ["EncodeReport", "Failure"],
    "images.verify": ["VerifyReport", "verify"],
    "model.explain": ["Explanation", "explain_match"],
    "model.load": ["load_model"],
    "model.model": ["Model"],
    "pretrained.registry": ["list_models"],
    "search.cosine": ["cosine_similarity", "cosine_topk"],
    "search.index": ["Index"],
    "search.results": ["Match", "SearchResult"],
    "species.gallery_fit": ["GalleryFit"],
    "species.identify": ["Identification"],
    "species.projection_fit": ["ProjectionFit"],
    "species.threshold": ["open_set_auroc"],
    "training.batch_norm": ["recalibrate_batch_norm"],
    "training.callbacks": ["Callback"],
    "training.config": ["TrainConfig"],
    "training.distill": ["Distill"],
    "training.fine_tune": ["fine_tune"],
    "training.history": ["History"],
    "training.live_plot": ["LivePlot"],
    "training.losses": ["SupCon"],
    "training.lr_find": ["LrFind", "lr_find"],
    "training.trainer": ["Trainer"],
    "weights.projection": ["Projection"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BackendError",
    "BirdembedError",
    "Callback",
    "DecodeError",
    "Distill",
    "EncodeReport",
    "Evaluation",
    "Explanation",
    "Failure",
    "FingerprintMismatch",
    "GalleryFit",
    "History",
    "Identification",
    "ImageFolder",
    "Index",
    "LivePlot",
    "LrFind",
    "Match",
    "Model",
    "Preprocess",
    "Projection",
    "ProjectionFit",
    "SampleData",
    "SearchResult",
    "SupCon",
    "TrainConfig",
    "Trainer",
    "VerifyReport",
    "WeightsError",
    "__version__",
    "cosine_similarity",
    "cosine_topk",
    "decode_image",
    "evaluate",
    "explain_match",
    "fetch",
    "find_duplicates",
    "fine_tune",
    "info",
    "list_models",
    "load_model",
    "lr_find",
    "most_confused",
    "open_set_auroc",
    "plot_confusion",
    "plot_duplicates",
    "plot_explanation",
    "plot_grid",
    "plot_history",
    "plot_losses",
    "plot_map",
    "plot_per_class",
    "plot_similarity",
    "preprocess",
    "recalibrate_batch_norm",
    "retrieval_metrics",
    "sample_data",
    "sample_photographs",
    "set_num_threads",
    "top_losses",
    "verify",
]


def _load_maker(maker: _Maker, fingerprint: str | None) -> Any:
    from birdembed.model.again import load_maker

    return load_maker(maker, fingerprint)


_set_loader(_load_maker)  # the index folder must not import the model folder


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'birdembed' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"birdembed.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
