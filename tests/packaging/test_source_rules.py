"""Rules that can be read off the source: which way includes point, who may call what."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT

CSRC = ROOT / "csrc"

# Who may include whom, besides itself. Arrows never point back.
LAYERS = {
    "base": set(),
    "image": {"base"},
    "nn": {"base"},
    "model": {"base", "nn"},
    "data": {"base", "image"},
    "train": {"base", "nn", "model", "data", "image"},
    "search": {"base", "nn"},
    "python": {"base", "image", "nn", "model", "data", "train", "search"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
HEAP = "malloc calloc realloc free strdup strndup aligned_alloc posix_memalign".split()
PROCESS = "exit abort _exit quick_exit printf fprintf vprintf vfprintf puts fputs perror".split()
# Folders of tests that no folder of the package stands for, and what is in them.
OTHER_TESTS = {
    "c": "tests of csrc, in its folders",
    "docs": "the pages, the docstrings and the reference",
    "examples": "scripts that are no part of the package",
    "fuzz": "fuzz targets, which `make fuzz` runs for long and the tests for short",
    "golden": "numbers that torch made",
    "notebooks": "the notebooks run from top to bottom",
    "packaging": "wheels, extras, the Dockerfile, and rules of the sources",
    "support": "what tests of several folders share",
}
MAX_LINES = 600
MAX_BYTES = 256 * 1024
MAX_COLUMNS = 100  # of C; ruff holds Python's
MAX_NOTEBOOK = 1500 * 1000  # with its pictures


def c_files():
    return sorted(p for p in CSRC.rglob("*") if p.suffix in (".c", ".h"))


def layer(path):
    return path.relative_to(CSRC).parts[0]


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def tracked_files():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if (ROOT / name).is_file()]


def calls(path, names):
    """Return 'file:line: name' for every call of one of the names, comments and strings aside."""
    text = path.read_text(encoding="utf-8")
    blank = COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
    return [
        f"{path.relative_to(ROOT)}:{blank.count(chr(10), 0, m.start()) + 1}: {m.group(1)}"
        for m in pattern.finditer(blank)
    ]


def test_there_is_source_to_judge():
    assert len(c_files()) > 10
    assert {layer(p) for p in c_files()} <= set(LAYERS)


def test_includes_point_down():
    wrong = []
    for path in c_files():
        allowed = LAYERS[layer(path)] | {layer(path)}
        for name in includes(path):
            first = name.split("/")[0]
            if first in LAYERS and "/" in name and first not in allowed:
                wrong.append(f"{path.relative_to(ROOT)} includes {name}")
            if "/" not in name and (path.parent / name).exists():
                wrong.append(f"{path.relative_to(ROOT)} includes {name} without its layer's name")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("header", "home"),
    [
        (r"Python\.h|numpy/.*", "python"),
        (r"(oneapi/dnnl/)?dnnl.*\.h", "nn"),
        (r"stb_image\.h", "image"),
        (r"omp\.h", "nn"),
    ],
)
def test_foreign_headers_stay_in_their_layer(header, home):
    wrong = [
        f"{path.relative_to(ROOT)} includes {name}"
        for path in c_files()
        for name in includes(path)
        if re.fullmatch(header, name) and layer(path) != home
    ]
    assert not wrong, "\n".join(wrong)


def test_memory_comes_from_alloc():
    excepted = {CSRC / "base" / "alloc.c"} | set(CSRC.glob("image/stb_*.c"))
    wrong = [call for path in c_files() if path not in excepted for call in calls(path, HEAP)]
    assert not wrong, "\n".join(wrong)


def test_core_neither_prints_nor_ends_the_process():
    excepted = set(CSRC.glob("image/stb_*.c"))
    wrong = [call for path in c_files() if path not in excepted for call in calls(path, PROCESS)]
    assert not wrong, "\n".join(wrong)


def test_the_search_for_calls_finds_them(tmp_path, monkeypatch):
    """The two tests above are worth nothing if `calls` is blind."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    sample = tmp_path / "sample.c"
    sample.write_text(
        '/* free(x) */\n// malloc(1)\nbird_free(a); t->free(b); s = "exit(1)";\n'
        "x = malloc(3);\nsnprintf(b, 1, f); printf (f);\n"
    )
    assert calls(sample, HEAP) == ["sample.c:4: malloc"]
    assert calls(sample, PROCESS) == ["sample.c:5: printf"]


