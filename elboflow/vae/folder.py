"""The model folder: a trained model, its settings and its curves, read and written in one place."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, TypeAdapter

from elboflow import artifacts
from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import Settings, html
from elboflow.vae import compute, image_models, keras_file
from elboflow.vae.config import TrainingConfig
from elboflow.vae.curves import Curves
from elboflow.vae.model import Model, ModelConfig, variables
from elboflow.vae.terms import Specs
from elboflow.vae.trained import Trained

MODEL, CURVES = "model.keras", "curves.json"
TENSORBOARD, PROFILE = "tensorboard", "profile"
FILES = frozenset({MODEL, CURVES})


class ProvenanceFacts(Settings):
    """The provenance of a model in `model.json`; see `Provenance`."""

    seed: int
    training: TrainingConfig
    dataset: str
    code: str
    kinds: dict[str, str] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)


class Facts(artifacts.Described):
    """The content of `model.json`. A new field needs a default, or a new format version with an upgrade."""

    model: ModelConfig
    features: dict[str, FeatureSpec]
    provenance: ProvenanceFacts
    parameters: NonNegativeInt
    best_epoch: NonNegativeInt
    epochs: NonNegativeInt


FORMAT = artifacts.Format("model", Facts, upgrades=(artifacts.checksum_added, image_models.features_named), holds=FILES)


@dataclass(frozen=True)
class Provenance:
    """The provenance of a model.

    Attributes:
        seed: The seed of the training.
        training: The settings of the training.
        dataset: The digest of the dataset.
        code: The version of the code.
        kinds: The other installed packages whose kinds the model uses: distribution and version by `GROUP:KIND`.
        environment: The versions of Python and packages, and the hardware, by name; empty in older folders. A model of
            another environment is of the same training.
    """

    seed: int
    training: TrainingConfig
    dataset: str
    code: str
    kinds: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class ModelFolder:
    """A finished model folder.

    Attributes:
        path: The path of the folder.
        config: The settings of the model.
        specs: The specs of the features that the model reads.
        provenance: The provenance of the model.
        weights: SHA-256 of the `.keras` file, a function of weights and settings. Two trainings with the same settings
            on one machine give the same value.
        parameters: The number of weights.
        best_epoch: The epoch of the best validation ELBO, from 1.
        epochs: The number of epochs of the training.
    """

    path: Path
    config: ModelConfig
    specs: Specs
    provenance: Provenance
    weights: str
    parameters: int
    best_epoch: int
    epochs: int

    def _repr_html_(self) -> str:
        """Returns what the model is and how it was trained, as a notebook shows it."""
        trained = self.provenance
        return html.table(
            f"Model of {', '.join(self.config.features)}",
            (),
            [
                ("kind", self.config.kind),
                ("parameters", f"{self.parameters:,}"),
                ("best epoch", f"{self.best_epoch} of {self.epochs}"),
                ("backend", trained.training.backend),
                ("seed", trained.seed),
                ("dataset", f"{trained.dataset[:12]}…"),
                ("weights", f"{self.weights[:12]}…"),
                ("code", trained.code),
            ],
        )

    @cached_property
    def model(self) -> Model:
        """The model, on the backend of this process, or on the backend of the training if the process has none yet.

        Raises:
            WorkError: The `.keras` file contains another model, or a weight is not finite.
        """
        keras_file.check_config(self.path / MODEL, self.config, self.specs)  # before Keras is imported
        compute.use(compute.running() or self.provenance.training.backend)
        from elboflow.vae.container import assigned

        weights = keras_file.weights(self.path / MODEL, self.config, self.specs)
        model = self.config.build(self.specs)
        assigned(model, weights)
        return model

    @cached_property
    def curves(self) -> dict[str, Any]:
        """The training curves (`elboflow.vae.curves.Curves`), as JSON values.

        Raises:
            WorkError: The file is missing or damaged, or has another structure.
        """
        return artifacts.read_json(self.path / CURVES, _checked)


_CURVES = TypeAdapter(dict[Literal["train", "validation", "machine"], dict[str, list[float | None]]])


def _checked(curves: Any) -> dict[str, Any]:
    """Returns curves after a check that the columns of a group have equal lengths, and every row an epoch."""
    for group, columns in _CURVES.validate_python(curves).items():
        if len({len(column) for column in columns.values()}) > 1 or None in columns.get("epoch", [None] * len(columns)):
            raise ValueError(f"the curves of {group} are not columns of one length by epoch")
    return dict(curves)


def save(folder: Path, trained: Trained, provenance: Provenance) -> None:
    """Writes the model folder of a finished training; `model.json` is written last."""
    model = trained.model
    parameters = sum(math.prod(variable.shape) for variable in variables(model))
    epochs = (trained.best_epoch, trained.epochs)
    write(folder, keras_file.write(model), trained.curves, model.config, model.specs, provenance, parameters, epochs)


def write(
    folder: Path,
    network: bytes,
    curves: Curves,
    config: ModelConfig,
    specs: Specs,
    provenance: Provenance,
    parameters: int,
    epochs: tuple[int, int],
) -> None:
    """Writes a model folder; `model.json` is written last.

    Args:
        folder: The folder.
        network: The bytes of the `.keras` file.
        curves: The curves of the training.
        config: The settings of the model.
        specs: The specs of the features that the model reads.
        provenance: The provenance of the model.
        parameters: The number of weights.
        epochs: The epoch of the best validation ELBO, and the number of epochs.
    """
    artifacts.withdraw(folder, "model")
    artifacts.write_atomically(folder / MODEL, network)
    artifacts.write_atomically(folder / CURVES, json.dumps(curves.as_json(), indent=1) + "\n")
    best_epoch, last_epoch = epochs
    facts = {
        "format": FORMAT.newest,
        "model": config.model_dump(mode="json"),
        "features": {name: spec.model_dump(mode="json") for name, spec in specs.items()},
        "provenance": {**asdict(provenance), "training": provenance.training.model_dump(mode="json")},
        "parameters": parameters,
        "best_epoch": best_epoch,
        "epochs": last_epoch,
    }
    artifacts.commit(folder, "model", facts, [MODEL, CURVES])


def load(folder: Path) -> ModelFolder:
    """Opens a model folder.

    Raises:
        WorkError: The folder is not finished, this version cannot read it, or a file in it is missing or damaged.
    """
    facts = artifacts.open_whole(folder, FORMAT)
    provenance = facts.provenance
    return ModelFolder(
        path=Path(folder),
        config=facts.model,
        specs=facts.features,
        provenance=Provenance(**dict(provenance)),
        weights=facts.files[MODEL].sha256,
        parameters=facts.parameters,
        best_epoch=facts.best_epoch,
        epochs=facts.epochs,
    )
