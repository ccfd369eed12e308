"""Small pictures of made-up species, and a model with random weights.

The conftest.py of a folder that needs the fixtures imports them.
"""

import dataclasses
import functools

import numpy as np
import pytest

import birdembed as be

SPECIES = ["DUNNOCK", "FIRECREST", "JAY", "REDWING"]


def picture(species, number, size=64):
    """Return one of a species: its own pattern, a little noise of the picture's own."""
    pattern = np.random.default_rng(species).integers(0, 256, (4, 4, 3))
    noise = np.random.default_rng([species, number, 7]).integers(-30, 31, (4, 4, 3))
    small = np.clip(pattern + noise, 0, 255).astype(np.uint8)
    image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")
    return image.fromarray(small).resize((size, size), image.Resampling.BICUBIC)


def write_folder(root, numbers, species=SPECIES, size=64):
    for i, name in enumerate(species):
        (root / name).mkdir(parents=True)
        for number in numbers:
            pattern = SPECIES.index(name) if name in SPECIES else 50 + i
            picture(pattern, number, size).save(root / name / f"{number}.png")
    return be.ImageFolder(root)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Four species with six pictures each: train."""
    return write_folder(tmp_path_factory.mktemp("train"), range(6))


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    """Two new pictures of each: valid."""
    return write_folder(tmp_path_factory.mktemp("valid"), range(6, 8))


@functools.cache
def _weights():
    """Return what a model is made of; its digest is computed, once for all tests."""
    return be.Model("resnet18", seed=0, preprocess=be.Preprocess(size=64))._current.pretrained()


@pytest.fixture
def model():
    return be.Model._of(dataclasses.replace(_weights()))


@pytest.fixture(scope="session")
def folder(tmp_path_factory, photos):
    """Return a saved model with a gallery."""
    model = be.Model("resnet18", seed=0, preprocess=be.Preprocess(size=64))
    model.fit_projection(photos, dim=8, shrinkage=0.3)
    model.fit_gallery(photos)
    path = tmp_path_factory.mktemp("model") / "m"
    model.save_pretrained(path)
    return str(path)


def clouds(n_classes, n, dim, *, seed=0, spread=2.0):
    """Return rows of classes that vary alike around their means, and labels."""
    rng = np.random.default_rng(seed)
    means = spread * rng.standard_normal((n_classes, dim))
    shape = rng.standard_normal((dim, dim)) / np.sqrt(dim)
    labels = np.repeat(np.arange(n_classes), n)
    rows = means[labels] + rng.standard_normal((len(labels), dim)) @ shape
    return rows, labels
