"""Every code block of README.md and of the guide runs, page by page; every link leads somewhere.

`make GOAL` and `pip install` are looked up instead of carried out, and `birdembed serve` goes to
the background: `stand_ins/` has the reasons. Photographs are few and small; everything else is as
a reader has it.
"""

import contextlib
import doctest
import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.parse
from pathlib import Path

import pytest

pytest.importorskip("markdown_it", reason="reads Markdown with markdown-it-py")
pytest.importorskip("PIL.Image", reason="needs Pillow to write the photographs")

from birdembed.base.files import cache_dir
from tests.docs.page_blocks import PYTHON, anchors, blocks, links
from tests.docs.public import modules, public_names
from tests.docs.workplace import ROOT, prepare

RUN = Path(__file__).with_name("run_page.py")
PAGES = [ROOT / "README.md", ROOT / "docs" / "README.md", *sorted(ROOT.glob("docs/guide/*.md"))]
_LONG = "fine-tuning larger-model metaflow mlflow performance search serving start stores"
SLOW = {"README.md", *(f"docs/guide/{page}.md" for page in _LONG.split())}
OTHERS = [
    *(ROOT / f"{page}.md" for page in ("THIRD_PARTY", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")),
    ROOT / "csrc" / "README.md",
    ROOT / "benchmarks" / "README.md",
]


def name(page):
    return page.relative_to(ROOT).as_posix()


def runs():
    """Return the pages that have code; those that train, or serve, or fill a database are slow."""
    pages = [
        page for page in [*PAGES, ROOT / "docs" / "index.md"] if page.is_file() and blocks(page)
    ]
    return [pytest.param(p, marks=pytest.mark.slow) if name(p) in SLOW else p for p in pages]


@pytest.fixture(scope="module")
def cache():
    if not (cache_dir() / "models" / "sscd").is_dir():
        pytest.skip("pages use the weights that `birdembed fetch sscd` gets")
    return cache_dir()


def run(command, folder, environment):
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def end_servers(pids):
    """End what the page left in the background, and see it gone: the next page needs its port."""
    for pid in map(int, pids.read_text().split() if pids.exists() else ()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + 30
            while time.monotonic() < end:
                os.kill(pid, 0)
                time.sleep(0.1)


@pytest.mark.parametrize("page", runs(), ids=name)
def test_blocks_run(page, cache, tmp_path):
    environment = prepare(tmp_path, cache)
    try:
        run([sys.executable, RUN, page], tmp_path / "clone", environment)
    finally:
        end_servers(Path(environment["DOCS_PIDS"]))


def examples(value):
    """Return the code of a docstring: after `>>>`; of a module's, also indented after `::`.

    What says `doctest: +SKIP` is left out, as doctest does: it needs what the reader has.
    """
    text = inspect.cleandoc(value.__doc__)
    given = doctest.DocTestParser().get_examples(text)
    found = [e.source for e in given if not e.options.get(doctest.SKIP)]
    if not given and inspect.ismodule(value):
        parts = re.findall(r"::\n\n((?:    .*\n|\n)+)", text + "\n")
        found = [textwrap.dedent(part) for part in parts]
    return "".join(found)


def test_examples_in_docstrings_run(cache, tmp_path):
    """Those of each docstring in turn, in one process."""
    documented = {m.__name__: m for m in modules()[0]} | dict(public_names())
    pages = {name: examples(value) for name, value in documented.items() if value.__doc__}
    pages = {name: code for name, code in pages.items() if code.strip()}
    assert {"birdembed", "birdembed.fine_tune"} <= set(pages)
    page = tmp_path / "examples.md"
    page.write_text("".join(f"# {n}\n\n```python\n{code}```\n\n" for n, code in pages.items()))
    run([sys.executable, RUN, page], tmp_path / "clone", prepare(tmp_path, cache))


def test_the_first_python_block_runs_from_the_root_of_a_clone(cache, tmp_path):
    """As it stands, in the clone itself: with nothing there but what the repository has."""
    first = next(b for b in blocks(ROOT / "README.md") if b.kind == PYTHON)
    script = tmp_path / "first.py"
    script.write_text(first.text)
    before = sorted(p.name for p in ROOT.iterdir())
    code = f"exec(compile(open({str(script)!r}).read(), 'README.md', 'exec'))"
    shown = run([sys.executable, "-c", code], ROOT, {**os.environ, "PYTHONPATH": str(ROOT)})
    assert shown.strip(), "it shows nothing"
    assert sorted(p.name for p in ROOT.iterdir()) == before, "it leaves something behind"


@pytest.mark.parametrize("page", [p for p in PAGES + OTHERS if p.is_file()], ids=name)
def test_links_lead_somewhere(page):
    wrong = []
    for line, target in links(page):
        parts = urllib.parse.urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        there = (page.parent / parts.path).resolve() if parts.path else page
        if not there.exists():
            wrong.append(f"line {line}: {target}: not there")
        elif parts.fragment and parts.fragment not in anchors(there):
            wrong.append(f"line {line}: {target}: no such heading")
    assert not wrong, "\n".join(wrong)


def test_every_page_is_listed():
    """docs/README.md leads to every page of the guide."""
    listed = {
        (ROOT / "docs" / target).resolve() for _, target in links(ROOT / "docs" / "README.md")
    }
    missing = [name(page) for page in ROOT.glob("docs/guide/*.md") if page.resolve() not in listed]
    assert not missing, "\n".join(missing)


def test_every_extra_is_explained():
    headings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = headings.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^(\w+) = ", table, re.MULTILINE)
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8").partition("## Extras")[2]
    assert extras
    assert not [extra for extra in extras if f"`{extra}`" not in text]


def test_a_broken_block_is_noticed(tmp_path):
    """The tests above are worth nothing if they pass over errors."""
    for text, words in [
        ("```python\nx = 1\n```\n\n```python\nx / 0\n```\n", "line 6"),
        ("    true\n    false\n    true\n", "exit code 1"),
        ("```sh\necho 1.25 s\n```\n\n```output\n1.26 s\n```\n", "expected"),
        ("```ruby\nputs 1\n```\n", "ruby"),
    ]:
        page = tmp_path / "page.md"
        page.write_text(text)
        done = subprocess.run(
            [sys.executable, RUN, page], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode != 0, text
        assert words in done.stderr, done.stderr
    page.write_text("```python\nprint('a', 1.5, 'b')\n```\n\n```output\na ... b\n```\n")
    subprocess.run([sys.executable, RUN, page], cwd=tmp_path, check=True)
