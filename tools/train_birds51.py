"""Train `birds51`, the model that comes with the package, and put it in its place.

    python tools/train_birds51.py BIRDS WORK

BIRDS holds train/ and valid/ with one subfolder a species, WORK gets the checkpoints: stopped and
run again, it goes on. The first two stages need bfloat16 and take an hour on two cores with AMX;
the third, in float32, took an hour and a half on two cores with AVX2.

The photographs of valid/ take no part in training. They find the gallery's threshold, and the
figures in training.json are theirs, beside those of `sscd`.
"""

import json
import sys
from pathlib import Path

from bird_photographs import names

import birdembed as be

COMMAND = "python tools/train_birds51.py BIRDS WORK"
TARGET = Path(__file__).resolve().parent.parent / "birdembed" / "pretrained" / "bundled" / "birds51"
SIZE = 192
#: The first stage learns the species. The second draws each of them together and apart from the
#: others: larger batches hold more pairs for the contrastive loss, which counts for more. The third
#: shows darker and brighter pictures than the others did. What it gains for those it loses for
#: unchanged ones; the mean of the weights before and after it (Wortsman et al. 2022, "Robust
#: fine-tuning of zero-shot models") finds more of the unchanged than either.
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
    """Train through all stages, each from what the one before it saved; average the last two.

    The last value is what chose the mean: right nearest neighbours of valid's photographs.
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
    """Count the photographs of valid whose nearest one in train shows their species."""
    found = be.evaluate(model, valid, reference=train)
    return round(found.precision_at_1 * (found.n - found.lone))


def tell_of_the_mean(config: Path) -> None:
    """Say in config.json that its weights are not those of the last step."""
    content = json.loads(config.read_text(encoding="utf-8"))
    record = content["birdembed"]["training"]
    content["birdembed"]["training"] = {
        "mean_of": "the weights before and after this training, half each",
        **record,
    }
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def figures(model: be.Model, train: be.Index, valid: be.ImageFolder) -> dict[str, float]:
    """Measure on photographs that were not trained on, as they are and changed."""
    found = be.evaluate(model, valid, reference=train, robustness=True)
    return {name: round(value, 4) for name, value in found.to_dict(scalars=True).items()}


def main(birds: str, work: str) -> None:
    """Do it."""
    data, valid = (be.ImageFolder(Path(birds) / part) for part in ("train", "valid"))
    model, histories, right = train(data, valid, Path(work))
    sscd = be.load_model("sscd")
    measured = {
        "sscd": figures(sscd, be.Index.build(sscd, data), valid),
        "float32": figures(model, be.Index.build(model, data), valid),
    }

    # The gallery is computed with the weights as they are stored.
    model.save_pretrained(Path(work) / "stored", dtype="float16")
    model = be.load_model(Path(work) / "stored")
    index = be.Index.build(model, data)
    print(model.fit_gallery(index, valid=valid))
    listed = names()
    model.species_names = {label: listed[label] for label in data.class_names}
    model.save_pretrained(TARGET, dtype="float16")
    tell_of_the_mean(TARGET / "config.json")

    measured["float16"] = figures(be.load_model(TARGET), index, valid)
    record = {
        "command": COMMAND,
        "weights": f"mean of stage {len(STAGES) - 1}'s and stage {len(STAGES)}'s, half each",
        "right_neighbours": right,
        "valid": measured,
        "epochs": [history.epochs for history in histories],
    }
    (TARGET / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
