"""dataset/ → model/."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.binding.datasets import ModelDataset, open_for
from components.surroundings import environment
from components.surroundings.checkpoints import place
from components.surroundings.cluster import from_environment
from components.surroundings.code_version import code_version
from components.tracking import live
from elboflow import artifacts
from elboflow.settings import RequestError, WorkError
from elboflow.settings.digest import digest
from elboflow.settings.kinds import origins
from elboflow.vae import compute, folder, tensorboard
from elboflow.vae.compute import parallelism
from elboflow.vae.compute.contract import Job, Profile
from elboflow.vae.config import TrainingConfig
from elboflow.vae.model import ModelConfig
from elboflow.vae.watch import Observer, Watch

if TYPE_CHECKING:
    from elboflow.vae.evaluation.gallery import Gallery

logger = logging.getLogger("elboflow.training")


@dataclass(frozen=True)
class Monitoring:
    """Who follows a training while it runs.

    Attributes:
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.
        profile: How many steps are to be profiled, into the folder `profile` beside the model; None for none.
        tracking: The MLflow that shows the curves while they grow.
    """

    watch: Watch | None = None
    profile: int | None = None
    tracking: live.Tracking | None = None


NOT_MONITORED = Monitoring()


def train(
    dataset: Path | str,
    output: Path | str,
    model: ModelConfig,
    training: TrainingConfig,
    seed: int,
    *,
    restart: bool = False,
    monitoring: Monitoring = NOT_MONITORED,
) -> folder.ModelFolder | None:
    """Trains a model and writes its folder. Killed and called again, it goes on from its last checkpoint.

    Args:
        dataset: A dataset folder with the splits `train` and `validation`.
        output: The model folder. A model of the same arguments and the same clean code is kept, and one of the same
            arguments and other code is replaced.
        model: What the model is.
        training: How it is trained.
        seed: Fixes initial weights, order and noise.
        restart: Whether to start over: checkpoints are moved aside, and a model is replaced.
        monitoring: Who follows the training while it runs.

    Returns:
        The model folder; None on the hosts of a cluster that do not write it.

    Raises:
        RequestError: The backend is not installed or cannot do what the settings ask for, the dataset has not the
            features that the model reads, or the model or the checkpoints there are of another training.
        WorkError: The dataset is not finished or is damaged, or training failed.
        WatchStoppedError: The watch stopped it; no model is written.
    """
    cluster = from_environment(os.environ)
    parallelism.check(training, cluster)
    compute.check(training.backend)
    output = Path(output)
    data = open_for(model, dataset)
    provenance = folder.Provenance(
        seed=seed,
        training=training,
        dataset=data.manifest.digest,
        code=code_version(),
        kinds=origins([model, training]) | data.origins,
        environment=environment.of_training(training.device, 1 if cluster is None else cluster.processes),
    )
    if not restart and (there := _finished(output)) is not None:
        if others := differences(there, model, provenance):
            raise RequestError(
                f"{output} holds a finished model of other {' and '.join(others)}; --restart replaces it, or choose "
                "another output"
            )
        if there.provenance == provenance and not provenance.code.endswith("-dirty"):
            logger.info("kept the model in %s: it is of the same data, settings and code", output)
            return there
    is_chief = cluster is None or cluster.chief  # the others see the same folder, and write nothing
    training.check_examples(data.manifest.counts["train"])
    source, validation = data.source("train", training), data.source("validation")
    compute.use(training.backend, training, cluster)
    if is_chief:  # what is refused, is refused above: from here on, an older model is not to be taken for this one
        artifacts.withdraw(output, "model")
    from elboflow.vae.training import fingerprint, train
    from elboflow.vae.training.checkpoints import remove

    made_of = fingerprint.fingerprint(data.manifest.digest, model, training, seed)
    named = digest(made_of)
    tracking = monitoring.tracking if is_chief else None
    with (
        place(output, named, training.checkpoints) as checkpoints,
        live.curves(tracking, checkpoints, output, named, anew=restart) as watching,
    ):
        observers: tuple[Observer, ...] = watching
        if is_chief and training.tensorboard:
            observers += (tensorboard.events(output / folder.TENSORBOARD),)
        profile = Profile(monitoring.profile, output / folder.PROFILE) if monitoring.profile else None
        job = Job(source, validation, data.specs, model, training, seed, checkpoints, made_of, restart, profile)
        viewer = _gallery(data, model, seed, watching[0]) if watching else None
        trained = train(job, cluster=cluster, watch=monitoring.watch, observers=observers, viewer=viewer)
        if is_chief:
            folder.save(output, trained, provenance)
            if not trained.out_of_time:
                remove(checkpoints)
    return folder.load(output) if is_chief else None


def _gallery(data: ModelDataset, model: ModelConfig, seed: int, run: live.LiveRun) -> "Gallery | None":
    """Returns what shows pictures of the training in MLflow; None for a model of no images."""
    from elboflow.vae.evaluation import gallery, images

    if not images.among({name: data.specs[name] for name in model.features}):
        return None
    return gallery.Gallery(data.head("validation", gallery.EXAMPLES), seed, run.show)


def differences(there: folder.ModelFolder, model: ModelConfig, provenance: folder.Provenance) -> list[str]:
    """Returns in what a finished model is of another training; its code does not count."""
    was, now = there.provenance, provenance
    found = {
        "data": was.dataset != now.dataset,
        "model settings": there.config != model,
        "training settings": was.training != now.training,
        "seed": was.seed != now.seed,
    }
    return [name for name, differs in found.items() if differs]


def _finished(output: Path) -> folder.ModelFolder | None:
    """Returns the model folder at `output`; None where there is none that can be read."""
    try:
        return folder.load(output)
    except WorkError:
        return None
