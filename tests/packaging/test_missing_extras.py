"""Extras stay extras: where one is missing, what needs it says which to install.

One process blocks everything that the extras bring and then uses each of them. A new extra needs
an entry in USES; a new module in birdembed/integrations is found by itself.
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import birdembed
from tests.support import ROOT

PACKAGE = Path(birdembed.__file__).resolve().parent
INTEGRATIONS = sorted(
    path.stem for path in (PACKAGE / "integrations").iterdir() if path.stem[0] not in "_."
)

# What a distribution is imported as, where that is not its name.
IMPORTS = {
    "pillow": "PIL",
    "faiss-cpu": "faiss",
    "scikit-learn": "sklearn",
    "python-multipart": "python_multipart multipart",
    "ipython": "IPython",
    "mlflow": "mlflow",
    "metaflow": "metaflow",
}

# A use of each extra, as a program. Extras that an integration of the same name needs: its import
# or the first call into it, found below.
USES = {
    "pillow": "be.Model('resnet50').encode(b'RIFF0000WEBPVP8 0000')",
    "heic": "be.decode_image(bytes([0, 0, 0, 16]) + b'ftypheic' + bytes(4))",
    "hub": "be.load_model('someone/some-model')",
    "sscd": "be.fetch('sscd')",
    "onnx": "be.Model('resnet50').export_onnx('never-written.onnx')",
    "plot": "be.plot_similarity(np.eye(2, dtype=np.float32), ['a', 'b'])",
    "pandas": "be.History([{'epoch': 1}]).to_pandas()",
    "parquet": "index.to_parquet('never-written.parquet')",
    "faiss": "index.to_faiss()",
    "notebook": "be.LivePlot()",
    "completion": "from birdembed.cli import main; exit(main(['--print-completion', 'bash']))",
    "serve": "from birdembed.serve import create_app",
}
# More ways to the same library.
ALSO = [
    ("plot", "be.plot_history(be.History([{'epoch': 1, 'train_loss': 1.0}]))"),
    ("plot", "be.plot_confusion(np.eye(2, dtype=np.int64), ['a', 'b'])"),
    ("plot", "be.plot_map(np.eye(4, 8), [0, 0, 1, 1])"),
    ("plot", "found.plot()"),
    ("plot", "be.plot_losses([])"),
    ("plot", "be.plot_duplicates([])"),
    ("pandas", "found.to_pandas()"),
    ("pandas", "index.to_pandas()"),
    ("parquet", "be.Index.from_parquet('never-written.parquet')"),
    ("lancedb", "index.to_lancedb('never-written', 'birds')"),
    ("lancedb", "be.Index.from_lancedb('never-written', 'birds')"),
]

PROGRAM = """
import contextlib, importlib, importlib.abc, io, json, sys, traceback

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

given = json.load(sys.stdin)
blocked = set(given["blocked"])
sys.meta_path.insert(0, Block())
import numpy as np
import birdembed as be
index = be.Index(dim=4)
index.add(["a", "b"], np.eye(2, 4, dtype=np.float32))
found = index.search(np.ones(4, np.float32), k=2)

def told(program):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            exec(program, {"be": be, "np": np, "index": index, "found": found})
        except BaseException as error:
            return f"{said.getvalue()} {type(error).__name__}: {error}"
    return f"worked: {said.getvalue()}"

json.dump([told(program) for program in given["programs"]], sys.stdout)
"""


def extras():
    """Return {extra: its requirements}, as pyproject.toml has them."""
    try:
        import tomllib
    except ModuleNotFoundError:
        from pip._vendor import tomli as tomllib
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return document["project"]["optional-dependencies"]


def declared():
    """Return {extra: names of the modules it brings}, without `all`, which names the others."""
    found = {}
    for extra, requirements in extras().items():
        if extra == "all":
            continue
        names = [re.match(r"[\w.-]+", line).group().lower() for line in requirements]
        modules = [IMPORTS.get(name, name.replace("-", "_")).split() for name in names]
        found[extra] = {module for some in modules for module in some}
    return found


def public_calls(name):
    """Return the names of the public functions and classes that an integration's file defines."""
    home = PACKAGE / "integrations" / name
    if home.is_dir():  # its __init__ lists what it brings
        tree = ast.parse((home / "__init__.py").read_text(encoding="utf-8"))
        (listed,) = [n.value for n in tree.body if isinstance(n, ast.Assign)]
        return [n for n in ast.literal_eval(listed) if not n.isupper()]
    tree = ast.parse(home.with_suffix(".py").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and node.name[0] != "_"]


def uses():
    """Return (extra, program) of everything that is to be tried."""
    found = [*USES.items(), *ALSO]
    for name in INTEGRATIONS:
        found.append((name, f"import birdembed.integrations.{name}"))
        for call in public_calls(name):
            # With None for whatever it asks for: the missing library is noticed before that.
            found.append(
                (
                    name,
                    f"import inspect\n"
                    f"from birdembed.integrations.{name} import {call} as call\n"
                    "needed = [p for p in inspect.signature(call).parameters.values()"
                    " if p.default is p.empty]\n"
                    "call(*[None for p in needed if p.kind < 2],"
                    " **{p.name: None for p in needed if p.kind == p.KEYWORD_ONLY})",
                )
            )
    return [(extra, program) for extra, program in found if extra in declared()]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return {program: what it said or raised} of one process without any extra."""
    home = tmp_path_factory.mktemp("home")
    programs = [program for _, program in uses()]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(
            {"programs": programs, "blocked": sorted(set().union(*declared().values()))}
        ),
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "PYTHONPATH": str(ROOT)},
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not list(home.glob("never-written*"))
    return dict(zip(programs, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("extra", "program"), uses())
def test_a_missing_extra_is_named(told, extra, program):
    if program == f"import birdembed.integrations.{extra}" and told[program] == "worked: ":
        return  # it waits with that for the first call
    assert f"birdembed[{extra}]" in told[program]
    assert re.search(r"(Import|Weights|Decode|SystemExit)", told[program]), told[program]


def test_every_extra_is_tried():
    tried = {extra for extra, _ in uses()}
    assert tried == set(declared())


def test_all_names_every_other_extra():
    (line,) = extras()["all"]
    names = re.fullmatch(r"birdembed\[([\w,]+)\]", line).group(1).split(",")
    assert sorted(names) == sorted(declared())


def test_every_integration_has_its_extra():
    assert set(INTEGRATIONS) <= set(declared())


def test_the_base_install_stays_small():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    line = re.search(r"^dependencies = \[(.*)\]$", text, re.MULTILINE).group(1)
    assert re.findall(r'"([a-z]+)', line) == ["numpy", "safetensors", "tqdm"]


def test_import_brings_no_extra():
    """Not even where they are installed: importing the package stays light."""
    heavy = sorted(set().union(*declared().values()) | {"tqdm", "safetensors"})
    program = f"import sys, birdembed; print([n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
