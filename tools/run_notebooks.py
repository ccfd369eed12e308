"""Run the notebooks and store their outputs: `make notebooks`, or with the names of some notebooks.

They run on the sample photos (`DATA = None`), so the stored outputs show no other photos. Progress
bars, times and the name of the home folder are removed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
#: Outputs of these kinds are widgets, which only work while the notebook runs.
WIDGETS = ("application/vnd.jupyter.widget-view+json",)


def notebooks() -> list[Path]:
    """Return the notebooks, in order."""
    return sorted(FOLDER.glob("*.ipynb"))


def run(
    path: Path,
    workplace: Path,
    *,
    parameters: dict[str, Any] | None = None,
    timeout: int = 600,
) -> nbformat.NotebookNode:
    """Run a notebook and return it with its outputs; an error in a cell is raised.

    Parameters
    ----------
    path : Path
        The notebook; the file does not change.
    workplace : Path
        Current folder of the kernel.
    parameters : dict, optional
        Variables to set after the cell tagged `parameters`, such as `DATA`, a folder.
    timeout : int
        Maximum time per cell in seconds.
    """
    book = nbformat.read(path, as_version=4)
    if parameters:
        place = next(
            i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ())
        )
        text = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        book.cells.insert(place + 1, nbformat.v4.new_code_cell(text))
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    environment.setdefault("LANCEDB_LOG", "error")  # it warns about every new table
    client = NotebookClient(
        book,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(workplace)}},
    )
    client.execute(env=environment)
    return book


def tidy(book: nbformat.NotebookNode) -> None:
    """Remove everything that a reader does not need."""
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        if cell.cell_type == "code":
            kept = [_without_home(output) for output in cell.outputs if not _idle(output)]
            cell.outputs = _joined(kept)


def _idle(output: Any) -> bool:
    return any(kind in output.get("data", {}) for kind in WIDGETS)


def _joined(outputs: list[Any]) -> list[Any]:
    """Join text that was printed in several pieces."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == "stream" == found[-1].output_type:
            if output.name == found[-1].name:
                found[-1].text += output.text
                continue
        found.append(output)
    return found


def _without_home(value: Any) -> Any:
    home = str(Path.home())
    if isinstance(value, str):
        return value.replace(home, "~")
    if isinstance(value, dict):
        return type(value)({key: _without_home(part) for key, part in value.items()})
    return [_without_home(part) for part in value] if isinstance(value, list) else value


def main(names: list[str]) -> None:
    """Run the notebooks whose names begin with one of `names` (default: all), and write them."""
    for path in notebooks():
        if names and not any(path.name.startswith(name) for name in names):
            continue
        print(f"birdembed: running {path.name}", flush=True)
        with tempfile.TemporaryDirectory() as workplace:
            book = run(path, Path(workplace))
        tidy(book)
        nbformat.write(book, path)
        print(f"           {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
