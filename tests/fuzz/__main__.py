"""All fuzz targets, one after the other: `python -m tests.fuzz SECONDS [TARGET ...]`.

SECONDS of each: of CPU for decoders, by the clock for the others. Decoders (jpeg, png, gif, bmp,
inflate) run under AddressSanitizer and UBSan and, where there is a clang, once more under
MemorySanitizer; `core` calls the entry points of the extension as it is built; the readers (index,
cache, config, checkpoint, pth, safetensors) read mutated files. Ends with exit code 1 where
anything was found.
"""

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import watch
from tests.support import ROOT

DECODERS = ("jpeg", "png", "gif", "bmp", "inflate")
READERS = ("index", "cache", "config", "checkpoint", "pth", "safetensors")
FLAGS = ["-std=c11", "-O1", "-g", "-w", "-pthread", "-fno-omit-frame-pointer"]
FLAGS += ["-D_POSIX_C_SOURCE=200809L", "-Icsrc", "-Itests/c", "-I/usr/include/stb"]


def sanitizers():
    """Return how the decoders can be built here: (compiler, -fsanitize)."""
    made = [("cc", "address,undefined")]
    if shutil.which("clang"):
        made.append(("clang", "memory"))
    else:
        print("fuzz: no clang (Debian: apt-get install clang), so no MemorySanitizer")
    return made


def built(compiler, sanitize, folder):
    """Build the decoders' target; return its path."""
    program = folder / f"fuzz_images_{compiler}"
    sources = [ROOT / "tests/fuzz/fuzz_images.c", *ROOT.glob("csrc/image/*.c")]
    sources += ROOT.glob("csrc/base/*.c")
    flags = [*FLAGS, f"-fsanitize={sanitize}", "-fno-sanitize-recover=all"]
    subprocess.run(
        [compiler, *flags, "-o", program, *map(str, sources), "-lm"], cwd=ROOT, check=True
    )
    return program


def decode(targets, seconds, seed):
    """Run decoders; return how many ended with a finding, whose input is kept."""
    found = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as room:
        for compiler, sanitize in sanitizers():
            program = built(compiler, sanitize, Path(room))
            for target in targets:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{target}-{compiler}-{seed}.input"
                print(f"[{sanitize}] ", end="", flush=True)
                done = subprocess.run([program, str(seconds), str(seed), target, kept])
                found += done.returncode != 0
    return found


def watched(target, *args, seconds):
    code, text = watch.watched(target, *args, seconds=seconds, PYTHONPATH=str(ROOT))
    lines = text.strip().splitlines()
    print("\n".join(lines if code else lines[:1]), flush=True)
    return code != 0


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    seconds = float(sys.argv[1])
    chosen = sys.argv[2:] or [*DECODERS, "core", *READERS]
    seed = random.SystemRandom().randrange(1, 10**6)
    print(f"fuzz: seed {seed}")
    decoders = [target for target in chosen if target in DECODERS]
    found = decode(decoders, seconds, seed) if decoders else 0
    for target in chosen:
        if target == "core":
            found += watched("fuzz_core.py", seed, seconds=seconds)
        elif target in READERS:
            found += watched("fuzz_readers.py", seed, target, seconds=seconds)
        elif target not in DECODERS:
            sys.exit(f"no target {target!r}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
