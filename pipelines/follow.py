"""Following a run that is at work elsewhere: one header per step as it begins, and its seconds when it has ended."""

import time
from collections.abc import Callable
from contextlib import ExitStack

from rich.status import Status as Spinner
from rich.text import Text

from elboflow.settings import RequestError, WorkError
from elboflow.settings.terminal import one_line
from pipelines.console import make_console
from pipelines.targets import ENDED, RunState, StepState, Target

FIRST, LONGEST, GROWTH = 1.0, 15.0, 1.3
"""Seconds between two looks: at first, at most, and by what factor they grow while nothing happens."""

PATIENCE = 600.0
"""Seconds for which a platform may be out of reach while it is followed: its run goes on without us."""


class LostError(WorkError):
    """A run can be followed no further; it goes on all the same."""

    def __init__(self, reason: str, state: RunState) -> None:
        super().__init__(reason)
        self.state = state


def follow(target: Target, state: RunState, sleep: Callable[[float], None] = time.sleep) -> RunState:
    """Shows a run until it has ended, and returns how.

    Raises:
        LostError: The platform has been out of reach for too long, refuses the credentials, or has lost the run.
    """
    screen = _Steps()
    with screen:
        wait, unreachable = FIRST, 0.0
        screen.show(state)
        while state.status not in ENDED:
            sleep(wait)
            asked = time.monotonic()
            try:
                now = target.run(state.id)
            except RequestError as error:
                raise LostError(str(error), state) from error
            except WorkError as error:
                unreachable += wait + time.monotonic() - asked  # one that hangs takes long to say nothing
                if unreachable > PATIENCE:
                    raise LostError(str(error), state) from error
                screen.wait(f"{error}; asking again")
                wait = min(wait * GROWTH, LONGEST)
                continue
            wait = FIRST if now != state else min(wait * GROWTH, LONGEST)
            state, unreachable = now, 0.0
            screen.show(state)
    return state


class _Steps:
    """What has been shown of a run's steps on standard error."""

    def __init__(self) -> None:
        self._console = make_console(stderr=True)
        self._open = ExitStack()
        self._spinner: Spinner | None = None
        self._shown: dict[str, str] = {}

    def __enter__(self) -> "_Steps":
        if self._console.is_terminal:
            self._spinner = self._open.enter_context(self._console.status("waiting for the run"))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def wait(self, why: str) -> None:
        if self._spinner is not None:
            self._spinner.update(Text(one_line(why)))

    def show(self, state: RunState) -> None:
        """Prints what is new. Steps may run side by side: an ending says whose it is where another has begun since."""
        for step in state.steps:
            if step.name not in self._shown and step.status != "pending":
                self._console.print(one_line(step.name), style="bold")
                self._shown[step.name] = "running"
            if step.status in ENDED and self._shown.get(step.name) == "running":
                last = next(reversed(self._shown)) == step.name
                self._console.print(f"  {'' if last else f'{step.name}: '}{_ending(step)}", style="dim")
                self._shown[step.name] = step.status
        at_work = [step.name for step in state.steps if step.status == "running"]
        self.wait(", ".join(at_work) or state.status)


def _ending(step: StepState) -> str:
    seconds = (
        f"{(step.ended - step.started).total_seconds():.1f} s"
        if step.started is not None and step.ended is not None
        else ""
    )
    if step.status == "succeeded":
        return seconds or "done"
    said = f"{step.status}: {step.reason}" if step.reason else step.status
    return f"{said}, after {seconds}" if seconds and step.status != "skipped" else said
