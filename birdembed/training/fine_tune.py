"""Fine-tune a model on labelled images."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from birdembed.base.checks import check_boolean
from birdembed.data.folder import ImageFolder
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
    """Fine-tune a model in place as a classifier of the classes of `train`.

    First a new classifier is trained on features that are computed once (`head_epochs`), then all
    layers are trained. The defaults work well for about 50 classes with 100 images each on two
    cores. Images without labels only take part with a `loss` that needs no labels, such as
    `Distill`; if no image has a label, the model gets no classifier.

    Parameters
    ----------
    model : Model
        The model to train. Use ``reset_classifier(0)`` afterwards if you only need embeddings.
    train : ImageFolder, str or Path
        A path is a folder with one subfolder per class.
    valid : ImageFolder, str or Path, optional
        Images to choose the best epoch on. Classes are matched by name. If `train` has no
        classes, use `monitor` "precision_at_1" or "map_at_r".
    epochs : int
    resume : bool
        Continue from the checkpoint in `checkpoint_dir`, or start from scratch if there is none.
        Use a larger `epochs` to extend a finished run. Weights, preprocessing and species names
        are those of the checkpoint; of `model` only the architecture has to match.
    callbacks : sequence of Callback or callable
        A plain callable ``(trainer, logs)`` is called after each epoch; return ``False`` to stop
        training.
    show_progress_bar : bool, optional
        Default: only in a terminal or notebook.
    **config
        Fields of `TrainConfig`.

    Returns
    -------
    History
        Metrics of each epoch. The model then has the weights of the best epoch by `monitor`, or
        of the last epoch without `valid`; with `ema`, their moving average.

    Raises
    ------
    TypeError, ValueError
        The data is not suitable for training, an option is unknown or out of range, or the
        checkpoint was made with other options.
    WeightsError
        The checkpoint is damaged, or has other classes or another architecture.
    BirdembedError
        Another call is changing this model, another training is writing to `checkpoint_dir`, or
        the loss became NaN.
    KeyboardInterrupt
        Ctrl-C was pressed. The model has the weights of the last completed step, and
        `checkpoint_dir` has a checkpoint.

    Examples
    --------
    >>> import birdembed as be
    >>> model = be.load_model("sscd")
    >>> train, valid = be.ImageFolder("photos").split()  # one subfolder per species
    >>> history = be.fine_tune(model, train, valid, epochs=8, image_size=96, eval_size=128)
    >>> model.save_pretrained("my-birds")
    """
    if "config" in config:
        raise TypeError(
            "fine_tune takes the fields of TrainConfig as keyword arguments; to use a TrainConfig, "
            "call Trainer(model, train, valid, config).fit()"
        )
    resume = check_boolean("resume", resume)
    if resume and config.get("checkpoint_dir") is None:
        raise ValueError("resume=True needs checkpoint_dir=, the folder with the checkpoint")
    found = None
    if resume and has_checkpoint(config["checkpoint_dir"]):
        found = read_checkpoint(config["checkpoint_dir"])
    if found is not None and config.get("lr") is None:
        # The default depended on the length of the original run; an extended run keeps it.
        config["lr"] = found.config["lr"]
    run = Run(model, train, valid, None, show_progress_bar, epochs=epochs, **config)
    trainer = trainer_of(run, callbacks)
    if found is not None:
        path = run.config.checkpoint_dir
        check_config(run.config, found, path)
        restore(run, found, path)
    return trainer.fit()
