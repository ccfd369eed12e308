"""Two made-up species on small pictures, and a small model.

The conftest.py of a folder that needs the fixtures imports them.
"""

import numpy as np
import pytest


def picture(seed, size=96):
    """Return a smooth random picture, different for each seed."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow to write the pictures")
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return image.fromarray(small).resize((size, size), image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Two species with four pictures each, and one file that is no picture."""
    root = tmp_path_factory.mktemp("photos")
    for i, species in enumerate(["ROBIN", "WREN"]):
        (root / species).mkdir()
        for j in range(4):
            picture(4 * i + j).save(root / species / f"{j}.png")
    (root / "WREN" / "bad.jpg").write_bytes(b"no picture at all")
    return root


@pytest.fixture(scope="session")
def model():
    import birdembed as be

    return be.Model("resnet50", seed=0, preprocess=be.Preprocess(size=96))


@pytest.fixture(scope="session")
def model_dir(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(folder)
    return str(folder)
