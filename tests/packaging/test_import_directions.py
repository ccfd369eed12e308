"""Which way the package's folders import, and that nobody reaches into another object's privates.

Imports inside functions and for type checkers count as well. See ARCHITECTURE.md.
"""

import ast

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "birdembed"

# Which folders may import which, besides themselves. Arrows never point back.
PACKAGES = {
    "base": set(),
    "images": {"base"},
    "weights": {"base"},
    "display": {"base", "images"},
    "pretrained": {"base", "images", "weights"},
    "data": {"base", "images", "display"},
    "search": {"base", "images", "display", "data"},
    "evaluation": {"base", "images", "display", "data", "search"},
    "species": {"base", "images", "weights", "display", "data", "search", "evaluation"},
    "model": {"base", "images", "weights", "display", "pretrained", "search", "species"},
    "downloads": {"base", "images", "weights", "pretrained", "data"},
    "training": {
        *("base", "images", "weights", "display", "pretrained", "data", "evaluation", "model")
    },
    "integrations": {
        *("base", "images", "pretrained", "data", "search", "model", "training", "display")
    },
    "serve": {"base", "images", "search", "species", "model"},
}
EVERYBODY = {"_core", "_version"}  # not folders: what they may be imported by is told apart
CORE = {"base", "images", "weights", "data", "search", "model", "training", "downloads"}
# Errors are the face of the core, and any folder may raise them.
ERRORS = {"BackendError", "BirdembedError", "DecodeError", "FingerprintMismatch", "WeightsError"}


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def python_files():
    return sorted(PACKAGE.rglob("*.py"))


MODULES = {dotted(path) for path in python_files()} | {"birdembed._core"}


def imports(path):
    """Return (line, module, name or None) of every import of the package's own modules."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{dotted(path)}:{node.lineno}: write the whole path"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    found.append((node.lineno, whole, None))
                elif node.module and node.module.split(".")[0] == "birdembed":
                    found.append((node.lineno, node.module, alias.name))
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names if a.name.split(".")[0] == "birdembed"]
            found += [(node.lineno, name, None) for name in names]
    return found


def folder(module):
    """Return the folder of a module; the module's own name where it lies in none."""
    return module.split(".")[1] if "." in module else ""


def below_cli():
    return [path for path in python_files() if folder(dotted(path)) in PACKAGES]


def test_every_folder_is_in_the_table():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == {*PACKAGES, "cli"}


def test_table_has_no_circle():
    def reached(name, way=()):
        assert name not in way, " -> ".join((*way, name))
        for other in PACKAGES[name]:
            reached(other, (*way, name))

    for name in PACKAGES:
        reached(name)


def test_folders_import_one_way():
    wrong = []
    for path in below_cli():
        own = folder(dotted(path))
        for line, module, _ in imports(path):
            other = folder(module)
            if other not in PACKAGES[own] | {own} | EVERYBODY:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_core_is_called_from_where_the_table_says():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name or 'all'} of the core"
        for path in below_cli()
        for line, module, name in imports(path)
        if module == "birdembed._core" and folder(dotted(path)) not in CORE and name not in ERRORS
    ]
    assert not wrong, "\n".join(wrong)


def circles(graph):
    """Return the sets of modules that import each other, by Tarjan's algorithm."""
    number, low, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return sorted(found)


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]


def test_no_circle_between_modules():
    graph = {
        dotted(path): {module for _, module, _ in imports(path)} - {dotted(path)}
        for path in python_files()
        if path.name != "__init__.py"
    }
    assert circles(graph) == []


@pytest.mark.parametrize("library", ["matplotlib"])
def test_figures_are_drawn_in_display_alone(library):
    wrong = []
    for path in below_cli():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            if not any(name.split(".")[0] == library for name in names):
                continue
            for_types = isinstance(node, ast.ImportFrom) and node.module == "matplotlib.figure"
            if folder(dotted(path)) != "display" and not for_types:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


#: A class may use its base class's own.
HEIRS = {"classifier.py", "embedder.py", "identifier.py", "model.py", "parser.py"}


def private(name):
    return name.startswith("_") and not name.startswith("__")


def own_privates(tree):
    """Return the private names that a file itself gives to something."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)  # __slots__
    return names


def reaches(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = own_privates(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not mine or path.name not in HEIRS:
                found.append((node.lineno, ast.unparse(node)))
    for line, module, name in imports(path):
        if name and private(name):
            found.append((line, f"{module}.{name}"))
    return found


#: Other projects' names that have an underscore and are documented for use.
ALLOWED = {"collections.namedtuple": {"_replace", "_asdict", "_fields", "_make"}}


def test_nobody_reaches_into_another_files_privates():
    allowed = set().union(*ALLOWED.values()) | {"_core"}
    found = {}
    for path in python_files():
        for _, what in reaches(path):
            name = what.rsplit(".", 1)[1]
            if name not in allowed and "._core." not in what:
                found.setdefault(path.relative_to(PACKAGE).as_posix(), set()).add(name)
    assert found == {}
