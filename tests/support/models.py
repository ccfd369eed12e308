"""Models with seeded weights."""

import birdembed as be
from birdembed.model.model import Model
from birdembed.pretrained.contents import Pretrained
from tests.support import seeded

CLASSES = 8
SIZE = 64


def make_model(architecture="resnet50", num_classes=CLASSES, seed=0, size=224, **options):
    given = Pretrained(
        architecture,
        seeded.state(architecture, num_classes, seed),
        options.pop("preprocess", be.Preprocess(size=size)),
        source="seeded",
        **options,
    )
    return Model._of(given)
