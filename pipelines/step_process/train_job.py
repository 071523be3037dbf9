"""A training on several machines, as the pod of the step `train` sees it: it makes a TrainJob, and waits for its end.

Dataset and model go through a volume that the pods of the TrainJob mount, too:

    MOUNT/elboflow/RUN/train/
      datasets/DIGEST/     a copy of the dataset
      model/               what the TrainJob writes, its checkpoints included
      refused.txt          why the request is wrong; failed.txt: why the first process failed

The TrainJob is named after the run: a second try of the step, or a retry of the run, finds the one of the first. It is
taken over if it is at work or complete, and made anew, from its checkpoint on, if it failed. What ends this step in
order (a cancelled run, a drained node) deletes it.
"""

import json
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from components.tracking import platform_runs
from elboflow.settings import RequestError, WorkError
from elboflow.settings.digest import digest
from elboflow.settings.variables import TRAIN_JOB
from pipelines.step_process.cluster_api import ClusterAPI, NoAnswerError
from pipelines.step_process.refusal import REFUSAL
from pipelines.step_process.train_worker import FAILURE, Request

logger = logging.getLogger("elboflow.training")

SECONDS_BETWEEN = 5.0
"""Between two looks at the TrainJob."""
LONGEST_SILENCE = 900.0
"""Seconds without an answer of the cluster after which the step fails; the TrainJob goes on, for its next try."""
LONGEST_DELETION = 600.0
"""Seconds until a deleted TrainJob has to be gone."""

_TOLD = (
    *("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID", "MLFLOW_WORKSPACE", platform_runs.POD),
    *("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_TRACKING_AWS_SIGV4"),  # how MLflow is asked
)
_SECRET = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Never told: whoever may read the TrainJob would read their values. Those of `targets.kubeflow.secrets` are references
there."""


def train_on_machines(dataset: Path, output: Path, uri: str, request: Request) -> None:
    """Trains by a TrainJob, and copies the model into this step's output.

    Args:
        dataset: The dataset folder.
        output: The model folder.
        uri: Where the platform keeps the model: below a folder of the run.
        request: What to train.

    Raises:
        RequestError: The training is impossible, or the cluster refuses the TrainJob.
        WorkError: The TrainJob failed, or the cluster does not answer.
    """
    job: dict[str, Any] = json.loads(os.environ[TRAIN_JOB])
    of_run = uri.rpartition("/train/")[0] or uri  # …/RUN/train/ID/model
    run = of_run.rpartition("/")[2]
    folder = _mount(job) / "elboflow" / run / "train"
    model = folder / "model"
    job["metadata"] |= {"name": f"elboflow-{digest(of_run)[:16]}", "annotations": {"elboflow/run": run}}
    job["spec"]["trainer"]["command"] = request.command(_copied(dataset, folder / "datasets"), model)
    if platform_runs.named() is not None:
        _tell(job["spec"]["trainer"]["env"])
    api = ClusterAPI(job["metadata"]["namespace"])
    name = job["metadata"]["name"]
    try:
        _make(api, job, folder)
        reason = _end_of(api, name)
    except (RequestError, WorkError):
        raise
    except BaseException:
        api.delete(name)
        logger.warning("deleted the TrainJob %s: this step was ended", name)
        raise
    if reason is not None:
        refused, failed = (_said(folder / left) for left in (REFUSAL, FAILURE))
        if refused:
            raise RequestError(refused)
        raise WorkError(f"the TrainJob {name} failed: {failed or reason}")
    shutil.copytree(model, output, dirs_exist_ok=True)
    api.delete(name)
    shutil.rmtree(folder, ignore_errors=True)


def _tell(environment: list[dict[str, Any]]) -> None:
    """Adds how the platform's MLflow is asked, and for which run, to the environment of a TrainJob."""
    given = {each["name"] for each in environment}
    environment += [{"name": name, "value": os.environ[name]} for name in _TOLD if name in {*os.environ} - given]
    if absent := [name for name in _SECRET if name in {*os.environ} - given]:
        logger.warning("%s: not told to the TrainJob; name it in targets.kubeflow.secrets", ", ".join(absent))


