"""The site's table of contents names every page, and what is built links to what is there."""

import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from birdembed.cli import COMMANDS
from tests.docs.public import members, modules, names_of
from tests.docs.site_sources import DOCS, contents, module
from tests.docs.workplace import ROOT

if not (DOCS / "index.md").is_file():
    pytest.skip("the sdist has no pages", allow_module_level=True)
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")


def without_ending(paths, folder):
    return {path.relative_to(folder).with_suffix("").as_posix() for path in paths}


def test_contents_name_every_page_of_the_guide():
    assert without_ending(DOCS.glob("guide/*.md"), DOCS) <= set(contents(INDEX))


def test_contents_name_every_notebook():
    notebooks = without_ending(ROOT.glob("notebooks/*.ipynb"), ROOT)
    assert notebooks
    assert notebooks <= set(contents(INDEX))


def test_contents_name_every_page_from_outside():
    outside = module("outside")
    assert set(outside.PAGES.values()) <= set(contents(INDEX))
    assert all((ROOT / name).is_file() for name in outside.PAGES)


def test_contents_name_a_page_once():
    pages = contents(INDEX)
    assert len(pages) == len(set(pages))


def test_contents_name_every_command(tmp_path):
    commands = module("commands")
    assert f"commands/{commands.FRONT}" in contents(INDEX)
    commands.write(tmp_path / "commands")
    front = (tmp_path / "commands" / f"{commands.FRONT}.rst").read_text(encoding="utf-8")
    assert contents(front) == list(COMMANDS)
    assert {path.stem for path in tmp_path.glob("commands/*")} == {*COMMANDS, commands.FRONT}


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("identify", [".. option:: -k N", "(default: 5)", "birdembed identify photo.jpg"]),
        ("finetune", [".. option:: -o DIR, --output DIR", ".. option:: TRAIN"]),
        ("search", [":doc:`birdembed index <index>`"]),
    ],
)
def test_a_command_page_has_arguments_defaults_and_examples(tmp_path, command, wanted):
    module("commands").write(tmp_path / "commands")
    text = (tmp_path / "commands" / f"{command}.rst").read_text(encoding="utf-8")
    assert not [words for words in wanted if words not in text], text


@pytest.mark.parametrize(
    ("page", "link", "wanted"),
    [
        ("project/readme", "(docs/guide/search.md)", "(../guide/search.md)"),
        ("project/readme", "(docs/README.md#extras)", "(../README.md#extras)"),
        ("project/readme", "(CHANGELOG.md)", "(changelog.md)"),
        ("project/readme", "(pyproject.toml)", "(../../pyproject.toml)"),
        ("guide/search", "(../../README.md#birdembed)", "(../project/readme.md#birdembed)"),
        ("guide/search", "(embedding.md)", "(embedding.md)"),
        ("guide/search", "(https://example.org/README.md)", "(https://example.org/README.md)"),
        ("project/core", "(no_such_file.md)", "(no_such_file.md)"),
        ("README", "(../csrc/README.md)", "(project/core.md)"),
    ],
)
def test_links_lead_to_the_same_page_on_the_site(page, link, wanted):
    assert module("outside").relink(page, f"see [it]{link}.") == f"see [it]{wanted}."


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built without a warning."""
    for name in ("sphinx", "myst_nb", "furo", "numpydoc"):
        pytest.importorskip(name, reason="builds with Sphinx, myst-nb, furo and numpydoc")
    missing = modules()[1]
    if missing:
        pytest.skip(f"the pages link to {', '.join(missing)}, whose extras are not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, folder]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
    return folder


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_public_name_is_described(site):
    text = "".join(map(read, site.glob("reference/*.html")))
    there = set(re.findall(r'id="(birdembed\.[\w.]+)"', text))
    wanted = {"birdembed.serve.create_app"}
    for one in modules()[0]:
        wanted |= {f"{one.__name__}.{name}" for name in names_of(one) if name != "__version__"}
    model = modules()[0][0].Model
    wanted |= {m.name for m in members("birdembed.Model", model)}
    assert not wanted - there, sorted(wanted - there)


@pytest.mark.slow
def test_every_page_has_every_page_beside_it(site):
    beside = set(re.findall(r'href="([^"#]+)\.html"', read(site / "index.html")))
    wanted = set(contents(INDEX)) | {f"commands/{command}" for command in COMMANDS}
    assert not wanted - beside, sorted(wanted - beside)


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site):
    pages = {page.resolve(): read(page) for page in site.rglob("*.html")}
    anchors = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    wrong = set()
    for page, text in pages.items():
        for link in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            parts = urllib.parse.urlsplit(link.replace("&amp;", "&"))
            if parts.scheme or parts.netloc or link == "#":
                continue
            path = urllib.parse.unquote(parts.path)
            target = (page.parent / path).resolve() if path else page
            anchor = urllib.parse.unquote(parts.fragment)
            if not target.exists() or (anchor and anchor not in anchors.get(target, {anchor})):
                wrong.add(f"{page.relative_to(site.resolve())}: {link}")
    assert not wrong, "\n".join(sorted(wrong)[:40])
