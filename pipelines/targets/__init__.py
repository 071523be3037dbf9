"""Where a pipeline runs, behind one protocol: this machine, Kubeflow Pipelines, Vertex AI Pipelines.

A target submits a compiled pipeline, follows it, and keeps schedules of it. Everything that a command shows of a run or
a schedule is one of the frozen values below, on every target.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from elboflow.settings import RequestError

if TYPE_CHECKING:
    from pipelines.timing import Timing

NAMES = ("local", "kubeflow", "vertex")
Status = Literal["pending", "running", "succeeded", "failed", "cancelled", "skipped", "damaged"]
Outlook = Literal["active", "paused", "ended", "broken", "deleted"]
STATUSES: tuple[Status, ...] = get_args(Status)
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "cancelled", "skipped"})


@dataclass(frozen=True)
class StepState:
    """A step of a run. Times are in UTC."""

    name: str
    status: Status
    started: datetime | None = None
    ended: datetime | None = None
    reason: str | None = None


def seconds(steps: Iterable[StepState]) -> dict[str, float]:
    """Returns how long each step took that has ended, by name."""
    return {step.name: (step.ended - step.started).total_seconds() for step in steps if step.started and step.ended}


@dataclass(frozen=True)
class RunState:
    """A run, as a target knows it at this moment. Times are in UTC.

    Attributes:
        id: What `status`, `logs`, `cancel` and `runs attach` take.
        status: pending, running, succeeded, failed, cancelled or skipped; damaged where its record cannot be read.
        steps: Those that have begun, or are known to come, in their order.
        link: The run's page in the platform's console.
        reason: Why it failed or was skipped, in one line.
    """

    id: str
    experiment: str
    target: str
    status: Status
    steps: tuple[StepState, ...] = ()
    created: datetime | None = None
    ended: datetime | None = None
    link: str | None = None
    reason: str | None = None


def require_failed(run: RunState) -> None:
    """Refuses to repeat a run that has not failed and was not cancelled.

    Raises:
        RequestError: It is at work, or it succeeded.
    """
    to_it = "" if run.target == "local" else f" --target {run.target}"
    if run.status not in ENDED:
        raise RequestError(f"the run {run.id} is at work; `elboflow cancel {run.id}{to_it}` ends it")
    if run.status in ("succeeded", "skipped"):
        ended = "succeeded" if run.status == "succeeded" else "was skipped"
        raise RequestError(f"the run {run.id} {ended}; a new one: elboflow run {run.experiment}{to_it}")


@dataclass(frozen=True)
class Job:
    """What is submitted: a compiled pipeline, or a published version of one, and its arguments.

    Attributes:
        specification: The pipeline as IR YAML; None for a published version.
        release: The published version; None for a specification.
        arguments: Those that differ from the pipeline's own defaults.
        labels: Labels of the run, where the platform has them.
        files: The files that the experiment was read from, where a person wrote them.
        is_dated: Whether its data have a date, which is then an argument.
    """

    name: str
    specification: str | None = None
    release: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    is_dated: bool = False

    def scheduled(self, timing: "Timing", if_changed: bool) -> "Job":
        """Returns the job of a schedule on a platform: whose clocks say the date is an argument."""
        given = {"if_changed": True} if if_changed else {}
        zone = {"timezone": timing.timezone} if self.is_dated else {}
        return replace(self, arguments={**self.arguments, **given, **zone})

    @property
    def digest(self) -> str:
        """The SHA-256 of what runs, in hexadecimal: two jobs of one digest do the same."""
        from elboflow.settings.digest import digest  # it imports pydantic, for which `--help` does not wait

        return digest([self.specification, self.release, self.arguments])


@dataclass(frozen=True)
class Naming:
    """What a schedule is called.

    Attributes:
        name: Its name, which no other schedule of the target has.
        group: The schedules that `elboflow schedule apply` keeps together; None for one that was made by hand.
    """

    name: str
    group: str | None = None


def taken(name: str, id: str) -> str:
    """Returns what is told of a name that another schedule has."""
    return f"--name {name}: the schedule {id} has this name; delete it, or choose another"


@dataclass(frozen=True)
class FileState:
    """A file that a schedule's experiment was read from at creation, and whether it has changed since."""

    path: str
    status: Literal["unchanged", "changed", "absent"]


