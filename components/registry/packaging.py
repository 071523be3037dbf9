"""A model folder → an MLflow model: models-from-code, with signature, input example and the code that it needs."""

import shutil
from importlib import import_module
from importlib.metadata import distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.binding import raw_values
from elboflow import artifacts
from elboflow.artifacts.temporary import temporary_folder
from elboflow.vae.data import Examples
from elboflow.vae.folder import ModelFolder

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

_SERVING = Path(__file__).with_name("serving.py")
EXAMPLES = 2
"""How many test examples a packaged model has with it, to show what it takes."""

CARRIED = (
    "elboflow/*.py",
    "elboflow/artifacts/*.py",
    "elboflow/settings/*.py",
    "elboflow/vae/*.py",
    "elboflow/vae/compute/**/*.py",
    "elboflow/vae/config/*.py",
    "elboflow/vae/families/*.py",
    "elboflow/vae/layers/*.py",
    "elboflow/vae/likelihoods/*.py",
    "elboflow/vae/networks/*.py",
    "elboflow/vae/objectives/*.py",
    "elboflow/vae/posteriors/*.py",
    "elboflow/vae/priors/*.py",
    "elboflow/vae/evaluation/__init__.py",
    "elboflow/vae/evaluation/bounds.py",
    "elboflow/vae/evaluation/samples.py",
    "preprocessing/__init__.py",
    "preprocessing/columns.py",
    "preprocessing/extent.py",
    "preprocessing/splits.py",
    "preprocessing/sums.py",
    "preprocessing/features/*.py",
    "preprocessing/records/*.py",
    "preprocessing/raw/__init__.py",
    "preprocessing/raw/cells.py",
    "components/__init__.py",
    "components/binding/__init__.py",
    "components/binding/raw_values.py",
    "components/registry/__init__.py",
    "components/registry/predictor.py",
)
"""The files of this project that prediction imports; `serving.py` lies beside them.

The project is on no package index. A model that required `elboflow` could not be served, or it would run the code of an
unrelated package that was registered under that name. Kinds of outside packages are required by their distribution and
version.
"""
_REQUIRED = ("h5py", "keras", "mlflow-skinny", "numpy", "pandas", "pydantic")
"""What prediction and MLflow's scoring server import, besides the backend; `mlflow` would bring 40 more packages."""


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

    with temporary_folder() as temporary:
        model = temporary / "model"
        artifacts.copy(trained.path, "model", model)
        mlflow.pyfunc.save_model(
            path=str(output),
            python_model=str(_SERVING),
            artifacts={"model": str(model)},
            code_paths=carried(temporary / "code"),
            signature=_signature(trained),
            input_example=_example(trained, examples.head(EXAMPLES)),
            pip_requirements=_requirements(trained),
            metadata={"features": {name: spec.model_dump(mode="json") for name, spec in trained.specs.items()}},
            mlflow_model=mlflow_model,
        )


def carried(folder: Path) -> list[str]:
    """Copies the code that prediction imports into a folder, and returns the packages there."""
    for pattern in CARRIED:
        name, _, inside = pattern.partition("/")
        package = import_module(name)
        source = Path(package.__path__[0])
        for path in source.glob(inside):
            copy = folder / name / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return [str(path) for path in sorted(folder.iterdir())]


def _signature(trained: ModelFolder) -> "ModelSignature":
    """Returns parameters and output, but no input.

    MLflow would refuse every type but the one of the signature, and every shape, with all pixels in its message. What
    the model takes stands in its metadata, and `serving.py` checks it.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    specs = [trained.specs[name] for name in trained.config.features]
    shapes = [(-1, *spec.shape) for spec in specs if spec.shape and not spec.ragged]
    made = (
        Schema([TensorSpec(np.dtype("float32"), shape) for shape in shapes]) if len(shapes) == len(specs) == 1 else None
    )
    # The output of the default task; `serving.py` says what the others return, and what the parameters mean.
    params = [
        ParamSpec("task", "string", "reconstruct"),
        ParamSpec("samples", "integer", 100),
        ParamSpec("seed", "integer", 0),
        ParamSpec("count", "integer", 1),
    ]
    return ModelSignature(outputs=made, params=ParamSchema(params))


def _example(trained: ModelFolder, examples: Examples) -> Any:
    """Returns raw values of examples: an array of a model's only feature if it has several values, else a table."""
    columns = {name: raw_values.raw_of(name, spec, examples) for name, spec in trained.specs.items()}
    if len(columns) == 1 and (only := next(iter(columns.values()))).ndim > 1:
        return only
    import pandas as pd

    return pd.DataFrame({name: list(values) for name, values in columns.items()})


def _requirements(trained: ModelFolder) -> list[str]:
    packages = sorted([*_REQUIRED, _distribution(trained.provenance.training.backend)])
    others = {kind.replace(" ", "==") for kind in trained.provenance.kinds.values()}
    return [f"{package}=={version(package)}" for package in packages] + sorted(others)


def _distribution(backend: str) -> str:
    """Returns what was installed to import a framework: TensorFlow has other names for CPUs and for some machines."""
    # `packages_distributions` takes a second, because it lists the files of all that is installed.
    has = [found.name for found in distributions() if backend in (found.read_text("top_level.txt") or "").split()]
    names = [name.replace("_", "-") for name in has or [backend]]
    return backend if backend in names else min(names)
