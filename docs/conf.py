"""The API reference: `make docs`, or `sphinx-build docs build/docs`.

The pages under reference/ are written from the package's own lists when the build begins, so that
no name can be forgotten; what they say comes from the docstrings.
"""

import inspect
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))

import reference  # noqa: E402

import birdembed  # noqa: E402

project = "birdembed"
version = release = birdembed.__version__
copyright = ""
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
root_doc = "reference/index"
exclude_patterns = ["reference.py", "conf.py"]
html_theme = "alabaster"
html_theme_options = {"description": birdembed.__doc__.partition("\n")[0], "page_width": "1100px"}
html_show_copyright = False
html_show_sphinx = False
pygments_style = "friendly"
default_role = "any"
suppress_warnings = ["myst.xref_missing", "ref.any"]
myst_heading_anchors = 3

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

# Public classes say that they live in `birdembed`. Sphinx sorts their members, and links their
# sources, by the file that a class says it comes from.
for public in (getattr(birdembed, name) for name in birdembed.__all__):
    if isinstance(public, type) and public.__module__ == "birdembed":
        methods = filter(inspect.isfunction, vars(public).values())
        homes = {method.__module__ for method in methods} - {"birdembed"}
        if len(homes) == 1:
            public.__module__ = homes.pop()
