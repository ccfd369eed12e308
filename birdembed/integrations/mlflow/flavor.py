"""Save, log and load models in MLflow.

`save_model`, `log_model` and `load_model` store a model in the format of `Model.save_pretrained`,
with the files that MLflow needs to load it (`mlflow.pyfunc.load_model`), serve it and register it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from birdembed._core import WeightsError
from birdembed._version import __version__
from birdembed.base.files import made_folder
from birdembed.base.optional import need
from birdembed.integrations.mlflow.pyfunc import DEFAULTS
from birdembed.model.load import load_model as load_folder
from birdembed.model.model import Model
from birdembed.model.stateful import set_snapshot, snapshot_of

mlflow = need("mlflow", "mlflow", "birdembed.integrations.mlflow")

from mlflow import pyfunc  # noqa: E402
from mlflow.models import Model as MlflowModel  # noqa: E402
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec  # noqa: E402

FLAVOR_NAME = "birdembed"
_LOADER = "birdembed.integrations.mlflow"  # written to MLmodel; MLflow calls its _load_pyfunc
_FOLDER = "model"
_DATA = f"data/{_FOLDER}"  # location used by pyfunc


def get_default_pip_requirements() -> list[str]:
    """Return the pip requirements to load a model, in addition to MLflow."""
    return [f"birdembed=={__version__}"]


def default_signature(model: Model) -> ModelSignature:
    """Return the default signature of a model: its output and parameters.

    It has no input schema, because with a declared column, MLflow 3 rejects arrays and lists.
    """
    return ModelSignature(
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, model.embedding_dim))]),
        params=ParamSchema(
            [
                ParamSpec("task", DataType.string, DEFAULTS["task"]),
                ParamSpec("k", DataType.long, DEFAULTS["k"]),
                ParamSpec("on_error", DataType.string, DEFAULTS["on_error"]),
            ]
        ),
    )


def default_input_example() -> Any:
    """Return a DataFrame with one small image, as the bytes of a BMP file."""
    import pandas

    return pandas.DataFrame({"image": [_small_image()]})


def _small_image() -> bytes:
    """Return a BMP of a green disc, 32 x 32 pixels, without using an image library."""
    y, x = np.mgrid[:32, :32] - 15.5
    disc = (x * x + y * y < 144)[..., None]
    pixels = np.where(disc, (60, 140, 80), (230, 225, 215)).astype(np.uint8)
    size = pixels.nbytes
    header = b"BM" + np.array([54 + size, 0, 54, 40, 32, 32], "<i4").tobytes()
    header += np.array([1, 24], "<i2").tobytes() + np.array([0, size, 0, 0, 0, 0], "<i4").tobytes()
    return header + pixels.tobytes()


def _check_model(model: Any) -> None:
    if not isinstance(model, Model):
        raise TypeError(f"model must be a birdembed.Model, got {type(model).__name__}")


def save_model(
    model: Model,
    path: str | os.PathLike[str],
    *,
    mlflow_model: MlflowModel | None = None,
    signature: ModelSignature | None = None,
    input_example: Any = None,
    pip_requirements: Any = None,
    extra_pip_requirements: Any = None,
    conda_env: Any = None,
    code_paths: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write a model as an MLflow model.

    Parameters
    ----------
    model : Model
    path : str or Path
        A folder that does not exist, or is empty.
    mlflow_model : mlflow.models.Model, optional
        MLflow model to add the flavour to; passed by `log_model`.
    signature : ModelSignature, optional
        Default: the output, ``(-1, dim)`` float32, and the parameters ``task``, ``k`` and
        ``on_error`` with their defaults.
    input_example : optional
        Default: a DataFrame with one small image as bytes. ``False``: no example.
    pip_requirements, extra_pip_requirements, conda_env, code_paths, metadata
        As in the built-in flavours of MLflow. The default requires this version of birdembed; if
        it is not on a package index, pass a wheel: ``pip_requirements=["birdembed-...whl"]``.

    Raises
    ------
    TypeError
        `model` is not a `Model`.
    MlflowException
        `path` is not empty.
    OSError
        `path` cannot be written; nothing is left there.
    """
    _check_model(model)
    given = default_signature(model) if signature is None else signature
    example = default_input_example() if input_example is None else input_example
    if pip_requirements is None and conda_env is None:
        pip_requirements = _requirements_with(extra_pip_requirements)
        extra_pip_requirements = None
    with tempfile.TemporaryDirectory() as folder, _all_or_nothing(path):
        data = Path(folder) / _FOLDER
        model.save_pretrained(data)
        pyfunc.save_model(
            path=os.fspath(path),
            loader_module=_LOADER,
            data_path=str(data),
            mlflow_model=_record_of(model, mlflow_model, given),
            signature=given,
            input_example=None if example is False else example,
            pip_requirements=pip_requirements,
            extra_pip_requirements=extra_pip_requirements,
            conda_env=conda_env,
            code_paths=code_paths,
            metadata=metadata,
        )


