"""What must be so before a run: many small checks at once, each with what was found and how to mend it.

A new check is a function that returns a `Finding`, or several, in the file of its group, and a line in `checks`.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.surroundings import servers
from components.tracking import databases
from elboflow.settings import RequestError
from elboflow.settings.variables import TRACKING_URI as TRACKING_URI
from pipelines.experiment import Experiment
from pipelines.targets import NAMES
from pipelines.targets.local.surroundings import tracking_uri
from pipelines.workspace import Workspace

PATIENCE = 4.0
"""Seconds for a request of a check."""

State = Literal["well", "ill", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        what: What was looked at: `bucket gs://data`.
        state: well; ill, which is to be mended before a run; or unknown, where it cannot be told from here.
        found: What was found.
        mend: What to do about it, unless it is well.
    """

    what: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True)
class Check:
    """A check, by what it looks at.

    Attributes:
        what: What it looks at.
        look: Looks.
        seconds: What it may take; what takes longer is not waited for.
    """

    what: str
    look: Callable[[], Finding | Iterable[Finding]]
    seconds: float = 5.0


def examine(target: str, experiment: Experiment | None, workspace: Path) -> Iterator[Finding]:
    """Yields what the checks find, in their order, while they are at work side by side.

    Args:
        target: Where runs are to be: `local`, `kubeflow` or `vertex`.
        experiment: What is to run; without it, only this machine is looked at.
        workspace: The folder of local runs.

    Raises:
        RequestError: The target is unknown, or the experiment does not describe it.
    """
    servers.watch()
    wanted = checks(target, experiment, workspace)
    with servers.within(PATIENCE):
        begun = time.monotonic()
        for check, answer in [(check, _begun(check)) for check in wanted]:
            try:
                found = answer.result(max(0.0, begun + check.seconds - time.monotonic()))
            except NotInTime:
                found = [Finding(check.what, "unknown", f"no answer within {check.seconds:g} s", "look at the network")]
            yield from found


def checks(target: str, experiment: Experiment | None, workspace: Path) -> list[Check]:
    """Returns the checks for runs on a target."""
    if target not in NAMES:
        raise RequestError(f"--target {target}: unknown target; allowed: {', '.join(NAMES)}")
    from pipelines.doctor import data, devices, installed, schedules, state, workspaces

    backend = experiment.training.backend if experiment else "tensorflow"
    here = [
        Check("Python", installed.python),
        Check("packages", lambda: installed.packages(backend)),
        Check("devices", lambda: devices.devices(backend), seconds=90),  # of which a framework's import is most
        Check("workspace", lambda: workspaces.workspace(workspace)),
    ]
    if target == "local":
        if experiment:
            raw = experiment.data
            here.append(Check("data", lambda: data.data(raw), seconds=data.seconds(raw)))
        here.append(_mlflow(Workspace(workspace.resolve()), experiment))
        here.append(Check("records", lambda: state.state(workspace.resolve())))
        return [*here, Check("schedules", lambda: schedules.schedules(workspace.resolve()))]
    if experiment is None:
        raise RequestError(f"--target {target}: say with --experiment EXPERIMENT whose targets.{target} is meant")
    if target == "kubeflow":
        from pipelines.doctor import kubeflow

        return here + kubeflow.checks(experiment)
    from pipelines.doctor import vertex

    return here + vertex.checks(experiment)


def _mlflow(workspace: Workspace, experiment: Experiment | None) -> Check:
    from pipelines.doctor import tracking

    named = tracking_uri(experiment, workspace)
    database = databases.file_of(named)
    if database is None:
        return Check("MLflow", lambda: tracking.server(named))
    return Check("MLflow", lambda: tracking.local(database, workspace, experiment.name if experiment else None), 20)


def _begun(check: Check) -> "Future[list[Finding]]":
    """Begins a check in a thread that does not keep the process alive."""
    answer: Future[list[Finding]] = Future()

    def look() -> None:
        try:
            found = check.look()
            answer.set_result([found] if isinstance(found, Finding) else list(found))
        except servers.NoAnswerError as error:
            mend = "look at its address, at the server there and its log, and at the network between"
            answer.set_result([Finding(check.what, "ill", str(error), mend)])
        except Exception as error:
            said = str(error).partition("\n")[0] or type(error).__name__
            answer.set_result([Finding(check.what, "unknown", f"could not be looked at: {said}", "see the message")])

    threading.Thread(target=look, daemon=True).start()
    return answer
