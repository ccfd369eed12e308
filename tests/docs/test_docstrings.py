"""Every public name has a docstring in NumPy's style that tells the truth about its signature."""

import ast
import dataclasses
import inspect
import re
import textwrap
from dataclasses import is_dataclass

import pytest

import birdembed
from tests.docs.public import Public, public_names

docscrape = pytest.importorskip("numpydoc.docscrape", reason="reads docstrings with numpydoc")

NAMES = public_names()
#: Parameters that documentation may leave to the general rule.
UNNAMED = {"self", "cls"}


def text_of(value):
    return inspect.cleandoc(value.__doc__ or "")


def parsed(name, value):
    kind = docscrape.ClassDoc if isinstance(value, type) else docscrape.FunctionDoc
    if kind is docscrape.ClassDoc:
        return docscrape.ClassDoc(value, doc=text_of(value), config={"show_class_members": False})
    return docscrape.NumpyDocString(text_of(value))


def documented(section):
    """Return the names of a section's entries: `a, b : int` names two, `*args` is `args`."""
    return [name.strip().lstrip("*") for entry in section for name in (entry.name or "").split(",")]


def parameters(value):
    """Return the parameters of a function, or of a class's constructor."""
    if isinstance(value, type) and issubclass(value, BaseException):
        return []
    if is_dataclass(value):
        return [field.name for field in dataclasses.fields(value) if field.init]
    try:
        signature = inspect.signature(value)
    except ValueError:
        return []
    return [name for name in signature.parameters if name not in UNNAMED]


def functions():
    return [p for p in NAMES if inspect.isfunction(p.value)]


def tree_of(function):
    return ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]


def own_nodes(tree):
    """Yield a function's nodes, without those of functions within it."""
    waiting = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef, ast.AsyncFunctionDef)):
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def returns_something(function):
    return any(
        isinstance(node, ast.Return)
        and node.value is not None
        and not (isinstance(node.value, ast.Constant) and node.value.value is None)
        for node in own_nodes(tree_of(function))
    )


def raised(function):
    """Return the names of the errors that a function's own body raises."""
    found = set()
    for node in own_nodes(tree_of(function)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(error).rpartition(".")[2]
            if name[:1].isupper():  # not a variable that is raised again
                found.add(name)
    return found - {"NotImplementedError", "AssertionError"}


def test_there_are_names_to_judge():
    assert len(NAMES) > 100
    assert {"birdembed.Model.encode", "birdembed.Index.build"} <= {p.name for p in NAMES}


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_has_a_summary(name):
    """One line that ends like a sentence."""
    first = text_of(name.value).partition("\n\n")[0]
    assert first, "no docstring"
    assert first.rstrip().endswith((".", "?", ":")), first
    assert "\n" not in first, "the summary is one line"


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_names_its_parameters(name):
    """All of them and no others; of a result, which we make, its attributes."""
    if isinstance(name.value, property):
        return
    doc = parsed(*name)
    wanted = parameters(name.value)
    given = documented(doc["Parameters"])
    if isinstance(name.value, type) and not given and doc["Attributes"]:
        given = documented(doc["Attributes"])
        fields = set(getattr(name.value, "_fields", ()))
        if is_dataclass(name.value):
            fields = {field.name for field in dataclasses.fields(name.value)}
        assert fields <= set(given), f"documented {given}, the fields are {fields}"
        return
    if not given and one_obvious(name, wanted):
        return
    assert sorted(given) == sorted(wanted), f"documented {given}, the signature has {wanted}"


def one_obvious(name, wanted):
    """A method whose summary speaks of its one or two parameters by name."""
    summary = text_of(name.value)
    return bool(wanted) and all(re.search(rf"`+{w}`+", summary) for w in wanted)


@pytest.mark.parametrize("name", functions(), ids=str)
def test_says_what_it_returns(name):
    """In a section, or as a one-line docstring that begins with Return."""
    doc = parsed(*name)
    if inspect.isgeneratorfunction(name.value):
        assert doc["Yields"], "no section Yields"
    elif returns_something(name.value):
        summary = text_of(name.value)
        assert doc["Returns"] or doc["Yields"] or re.match(r"Return |Tell |Draw ", summary), (
            "no section Returns"
        )


@pytest.mark.parametrize("name", functions(), ids=str)
def test_names_what_it_raises(name):
    doc = parsed(*name)
    given = {
        word.strip() for entry in doc["Raises"] for word in (entry.type or entry.name).split(",")
    }
    missing = raised(name.value) - given
    assert not missing, f"raises {', '.join(sorted(missing))} without saying so"


@pytest.mark.parametrize("name", [p for p in NAMES if not isinstance(p.value, type)], ids=str)
def test_is_typed(name):
    """In its source; what is written in C has its types in birdembed/_core.pyi."""
    function = name.value.fget if isinstance(name.value, property) else name.value
    if not inspect.isfunction(function):
        return
    signature = inspect.signature(function)
    bare = [
        key
        for key, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and key not in UNNAMED
    ]
    assert not bare, f"no type: {', '.join(bare)}"
    assert signature.return_annotation is not signature.empty, "no return type"


def test_type_checkers_see_every_name():
    """`__getattr__` alone would make every name Any: each is imported under TYPE_CHECKING."""
    tree = ast.parse(inspect.getsource(birdembed))
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(birdembed.__all__) <= imported


def test_the_tests_above_see_faults():
    def wrong(a, b, *, c=1):
        """Do it.

        Parameters
        ----------
        a : int
        d : int
        """
        if a:
            raise ValueError(b)
        return c

    name = Public("wrong", wrong)
    for check in (test_names_its_parameters, test_says_what_it_returns, test_names_what_it_raises):
        with pytest.raises(AssertionError):
            check(name)
    with pytest.raises(AssertionError):
        test_is_typed(name)
