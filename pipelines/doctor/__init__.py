"""`elboflow doctor`: checks this machine, and asks a target for its checks; all are at work at once."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path

from components.surroundings import servers
from elboflow.settings import RequestError
from pipelines.experiment import Experiment
from pipelines.targets import NAMES as NAMES
from pipelines.targets.checks import SECONDS, Check, Finding, UnknownError
from pipelines.workspace import Workspace


def examine(target: str, experiment: Experiment | None, workspace: Path) -> Iterator[Finding]:
    """Yields what the checks find, in their order, while they run in threads; without an experiment, of this machine.

    Raises:
        RequestError: The target is unknown, or the experiment does not describe it.
    """
    servers.watch()
    wanted = checks(target, experiment, workspace)
    with servers.within(SECONDS):
        started = time.monotonic()
        for check, answer in [(check, _started(check)) for check in wanted]:
            try:
                found = answer.result(max(0.0, started + check.seconds - time.monotonic()))
            except NotInTime:
                found = [Finding(check.what, "unknown", f"no answer within {check.seconds:g} s", "look at the network")]
            yield from found


def checks(target: str, experiment: Experiment | None, workspace: Path) -> list[Check]:
    """Returns the checks for runs on a target."""
    if experiment is None and target != "local":
        raise RequestError(f"--target {target}: say with --experiment EXPERIMENT whose targets.{target} is meant")
    from pipelines.doctor import machine

    backend = experiment.training.backend if experiment else "tensorflow"
    here = [
        Check("Python", machine.python),
        Check("packages", lambda: machine.packages(backend)),
        Check("devices", lambda: machine.devices(backend), seconds=90),  # of which a framework's import is most
        Check("workspace", lambda: machine.workspace(workspace)),
    ]
    return here + _of_target(target, experiment, Workspace(workspace.resolve()))


def _of_target(target: str, experiment: Experiment | None, workspace: Workspace) -> list[Check]:
    if experiment is None or target == "local":
        from pipelines.doctor import schedules
        from pipelines.targets.local import checks as local

        return [
            *local.checks(experiment, workspace),
            Check("records", lambda: schedules.records(workspace.folder)),
            Check("schedules", lambda: schedules.schedules(workspace.folder)),
        ]
    if target == "kubeflow":
        from pipelines.targets.kubeflow import checks as kubeflow

        return kubeflow.checks(experiment)
    from pipelines.targets.vertex import checks as vertex

    return vertex.checks(experiment)


def _started(check: Check) -> "Future[list[Finding]]":
    """Starts a check in a thread that does not keep the process alive."""
    answer: Future[list[Finding]] = Future()

    def look() -> None:
        try:
            found = check.look()
            answer.set_result([found] if isinstance(found, Finding) else list(found))
        except servers.NoAnswerError as error:
            remedy = "look at its address, at the server there and its log, and at the network between"
            answer.set_result([Finding(check.what, "problem", str(error), remedy)])
        except UnknownError as error:
            answer.set_result([Finding(check.what, "unknown", str(error), error.remedy)])
        except Exception as error:
            said = str(error).partition("\n")[0] or type(error).__name__
            answer.set_result([Finding(check.what, "unknown", f"could not be looked at: {said}", "see the message")])

    threading.Thread(target=look, daemon=True).start()
    return answer