@contextlib.contextmanager
def _all_or_nothing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Remove what the block wrote to a new or empty folder if it fails."""
    with made_folder(path) as folder:
        empty = not any(folder.iterdir())
        try:
            yield
        except BaseException as error:
            for entry in folder.iterdir() if empty else ():
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
            if isinstance(error, shutil.Error):  # a list of all files and their errors
                raise OSError(f"{folder}: cannot be written: {error.args[0][0][-1]}") from error
            raise


def _record_of(model: Model, record: MlflowModel | None, signature: ModelSignature) -> MlflowModel:
    """Return the MLflow record of a model (a new one by default) with the birdembed flavour."""
    record = MlflowModel() if record is None else record
    record.add_flavor(
        FLAVOR_NAME,
        birdembed_version=__version__,
        data=_DATA,
        architecture=model.architecture,
        embedding_dim=model.embedding_dim,
        fingerprint=model.fingerprint,
        classes=model.num_classes,
    )
    record.signature = signature
    return record


def _requirements_with(extra: Any) -> list[str]:
    """Return the default requirements and extra ones (a list, a single one or None).

    MLflow would infer them by loading the model and recording its imports.
    """
    given = extra or []
    return get_default_pip_requirements() + ([given] if isinstance(given, str) else list(given))


def _set_alias(name: str | None, alias: str, info: Any) -> None:
    """Set an alias to the model version that was just registered."""
    mlflow.MlflowClient().set_registered_model_alias(
        name, alias, str(info.registered_model_version)
    )


def log_model(
    model: Model,
    name: str = "model",
    *,
    registered_model_name: str | None = None,
    alias: str | None = None,
    run_id: str | None = None,
    step: int = 0,
    tags: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Log a model to a run, and optionally register it.

    Parameters
    ----------
    model : Model
    name : str
        Name of the logged model.
    registered_model_name : str, optional
        Registered model that gets a new version.
    alias : str, optional
        Alias to set to the new version, as in ``models:/birds@champion``.
    run_id : str, optional
        Default: the active run. If there is none, the model does not belong to a run.
    step, tags
        As in the built-in flavours of MLflow.
    **options
        Passed to `save_model`.

    Returns
    -------
    mlflow.models.model.ModelInfo
        Has ``model_uri`` and, for a registered model, ``registered_model_version``.

    Raises
    ------
    TypeError
        `model` is not a `Model`.
    ValueError
        `alias` is given without `registered_model_name`.
    MlflowException
        The tracking server rejects the request or does not respond.
    """
    _check_model(model)
    if alias is not None and registered_model_name is None:
        raise ValueError("alias needs registered_model_name=; pass the name of the model")
    about = {"name": name, "run_id": run_id, "step": step, "tags": tags}
    info = MlflowModel.log(
        artifact_path=None,
        flavor=sys.modules[__name__],
        flavor_name=FLAVOR_NAME,
        registered_model_name=registered_model_name,
        model=model,
        **about,
        **options,
    )
    if alias is not None:
        _set_alias(registered_model_name, alias, info)
    return info


def load_model(
    model_uri: str, *, num_classes: int | None = None, precision: str | None = None
) -> Model:
    """Load a model written by `log_model` or `save_model`.

    Parameters
    ----------
    model_uri : str
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``runs:/RUN/model``, a folder, ...
    num_classes : int, optional
        0 removes the classifier.
    precision : str, optional
        See `birdembed.load_model`. The loaders of MLflow itself use BIRDEMBED_PRECISION.

    Returns
    -------
    Model

    Raises
    ------
    MlflowException
        The model does not exist.
    WeightsError
        The model was not logged by birdembed, or its files are damaged.
    """
    uri = os.fspath(model_uri)
    if os.path.isdir(uri):
        return _load_from(Path(uri), uri, num_classes, precision)
    with tempfile.TemporaryDirectory() as folder:
        found = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
        return _load_from(Path(found), uri, num_classes, precision)


def _load_from(folder: Path, uri: str, num_classes: int | None, precision: str | None) -> Model:
    record = MlflowModel.load(os.fspath(folder))
    flavor = record.flavors.get(FLAVOR_NAME)
    if flavor is None:
        raise WeightsError(
            f"{uri}: has no flavour {FLAVOR_NAME!r}, only {', '.join(record.flavors)}; log the "
            "model with birdembed.integrations.mlflow.log_model"
        )
    model = load_folder(folder / flavor["data"], num_classes=num_classes, precision=precision)
    set_snapshot(model, replace(snapshot_of(model), source=uri))
    if model.gallery is not None:
        len(model.gallery)  # read it now, because the folder may be deleted later
    return model
