"""ELBOflow itself: its training loop on a dataset folder, an epoch or several to a turn."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.training.setting import BATCH, convolutional, mlp
from benchmarks.training.turns import Turns
from components.tracking.live import Tracking, curves
from elboflow.vae import compute
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Checkpoints, Constant, TrainingConfig
from elboflow.vae.data import Examples, InMemory, Source
from elboflow.vae.watch import Observer, Watch
from preprocessing.reader import Dataset, open_dataset

MODELS = {"mlp": mlp, "convolutional": convolutional}


def main() -> None:
    """Trains as the command line says, until it is stopped."""
    arguments = _arguments()
    turns = Turns()
    settings: dict[str, Any] = {"backend": arguments.backend, "batch_size": BATCH, "epochs": 1_000_000}
    if arguments.megabytes:
        settings["memory_megabytes"] = arguments.megabytes
    training = TrainingConfig(
        **settings,
        precision=arguments.precision,
        learning_rate=Constant(),
        early_stopping=None,
        checkpoints=Checkpoints(every_minutes=None),
    )
    dataset = open_dataset(arguments.dataset)
    source: Source = Shards(dataset, "train")
    validation: Source = Shards(dataset, "validation")
    steps = sum(source.counts) // BATCH
    if arguments.saves:
        training = training.model_copy(update={"checkpoints": Checkpoints(every_minutes=None, every_steps=steps)})
    else:
        validation = InMemory(validation.read(0).head(1))
    compute.use(arguments.backend, training)

    def watch(epoch: int, elbo: float) -> bool:
        # The first epoch is a turn of its own: what takes time only once must not count.
        if epoch == 1 or (epoch - 1) % arguments.epochs == 0:
            turns.done(steps * BATCH * (1 if epoch == 1 else arguments.epochs), device=_device())
        return True

    specs = {"image": dataset.manifest.features["image"]}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder) / "checkpoints"
        mlflow = Tracking(f"sqlite:///{folder}/mlflow.db", "race") if arguments.curves else None
        with curves(mlflow, checkpoints, Path(folder) / "model", "race") as observers:
            job = Job(source, validation, specs, MODELS[arguments.model](), training, 0, checkpoints, {})
            _train(job, watch, observers)


@dataclass(frozen=True)
class Shards:
    """The images of a split, read shard by shard."""

    dataset: Dataset
    split: str

    @property
    def counts(self) -> Sequence[int]:
        """Examples of each shard."""
        return [shard.examples for shard in self.dataset.shards(self.split)]

    def read(self, shard: int) -> Examples:
        """Reads a shard."""
        arrays = self.dataset.read_shard(self.split, shard)
        return Examples({"image": arrays["image"]}, arrays["key"])


def _train(job: Job, watch: Watch, observers: Sequence[Observer]) -> None:
    from elboflow.vae.training import train

    train(job, watch=watch, observers=observers)


def _device() -> str:
    """Returns the name of the device that the backend computes on."""
    match compute.current():
        case "jax":
            import jax

            return str(jax.devices()[0].device_kind)
        case "torch":
            import torch

            return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        case _:
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
            return str(tf.config.experimental.get_device_details(gpus[0])["device_name"]) if gpus else "cpu"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--megabytes", type=int, help="for examples: a larger split is streamed")
    parser.add_argument("--saves", action="store_true", help="validate on the whole split and save, every epoch")
    parser.add_argument("--curves", action="store_true", help="send the curves to MLflow, on SQLite")
    parser.add_argument("--epochs", type=int, default=1, help="of a turn")
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
