"""MLflow: save models as an MLflow flavour, and log training runs.

`save_model`, `log_model` and `load_model` store models; `MlflowCallback` logs a training.

>>> import mlflow                                                   # doctest: +SKIP
>>> from birdembed.integrations.mlflow import MlflowCallback        # doctest: +SKIP
>>> with mlflow.start_run():                                        # doctest: +SKIP
...     be.fine_tune(model, train, valid, callbacks=MlflowCallback())
"""

from birdembed.integrations.mlflow.flavor import (
    FLAVOR_NAME,
    get_default_pip_requirements,  # noqa: F401  MLflow calls it
    load_model,
    log_model,
    save_model,
)
from birdembed.integrations.mlflow.pyfunc import Scorer, load_scorer

from birdembed.integrations.mlflow.callback import MlflowCallback  # isort: skip

__all__ = ["FLAVOR_NAME", "MlflowCallback", "load_model", "log_model", "save_model"]


def _load_pyfunc(path: str) -> Scorer:
    """Load a model for `mlflow.pyfunc.load_model`, which calls this function by name."""
    return load_scorer(path)
