"""How a command ends: its exit code, and what the person is told."""

import logging
import os
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from elboflow.settings import RequestError, variables
from pipelines.step_process.start import check_names


class Commands(TyperGroup):
    """A group of commands whose errors end in exit codes.

    0 done, 1 the work failed, 2 the request was wrong and nothing was started, 130 interrupted (129 by SIGHUP, 143 by
    SIGTERM). An error that a person can understand is told in a line or a few; any other keeps its traceback.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.obj = tuple(args)  # before options and their values are taken apart
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        from components.surroundings import servers

        hear_warnings()
        try:
            _refuse_empty(ctx.obj)
            check_names()
            for sentence in variables.unknown():
                tell(f"warning: {sentence}")
            with _interrupted_by(signal.SIGTERM, signal.SIGHUP), servers.hurried_by_interrupts():
                return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _in_words(error)
            raise
        except KeyboardInterrupt as interrupt:
            number, *advice = interrupt.args or (signal.SIGINT,)
            ended = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
            tell("; ".join([ended, *advice]))
            raise typer.Exit(128 + number) from None
        except Exception as error:
            from pipelines.step_process.process import understood

            told = understood(error)
            if told is None:
                raise
            tell(f"error: {told}")
            raise typer.Exit(told.exit_code) from None


def _in_words(error: typer.BadParameter) -> str:
    """Returns what is wrong with the value of an option, where typer repeats what its validator says."""
    from pydantic import ValidationError

    from elboflow.settings.expectations import expected
    from elboflow.settings.text import shown

    if not isinstance(error.__cause__, ValidationError):
        return error.message
    found = error.__cause__.errors()[0]
    wish = expected(found["type"], found["msg"], found.get("ctx", {}), None)
    return f"{shown(found['input'])} is not allowed; must {wish}."


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuses what a script gives when a variable of it is not set: no command takes an empty word.

    Raises:
        RequestError: A word of the command line, the value of an option, or ELBOFLOW_WORKSPACE is empty or blank.
    """
    for before, word in pairwise(("", *words)):
        if not word.strip():
            name = before if before.startswith("--") else f"the argument after `{before}`" if before else "the argument"
            raise RequestError(f"{name} is empty")
        if word.startswith("--") and word.endswith("=") and word.count("=") == 1:
            raise RequestError(f"{word.removesuffix('=')} is empty")
    if not os.environ.get(variables.WORKSPACE, "set").strip():  # click would take it for unset
        raise RequestError(f"{variables.WORKSPACE} is empty; give the folder of the workspace, or unset it")


@contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """Makes signals end the command as Ctrl-C does: what it started ends with it, and temporary files go.

    A signal that is ignored already, as SIGHUP is under nohup, stays so.
    """
    from components.surroundings import interrupts, servers

    def interrupt(number: int, _: object) -> None:
        if interrupts.is_handled():
            return
        servers.hurry()
        raise KeyboardInterrupt(number)  # not a subclass, for whose sake `subprocess` would not let go of a child

    before = {number: signal.getsignal(number) for number in signals if signal.getsignal(number) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def resumable(restart: bool) -> Iterator[None]:
    """Lets a command that is interrupted say how to go on; `restart`: whether it was told to start over."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        same = "the same command without --restart" if restart else "the same command"
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        raise KeyboardInterrupt(number, f"{same} goes on from the last checkpoint, if there is one") from None


@contextmanager
def traceback_told() -> Iterator[None]:
    """Ends the process with code 1 after an error that was not foreseen, and its traceback."""
    try:
        yield
    except Exception:
        from components.surroundings.masking import masked

        tell(masked(traceback.format_exc()).rstrip())
        sys.exit(1)


def tell(text: str) -> None:
    """Prints a line, or a few, for the person at the terminal, to standard error: no secrets, nothing that steers."""
    from components.surroundings.masking import masked
    from elboflow.settings.terminal import printable

    print(printable(masked(text)), file=sys.stderr, flush=True)


def pasteable(*arguments: str | Path, directory: str | None = None) -> str:
    """Returns a command of ours as it can be pasted here, called as this one was.

    Args:
        arguments: The words after the program's name.
        directory: Where the command has to run, if not here.
    """
    if directory is not None and directory != str(Path.cwd()):
        words = [str(Path(sys.executable).absolute()), "-m", "pipelines", *map(str, arguments)]
        return f"cd {shlex.quote(directory)} && {shlex.join(words)}"
    program = Path(sys.argv[0])
    on_path = shutil.which("elboflow")
    if program.name == "__main__.py":
        words = [_from_here(Path(sys.executable)), "-m", "pipelines"]
    elif on_path is not None and program.exists() and Path(on_path).samefile(program):
        words = ["elboflow"]
    else:
        words = [_from_here(program)]
    return shlex.join([*words, *map(str, arguments)])


def _from_here(program: Path) -> str:
    absolute = Path.cwd() / program
    return f"./{absolute.relative_to(Path.cwd())}" if absolute.is_relative_to(Path.cwd()) else str(program)


def show_log() -> None:
    """Shows log records of the project as plain lines on standard error, and quietens the libraries."""
    from pipelines.step_process.process import quieten

    quieten()
    hear_warnings()
    logger = logging.getLogger("elboflow")
    logger.setLevel(logging.INFO)
    logger.propagate = False


def hear_warnings() -> None:
    """Shows the project's warnings, and what `show_log` adds to them, as plain lines on standard error."""
    logger = logging.getLogger("elboflow")
    if not any(isinstance(handler, _LogOnScreen) for handler in logger.handlers):
        logger.addHandler(_LogOnScreen())


class _LogOnScreen(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))
