"""One trial of a sweep: dataset/ + a candidate → a folder with its outcome, and its model where it finished.

A trial's folder:

    trial.json     the outcome; written last
    model/         the model folder, or the checkpoints of a training that ended early

A failure is an outcome like any other. The training runs in a child process, so that its death (out of memory, a crash
of a framework) is an outcome, too.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from components.binding.recorded import experiment_digest
from components.surroundings.masking import masked
from components.sweep import trial_process
from elboflow import artifacts
from elboflow.artifacts import manifest
from elboflow.settings import WorkError
from elboflow.vae import folder
from elboflow.vae.config import TrainingConfig
from elboflow.vae.model import ModelConfig
from elboflow.vae.watch import Watch
from preprocessing.reader import open_dataset

logger = logging.getLogger("elboflow.sweep")

OUTCOME, MODEL = "trial.json", "model"
_DECIDES = ("data", "model", "training", "seed")

_FORMAT = 2  # 1 has no number and no checksum

Status = Literal["finished", "pruned", "failed"]


@dataclass(frozen=True)
class Candidate:
    """What a trial tries.

    Attributes:
        values: What varies over the sweep: values by dotted key.
        experiment: The whole experiment with these values, as `Experiment.recorded()` gives it.
    """

    values: Mapping[str, Any]
    experiment: Mapping[str, Any]

    @property
    def model(self) -> ModelConfig:
        """What the model is."""
        return ModelConfig.model_validate(self.experiment["model"])

    @property
    def training(self) -> TrainingConfig:
        """How it is trained."""
        return TrainingConfig.model_validate(self.experiment["training"])

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return int(self.experiment["seed"])

    @property
    def digest(self) -> str:
        """A name for all that its training depends on."""
        return experiment_digest(self.experiment, _DECIDES)[:16]

    def __str__(self) -> str:
        return " ".join(f"{key}={written(value)}" for key, value in self.values.items())


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        digest: The candidate's.
        values: The candidate's.
        run: The sweep run that it belongs to.
        status: finished, pruned (stopped, because others were better by then) or failed.
        elbo: Validation ELBO of each epoch, in nats per example.
        seconds: Wall time.
        reason: Why it failed.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    digest: str
    values: Mapping[str, Any]
    run: str
    status: Status
    elbo: tuple[float, ...] = ()
    seconds: float = 0.0
    reason: str | None = None

    @property
    def bound(self) -> float | None:
        """The best validation ELBO, in nats per example."""
        return max(self.elbo, default=None)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of that bound, from 1."""
        return self.elbo.index(max(self.elbo)) + 1 if self.elbo else None

    def __str__(self) -> str:
        if self.status == "failed":
            return f"failed: {self.reason}"
        bound = f"validation ELBO {self.bound:.2f} nats, in epoch {self.best_epoch} of {len(self.elbo)}"
        return f"{'pruned: ' if self.status == 'pruned' else ''}{bound}, {self.seconds:.1f} s"


_OUTCOME = TypeAdapter(Outcome)


def attempt(
    dataset: Path | str,
    candidate: Candidate,
    output: Path,
    run: str,
    watch: Watch | None = None,
    waits: Iterable[float] = (),
) -> Outcome:
    """Tries a candidate and writes the trial's folder. Killed and called again, it goes on where it was.

    Args:
        dataset: The dataset folder.
        candidate: What to train.
        output: The trial's folder. An outcome of the same run is kept, unless it is a failure.
        run: The sweep run that the trial belongs to.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.
        waits: Seconds before each further try of a training whose process died; it goes on from its checkpoint.
    """
    before = _kept(output, candidate, run)
    if before is not None:
        return before
    (output / OUTCOME).unlink(missing_ok=True)
    _withdraw_of_other_data(output / MODEL, dataset)
    started = time.monotonic()
    request = trial_process.Request(str(dataset), output / MODEL, candidate.model, candidate.training, candidate.seed)
    left = iter(waits)
    ended = trial_process.train(request, watch)
    while ended.died and (wait := next(left, None)) is not None:
        logger.warning("%s: %s; the next try is in %g s", candidate, ended.reason, wait)
        time.sleep(wait)
        ended = trial_process.train(request, watch)
    seconds = round(time.monotonic() - started, 1)
    curve = folder.load(output / MODEL).curves["validation"]["elbo"] if ended.status == "finished" else ended.elbo
    reason = None if ended.reason is None else masked(ended.reason)
    outcome = Outcome(candidate.digest, dict(candidate.values), run, ended.status, tuple(curve), seconds, reason)
    write(output, outcome)
    return outcome


def _withdraw_of_other_data(model: Path, dataset: Path | str) -> None:
    """Withdraws a model of the same settings that was trained on what the raw data were before."""
    try:
        found = folder.load(model)
    except WorkError:
        return
    if found.provenance.dataset != open_dataset(dataset).manifest.digest:
        artifacts.withdraw(model, "model")


def read(output: Path) -> Outcome:
    """Reads the outcome in a trial's folder.

    Raises:
        WorkError: There is none, or it is damaged.
    """
    path = output / OUTCOME
    try:
        facts = manifest.unsealed(path.read_bytes(), path, newest=_FORMAT, unnumbered=1)
        del facts[manifest.FORMAT]
        return _OUTCOME.validate_python(facts)
    except FileNotFoundError:
        raise WorkError(f"{output} is not a finished trial: it holds no {OUTCOME}") from None
    except OSError as error:
        raise WorkError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise manifest.unreadable(path, error) from None


def of_run(root: Path, run: str) -> list[Path]:
    """Returns the folders of a run's trials, under a root that may hold other runs' too, and damaged ones."""
    found = []
    for path in sorted(root.glob(f"*/{OUTCOME}")):
        try:
            if read(path.parent).run == run:
                found.append(path.parent)
        except WorkError as error:
            logger.warning("%s; it is left out", error)
    return found


def write(output: Path, outcome: Outcome) -> None:
    """Writes the outcome into a trial's folder."""
    facts = {manifest.FORMAT: _FORMAT, **asdict(outcome)}
    artifacts.write_atomically(output / OUTCOME, manifest.sealed(facts, indent=1))


def written(value: Any) -> str:
    """Returns a value as a person writes it on the command line."""
    return value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _kept(output: Path, candidate: Candidate, run: str) -> Outcome | None:
    try:
        found = read(output)
        if found.status == "finished":
            folder.load(output / MODEL)
    except WorkError:
        return None
    return found if (found.run, found.digest) == (run, candidate.digest) and found.status != "failed" else None
