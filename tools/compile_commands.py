"""Write compile_commands.json for clangd, clang-tidy and editors.

    python tools/compile_commands.py

The commands of the core and its tests are those that `make -C csrc` would run. The Python bindings
in csrc/python, which setup.py compiles, get the same with the headers of Python and NumPy.
"""

import json
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Flags of the core that the headers of Python do not allow for the bindings.
STRICTER = {"-Wconversion", "-Wmissing-prototypes", "-Wwrite-strings"}


def make_commands() -> list[list[str]]:
    """Return the compiler commands of csrc/Makefile without running them."""
    command = ["make", "-C", "csrc", "--dry-run", "--always-make", "V=1", "build"]
    command.append(f"PYTHON={sys.executable}")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [shlex.split(line) for line in done.stdout.splitlines() if " -o " in line]
    return [words for words in lines if source_of(words)]


def source_of(words: list[str]) -> str:
    """Return the C file compiled by a command, or an empty string."""
    return next((word for word in words if word.endswith(".c")), "")


def glue_command(like: list[str], source: Path) -> list[str]:
    """Return the command for a file of csrc/python, based on that of another file."""
    import numpy

    words = list(like)
    words[words.index("-o") + 1] = str(ROOT / "build/c/glue" / f"{source.stem}.o")
    words[words.index(source_of(like))] = str(source)
    words = [word for word in words if word not in STRICTER]
    includes = [sysconfig.get_path("include"), numpy.get_include()]
    return [*words, *(f"-I{place}" for place in includes), "-DPy_LIMITED_API=0x030A0000"]


def main() -> None:
    """Write the file in the root of the checkout."""
    commands = make_commands()
    like = next(words for words in commands if source_of(words).endswith("csrc/base/alloc.c"))
    commands += [glue_command(like, path) for path in sorted((ROOT / "csrc/python").glob("*.c"))]
    entries = [
        {"directory": str(ROOT / "csrc"), "file": source_of(words), "arguments": words}
        for words in commands
    ]
    target = ROOT / "compile_commands.json"
    target.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    print(f"{target.name}: {len(entries)} commands")


if __name__ == "__main__":
    main()
