"""The section `schedule`: when an experiment runs by itself."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from elboflow.settings import Settings
from elboflow.settings.explain import ConflictsError, Problem, written
from elboflow.settings.zones import Timezone
from pipelines.timing import cron
from pipelines.timing.trigger import EVERY

Name = Annotated[
    str,
    written(
        "[a-z]([a-z0-9-]{0,48}[a-z0-9])?",
        "be lower-case letters, digits and hyphens, at most 50, a letter first and no hyphen last",
    ),
]


class Trigger(Settings):
    """What starts a run besides a cron, by the scheduler of this machine."""

    after: Name | None = Field(None, description="the experiment after whose success a run starts")
    changed: Annotated[str, written(EVERY, "be such as every 15 min, or every 2 h")] | None = Field(
        None, description="how often to look whether the files of the source are others: every 15 min"
    )

    @model_validator(mode="after")
    def _is_one(self) -> "Trigger":
        if (self.after is None) == (self.changed is None):
            raise ValueError("expected one of `after` and `changed`")
        return self

    def __str__(self) -> str:
        return f"after {self.after}" if self.after is not None else f"changed {self.changed}"


class Schedule(Settings):
    """When the pipeline runs by itself, unless `elboflow schedule create` says otherwise."""

    short_form: ClassVar = "cron"
    cron: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="minute, hour, day of month, month, day of week: 0 2 * * *",
    )
    trigger: Trigger | None = Field(
        None, exclude_if=lambda value: value is None, description="what starts a run, instead of a cron"
    )
    timezone: Timezone = "UTC"
    deadline_minutes: Annotated[int, Field(ge=1)] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="after so many minutes, a run of a schedule on this machine counts as hanging; null: never",
    )

    @field_validator("cron")
    @classmethod
    def _is_understood(cls, fields: str | None) -> str | None:
        if fields is not None:
            cron.check(fields)
        return fields

    @model_validator(mode="after")
    def _has_one(self) -> "Schedule":
        if self.cron is None and self.trigger is None:
            raise ConflictsError([Problem(("cron",), "missing; it must be given, or a trigger")])
        if self.cron is not None and self.trigger is not None:
            raise ConflictsError([Problem(("trigger",), f"there is a cron, {self.cron}; give one of the two")])
        return self

    @property
    def when(self) -> str:
        """The cron, or the trigger as it stands in the place of a cron."""
        return self.cron if self.cron is not None else str(self.trigger)