def folders(path):
    return {p.parent.name for p in path.glob("*/*") if p.is_file() and p.suffix != ".pyc"}


def test_folders_of_tests_are_folders_of_what_they_test():
    package = folders(ROOT / "birdembed")
    found = folders(ROOT / "tests") | {"c"}  # which holds folders of its own
    unknown = found - package - set(OTHER_TESTS)
    assert not unknown, f"neither a folder of birdembed nor listed: {sorted(unknown)}"
    assert not set(OTHER_TESTS) - found
    assert not set(OTHER_TESTS) & package
    assert folders(ROOT / "tests" / "c") <= folders(CSRC)
    loose = [p.name for p in (ROOT / "tests").glob("test_*")]
    assert not loose, f"in no folder: {loose}"


def test_files_are_short_enough_to_read():
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in tracked_files()
        if path.suffix in (".c", ".h", ".py", ".pyi", ".sh")
        and (lines := path.read_text(encoding="utf-8").count("\n")) > MAX_LINES
    ]
    assert not long, "\n".join(long)


def test_lines_of_c_fit_their_columns():
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in c_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > MAX_COLUMNS
    ]
    assert not long, "\n".join(long)


def test_repository_holds_no_machine_and_no_bulk():
    """No path of somebody's machine, no registry's address, no large or compiled file."""
    machine = re.compile(rb"""(?:^|[\s"'`=(:])/(?:work|root|home|Users)/""", re.MULTILINE)
    hosts = re.compile(rb"(?:pypi|pythonhosted|npmjs|crates|deb\.debian)" + rb"\.(?:org|io|com)\b")
    wrong = []
    for path in tracked_files():
        data = path.read_bytes()
        name = path.relative_to(ROOT)
        if (
            name.parent.parent == Path("birdembed/pretrained/bundled")
            and path.suffix == ".safetensors"
        ):
            continue  # a bundled model
        if len(data) > (MAX_NOTEBOOK if path.suffix == ".ipynb" else MAX_BYTES):
            wrong.append(f"{name}: {len(data)} bytes")
        if path.suffix in (".so", ".a", ".o", ".whl", ".onnx", ".safetensors", ".pth"):
            wrong.append(f"{name}: built or fetched, not written")
        if b"\0" in data[:8000]:
            continue
        wrong += [f"{name}: {m.group().decode()!r}" for m in machine.finditer(data)]
        wrong += [f"{name}: {m.group().decode()!r}" for m in hosts.finditer(data)]
    assert not wrong, "\n".join(wrong)


def test_third_party_is_named():
    text = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    for name in (
        "oneDNN",
        "Apache-2.0",
        "libgomp",
        "GCC Runtime Library Exception",
        "stb_image",
        "SSCD",
        "tuxpaint-stamps-default",
    ):
        assert name in text, name
    built = ROOT / "birdembed" / "_lib"
    if not built.is_dir():
        pytest.skip("the extension module is not built: what it bundles was not compared")
    for path in built.iterdir():
        assert path.name in text, f"{path.name} goes into the wheel and is not named"


def test_stub_of_the_core_names_what_is_there():
    core = pytest.importorskip("birdembed._core", exc_type=ImportError)
    stub = ast.parse((ROOT / "birdembed" / "_core.pyi").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)

    def public(nodes):
        names = {node.name for node in nodes if isinstance(node, kinds)}
        return {name for name in names if not name.startswith("_")}

    assert public(stub.body) == {name for name in dir(core) if not name.startswith("__")}
    for node in stub.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not node.bases:
            members = {m for m in dir(getattr(core, node.name)) if not m.startswith("__")}
            assert public(node.body) == members, node.name
