"""Write the reference's pages from the package's own lists of public names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shutil
from pathlib import Path

import birdembed
from birdembed import integrations

#: Pages and the names on them, in the order in which one meets them. What is named nowhere goes to
#: the last page, so that nothing is left out.
PAGES = {
    "Models": "load_model list_models fetch Model Projection ProjectionFit EncodeReport Failure",
    "Pictures in": "Preprocess preprocess decode_image verify VerifyReport",
    "Species": "Identification GalleryFit open_set_auroc",
    "Search": "Index SearchResult Match cosine_similarity cosine_topk",
    "Training": "ImageFolder fine_tune TrainConfig Trainer History Callback SupCon Distill lr_find "
    "LrFind recalibrate_batch_norm",
    "Measuring": "evaluate retrieval_metrics Evaluation most_confused top_losses find_duplicates",
    "Plots": "plot_grid plot_similarity plot_confusion plot_history plot_losses plot_map "
    "plot_per_class plot_explanation explain_match Explanation",
    "Errors": "BirdembedError DecodeError WeightsError FingerprintMismatch BackendError",
    "The rest": "info set_num_threads",
}
#: The first page: the guide, then the reference's pages.
FRONT = """birdembed
=========

.. toctree::
   :caption: Guide
   :glob:

   ../README
   ../guide/*

.. toctree::
   :caption: Reference

"""


def pages() -> dict[str, list[str]]:
    """Return titles and full names, every public name of `birdembed` on one page."""
    public = [name for name in birdembed.__all__ if name != "__version__"]
    found = {title: [n for n in names.split() if n in public] for title, names in PAGES.items()}
    named = {name for names in found.values() for name in names}
    found["The rest"] += [name for name in public if name not in named]
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


def directive(full_name: str) -> str:
    """Return the line that makes Sphinx document a name."""
    module, _, name = full_name.rpartition(".")
    value = getattr(importlib.import_module(module), name)
    if not callable(value):
        return f".. autodata:: {full_name}\n"
    if not isinstance(value, type):
        return f".. autofunction:: {full_name}\n"
    kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
    return f".. {kind}:: {full_name}\n   :members:\n"


def write(folder: Path) -> None:
    """Write the pages into a folder of their own, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    written = {title: "\n".join(map(directive, names)) for title, names in pages().items()}
    for module, names in integration_names().items():
        # Not automodule, which describes the members once more (Sphinx 9).
        words = inspect.getdoc(importlib.import_module(module))
        text = f".. py:module:: {module}\n\n{words}\n\n"
        written[module] = text + "\n".join(directive(f"{module}.{name}") for name in names)
    files = []
    for title, text in written.items():
        files.append(title.lower().replace(" ", "-"))
        (folder / f"{files[-1]}.rst").write_text(f"{title}\n{'=' * len(title)}\n\n{text}")
    (folder / "index.rst").write_text(FRONT + "".join(f"   {name}\n" for name in files))
