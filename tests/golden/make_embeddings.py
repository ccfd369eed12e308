"""Write tests/golden/*.npz: what torch makes of the seeded networks.

    python -m tests.golden.make_embeddings        (needs torch and timm)

Weights and inputs come from seeds (seeded.py), so only norms and samples are stored.
"""

from pathlib import Path

import numpy as np

from tests.support import seeded
from tests.support.networks import vision

FOLDER = Path(__file__).parent
CLASSES = 8
ARCHITECTURES = ("resnet50", "resnet50d", "resnet18", "resnet34d")
SAMPLES = 64
INPUTS = {"square": (2, 224, 224), "odd": (1, 97, 161)}


def network(architecture, num_classes=CLASSES, seed=0):
    """timm's network with the seeded weights, in eval mode."""
    torch, _, timm, _ = vision()
    made = timm.create_model(architecture, num_classes=num_classes)
    weights = seeded.state(architecture, num_classes, seed)
    found = made.load_state_dict({n: torch.from_numpy(a) for n, a in weights.items()}, strict=False)
    assert all(n.endswith("num_batches_tracked") for n in found.missing_keys)
    assert not found.unexpected_keys
    return made.eval()


def run(made, x):
    """Return maps, pooled features and logits of a float32 NCHW batch."""
    torch = vision()[0]
    with torch.no_grad():
        maps = made.forward_features(torch.from_numpy(x))
        logits = made.forward_head(maps)
    maps = maps.numpy()
    return maps, maps.mean((2, 3)), logits.numpy()


def samples(seed, array):
    """SAMPLES positions within each row of (n, ...)."""
    raw = np.random.PCG64([seed, 99]).random_raw(SAMPLES)
    return (raw % np.uint64(array[0].size)).astype(np.int64)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for architecture in ARCHITECTURES:
        made, stored = network(architecture), {}
        for seed, (name, (n, height, width)) in enumerate(INPUTS.items()):
            maps, features, logits = run(made, seeded.tensor(seed, n, height, width))
            stored[f"{name}.logits"] = logits
            for kind, array in (("maps", maps), ("features", features)):
                rows = array.reshape(n, -1)
                stored[f"{name}.{kind}.norm"] = np.linalg.norm(rows.astype(np.float64), axis=1)
                stored[f"{name}.{kind}.samples"] = rows[:, samples(seed, array)]
        np.savez_compressed(FOLDER / f"{architecture}.npz", **stored)


if __name__ == "__main__":
    main()
