"""`pip install WHAT`: nothing is installed, but WHAT must be there: the extras of birdembed in
pyproject.toml, the folder, or another package's name among what the project itself asks for."""

import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]
project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
words = sys.argv[1:]
if words[:1] != ["install"]:
    sys.exit(f"pip {words[0] if words else ''}: no page should need it")
for word in [word for word in words[1:] if not word.startswith("-")]:
    name, extras = re.fullmatch(r"([^\[]+)(?:\[([\w,-]+)\])?", word).groups()
    if name not in (".", "birdembed") and not name.startswith("dist/birdembed-"):
        sys.exit(f"pip install {word}: what is that?")
    unknown = set(filter(None, (extras or "").split(","))) - set(project["optional-dependencies"])
    if unknown:
        sys.exit(f"pip install {word}: pyproject.toml has no extra {', '.join(sorted(unknown))}")
