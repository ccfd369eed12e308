"""The folder that pages run in: a clone's contents, and photographs under the pages' names."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
SPECIES = ("BLACKBIRD", "MAGPIE", "OWL")
SIDE = 120  # pixels: quick to decode

#: Each takes the place of the program of that name; what it does instead is said in its file.
STAND_INS = Path(__file__).resolve().parent / "stand_ins"


def _bird(name: str, samples: Path | None) -> Image.Image:
    """Return a bird without its background: a sample photograph, or a made-up pattern."""
    if samples is not None:
        with Image.open(samples / f"{name.lower()}.png") as image:
            return image.convert("RGBA")
    pattern = np.random.default_rng(list(name.encode())).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(pattern).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGBA")


def _view(bird: Image.Image, seed: int) -> Image.Image:
    """Return one photograph of a bird: turned, mirrored, before some background."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(90, 220, (3, 3, 3), np.uint8))
    scene = soft.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    turned = bird.rotate(
        float(rng.uniform(-20, 20)), expand=True, resample=Image.Resampling.BICUBIC
    )
    if rng.random() < 0.5:
        turned = turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned.thumbnail((SIDE, SIDE))
    room = SIDE - turned.width, SIDE - turned.height
    scene.paste(turned, tuple(int(rng.integers(0, n + 1)) for n in room), turned)
    return scene


def _write_folder(root: Path, birds: dict[str, Image.Image], numbers: range) -> None:
    for i, (name, bird) in enumerate(birds.items()):
        (root / name).mkdir(parents=True)
        for number in numbers:
            _view(bird, 100 * i + number).save(root / name / f"{number:03}.jpg", quality=92)


def prepare(place: Path, cache: Path) -> dict[str, str]:
    """Fill a new folder; return the environment to run a page in.

    Parameters
    ----------
    place : Path
        Gets ``clone/``, where pages run: links to the repository's own files, and beside them
        ``photos/SPECIES/*.jpg``, ``birds/train``, ``birds/valid`` and some single photographs.
    cache : Path
        The user's cache: weights and samples are taken from it, new entries go elsewhere.
    """
    clone, own_cache, programs = place / "clone", place / "cache", place / "bin"
    for folder in (clone, own_cache, programs):
        folder.mkdir(parents=True)
    for path in sorted(ROOT.iterdir()):
        if not path.name.startswith(".") and path.name not in ("build", "dist"):
            (clone / path.name).symlink_to(path)
    for path in cache.iterdir() if cache.is_dir() else ():
        (own_cache / path.name).symlink_to(path)
    samples = cache / "samples"
    birds = {name: _bird(name, samples if samples.is_dir() else None) for name in SPECIES}
    _write_folder(clone / "photos", birds, range(4))
    _write_folder(clone / "birds" / "train", birds, range(4, 8))
    _write_folder(clone / "birds" / "valid", birds, range(12, 14))
    for number, name in enumerate(("blackbird.jpg", "owl.jpg", "unknown.jpg", "a.jpg", "b.jpg")):
        bird = birds.get(name.split(".")[0].upper(), birds[SPECIES[number % len(SPECIES)]])
        _view(bird, 1000 + number).save(clone / name, quality=92)
    _install_programs(programs)
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
        "PATH": os.pathsep.join(
            [str(programs), os.path.dirname(sys.executable), os.environ["PATH"]]
        ),
        "PYTHONPATH": str(ROOT),
        "BIRDEMBED_CACHE": str(own_cache),
        "MPLBACKEND": "Agg",
        "DOCS_PIDS": str(place / "pids"),
        "METAFLOW_USER": "reader",  # Metaflow wants a name, and root in a container has none
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _install_programs(folder: Path) -> None:
    for source in STAND_INS.glob("*.py"):
        _script(folder / source.stem, f'exec "{sys.executable}" "{source}" "$@"')
    for name in ("python", "python3"):
        _script(folder / name, f'exec "{sys.executable}" "$@"')


def _script(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
