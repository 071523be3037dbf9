"""A model folder → an MLflow model: models-from-code, with signature and input example, without a pickle."""

from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.binding import intensities
from elboflow import artifacts
from elboflow.artifacts.temporary import temporary_folder
from elboflow.vae.data import Examples
from elboflow.vae.folder import ModelFolder

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

_SERVING = Path(__file__).with_name("serving.py")
_EXAMPLE_IMAGES = 2


def package(trained: ModelFolder, examples: Examples, output: Path, mlflow_model: "Model") -> None:
    """Writes the MLflow model of a model folder into a new folder.

    Nothing is loaded and nothing predicted: requirements and signature are stated, not inferred, because inferring
    either would import the framework.

    Args:
        trained: The model folder; MLflow keeps a copy of it.
        examples: Test examples, of which the first are the input example.
        output: The folder, which does not exist yet.
        mlflow_model: The identity that MLflow gave the model.
    """
    import mlflow

    low_high = trained.provenance.range
    example = intensities.raw(examples.images[:_EXAMPLE_IMAGES] / (trained.spec.levels - 1), low_high)
    with temporary_folder() as temporary:
        model = temporary / "model"
        artifacts.copy(trained.path, "model", model)
        mlflow.pyfunc.save_model(
            path=str(output),
            python_model=str(_SERVING),
            artifacts={"model": str(model)},
            signature=_signature(trained),
            input_example=example,
            pip_requirements=_requirements(trained.provenance.training.backend),
            metadata={"image": {"shape": list(trained.spec.shape), "range": list(low_high)}},
            mlflow_model=mlflow_model,
        )


def _signature(trained: ModelFolder) -> "ModelSignature":
    """Returns parameters and output, but no input.

    MLflow would refuse every type but the one of the signature, and every shape, with all pixels in its message. What
    the model takes stands in its metadata, and `serving.py` checks it.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    images = Schema([TensorSpec(np.dtype("float32"), (-1, *trained.spec.shape))])
    params = [
        ParamSpec("task", "string", "reconstruct"),
        ParamSpec("samples", "integer", 100),
        ParamSpec("seed", "integer", 0),
    ]
    # The output of the default task; `serving.py` says what the others return.
    return ModelSignature(outputs=images, params=ParamSchema(params))


def _requirements(backend: str) -> list[str]:
    packages = ["elboflow", "keras", _distribution(backend), "mlflow", "numpy", "pydantic"]
    return [f"{package}=={version(package)}" for package in packages]


def _distribution(backend: str) -> str:
    """Returns what was installed to import a framework: TensorFlow has other names for CPUs and for some machines."""
    found = [name.replace("_", "-") for name in packages_distributions().get(backend, [backend])]
    return backend if backend in found else min(found)
