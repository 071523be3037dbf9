"""The comparison of a sweep's trials: one HTML file that needs nothing else, no network and no script."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.sweep.trial import Outcome, Status, written

_MINUS = "\N{MINUS SIGN}"
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 960, 360, 70, 90, 40, 24
_MOST_TICKS = 8
_BOUND = "validation ELBO, nats"


@dataclass(frozen=True)
class Tick:
    """A value on an axis, at its place in the drawing."""

    place: float
    text: str


@dataclass(frozen=True)
class Axis:
    """An upright axis: its name above it, its place from the left, and its ticks beside it.

    Attributes:
        name: What it shows.
        name_at: Where the name stands.
        anchor: Whether it starts, ends or has its middle there.
        place: Where the axis stands.
        ticks: Its values.
        beyond: Whether they stand to the right of it.
    """

    name: str
    name_at: float
    anchor: str
    place: float
    ticks: tuple[Tick, ...]
    beyond: bool = False

    @property
    def ticks_at(self) -> float:
        """Where the ticks' texts end, or start."""
        return self.place + (8 if self.beyond else -8)


@dataclass(frozen=True)
class Line:
    """A trial as a line: SVG points, how strong it is drawn, and what it is."""

    points: str
    strength: float
    style: str
    title: str


@dataclass(frozen=True)
class Drawing:
    """Lines on axes, and ticks below."""

    width: int
    height: int
    top: int
    bottom: int
    axes: tuple[Axis, ...]
    below: tuple[Tick, ...]
    lines: tuple[Line, ...]


def report(name: str, run: str, over: Mapping[str, str], outcomes: Sequence[Outcome], best: Outcome | None) -> str:
    """Returns the report as HTML.

    Args:
        name: The experiment's name.
        run: The sweep's run name.
        over: What varied, as it was asked for: by dotted key.
        outcomes: The trials, in the order of the table.
        best: The best of them; None where none finished.
    """
    # Values come from a person's command and reasons from wherever things failed: everything is escaped.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    environment.filters["written"] = written
    measured = [outcome for outcome in outcomes if outcome.bound is not None]
    return environment.get_template("report.html").render(
        name=name,
        run=run,
        over=over,
        keys=list(over),
        ranked=outcomes,
        best=best,
        counts={status: sum(outcome.status == status for outcome in outcomes) for status in get_args(Status)},
        seconds=sum(outcome.seconds for outcome in outcomes),
        coordinates=_coordinates(list(over), measured, best) if measured else None,
        curves=_curves(measured, best) if measured else None,
        seeds="seed" in over,
    )


def number(value: float, decimals: int) -> str:
    """Returns a number for reading: 1,234.50, with a true minus sign."""
    return f"{value:,.{decimals}f}".replace("-", _MINUS)


