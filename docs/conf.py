"""The documentation site: `make docs`, or `sphinx-build docs build/docs`.

When a build begins, the reference is written from the package's own lists of names (reference.py),
the command line's pages from its parsers (commands.py), and README, changelog and notebooks are
copied in (outside.py). So no name, option or page can be forgotten.
"""

import inspect
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

import commands  # noqa: E402
import outside  # noqa: E402
import reference  # noqa: E402

import birdembed  # noqa: E402

project = "birdembed"
version = release = birdembed.__version__
copyright = ""
extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "names"]
nitpicky = True
default_role = "code-or-link"
smartquotes = False  # they would make a dash of the two before an option

html_theme = "furo"
html_title = f"birdembed {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 3
nb_execution_mode = "off"  # they show what `make notebooks` stored
nb_number_source_lines = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_default_options = {
    "special-members": "__call__,__len__,__iter__",
    # Up to, and without, these.
    "exclude-members": "get_metadata_routing",  # scikit-learn's, and of no use here
    "inherited-members": "object,tuple,ValueError,RuntimeError,Exception,BaseException,"
    "TransformerMixin,BaseEstimator,_SetOutputMixin",
}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

reference.write(HERE / "reference")
commands.write(HERE / "commands")
outside.copy_pages()

# Public classes say that they live in `birdembed`. Sphinx sorts their members, and links their
# sources, by the file that a class says it comes from.
for public in (getattr(birdembed, name) for name in birdembed.__all__):
    if isinstance(public, type) and public.__module__ == "birdembed":
        methods = filter(inspect.isfunction, vars(public).values())
        homes = {method.__module__ for method in methods} - {"birdembed"}
        if len(homes) == 1:
            public.__module__ = homes.pop()


def relink(app, docname, source):
    """Let the links of a page lead to where the site has what they name."""
    source[0] = outside.relink(docname, source[0])


def plain_signature(app, what, name, value, options, arguments, returned):
    """Mend what Sphinx 9 cannot read back: the factory of a field, or an alias in a union."""
    if arguments:
        arguments = arguments.replace("<factory>", "...")
        arguments = arguments.replace("TypeAliasForwardRef('ArrayLike')", "ArrayLike")
    return arguments, returned


def setup(app):
    """Connect the functions above with what they change."""
    app.connect("source-read", relink)
    app.connect("autodoc-process-signature", plain_signature)
