"""Read mutated files: never anything but the package's own errors, in little time and memory.

    python tests/fuzz/fuzz_readers.py SECONDS SEED READER [MUTATIONS [FIRST]]

Ends after that many seconds or, where they are given, mutations; a mutation depends on nothing but
the seed and its number. With exit code 1 the files that gave another error are named.
"""

import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from birdembed._core import BirdembedError
from tests.fuzz import watch
from tests.fuzz.readers import READERS

SLOW = 5.0
"""Seconds of CPU that reading one of these small files may take at most."""
FINDINGS = 20


def put(folder, files):
    """Make a folder hold just these files."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def trial(reader, folder, files, seed, number):
    """Read the files, one of them mutated. Return "read" or "refused"; another error is raised."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice(reader.names() if hasattr(reader, "names") else sorted(files))
    put(folder, files | {name: reader.mutate(rng, files[name])})
    other = name != "config.json" and rng.random() < 0.7
    read = getattr(reader, "read_other", reader.read) if other else reader.read
    start = time.process_time()
    try:
        read(folder)
        return "read"
    except BirdembedError as error:
        if len(str(error)) > 2000:
            start_of_it = str(error)[:300]
            raise AssertionError(
                f"an error of {len(str(error))} characters: {start_of_it}"
            ) from None
        return "refused"
    finally:
        taken = time.process_time() - start
        if taken > SLOW:
            raise AssertionError(f"took {taken:.1f} s")


def fuzz(name, seconds, seed, mutations, first, room):
    reader, counts, found = READERS[name](), {"read": 0, "refused": 0}, 0
    made, folder = room / "made", room / "folder"
    made.mkdir()
    folder.mkdir()
    reader.make(made)
    files = {path.name: path.read_bytes() for path in made.iterdir() if path.is_file()}
    start = time.monotonic()
    number = first
    while number < first + mutations if mutations else time.monotonic() - start < seconds:
        watch.note(f"{name}, seed {seed}, mutation {number}")
        try:
            counts[trial(reader, folder, files, seed, number)] += 1
        except (Exception, RecursionError):
            found += 1
            kept = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-{number}-"))
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            print(f"{name}, seed {seed}, mutation {number}: files in {kept}", flush=True)
            print(traceback.format_exc()[-3000:], flush=True)
            if found == FINDINGS:
                break
        number += 1
    taken = time.monotonic() - start
    print(f"{name}, seed {seed}: {number - first} mutations in {taken:.0f} s, {counts}")
    return found


def main():
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    seconds, seed, name, mutations, first = [*sys.argv[1:], *"00"][:5]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as room:
        found = fuzz(name, float(seconds), int(seed), int(mutations), int(first), Path(room))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
