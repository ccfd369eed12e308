"""Where a library is missing, the error says which extra to install."""

import importlib
import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.modules[{library!r}] = None  # an import fails, as where it is not installed
import numpy as np
import birdembed as be
index = be.Index()
index.add(["a"], np.ones((1, 4), "f4"))
{use}
"""


@pytest.mark.parametrize(
    ("library", "extra", "use"),
    [
        ("lancedb", "lancedb", "index.to_lancedb('db', 't')"),
        ("lancedb", "lancedb", "index.from_lancedb('db', 't')"),
        ("lancedb", "lancedb", "import birdembed.integrations.lancedb"),
        ("faiss", "faiss", "index.to_faiss()"),
        ("mlflow", "mlflow", "import birdembed.integrations.mlflow"),
        ("metaflow", "metaflow", "import birdembed.integrations.metaflow"),
        ("pyarrow", "parquet", "index.to_parquet('x.parquet')"),
        ("pyarrow", "parquet", "index.from_parquet('x.parquet')"),
        ("pandas", "pandas", "index.to_pandas()"),
    ],
)
def test_missing_library_names_its_extra(tmp_path, library, extra, use):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(library=library, use=use)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"pip install 'birdembed[{extra}]'" in last
    assert not list(tmp_path.iterdir())


def test_command_line_says_it_before_any_work(tmp_path):
    program = "import sys; sys.modules['lancedb'] = None; from birdembed.cli import main; "
    program += "sys.exit(main(['index', '.', '--model', 'none', '--lancedb', 'db']))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'birdembed[lancedb]'" in done.stderr


def test_broken_library_is_not_called_missing(monkeypatch, tmp_path):
    from birdembed._extras import need

    (tmp_path / "halfthere.py").write_text("import something_that_is_nowhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match="something_that_is_nowhere"):
        need("halfthere", "extra", "it")
