"""The notebooks run from start to end, and what is committed of them may be shown."""

import base64
import io
import os
import re
import shutil
import sys

import pytest

from tests.support import ROOT

nbformat = pytest.importorskip("nbformat", reason="needs the extra 'notebook'")
pytest.importorskip("nbclient", reason="needs the extra 'notebook'")
pytest.importorskip("ipykernel", reason="needs the extra 'notebook'")
Image = pytest.importorskip("PIL.Image", reason="needs Pillow")

sys.path.insert(0, str(ROOT / "tools"))
import run_notebooks as tool  # noqa: E402

BOOKS = {path.name[:2]: path for path in tool.notebooks()}
#: Small enough for a test; the notebooks' own are in their cell "parameters".
SMALL = {
    "01": {"CLASSES": 8, "PER_CLASS": 2, "SIZE": 64},
    "02": {
        "CLASSES": 5,
        "UNSEEN": 3,
        "TRAIN": 4,
        "VALID": 2,
        "EPOCHS": 2,
        "BATCH": 8,
        "IMAGE_SIZE": 96,
        "EVAL_SIZE": 64,
    },
    "03": {"CLASSES": 8, "PER_CLASS": 2, "SIZE": 64},
    "04": {"CLASSES": 5, "TRAIN": 4, "VALID": 2, "SIZE": 64},
}
NEEDS = {"03": "lancedb"}
SLOW = {"02"}  # it trains
LARGEST = 160  # pixels of a photograph
MACHINE = re.compile(r"(?<![\w.~])/(?:work|root|home|Users|tmp|var|usr|opt)/")
EMBEDDED = re.compile(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)")


def need(number):
    if number in NEEDS:
        pytest.importorskip(NEEDS[number], reason=f"needs {NEEDS[number]}")
    import birdembed as be

    if "sscd" not in be.list_models():
        pytest.skip("the weights of sscd are not here: birdembed fetch sscd")


def outputs(book):
    return [out for cell in book.cells if cell.cell_type == "code" for out in cell.outputs]


def check_outputs(book):
    """No error, nothing on standard error, and something to see."""
    for out in outputs(book):
        assert out.output_type != "error", out
        assert out.get("name") != "stderr", out.text
    kinds = {kind for out in outputs(book) for kind in out.get("data", {})}
    assert kinds & {"image/png", "image/jpeg"}
    assert "text/html" in kinds


def test_there_are_four():
    assert set(BOOKS) == set(SMALL)


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in sorted(SMALL)]
)
def test_runs_on_the_sample_photographs(number, tmp_path):
    need(number)
    from birdembed.downloads.photographs import samples_dir

    if not samples_dir().is_dir():
        pytest.skip("the sample photographs are not here: birdembed fetch samples")
    book = tool.run(BOOKS[number], tmp_path, parameters=SMALL[number], timeout=300)
    check_outputs(book)


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory):
    """A folder of a user's: fewer species and photos than the notebooks ask for."""
    from birdembed.downloads.sample_data import sample_data

    given = sample_data(classes=5, unseen=0, train=4, valid=1, size=96).train
    root = tmp_path_factory.mktemp("own")
    for number, (path, name) in enumerate(zip(given.paths, given.names, strict=True)):
        (root / name).mkdir(exist_ok=True)
        shutil.copy(path, root / name / f"{number}.jpg")
    return str(root)


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(SMALL))
def test_runs_on_a_folder_of_species(number, tmp_path, own_folder):
    need(number)
    more = {"EPOCHS": 1, "CLASSES": 90, "UNSEEN": 9, "TRAIN": 99, "VALID": 9, "SIZE": 64}
    parameters = SMALL[number] | {k: v for k, v in more.items() if k in SMALL[number]}
    book = tool.run(BOOKS[number], tmp_path, parameters=parameters | {"DATA": own_folder})
    check_outputs(book)
    text = "".join(out.get("text", "") for out in outputs(book))
    assert "from your folder" in text


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(SMALL))
def test_runs_on_real_photographs(number, tmp_path):
    need(number)
    data = os.environ.get("BIRDEMBED_DATA")
    if not data:
        pytest.skip("BIRDEMBED_DATA is not set")
    parameters = SMALL[number] | {"SIZE": 96, "IMAGE_SIZE": 96, "EVAL_SIZE": 96, "TRAIN": 8}
    parameters = {k: v for k, v in parameters.items() if k in SMALL[number]} | {"DATA": data}
    book = tool.run(BOOKS[number], tmp_path, parameters=parameters, timeout=300)
    check_outputs(book)
    text = "".join(out.get("text", "") for out in outputs(book))
    assert "from your folder" in text


