"""Train `birds51`, a model of 51 species. train_birds.py trains it further.

    python tools/train_birds51.py BIRDS WORK

BIRDS contains train/ and valid/, each with one subfolder per species. Checkpoints and, at the end,
the folder birds51 are written to WORK. If the training is stopped, run the same command again to
continue it. The first two stages need bfloat16 and take an hour on two cores with AMX. The third,
in float32, took an hour and a half on two cores with AVX2.

The photos of valid/ are not used for training. They show that the mean of the last two stages is
better than either of them.
"""

import json
import sys
from pathlib import Path

import birdembed as be

SIZE = 192
#: The first stage learns the species. The second moves the photos of a species together and
#: different species apart: larger batches have more pairs for the contrastive loss, which also has
#: a larger weight. The third uses darker and brighter images. It is better for these and worse for
#: unchanged images. The mean of the weights before and after it (Wortsman et al. 2022, "Robust
#: fine-tuning of zero-shot models") is better for unchanged images than either.
STAGES = [
    {
        "epochs": 13,
        "image_size": [(10, 128), (3, SIZE)],
        "loss": be.SupCon(temperature=0.1, weight=0.2),
        "augment": "turned",
        "precision": "bfloat16",
    },
    {
        "epochs": 16,
        "image_size": [(10, 128), (6, SIZE)],
        "batch_size": 64,
        "lr": 1e-3,
        "loss": be.SupCon(temperature=0.1, weight=0.5),
        "augment": "turned",
        "precision": "bfloat16",
    },
    {
        "epochs": 9,
        "image_size": [(4, 128), (5, SIZE)],
        "batch_size": 64,
        "lr": 7e-4,
        "layer_decay": 0.9,
        "loss": be.SupCon(temperature=0.1, weight=0.5),
        "augment": "robust",
        "precision": "float32",
    },
]


def train(
    data: be.ImageFolder, valid: be.ImageFolder, work: Path
) -> tuple[be.Model, list[be.History], dict[str, int]]:
    """Train all stages, each from the result of the one before; return the mean of the last two.

    The last value says why the mean was chosen: how many photos of valid have a right nearest
    neighbour.
    """
    histories = []
    model = be.load_model("sscd")
    for number, stage in enumerate(STAGES, 1):
        folder = work / f"stage{number}"
        histories.append(
            be.fine_tune(
                model,
                data,
                eval_size=SIZE,
                checkpoint_dir=folder / "checkpoints",
                resume=True,
                **stage,
            )
        )
        model.save_pretrained(folder)
        model = be.load_model(folder)
    earlier = be.load_model(work / f"stage{len(STAGES) - 1}")
    right = {
        "of": len(valid),
        f"stage {len(STAGES) - 1}": right_neighbours(earlier, data, valid),
        f"stage {len(STAGES)}": right_neighbours(model, data, valid),
    }
    before, last = earlier.state_dict(), model.state_dict()
    model.load_state_dict({name: (before[name] + last[name]) / 2 for name in last})
    right["mean"] = right_neighbours(model, data, valid)
    return model, histories, right


def right_neighbours(model: be.Model, train: be.ImageFolder, valid: be.ImageFolder) -> int:
    """Return how many photos of valid have the right species as nearest neighbour in train."""
    found = be.evaluate(model, valid, reference=train)
    return round(found.precision_at_1 * (found.n - found.lone))


def main(birds: str, work: str) -> None:
    """Train, and write the model and its record."""
    data, valid = (be.ImageFolder(Path(birds) / part) for part in ("train", "valid"))
    model, histories, right = train(data, valid, Path(work))
    target = Path(work) / "birds51"
    model.save_pretrained(target, dtype="float16")
    record = {"right_neighbours": right, "epochs": [history.epochs for history in histories]}
    (target / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(right, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
