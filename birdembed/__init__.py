"""Image embeddings, cosine search and fine-tuning of ResNet-50, on an ordinary CPU.

Photographs to vectors, and the photographs most like a given one::

    import birdembed as be

    model = be.load_model()
    vectors = model.encode(["a.jpg", "b.jpg"])  # (2, 2048) float32
    index = be.Index.build(model, "photos/")  # a folder; labels are its subfolders
    print(index.search("unknown.jpg", k=5))

Where to read on: `load_model`, `Model`, `Index`; `ImageFolder` and `fine_tune` for a model of
your own species, `evaluate` to measure it. Errors are `BirdembedError`; `info` tells what runs
here, `set_num_threads` how many threads. Other tools: `birdembed.integrations`. The command line:
``birdembed --help``.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# GNU OpenMP's threads wait for each other in a busy loop of some milliseconds, which on a
# machine that does something else too makes a forward pass several times slower. A loop of
# some 50 microseconds, then sleep, costs nothing on an idle one. libgomp reads this once,
# when it is loaded; what the user has set stands, and nobody else gets to see ours.
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

if TYPE_CHECKING:
    from birdembed._batch_norm import recalibrate_batch_norm
    from birdembed._callbacks import Callback
    from birdembed._dataset import ImageFolder
    from birdembed._evaluate import evaluate
    from birdembed._explain import Explanation, explain_match
    from birdembed._fetch import fetch
    from birdembed._fine_tune import fine_tune
    from birdembed._fit_projection import ProjectionFit
    from birdembed._history import History
    from birdembed._identify import GalleryFit, Identification, open_set_auroc
    from birdembed._images import Failure
    from birdembed._index import Index
    from birdembed._inspect import find_duplicates, most_confused, top_losses
    from birdembed._live_plot import LivePlot
    from birdembed._load import list_models, load_model
    from birdembed._lr_find import LrFind, lr_find
    from birdembed._metrics import Evaluation, retrieval_metrics
    from birdembed._model import Model
    from birdembed._pixels import Preprocess, VerifyReport, decode_image, preprocess, verify
    from birdembed._plots import plot_confusion
    from birdembed._plots_explain import plot_explanation
    from birdembed._plots_grid import plot_duplicates, plot_grid, plot_losses
    from birdembed._plots_map import plot_map
    from birdembed._plots_metrics import plot_history, plot_per_class, plot_similarity
    from birdembed._projection import Projection
    from birdembed._report import EncodeReport
    from birdembed._samples import SampleData, sample_data, sample_photographs
    from birdembed._search import cosine_similarity, cosine_topk
    from birdembed._search_result import Match, SearchResult
    from birdembed._supcon import SupCon
    from birdembed._system import info, set_num_threads
    from birdembed._train_config import TrainConfig
    from birdembed._trainer import Trainer

# Loaded when first asked for: importing the package stays as light as importing NumPy.
_HOMES = {
    "_batch_norm": ["recalibrate_batch_norm"],
    "_callbacks": ["Callback"],
    "_dataset": ["ImageFolder"],
    "_evaluate": ["evaluate"],
    "_explain": ["Explanation", "explain_match"],
    "_fetch": ["fetch"],
    "_fine_tune": ["fine_tune"],
    "_fit_projection": ["ProjectionFit"],
    "_history": ["History"],
    "_identify": ["GalleryFit", "Identification", "open_set_auroc"],
    "_images": ["Failure"],
    "_index": ["Index"],
    "_inspect": ["find_duplicates", "most_confused", "top_losses"],
    "_live_plot": ["LivePlot"],
    "_load": ["list_models", "load_model"],
    "_lr_find": ["LrFind", "lr_find"],
    "_metrics": ["Evaluation", "retrieval_metrics"],
    "_model": ["Model"],
    "_pixels": ["Preprocess", "VerifyReport", "decode_image", "preprocess", "verify"],
    "_plots": ["plot_confusion"],
    "_plots_explain": ["plot_explanation"],
    "_plots_grid": ["plot_duplicates", "plot_grid", "plot_losses"],
    "_plots_map": ["plot_map"],
    "_plots_metrics": ["plot_history", "plot_per_class", "plot_similarity"],
    "_projection": ["Projection"],
    "_report": ["EncodeReport"],
    "_samples": ["SampleData", "sample_data", "sample_photographs"],
    "_search": ["cosine_similarity", "cosine_topk"],
    "_search_result": ["Match", "SearchResult"],
    "_supcon": ["SupCon"],
    "_system": ["info", "set_num_threads"],
    "_train_config": ["TrainConfig"],
    "_trainer": ["Trainer"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BackendError",
    "BirdembedError",
    "Callback",
    "DecodeError",
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


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'birdembed' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"birdembed.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
