"""Fine-tune a model on labelled images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from birdembed.data.folder import ImageFolder
from birdembed.model.stateful import writing
from birdembed.training.checkpoint import has_checkpoint, read_checkpoint
from birdembed.training.history import History
from birdembed.training.resume import check_config, restore
from birdembed.training.run import Run
from birdembed.training.trainer import trainer_of

if TYPE_CHECKING:
    from birdembed.model.model import Model


def fine_tune(
    model: Model,
    train: str | os.PathLike[str] | ImageFolder,
    valid: str | os.PathLike[str] | ImageFolder | None = None,
    epochs: int = 8,
    *,
    resume: bool = False,
    callbacks: Any = (),
    show_progress_bar: bool | None = None,
    **config: Any,
) -> History:
    """Train a model as a classifier of train's classes, in place.

    First a new classifier is trained alone, on features computed once (`head_epochs`), then all
    layers. The defaults suit about 50 classes of 100 photographs on two cores. Images without
    labels teach by a `loss` that needs none, such as `Distill`; where no image has one, there is
    no classifier.

    Parameters
    ----------
    model : Model
        With the classifier dropped (``reset_classifier(0)``) it embeds as before, only better.
    train : ImageFolder, str or Path
        A path is a folder with one subfolder per class.
    valid : ImageFolder, str or Path, optional
        Chooses the best epoch; classes are matched by name. Where train has none, it is searched
        only: `monitor` is then "precision_at_1" or "map_at_r".
    epochs : int
    resume : bool
        Go on where `checkpoint_dir` holds a checkpoint, and start where it does not. A larger
        `epochs` extends a finished run.
    callbacks : sequence of Callback or callable
        A plain callable ``(trainer, logs)`` is told of each epoch; ``False`` from it stops.
    show_progress_bar : bool, optional
        By default in a terminal or notebook.
    **config
        Fields of `TrainConfig`.

    Returns
    -------
    History
        The model has the weights of its best epoch by `monitor` where there is a `valid`, else
        the last ones; with `ema` their running mean.

    Raises
    ------
    TypeError, ValueError
        The data cannot be trained on, an option is unknown or out of range, or the checkpoint
        was made with other options.
    WeightsError
        The checkpoint is damaged, or of other classes or another architecture.
    BirdembedError
        Another call is changing this model, another training writes to `checkpoint_dir`, or the
        loss became NaN.
    KeyboardInterrupt
        Ctrl-C: the model has the weights of the last whole step, `checkpoint_dir` a checkpoint.

    Examples
    --------
    >>> import birdembed as be
    >>> model = be.load_model("sscd")
    >>> train, valid = be.ImageFolder("photos").split()  # one subfolder a species
    >>> history = be.fine_tune(model, train, valid, epochs=8, image_size=96, eval_size=128)
    >>> model.save_pretrained("my-birds")
    """
    if "config" in config:
        raise TypeError(
            "fine_tune takes the fields of TrainConfig as options of their own; a TrainConfig goes "
            "to Trainer(model, train, valid, config).fit()"
        )
    if resume and config.get("checkpoint_dir") is None:
        raise ValueError("resume=True needs checkpoint_dir=, the folder to go on from")
    path = config.get("checkpoint_dir")
    found = None
    if path is not None and resume and has_checkpoint(path):
        found = read_checkpoint(path)
    if found is not None and config.get("lr") is None:
        # Chosen by the length of the run as it was then; a longer one keeps it.
        config["lr"] = found.config["lr"]
    run = Run(model, train, valid, None, show_progress_bar, epochs=epochs, **config)
    trainer = trainer_of(run, callbacks)
    if found is not None:
        check_config(run.config, found, str(path))
        with writing(model, "fine_tune"):
            restore(run, found, str(path))
    return trainer.fit()
