"""The model folder: a trained model, its settings and its curves, read and written in one place."""

import io
import json
import sys
import zipfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt

import artifacts
from artifacts.temporary import temporary_folder
from settings import Settings, WorkError
from vae import backends
from vae.config import ModelConfig, TrainingConfig
from vae.data import ImageSpec

if TYPE_CHECKING:
    from vae.model import VAE
    from vae.training import Trained

MODEL, CURVES = "model.keras", "curves.json"
TENSORBOARD, PROFILE = "tensorboard", "profile"
FILES = frozenset({MODEL, CURVES})
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can name


class ImageFacts(Settings):
    """The images that a model models, as `model.json` describes them."""

    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    levels: Annotated[int, Field(ge=2, le=256)]


class ProvenanceFacts(Settings):
    """Where a model comes from, as `model.json` says it; see `Provenance`."""

    seed: int
    training: TrainingConfig
    range: tuple[int | float, int | float]
    dataset: str
    code: str


class Facts(artifacts.Described):
    """What `model.json` says; a new field needs a default, or a new format and an upgrade of the older ones."""

    model: ModelConfig
    image: ImageFacts
    provenance: ProvenanceFacts
    parameters: NonNegativeInt
    best_epoch: NonNegativeInt
    epochs: NonNegativeInt


FORMAT = artifacts.Format("model", Facts, upgrades=(artifacts.checksum_added,), holds=FILES)


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from.

    Attributes:
        seed: The seed of its training.
        training: The settings of its training.
        range: The raw intensities that the lowest and the highest code stand for.
        dataset: The digest of the dataset.
        code: The version of the code.
    """

    seed: int
    training: TrainingConfig
    range: tuple[float, float]
    dataset: str
    code: str


@dataclass(frozen=True)
class ModelFolder:
    """A finished model folder.

    Attributes:
        path: Where it is.
        config: The model's settings.
        spec: The images that it models.
        provenance: Where it comes from.
        weights: SHA-256 of the model's file, a function of its weights and settings: the same training, done twice on
            one machine, gives one such.
        parameters: Number of weights.
        best_epoch: The epoch of the best validation ELBO, from 1.
        epochs: Epochs of its training.
    """

    path: Path
    config: ModelConfig
    spec: ImageSpec
    provenance: Provenance
    weights: str
    parameters: int
    best_epoch: int
    epochs: int

    @cached_property
    def model(self) -> "VAE":
        """The Keras model, on the backend that this process uses, or else the one that it was trained on."""
        if "keras" not in sys.modules:
            backends.use(self.provenance.training.backend)
        from vae.model import load

        return load(self.path / MODEL)

    @cached_property
    def curves(self) -> dict[str, Any]:
        """The training curves (`vae.training.curves.Curves`), as JSON values."""
        return artifacts.read_json(self.path / CURVES, dict)


def save(folder: Path, trained: "Trained", provenance: Provenance) -> None:
    """Writes a model folder; `model.json` comes last."""
    artifacts.withdraw(folder, "model")
    model = trained.model
    artifacts.write_atomically(folder / MODEL, _keras_file(model))
    artifacts.write_atomically(folder / CURVES, json.dumps(trained.curves.as_json(), indent=1) + "\n")
    facts = {
        "format": FORMAT.newest,
        "model": model.config.model_dump(mode="json"),
        "image": {"shape": list(model.spec.shape), "levels": model.spec.levels},
        "provenance": {**asdict(provenance), "training": provenance.training.model_dump(mode="json")},
        "parameters": model.count_params(),
        "best_epoch": trained.best_epoch,
        "epochs": trained.epochs,
    }
    artifacts.commit(folder, "model", facts, [MODEL, CURVES])


def load(folder: Path) -> ModelFolder:
    """Opens a model folder.

    Raises:
        WorkError: It is not finished, or this version cannot read it, or a file of it is missing or damaged.
    """
    facts = artifacts.read(folder, FORMAT)
    if damage := artifacts.damage(folder, facts.files):
        raise WorkError(f"the model folder cannot be used: {damage}")
    provenance = facts.provenance
    return ModelFolder(
        path=Path(folder),
        config=facts.model,
        spec=ImageSpec(facts.image.shape, facts.image.levels),
        provenance=Provenance(
            provenance.seed, provenance.training, provenance.range, provenance.dataset, provenance.code
        ),
        weights=facts.files[MODEL].sha256,
        parameters=facts.parameters,
        best_epoch=facts.best_epoch,
        epochs=facts.epochs,
    )


def _keras_file(model: "VAE") -> bytes:
    """Returns the `.keras` file of a model, without what makes Keras's own differ from one saving to the next."""
    with temporary_folder() as temporary:
        path = temporary / MODEL
        model.save(path)
        with zipfile.ZipFile(path) as saved:
            parts = {name: saved.read(name) for name in sorted(saved.namelist())}
    metadata = json.loads(parts["metadata.json"])
    del metadata["date_saved"]
    parts["metadata.json"] = json.dumps(metadata).encode()
    parts["model.weights.h5"] = _without_names(parts["model.weights.h5"])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content)
    return file.getvalue()


def _without_names(weights: bytes) -> bytes:
    """Returns an HDF5 file without the layers' names, which count the layers that its process made before.

    Keras reads weights by their places, and writes the names for people.
    """
    import h5py

    file = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as named, h5py.File(file, "w") as nameless:

        def copy(place: str, found: h5py.Group | h5py.Dataset) -> None:
            if isinstance(found, h5py.Group):
                copied = nameless.require_group(place)
            else:
                copied = nameless.create_dataset(place, data=found[()])
            for attribute in sorted(found.attrs.keys() - {"name"}):
                copied.attrs[attribute] = found.attrs[attribute]

        named.visititems(copy)
    return file.getvalue()
