"""The API reference: every public name is in it, and it is built without a warning."""

import importlib.util
import re
import subprocess
import sys

import pytest

import birdembed
from tests.docs.public import members, modules, names_of
from tests.docs.workplace import ROOT


@pytest.fixture(scope="module")
def reference():
    """docs/reference.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_name_is_on_one_page(reference):
    listed = [name for names in reference.pages().values() for name in names]
    assert sorted(listed) == sorted(
        f"birdembed.{name}" for name in birdembed.__all__ if name != "__version__"
    )


def test_every_title_has_names(reference):
    """No page names what is gone."""
    wanted = {name for names in reference.PAGES.values() for name in names.split()}
    assert wanted <= set(birdembed.__all__)


def test_every_integration_has_a_page(reference):
    here = {m.__name__: names_of(m) for m in modules()[0] if m is not birdembed}
    assert reference.integration_names() == here


@pytest.mark.slow
def test_it_is_built(tmp_path):
    pytest.importorskip("sphinx", reason="builds with Sphinx")
    pytest.importorskip("myst_parser", reason="reads Markdown with myst-parser")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", ROOT / "docs", tmp_path]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
    text = "".join(p.read_text(encoding="utf-8") for p in tmp_path.glob("reference/*.html"))
    there = set(re.findall(r'id="(birdembed\.[\w.]+)"', text))
    wanted = {f"birdembed.{name}" for name in birdembed.__all__ if name != "__version__"}
    wanted |= {m.name for m in members("birdembed.Model", birdembed.Model)}
    assert not wanted - there, sorted(wanted - there)
