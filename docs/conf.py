"""The documentation site: `make docs`, or `sphinx-build docs build/docs`.

Each build first writes the API reference from the package's own lists of names (reference.py) and
the pages of the command line from its parsers (commands.py), and copies README, changelog and
notebooks (outside.py). So no name, option or page can be missing.
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
smartquotes = False  # they would turn the two hyphens before an option into a dash

html_theme = "furo"
html_title = f"birdembed {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 3
nb_execution_mode = "off"  # the pages show the outputs that `make notebooks` stored
nb_number_source_lines = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_default_options = {
    "special-members": "__call__,__len__,__iter__",
    "exclude-members": "get_metadata_routing",  # of scikit-learn, not useful here
    # Members are listed up to these base classes, without their own.
    "inherited-members": "object,tuple,ValueError,RuntimeError,Exception,BaseException,"
    "TransformerMixin,BaseEstimator,_SetOutputMixin",
}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

reference.write(HERE / "reference")
commands.write(HERE / "commands")
outside.copy_pages()

# The module of public classes is `birdembed`. Sphinx uses the module of a class to sort its members
# and to link its source, so the real module is restored here.
for public in (getattr(birdembed, name) for name in birdembed.__all__):
    if isinstance(public, type) and public.__module__ == "birdembed":
        methods = filter(inspect.isfunction, vars(public).values())
        homes = {method.__module__ for method in methods} - {"birdembed"}
        if len(homes) == 1:
            public.__module__ = homes.pop()


def relink(app, docname, source):
    """Change the links of a page to the pages of the site."""
    source[0] = outside.relink(docname, source[0])


def plain_signature(app, what, name, value, options, arguments, returned):
    """Replace the parts of a signature that Sphinx 9 cannot parse: field factories and aliases."""
    if arguments:
        arguments = arguments.replace("<factory>", "...")
        arguments = arguments.replace("TypeAliasForwardRef('ArrayLike')", "ArrayLike")
    return arguments, returned


def setup(app):
    """Register the functions above with Sphinx."""
    app.connect("source-read", relink)
    app.connect("autodoc-process-signature", plain_signature)
