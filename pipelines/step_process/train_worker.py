"""The process of each pod of a TrainJob: trains together with the others, and writes to the volume that all mount."""

import json
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from components.surroundings.masking import masked
from elboflow.settings import WorkError
from pipelines.step_process.process import step

FAILURE = "failed.txt"
"""The name of what is left beside the model: why the first of the processes failed."""


@dataclass(frozen=True)
class Request:
    """What is to be trained: the inputs of the step `train`."""

    architecture: str
    training: str
    seed: int
    experiment_name: str
    tracking_uri: str

    def command(self, dataset: Path, output: Path) -> list[str]:
        """Returns the command of a pod."""
        given = json.dumps({**asdict(self), "dataset": str(dataset), "output": str(output)})
        return ["python3", "-m", "pipelines.step_process.train_worker", given]


def main(words: list[str]) -> None:
    """Trains."""
    given = json.loads(words[0])
    dataset, output = Path(given.pop("dataset")), Path(given.pop("output"))
    request = Request(**given)
    with step(str(output)):
        from components.tracking.live import Tracking
        from components.train import Monitoring, train
        from elboflow.vae.config import TrainingConfig
        from elboflow.vae.model import ModelConfig

        try:
            train(
                dataset,
                output,
                ModelConfig.model_validate_json(request.architecture),
                TrainingConfig.model_validate_json(request.training),
                request.seed,
                monitoring=Monitoring(tracking=Tracking(request.tracking_uri, request.experiment_name)),
            )
        except WorkError as error:
            # The others fail after the first: that they have lost it.
            with suppress(OSError), output.with_name(FAILURE).open("x", encoding="utf-8") as file:
                file.write(masked(str(error)))
            raise


if __name__ == "__main__":
    main(sys.argv[1:])
