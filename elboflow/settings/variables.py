"""All environment variables of this program: what each means, who sets it, and who reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from elboflow.settings.near import near

PREFIX = "ELBOFLOW_"


@dataclass(frozen=True)
class Variable:
    """A variable of this program.

    Attributes:
        name: Its name.
        meaning: What its value is.
        set_by: Who sets it.
        read_by: What reads it.
    """

    name: str
    meaning: str
    set_by: str
    read_by: str


VARIABLES: dict[str, Variable] = {}
"""All variables, by name."""


def _variable(name: str, meaning: str, set_by: str, read_by: str) -> str:
    VARIABLES[name] = Variable(name, meaning, set_by, read_by)
    return name


WORKSPACE = _variable(
    "ELBOFLOW_WORKSPACE", "the folder of the workspace; --workspace wins", "users, images", "all commands"
)
TRACKING_URI = _variable(
    "ELBOFLOW_TRACKING_URI", "the MLflow of the commands on this machine", "users", "all commands that use MLflow"
)
SECRETS = _variable(
    "ELBOFLOW_SECRETS",
    "the names of further variables whose values are secret, with commas between them",
    "users; compiled pipelines, for their steps on Kubeflow",
    "everything that writes logs, errors, records or messages",
)
WEBHOOK = _variable(
    "ELBOFLOW_WEBHOOK",
    "the address that `notify: webhook` posts to, unless its `variable` names another variable",
    "users, targets.*.secrets",
    "the end of a run",
)
SECRET_MANAGER_ENDPOINT = _variable(
    "ELBOFLOW_SECRET_MANAGER_ENDPOINT",
    "another address of Secret Manager than the public one: a private endpoint",
    "users, in the image of the steps",
    "steps on Vertex AI",
)
VERTEX_ENDPOINT = _variable(
    "ELBOFLOW_VERTEX_ENDPOINT",
    "another address of Vertex AI than the public one: a private endpoint",
    "compiled pipelines, from targets.vertex.endpoint",
    "the exit task of a pipeline on Vertex AI",
)
MACHINES = _variable(
    "ELBOFLOW_MACHINES",
    "the number of hosts that a target asked for to train together, where it is more than one",
    "compiled pipelines",
    "the step `train`, which fails unless it finds so many",
)
TRAIN_JOB = _variable(
    "ELBOFLOW_TRAIN_JOB",
    "the TrainJob of Kubeflow Trainer that a training on several machines is, as JSON, but for its name and command",
    "compiled pipelines, from targets.kubeflow",
    "the step `train`, which makes it",
)
NEW_RUN = _variable(
    "ELBOFLOW_NEW_RUN",
    "the name that a run takes instead of a new one",
    "`run --no-wait` and the scheduler, for the process of the run",
    "`elboflow run`, which removes it",
)
RUN = _variable(
    "ELBOFLOW_RUN", "the name of the run that a step belongs to", "local runs, for their steps", "steps of a pipeline"
)
CHECKPOINTS = _variable(
    "ELBOFLOW_CHECKPOINTS",
    "the folder of the checkpoints of all trainings of a workspace, unless the experiment names one",
    "local runs, for their steps",
    "the step `train`",
)
PARENT = _variable(
    "ELBOFLOW_PARENT",
    "the process id of the parent of a process, which ends when the parent does",
    "what starts a step, a trial, a rescoring or a worker",
    "the started process, which removes it from its environment",
)
AT_WORK = _variable(
    "ELBOFLOW_AT_WORK",
    "the file that a local run holds locked as long as its process is there",
    "local runs, for their steps",
    "steps of a pipeline, which record it in MLflow",
)
STEP_SECONDS = _variable(
    "ELBOFLOW_STEP_SECONDS",
    "how long the steps of a local run took that have ended, by name, as JSON",
    "local runs, for their steps",
    "the step `register`, which records it in MLflow",
)
MESSAGE_SECRET = _variable(  # its name makes its value a secret (`components.surroundings.secret_names`)
    "ELBOFLOW_MESSAGE_SECRET",
    "the key with which a step signs its messages to its run",
    "local runs, for their steps",
    "steps of a pipeline, which remove it",
)
TORCH_LOCAL_RANK = _variable(
    "ELBOFLOW_TORCH_LOCAL_RANK",
    "the rank of a worker process on its machine",
    "a training on several GPUs with PyTorch, for its worker processes",
    "these processes",
)
TERMINAL_ENCODING = _variable(
    "ELBOFLOW_TERMINAL_ENCODING",
    "the terminal's encoding, where the process was started anew in UTF-8 mode",
    "all commands, for themselves",
    "all commands, which remove it",
)


def unknown(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Returns a sentence for each variable of an environment whose name begins as ours do, but is none of ours."""
    sentences = []
    for name in sorted(name for name in environment if name.startswith(PREFIX) and name not in VARIABLES):
        meant = near(name, VARIABLES)
        sentences.append(f"{name} is no variable of this program" + (f"; did you mean {meant}?" if meant else ""))
    return sentences