# What is committed -----------------------------------------------------------------------


@pytest.fixture(params=sorted(BOOKS))
def committed(request):
    return nbformat.read(BOOKS[request.param], as_version=4)


def test_committed_outputs_are_there(committed):
    nbformat.validate(committed)
    check_outputs(committed)
    counts = [cell.execution_count for cell in committed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run it from start to end: make notebooks"


def test_committed_from_the_sample_photographs(committed):
    text = "".join(out.get("text", "") for out in outputs(committed))
    assert "sample photos" in text
    assert "your folder" not in text


def test_committed_outputs_name_no_machine(committed):
    for cell in committed.cells:
        assert not MACHINE.search(cell.source), cell.source
    for out in outputs(committed):
        texts = [out.get("text", "")]
        texts += [v for k, v in out.get("data", {}).items() if k.startswith("text/")]
        for text in texts:
            text = EMBEDDED.sub("", text)
            found = MACHINE.search(text)
            assert not found, text[max(0, found.start() - 40) : found.end() + 60]
            assert "widget" not in text


def test_committed_photographs_are_small(committed):
    """In tables each is a file of its own; in figures tests/display holds them to the same."""
    shown = 0
    for out in outputs(committed):
        data = out.get("data", {})
        for _, encoded in EMBEDDED.findall(data.get("text/html", "")):
            picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
            assert max(picture.size) <= LARGEST
            shown += 1
        for kind in ("image/png", "image/jpeg"):
            if kind in data:
                figure = Image.open(io.BytesIO(base64.b64decode(data[kind])))
                assert max(figure.size) < 1400
                shown += 1
    assert shown >= 3


def test_committed_files_are_small():
    for path in BOOKS.values():
        assert path.stat().st_size < 1_500_000, path.name


def test_text_is_plain(committed):
    """An article: it begins with a title, explains before it shows, and speaks simply."""
    cells = committed.cells
    assert cells[0].source.startswith("# ")
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert len(prose) >= 8
    for text in prose:
        assert "—" not in text
        for sentence in re.split(r"(?<=[.?!:])\s", re.sub(r"\([^)]*\)", "", text)):
            assert len(sentence.split()) <= 40, sentence


#: Words that judge. They stand in what is computed, not in the prose around it.
VERDICTS = re.compile(
    r"\b(is|are|was|has become|have become|gets|got) (much |far )?(better|worse|unchanged)\b|"
    r"do(es)? not matter|this is what we wanted",
    re.IGNORECASE,
)


def test_prose_leaves_verdicts_to_the_numbers(committed):
    for cell in committed.cells:
        if cell.cell_type == "markdown":
            text = cell.source.replace("more is better", "").replace("numbers above are too", "")
            assert not VERDICTS.search(text), VERDICTS.search(text)
            assert "birds51" not in text
        else:
            assert "birds51" not in cell.source


def test_green_means_right(committed):
    for cell in committed.cells:
        for said in re.findall(r"\(green: ([^),]+)", cell.source):
            assert said in ("the same species", "right")


def test_links_lead_somewhere(committed):
    for cell in committed.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)\)", cell.source):
                assert "://" in target or (tool.FOLDER / target).exists(), target


def test_the_search_for_machines_finds_them():
    assert MACHINE.search("see /" + "home/somebody/x.png")
    assert MACHINE.search("ImageFolder('/" + "root/x')")
    assert not MACHINE.search("~/.cache/birdembed/home/x and photos/usr/x")
