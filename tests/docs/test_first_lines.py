"""Every public module, class and function of the package says in one line what it does."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent.parent / "birdembed"
LONGEST = 100
#: First lines that say nothing.
EMPTY = {"do it.", "return it.", "draw.", "check.", "make one."}


def is_setter(node):
    """Tell the setter of a property, whose getter has the docstring."""
    names = [getattr(decorator, "attr", "") for decorator in node.decorator_list]
    return "setter" in names or "deleter" in names


def is_overload(node):
    """An overload has the docstring of the function it belongs to."""
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(one, ast.Name) and one.id == "overload" for one in decorators)


def public_nodes(node):
    """Yield the module and its public classes and functions, those of public classes as well."""
    yield node
    for child in node.body:
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if child.name.startswith("_") or is_setter(child) or is_overload(child):
            continue
        if isinstance(child, ast.ClassDef):
            yield from public_nodes(child)
        else:
            yield child


def fault(node):
    """Return what is wrong with the first line of a docstring, None if nothing is."""
    text = ast.get_docstring(node)
    if text is None:
        return "has no docstring"
    first = text.split("\n")[0]
    if not first.endswith("."):
        return f"does not end its first line with a period: {first!r}"
    if len(first) > LONGEST:
        return f"has a first line of {len(first)} characters"
    return "says nothing" if first.lower() in EMPTY else None


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_first_lines_say_what_things_do(path):
    wrong = [
        f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}: "
        f"{getattr(node, 'name', 'the module')} {fault(node)}"
        for node in public_nodes(ast.parse(path.read_text(encoding="utf-8")))
        if fault(node)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""A module."""', None),
        ("", "has no docstring"),
        ('"""A module"""', "does not end its first line with a period: 'A module'"),
        ('"""Do it."""', "says nothing"),
        (f'"""{"x" * 100}."""', "has a first line of 101 characters"),
    ],
)
def test_faults_are_found(source, expected):
    assert fault(ast.parse(source)) == expected
