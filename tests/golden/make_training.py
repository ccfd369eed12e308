"""Write tests/golden/training_*.npz: torch's float64 gradients of the seeded networks.

    python -m tests.golden.make_training        (needs torch and timm)

Of every tensor its norm and some entries, and how far torch's float32 is from them; and the
losses of ten steps. Weights and inputs come from seeds.
"""

import numpy as np

from tests.golden.make_embeddings import ARCHITECTURES, FOLDER
from tests.support import core_training as training
from tests.support import seeded

SAMPLES = 8
MODES = ("train", "frozen_stats")
STEPS = {"lr": 1e-4, "weight_decay": 0.05}


def batch():
    return seeded.tensor(21, 4, 64, 64), training.targets(4)


def ten_batches():
    return training.mirrored(seeded.tensor(22, 8, 64, 64), 10), training.targets(8)


def summary(step):
    """Norm (tensors,) and entries (tensors, SAMPLES) of all gradients, float64."""
    norms, entries = [], []
    for i, array in enumerate(step.gradients.values()):
        flat = array.astype(np.float64).ravel()
        raw = np.random.PCG64([i, 98]).random_raw(SAMPLES)
        norms.append(np.linalg.norm(flat))
        entries.append(flat[(raw % np.uint64(flat.size)).astype(np.int64)])
    return np.array(norms), np.array(entries)


def errors(found, expected):
    """Relative errors a tensor: of the norm, and of the entries together."""
    return (
        np.abs(found[0] - expected[0]) / expected[0],
        np.linalg.norm(found[1] - expected[1], axis=1) / np.linalg.norm(expected[1], axis=1),
    )


def main():
    for architecture in ARCHITECTURES:
        state, stored = seeded.state(architecture, training.CLASSES), {}
        for bn in MODES:
            x, y = batch()
            step = training.torch_step(architecture, state, x, y, double=True, bn=bn)
            expected = summary(step)
            stored[f"{bn}.loss"] = step.loss
            stored[f"{bn}.norms"], stored[f"{bn}.entries"] = expected
            peers = [
                errors(summary(peer), expected)
                for peer in training.layouts(architecture, state, x, y, bn=bn)
            ]
            for i, kind in enumerate(("norms", "entries")):
                stored[f"{bn}.{kind}.worst"] = max(peer[i].max() for peer in peers)
                stored[f"{bn}.{kind}.median"] = max(np.median(peer[i]) for peer in peers)
        batches, y = ten_batches()
        made = [
            training.torch_losses(
                training.torch_network(architecture, state, **options), batches, y, **STEPS
            )
            for options in ({"double": True}, {}, {"channels_last": True})
        ]
        stored["losses"] = made[0]
        stored["losses.torch"] = np.abs(np.array(made[1:]) - made[0]).max(0)
        np.savez_compressed(FOLDER / f"training_{architecture}.npz", **stored)


if __name__ == "__main__":
    main()
