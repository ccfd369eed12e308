"""A missing library is told before any work is done, and a broken one is not called missing."""

import importlib
import subprocess
import sys

import pytest


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
    from birdembed.base.optional import need

    (tmp_path / "halfthere.py").write_text("import something_that_is_nowhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match="something_that_is_nowhere"):
        need("halfthere", "extra", "it")
