"""A dress rehearsal: the nights of a production schedule, on this machine, on doubles of the platform.

`flaws` looks at what would break, `stage` sets up the doubles, and `nights` lets the schedule's times come, with
faults.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flaw:
    """What would break in production.

    Attributes:
        name: Of its kind, such as `no-timeout`.
        where: The key of the experiment, or the option.
        found: What is wrong.
        breaks: What would happen, and in which night.
        remedy: What to write instead.
    """

    name: str
    where: str
    found: str
    breaks: str
    remedy: str


@dataclass(frozen=True)
class Night:
    """What happened in a night.

    Attributes:
        number: From 1.
        tick: The time for which the schedule started the run, on the wall clock of its timezone.
        kind: `executed`: the steps did their work, on little data; `announced`: the platform went through the steps;
            `sweep`: no night, but a sweep that a person starts after the last one, announced.
        fault: What was planted; None in a night without.
        status: How the run ended.
        outcome: What the product did.
        notified: Who would have been told.
        seconds: How long the night took here.
    """

    number: int
    tick: str
    kind: str
    fault: str | None
    status: str
    outcome: str
    notified: str
    seconds: float
