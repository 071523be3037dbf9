"""dataset/ → model/."""

import logging
from pathlib import Path

import artifacts
from components.code_version import code_version
from components.datasets import open_images
from settings import WorkError
from vae import backends, folder
from vae.config import ModelConfig, TrainingConfig
from vae.watch import Watch

logger = logging.getLogger("elboflow.training")


def train(
    dataset: Path | str,
    output: Path | str,
    model: ModelConfig,
    training: TrainingConfig,
    seed: int,
    *,
    watch: Watch | None = None,
) -> None:
    """Trains a model and writes its folder. Killed and called again, it goes on from its last checkpoint.

    Args:
        dataset: A dataset folder with the splits `train` and `validation`.
        output: The model folder. A model of the same arguments and the same clean code is kept; any other is replaced.
        model: What the model is.
        training: How it is trained.
        seed: Fixes initial weights, order and noise.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.

    Raises:
        RequestError: The backend is not installed, or `model.input` is no image feature of the dataset.
        WorkError: The dataset is not finished or is damaged, or training failed.
        WatchStoppedError: The watch stopped it; no model is written.
    """
    output = Path(output)
    images = open_images(dataset, model.input)
    provenance = folder.Provenance(
        seed=seed,
        training=training,
        range=images.image.range,
        dataset=images.manifest.digest,
        code=code_version(),
    )
    if _is_there(output, model, provenance):
        logger.info("kept the model in %s: it is of the same data, settings and code", output)
        return
    artifacts.withdraw(output, "model")
    examples, validation = images.examples("train"), images.examples("validation")
    backends.use(training.backend)
    from vae.training import train

    identity = {
        "dataset": images.manifest.digest,
        "model": model.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "seed": seed,
    }
    saved = output / folder.CHECKPOINT
    trained = train(examples, validation, images.spec, model, training, seed, saved, identity, watch)
    folder.save(output, trained, provenance)


def _is_there(output: Path, model: ModelConfig, provenance: folder.Provenance) -> bool:
    if provenance.code.endswith("-dirty"):
        return False
    try:
        found = folder.load(output)
    except WorkError:
        return False
    return (found.config, found.provenance) == (model, provenance)
