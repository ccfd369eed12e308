"""The scripts in tools/ can be imported: one that another one uses was once renamed."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
#: Packages that only these scripts need.
OTHERS = {"bird_views": "cv2"}


@pytest.mark.parametrize("script", sorted(path.stem for path in TOOLS.glob("*.py")))
def test_a_tool_can_be_imported(script: str) -> None:
    if script in OTHERS:
        pytest.importorskip(OTHERS[script], reason=f"tools/{script}.py needs {OTHERS[script]}")
    found = subprocess.run(
        [sys.executable, "-c", f"import {script}"], cwd=TOOLS, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
