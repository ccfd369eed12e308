"""Write the pages of the API reference from the package's own lists of public names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import birdembed
from birdembed import integrations

#: Pages and the names on them, in the order in which readers need them. Names that are not listed
#: go to the last page, so that none is missing.
REST = "System"
PAGES = {
    "Models": "load_model list_models fetch Model Projection ProjectionFit EncodeReport Failure",
    "Images": "Preprocess preprocess decode_image verify VerifyReport SampleData sample_data "
    "sample_photographs",
    "Species": "Identification GalleryFit open_set_auroc",
    "Search": "Index SearchResult Match cosine_similarity cosine_topk",
    "Training": "ImageFolder fine_tune TrainConfig Trainer History Callback LivePlot SupCon "
    "Distill lr_find LrFind recalibrate_batch_norm",
    "Measuring": "evaluate retrieval_metrics Evaluation most_confused top_losses find_duplicates",
    "Plots": "plot_grid plot_duplicates plot_similarity plot_confusion plot_history plot_losses "
    "plot_map plot_per_class plot_explanation explain_match Explanation",
    "Errors": "BirdembedError DecodeError WeightsError FingerprintMismatch BackendError",
    REST: "info set_num_threads",
}
#: Types that public functions take or return, but that are not public names to import.
PARTS = {
    "Measuring": [
        "birdembed.evaluation.evaluation.Confusion",
        "birdembed.evaluation.duplicates.Duplicate",
        "birdembed.evaluation.top_losses.Loss",
    ],
    "Training": ["birdembed.training.callbacks.TrainerLike"],
}
SERVE = "birdembed.serve"


def pages() -> dict[str, list[str]]:
    """Return the full names by page title; each public name of `birdembed` is on one page."""
    public = [name for name in birdembed.__all__ if name != "__version__"]
    found = {title: [n for n in names.split() if n in public] for title, names in PAGES.items()}
    named = {name for names in found.values() for name in names}
    found[REST] += [name for name in public if name not in named]
    return {title: [f"birdembed.{n}" for n in names] for title, names in found.items()}


def integration_names() -> dict[str, list[str]]:
    """Return the integrations that can be imported here, and their public names."""
    found = {}
    for info in pkgutil.iter_modules(integrations.__path__, "birdembed.integrations."):
        if info.name.rpartition(".")[2].startswith("_"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ImportError:
            continue  # its extra is not installed
        own = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
        found[info.name] = list(getattr(module, "__all__", own))
    return found


def value_of(full_name: str) -> Any:
    """Return the object with a full name."""
    module, _, name = full_name.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _modules() -> dict[str, list[str]]:
    """Return all public modules except `birdembed`, and their names."""
    return {SERVE: list(importlib.import_module(SERVE).__all__), **integration_names()}


def all_names() -> list[str]:
    """Return the full names of everything that has a place in the reference."""
    found = [name for names in pages().values() for name in names]
    found += [name for names in PARTS.values() for name in names]
    return found + [f"{module}.{name}" for module, names in _modules().items() for name in names]


def directive(full_name: str) -> str:
    """Return the line that makes Sphinx document a name."""
    value = value_of(full_name)
    if not callable(value):
        return f".. autodata:: {full_name}\n"
    if not isinstance(value, type):
        return f".. autofunction:: {full_name}\n"
    kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
    return f".. {kind}:: {full_name}\n   :members:\n"


def _page(title: str, text: str, names: list[str]) -> str:
    heading = f"{title}\n{'=' * len(title)}\n\n"
    return heading + text + "\n".join(map(directive, names))


def _front(names: dict[str, list[str]], files: dict[str, str]) -> str:
    """Return the page that lists all pages and the names on them."""
    text = "Python API\n==========\n\n.. list-table::\n   :widths: auto\n\n"
    for title, full_names in names.items():
        links = ", ".join(f":py:obj:`~{name}`" for name in full_names)
        text += f"   * - :doc:`{title} <{files[title]}>`\n     - {links}\n"
    listed = "".join(f"   {title} <{file}>\n" for title, file in files.items())
    return f"{text}\n.. toctree::\n   :hidden:\n\n{listed}"


def write(folder: Path) -> None:
    """Write the pages into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names = {title: own + PARTS.get(title, []) for title, own in pages().items()}
    texts = dict.fromkeys(names, "")
    for module, own in _modules().items():
        names[module] = [f"{module}.{name}" for name in own]
        # Not automodule, which would describe the members a second time (Sphinx 9).
        words = inspect.getdoc(importlib.import_module(module))
        texts[module] = f".. py:module:: {module}\n\n{words}\n\n"
    files = {title: title.lower().replace(" ", "-") for title in names}
    for title, file in files.items():
        text = _page(title, texts[title], names[title])
        (folder / f"{file}.rst").write_text(text, encoding="utf-8")
    (folder / "index.rst").write_text(_front(names, files), encoding="utf-8")