def _mount(job: dict[str, Any]) -> Path:
    (patch,) = job["spec"]["runtimePatches"]
    (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    (container,) = node["template"]["spec"]["template"]["spec"]["containers"]
    return Path(container["volumeMounts"][0]["mountPath"])


def _copied(dataset: Path, to: Path) -> Path:
    """Copies a dataset to the volume, unless it is there; a kill leaves no half copy under the name."""
    from preprocessing.reader import open_dataset

    copy = to / open_dataset(dataset).manifest.digest
    if not copy.exists():
        draft = to / f".{uuid.uuid4().hex}"
        shutil.copytree(dataset, draft)
        draft.rename(copy)
    return copy


def _make(api: ClusterAPI, job: dict[str, Any], folder: Path) -> None:
    """Makes the TrainJob, unless there is one that is at work or complete."""
    name, found = job["metadata"]["name"], api.get(job["metadata"]["name"])
    if found is not None and _is_of_use(found, job, folder):
        logger.info("the TrainJob %s of an earlier try goes on", name)
        return
    if found is not None:
        _remove(api, name)
    for left in (REFUSAL, FAILURE):
        (folder / left).unlink(missing_ok=True)
    if owners := api.owners_of_this_pod():
        job["metadata"]["ownerReferences"] = owners  # whoever deletes the run deletes the TrainJob
    api.create(job)
    logger.info(
        "made the TrainJob %s of %d pods; their logs: kubectl logs --namespace %s --selector "
        "jobset.sigs.k8s.io/jobset-name=%s --all-containers --prefix --follow",
        name,
        job["spec"]["trainer"]["numNodes"],
        job["metadata"]["namespace"],
        name,
    )


def _remove(api: ClusterAPI, name: str) -> None:
    """Deletes a TrainJob, and waits until it is gone: a new one has the same name.

    Raises:
        WorkError: Its finalizers keep it.
    """
    api.delete(name)
    began = time.monotonic()
    while (found := api.get(name)) is not None:
        if time.monotonic() - began > LONGEST_DELETION:
            keep = ", ".join(found["metadata"].get("finalizers", ())) or "none"
            raise WorkError(
                f"the TrainJob {name} of an earlier try was deleted, and is still there after "
                f"{LONGEST_DELETION / 60:.0f} min; its finalizers: {keep}; see why their controllers do not let it go"
            )
        time.sleep(SECONDS_BETWEEN)


def _is_of_use(found: dict[str, Any], job: dict[str, Any], folder: Path) -> bool:
    """Returns whether a TrainJob of an earlier try trains the same, and has not failed, nor lost what it made."""
    same = found["spec"]["trainer"].get("command") == job["spec"]["trainer"]["command"]
    over = _condition(found, "Failed") is not None or "deletionTimestamp" in found["metadata"]
    lost = _condition(found, "Complete") is not None and not (folder / "model").is_dir()
    return same and not over and not lost


def _end_of(api: ClusterAPI, name: str) -> str | None:
    """Waits for the end of a TrainJob; returns why it failed, or None where it did not."""
    answered, silent, waits = time.monotonic(), False, False
    while True:
        try:
            found = api.get(name)
        except NoAnswerError as error:
            if time.monotonic() - answered > LONGEST_SILENCE:
                raise
            if not silent:
                logger.warning("%s; the TrainJob %s goes on, and is asked for again", error, name)
            silent = True
        else:
            answered, silent = time.monotonic(), False
            if found is None:
                raise WorkError(f"the TrainJob {name} was deleted while it was at work")
            if _condition(found, "Complete") is not None:
                return None
            if (failed := _condition(found, "Failed")) is not None:
                return f"{failed.get('reason', '')}: {failed.get('message', '')}"
            if not waits and _condition(found, "Suspended") is not None:
                logger.info("the TrainJob %s is suspended: it waits for its place in a queue", name)
                waits = True
        time.sleep(SECONDS_BETWEEN)


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    for condition in job.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == "True":
            found: dict[str, Any] = condition
            return found
    return None


def _said(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
