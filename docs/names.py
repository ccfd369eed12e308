"""Turn names in text into links: public names, commands, and the names of other projects."""

from __future__ import annotations

import inspect
import re
from typing import Any

import reference
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode

from birdembed import cli

#: Modules of other projects and the addresses of their documentation; {} is the full name. Sphinx
#: could look names up in inventories instead, but then a build would need a network.
_PYTHON = "https://docs.python.org/3/library"
_NUMPY = "https://numpy.org/doc/stable/reference"
OTHERS = {
    "collections.abc.": f"{_PYTHON}/collections.abc.html#{{}}",
    "os.": f"{_PYTHON}/os.html#{{}}",
    "pathlib.": f"{_PYTHON}/pathlib.html#{{}}",
    "numpy.typing.": f"{_NUMPY}/typing.html#{{}}",
    "numpy.ndarray": f"{_NUMPY}/generated/{{}}.html",
    "numpy.dtype": f"{_NUMPY}/generated/{{}}.html",
    "numpy.": f"{_NUMPY}/arrays.scalars.html#{{}}",
    "pandas.": "https://pandas.pydata.org/docs/reference/api/{}.html",
    "matplotlib.figure.": "https://matplotlib.org/stable/api/figure_api.html#{}",
    "fastapi.": "https://fastapi.tiangolo.com/reference/fastapi/#{}",
    "mlflow.models.": "https://mlflow.org/docs/latest/api_reference/python_api/mlflow.models.html#{}",
}
#: Short forms of some names in signatures.
FULL_NAMES = {
    "ArrayLike": "numpy.typing.ArrayLike",
    "NDArray": "numpy.typing.NDArray",
    "Figure": "matplotlib.figure.Figure",
    "DataFrame": "pandas.DataFrame",
    "fastapi.applications.FastAPI": "fastapi.FastAPI",
    "np.int64": "numpy.int64",
    "mlflow.models.signature.ModelSignature": "mlflow.models.ModelSignature",
    "mlflow.models.model.Model": "mlflow.models.Model",
}
#: Nodes in which code does not become a link.
_NO_LINKS = (nodes.title, nodes.reference, addnodes.pending_xref, addnodes.download_reference)
_NAME = re.compile(r"[A-Za-z_][\w.]*(\(\))?")


def _members(cls: type) -> dict[str, bool]:
    """Return the public members of a class, and whether each has its own heading."""
    found = dict.fromkeys(
        (field for base in cls.__mro__ for field in inspect.get_annotations(base)), False
    )
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        found[name] = isinstance(value, (property, classmethod, staticmethod)) or callable(value)
    return {name: described for name, described in found.items() if not name.startswith("_")}


def _targets() -> dict[str, str]:
    """Return the forms in which pages may write a public name, with the full name of each.

    Fields link to their class. A method can also be written without its class if its name has
    several words and no other class has it: `fit_gallery`, but not `search`.
    """
    found: dict[str, str] = {}
    methods: dict[str, set[str]] = {}
    for full in reference.all_names():
        value, name = reference.value_of(full), full.rpartition(".")[2]
        for one in (full, name, full.replace("birdembed.", "be.", 1)):
            found[one] = full
        for member, described in _members(value).items() if inspect.isclass(value) else ():
            found[f"{name}.{member}"] = f"{full}.{member}" if described else full
            if described and "_" in member:
                methods.setdefault(member, set()).add(f"{full}.{member}")
    for member, names in methods.items():
        if len(names) == 1:
            found.setdefault(member, *names)
    return found


TARGETS = _targets()


class Code(SphinxRole):
    """Text in single backticks in a docstring: code, and a link if it is a name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the code, as a reference if it can be a name."""
        code = nodes.literal(self.rawtext, self.text)
        if not _NAME.fullmatch(self.text):
            return [code], []
        node = addnodes.pending_xref(
            "",
            code,
            refdomain="py",
            reftype="obj",
            reftarget=self.text.removesuffix("()"),
            refdoc=self.env.docname,
            maybe=True,
            **{key: self.env.ref_context.get(key) for key in ("py:module", "py:class")},
        )
        self.set_source_info(node)
        return [node], []


def _is_ours(name: str) -> bool:
    """Return whether a name clearly belongs to the package, such as ``Model.encode``."""
    first, dot, _ = name.partition(".")
    return (bool(dot) and first[:1].isupper() and first in TARGETS) or first in ("birdembed", "be")


def resolve(
    app: Sphinx, env: Any, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Return a link for a name that Sphinx did not find, or None if there is no target."""
    name = node["reftarget"]
    if node.get("reftype") == "command":
        return make_refnode(app.builder, node["refdoc"], f"commands/{name}", None, content)
    if node.get("refdomain") != "py":
        return None
    full = TARGETS.get(name) or TARGETS.get(f"birdembed.{name}")
    if full and full != name:
        domain = env.get_domain("py")
        found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, content)
        if found is not None:
            return found
    name = FULL_NAMES.get(name, name)
    for start, address in OTHERS.items():
        if name.startswith(start):
            return nodes.reference("", "", content, refuri=address.format(name), internal=False)
    # A parameter, a keyword of Python, or a private type, which has no page.
    if (node.get("maybe") and not _is_ours(name)) or name.rpartition(".")[2].startswith("_"):
        return content
    return None


def _target(text: str) -> tuple[str, str, str] | None:
    """Return domain, kind and target for code in a page, or None if it is not a known name."""
    words = text.split()
    if len(words) > 1 and words[0] == "birdembed" and words[1] in cli.COMMANDS:
        return "", "command", words[1]
    name, call, _ = text.partition("(")
    if name in TARGETS and (call or "_" in name or "." in name or not name.islower()):
        return "py", "obj", TARGETS[name]
    return None


def _link(code: nodes.literal, document_name: str) -> addnodes.pending_xref | None:
    """Return a link around code in a page, or None if it has no target or is in a link already."""
    target = _target(code.astext())
    parent = code.parent
    while parent is not None and not isinstance(parent, _NO_LINKS):
        parent = parent.parent
    if target is None or parent is not None or f"commands/{target[2]}" == document_name:
        return None
    domain, kind, name = target
    link = addnodes.pending_xref(
        "",
        code.deepcopy(),
        refdomain=domain,
        reftype=kind,
        reftarget=name,
        refdoc=document_name,
        refexplicit=True,
    )
    link.source, link.line = code.source, code.line
    return link


def link_code(app: Sphinx, document: nodes.document) -> None:
    """Turn the names and commands in the text of a page into links; mark options."""
    for code in list(document.findall(nodes.literal)):
        if code.astext().startswith("-"):
            code["classes"].append("option")
        link = _link(code, app.env.docname)
        if link is not None:
            code.replace_self(link)


def link_back(
    app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any
) -> None:
    """Correct the links from source code to objects that are described under their file's name.

    Sphinx expects all names of a file in the module of the first one, `birdembed`.
    """
    if page.startswith("_modules/"):
        for full in (name for names in reference.PARTS.values() for name in names):
            short = f"#birdembed.{full.rpartition('.')[2]}"
            context["body"] = re.sub(rf"{re.escape(short)}\b", f"#{full}", context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role and the functions with Sphinx."""
    app.add_role("code-or-link", Code())
    app.connect("missing-reference", resolve)
    app.connect("doctree-read", link_code)
    app.connect("html-page-context", link_back)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