class _Scale:
    """Where values stand between the bottom and the top of a drawing."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._choices = list(dict.fromkeys(map(written, values)))
        self._numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if self._numbers:
            self._choices = [written(value) for value in sorted(set(values))]
            self._low, self._high = min(values), max(values)
            self._log = self._low > 0 and self._high / self._low >= 20

    def place(self, value: Any) -> float:
        """Returns the height of a value in the drawing; values out of the range stand at its end."""
        if not self._numbers:
            share = self._choices.index(written(value)) / max(len(self._choices) - 1, 1)
        elif self._high == self._low:
            share = 0.5
        else:
            ends = (self._low, self._high, value)
            low, high, here = map(math.log, ends) if self._log else ends
            share = (here - low) / (high - low)
        if len(self._choices) == 1:
            share = 0.5
        return round(_HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def ticks(self, values: Sequence[Any]) -> tuple[Tick, ...]:
        """Returns the values themselves where they are few, and else some between the ends."""
        shown = {written(value): value for value in values}
        if self._numbers and len(shown) > _MOST_TICKS:
            low, high = map(math.log, (self._low, self._high)) if self._log else (self._low, self._high)
            between = [low + step / 4 * (high - low) for step in range(5)]
            marks = [math.exp(mark) for mark in between] if self._log else between
            whole = all(isinstance(value, int) for value in values)
            shown = {f"{mark:.3g}": mark for mark in (map(round, marks) if whole else marks)}
        return tuple(Tick(self.place(value), text.replace("-", _MINUS, 1)) for text, value in shown.items())


def _coordinates(keys: Sequence[str], outcomes: Sequence[Outcome], best: Outcome | None) -> Drawing:
    """Draws parallel coordinates: an axis for each key and one for the bound, a line for each trial."""
    between = (_WIDTH - _LEFT - _RIGHT) / len(keys)
    columns: dict[str, list[Any]] = {key: [outcome.values[key] for outcome in outcomes] for key in keys}
    scales = {key: _Scale(values) for key, values in columns.items()}
    bounds, floor = [_bound(outcome) for outcome in outcomes], _floor([_bound(outcome) for outcome in outcomes])
    shown = [max(bound, floor) for bound in bounds]
    scale = _Scale(shown)
    ends = (min(shown), max(shown))
    axes = []
    for i, key in enumerate(keys):
        place, anchor = round(_LEFT + i * between, 1), "middle" if i else "start"
        axes.append(Axis(key, place if i else 8, anchor, place, scales[key].ticks(columns[key])))
    marks = dict.fromkeys(ends[0] + share / 4 * (ends[1] - ends[0]) for share in range(5))
    below_floor = "≤ " if min(bounds) < floor else ""
    ticks = tuple(Tick(scale.place(mark), (below_floor if mark == ends[0] else "") + number(mark, 2)) for mark in marks)
    axes.append(Axis(_BOUND, _WIDTH - 8, "end", _WIDTH - _RIGHT, ticks, beyond=True))
    lines = []
    for outcome, bound in zip(outcomes, shown, strict=True):
        heights = [*(scales[key].place(outcome.values[key]) for key in keys), scale.place(bound)]
        points = " ".join(f"{axis.place},{height}" for axis, height in zip(axes, heights, strict=True))
        lines.append(_line(points, outcome, _share(bound, ends), best))
    return Drawing(_WIDTH, _HEIGHT, _TOP, _HEIGHT - _BOTTOM, tuple(axes), (), _best_last(lines))


def _curves(outcomes: Sequence[Outcome], best: Outcome | None) -> Drawing:
    """Draws the validation bound of every trial over its epochs."""
    epochs = max(len(outcome.elbo) for outcome in outcomes)
    late = [elbo for outcome in outcomes for elbo in outcome.elbo[epochs // 10 :]] or [_bound(outcomes[0])]
    ends = (max(min(late), _floor(late)), max(late))
    scale = _Scale(ends)

    def across(epoch: int) -> float:
        return round(_LEFT + (epoch - 1) / max(epochs - 1, 1) * (_WIDTH - _LEFT - 20), 1)

    lines = []
    for outcome in outcomes:
        places = [(across(epoch), scale.place(elbo)) for epoch, elbo in enumerate(outcome.elbo, 1) if elbo >= ends[0]]
        # A line of one point would not be drawn; from the point to itself, it is a dot.
        points = " ".join(f"{x},{y}" for x, y in (places * 2 if len(places) == 1 else places))
        lines.append(_line(points, outcome, _share(_bound(outcome), ends), best))
    ticks = dict.fromkeys(ends[0] + share / 4 * (ends[1] - ends[0]) for share in range(5))
    axis = Axis(_BOUND, 8, "start", _LEFT, tuple(Tick(scale.place(tick), number(tick, 2)) for tick in ticks))
    shown = sorted({1, epochs, *(max(1, round(epochs * share / 5)) for share in range(1, 5))})
    below = tuple(Tick(across(epoch), str(epoch)) for epoch in shown)
    return Drawing(_WIDTH, _HEIGHT, _TOP, _HEIGHT - _BOTTOM, (axis,), below, _best_last(lines))


def _line(points: str, outcome: Outcome, share: float, best: Outcome | None) -> Line:
    values = " ".join(f"{key}={written(value)}" for key, value in outcome.values.items())
    style = "best" if outcome is best else outcome.status
    return Line(points, 1.0 if outcome is best else round(0.3 + 0.5 * share, 2), style, f"{values}: {outcome}")


def _best_last(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Orders lines so that the stronger lie upon the weaker."""
    return tuple(sorted(lines, key=lambda line: (line.style == "best", line.strength)))


def _bound(outcome: Outcome) -> float:
    return max(outcome.elbo)


def _floor(bounds: Sequence[float]) -> float:
    """Returns the lowest bound that is drawn where it is: a few that are far off would flatten the rest."""
    return max(bounds) - 4 * (max(bounds) - median(bounds)) if len(bounds) > 2 else min(bounds)


def _share(bound: float, ends: tuple[float, float]) -> float:
    return min(max((bound - ends[0]) / (ends[1] - ends[0]), 0.0), 1.0) if ends[1] > ends[0] else 1.0
