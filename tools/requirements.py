"""Print the requirements under the given headings of pyproject.toml, one per line.

    python tools/requirements.py build run plot test

`build` is [build-system] requires, `run` is [project] dependencies, `extras` all optional
dependencies together; every other name is an optional dependency or a dependency group. So
pyproject.toml is the only list of requirements.
"""

import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib


def requirements(document: dict, name: str) -> list[str]:
    """Return the requirements of one heading, including those of nested groups."""
    project = document["project"]
    lists = {
        **project["optional-dependencies"],
        **document["dependency-groups"],
        "build": document["build-system"]["requires"],
        "run": project["dependencies"],
        "extras": [r for some in project["optional-dependencies"].values() for r in some],
    }
    found: list[str] = []
    for item in lists[name]:
        if isinstance(item, dict):
            found += requirements(document, item["include-group"])
        elif not item.startswith(f"{project['name']}["):  # the extra `all` refers to the others
            found.append(item)
    return found


if __name__ == "__main__":
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    wanted = [r for name in sys.argv[1:] for r in requirements(tomllib.loads(text), name)]
    print("\n".join(dict.fromkeys(wanted)))
