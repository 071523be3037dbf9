"""A line of `promotions.jsonl`: one change of a registered model's history, and the comparisons behind it."""

import hashlib
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from components.config import Guard
from components.registry.decisions import budget
from elboflow.settings import WorkError
from elboflow.settings.text import counted

FORMAT = 2
Kind = Literal["decision", "promoted by hand", "rolled back", "seen"]
"""What changed the history: a registration; a person; a person; or the alias was found elsewhere than it was left."""


class Part(BaseModel):
    """A part of a line. A program writes it; the checks of what a person writes would slow down a year's lines."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class Look(Part):
    """A comparison of a candidate with the champion, on all examples on which both were scored so far.

    Attributes:
        candidate: The version that is compared with the champion.
        hypothesis: The number of the hypothesis "the candidate is not better" in the life of the registered model.
        look: The number of the look at this hypothesis, from 1.
        events: The numbers of the events whose stored values are compared.
        level: What the p-value may be at most: this look's share of the error budget.
        p: The p-value.
        difference: The mean of candidate minus champion, larger being better.
        low: The lower end of the interval of the difference.
        high: Its upper end.
        deviation: The standard error of the difference.
        examples: The number of pairs.
        distinct: The number of distinct examples among them.
        gain: The difference, corrected for selection; None where the candidate did not win.
        spends: What the level is of the hypothesis' share: a part, or the whole, so that there is no second look.
    """

    candidate: int
    hypothesis: int
    look: int
    events: tuple[int, ...]
    level: float
    p: float
    difference: float
    low: float
    high: float
    deviation: float
    examples: int
    distinct: int
    gain: float | None = None
    spends: Literal["part", "whole"] = "part"

    @property
    def share(self) -> float:
        """The share of the hypothesis of the error budget."""
        return self.level if self.spends == "whole" else budget.share_of(self.level, self.look)

    @property
    def won(self) -> bool:
        """Whether the candidate is better than the champion."""
        return self.gain is not None


class Guarded(Part):
    """What a guard found on one class, for the candidate that won.

    Attributes:
        feature: The category.
        code: The class, as the dataset stores it.
        name: The name of the class; None if it has none.
        examples: The number of examples of the class.
        difference: The mean of candidate minus champion on them, larger being better.
        tolerance: By how much it may be worse.
    """

    feature: str
    code: int
    name: str | None
    examples: int
    difference: float
    tolerance: float

    @property
    def broken(self) -> bool:
        """Whether the candidate is worse by more than the tolerance."""
        return self.difference < -self.tolerance

    def __str__(self) -> str:
        named = f"{self.feature} {self.code if self.name is None else self.name!r}"
        worse = f"{-self.difference:.3f} worse on {named} ({counted(self.examples, 'example')})"
        return f"{worse}, where {self.tolerance:g} is tolerated"


class Rule(Part):
    """What a decision was made by: the settings in `registry`, and the direction and unit of the metric."""

    metric: str
    better: Literal["higher", "lower"]
    unit: str
    confidence: float
    error_budget: float
    guard: tuple[Guard, ...] = ()


class Source(Part):
    """What a version was made of, and by.

    Attributes:
        run: Name of the pipeline run.
        mlflow_run: Id of its MLflow run.
        dataset: Digest of the dataset.
        config: Digest of the settings.
        code: Version of the code that trained it.
        weights: SHA-256 of its weights.
        evaluation: SHA-256 of the manifest of its evaluation, which holds the checksums of all its files.
        value: The deciding metric on the test split.
    """

    run: str | None
    mlflow_run: str | None
    dataset: str
    config: str | None
    code: str
    weights: str
    evaluation: str
    value: float


class Event(Part):
    """A change of the history of a registered model.

    Attributes:
        format: Number of the format of this line, and of the rules by which decisions are made.
        number: Number of the line, from 1.
        kind: What happened.
        at: When.
        code: Version of the code that decided.
        version: The version that was registered, or that a person chose.
        before: The champion before; None if there was none.
        champion: The champion afterwards.
        challenger: The version that is compared again once there are new examples, if there is one.
        reason: Why, in a sentence.
        source: What the version was made of; None where a person acted.
        rule: What the decision was made by; None where a person acted.
        looks: The comparisons, the newcomer's first; none where nothing could or had to be compared.
        guarded: What the guards found, of the candidate that won.
        repeats: The number of the event in which the same weights were compared with the same champion, and won. The
            version did not answer then; it was asked again, and not compared again.
        veto: Why the version that won was not promoted all the same; None if nothing was against it.
        values: SHA-256 of the stored values; None without comparisons.
        left_out: The numbers of events whose stored values of the challenger could not be used.
        previous: SHA-256 of the line before; None in the first one.
    """

    format: int = FORMAT
    number: int
    kind: Kind
    at: datetime
    code: str
    version: int
    before: int | None
    champion: int | None
    challenger: int | None = None
    reason: str
    source: Source | None = None
    rule: Rule | None = None
    looks: tuple[Look, ...] = ()
    guarded: tuple[Guarded, ...] = ()
    repeats: int | None = None
    veto: str | None = None
    values: str | None = None
    left_out: tuple[int, ...] = ()
    previous: str | None

    @property
    def line(self) -> str:
        """The line of `promotions.jsonl`, without its end."""
        return self.model_dump_json()


def digest(content: str | bytes) -> str:
    """Returns the SHA-256 of a line or of stored values."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def lines(text: str) -> list[str]:
    """Returns the lines of `promotions.jsonl`. Only \\n ends one: a reason may hold other separators of lines."""
    return text.removesuffix("\n").split("\n") if text else []


def parse(text: str, place: str) -> tuple[Event, ...]:
    """Reads `promotions.jsonl`.

    Args:
        text: Its content.
        place: What errors call it.

    Raises:
        WorkError: A line is damaged, was changed or is missing; or was written by a newer version.
    """
    events: list[Event] = []
    previous: str | None = None
    for number, line in enumerate(lines(text), 1):
        try:
            event = Event.model_validate_json(line)
        except ValidationError:
            raise WorkError(f"{place}, line {number}: it is damaged") from None
        if event.format > FORMAT:
            raise WorkError(
                f"{place}, line {number}: it was written by a newer version of ELBOflow (format {event.format}; this "
                f"one reads up to {FORMAT})"
            )
        if event.number != number or event.previous != previous:
            raise WorkError(f"{place}, line {number}: a line before it was changed or removed")
        events.append(event)
        previous = digest(line)
    return tuple(events)