@dataclass(frozen=True)
class ScheduleState:
    """A schedule, as a target knows it at this moment. Times are in UTC.

    Attributes:
        status: Whether it ticks; a `broken` one cannot, for its `reason`, and a `deleted` one is only remembered.
        files: The files that its copy of the experiment was read from, where the target knows them.
        tracking_uri: The MLflow that its copy names, on this machine.
        name: The name that it was given, by which commands find it, too.
        group: The schedules that `elboflow schedule apply` keeps together; None for one that was made by hand.
        job: The digest of the job that it runs, where it was recorded.
        folder: The folder of this machine in which its runs work.
    """

    id: str
    experiment: str
    target: str
    timing: "Timing"
    status: Outlook
    if_changed: bool = False
    next: datetime | None = None
    last: RunState | None = None
    link: str | None = None
    reason: str | None = None
    files: tuple[FileState, ...] = ()
    tracking_uri: str | None = None
    name: str | None = None
    group: str | None = None
    job: str | None = None
    folder: str | None = None


class Target(Protocol):
    """What every target can do. All methods raise `RequestError` for what the person can mend, such as an id that does
    not exist or credentials that are refused, and `WorkError` where the platform failed."""

    name: str

    def submit(self, job: Job) -> RunState:
        """Starts a run, once, even if the connection breaks and the submission has to be tried again."""

    def run(self, id: str) -> RunState:
        """Returns a run."""

    def runs(self, limit: int = 20) -> list[RunState]:
        """Returns the latest runs, the newest first."""

    def logs(self, id: str, step: str | None = None) -> Iterator[str]:
        """Yields the lines of a run's log, or of one step's."""

    def cancel(self, id: str) -> None:
        """Ends a run; without effect on one that has ended."""

    def retry(self, id: str) -> RunState:
        """Repeats a run that failed or was cancelled, from the step that failed, with what its finished steps made.

        Returns it at work again, or the new run that repeats it, where the platform ends a run for good.
        """

    def create_schedule(
        self, job: Job, timing: "Timing", if_changed: bool, naming: Naming | None = None, *, paused: bool = False
    ) -> ScheduleState:
        """Makes a schedule of a job; a paused one never ticks. A name that another schedule has is a RequestError."""

    def change_schedule(
        self,
        schedule: ScheduleState,
        job: Job,
        timing: "Timing",
        if_changed: bool,
        naming: Naming,
        *,
        paused: bool,
    ) -> ScheduleState:
        """Gives a named schedule another job or other times, and returns it; what has ticked does not tick again.

        By its new times, a paused one does not tick. Its id is another one where the platform can only replace it.
        """

    def scheduled_experiment(self, id: str) -> dict[str, Any]:
        """Returns the experiment that a schedule runs, as JSON values, as far as the target knows it."""

    def schedules(self) -> list[ScheduleState]:
        """Returns all schedules."""

    def schedule(self, id: str) -> ScheduleState:
        """Returns a schedule."""

    def pause(self, id: str) -> None:
        """Makes a schedule skip its ticks until it is resumed."""

    def resume(self, id: str) -> None:
        """Lets a paused schedule go on."""

    def trigger(self, id: str, date: str | None = None) -> RunState:
        """Runs a schedule's job now, besides its ticks; for a date where its data have one."""

    def dated_runs(self, id: str) -> dict[str, RunState]:
        """Returns the latest run of each date of a schedule, as far as the target knows the dates of runs."""

    def delete(self, id: str) -> None:
        """Removes a schedule; its runs stay."""

    def history(self, id: str, limit: int = 50) -> list[RunState]:
        """Returns the runs of a schedule, the newest first."""
