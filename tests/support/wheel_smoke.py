"""Use an installed birdembed for everything it is for, without pytest and without the checkout.

    python wheel_smoke.py FOLDER [--alone]

FOLDER takes what is written. --alone: nothing is installed but what the package itself requires.
Run by the tests of the wheel in other Pythons and in a minimal system, so it may use nothing but
the standard library, NumPy and birdembed.
"""

import importlib.metadata
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

import birdembed as be


def png(pixels):
    """Return the bytes of a PNG; pixels (h, w, 3) uint8."""
    height, width, _ = pixels.shape

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def check_installed():
    """Hold what is installed to the three requirements."""
    found = {re.sub("[-_.]+", "-", d.name).lower() for d in importlib.metadata.distributions()}
    extra = found - {"pip", "setuptools", "wheel", "birdembed", "numpy", "safetensors", "tqdm"}
    assert not extra, f"installed, and not asked for: {sorted(extra)}"
    assert {"birdembed", "numpy", "safetensors", "tqdm"} <= found, sorted(found)


def check_libraries():
    """Hold oneDNN and OpenMP to the package's own copies."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    lines = [line for line in maps.read_text().splitlines() if "libdnnl" in line or "gomp" in line]
    paths = {Path(line.split()[-1]) for line in lines}
    assert {path.name for path in paths} == {"libdnnl.so.3", "libgomp.so.1"}, paths
    package = Path(be.__file__).parent
    assert {path.parent for path in paths} == {package / "_lib"}, paths


def check_missing_extras():
    """An extra that is not there is named."""
    for extra, use in (
        ("plot", lambda: be.plot_similarity(np.eye(2, dtype=np.float32), ["a", "b"])),
        ("pandas", lambda: be.History([{"epoch": 1}]).to_pandas()),
        ("hub", lambda: be.load_model("someone/some-model")),
    ):
        told = f"worked without the extra {extra}"
        try:
            use()
        except (ImportError, be.WeightsError) as error:
            told = str(error)
        assert f"birdembed[{extra}]" in told, told


def main(folder, alone):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 40, 50, 3), np.uint8)
    paths = []
    for number, pixels in enumerate(pictures):
        path = folder / "birds" / ("robin" if number % 2 else "wren") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels))
        paths.append(path)
    if alone:
        check_installed()
        check_missing_extras()

    model = be.Model("resnet50", num_classes=0, seed=0)
    model.preprocess = be.Preprocess(size=96)
    vectors = model.encode(pictures)
    assert vectors.shape == (6, 2048)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert np.array_equal(model.encode([paths[0], paths[1].read_bytes()]), vectors[:2])
    check_libraries()

    index = be.Index.build(model, folder / "birds")
    index.save(folder / "birds.index")
    found = be.Index.load(folder / "birds.index", model=model).search(paths[3], k=3)
    assert found.ids[0] == "robin/3.png", found.ids
    assert abs(float(found.scores[0]) - 1) < 1e-5, found.scores

    data = be.ImageFolder(folder / "birds")
    before = model.state_dict()["conv1.weight"]
    history = be.fine_tune(model, data, epochs=1, batch_size=6, image_size=96)
    assert np.isfinite(history.epochs[0]["train_loss"])
    assert not np.array_equal(model.state_dict()["conv1.weight"], before)
    model.save_pretrained(folder / "model")
    again = be.load_model(str(folder / "model"))
    assert np.array_equal(again.encode(pictures), model.encode(pictures))
    assert again.class_names == ["robin", "wren"], again.class_names

    info = be.info()
    print(
        f"birdembed {be.__version__}, Python {sys.version.split()[0]}, NumPy {np.__version__},"
        f" oneDNN {info['onednn']}, {info['isa']}: all well"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--alone" in sys.argv[2:])
