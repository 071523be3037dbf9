"""How a command ends: its exit code, and what the person is told."""

import logging
import sys
from typing import Any

import typer
from typer.core import TyperGroup

INTERRUPTED = 130


class Commands(TyperGroup):
    """A group of commands whose errors end in exit codes.

    0 done, 1 the work failed, 2 the request was wrong and nothing was started, 130 interrupted. An error that a person
    can understand is told in a line or a few; any other keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            tell("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            from pipelines.process import FULL
            from settings import RequestError, WorkError

            if isinstance(error, RequestError | WorkError):
                code = error.exit_code
            elif isinstance(error, OSError) and error.errno in FULL:
                code = WorkError.exit_code
            else:
                raise
            tell(f"error: {error}")
            raise typer.Exit(code) from None


def tell(text: str) -> None:
    """Prints a line for the person at the terminal, to standard error."""
    print(text, file=sys.stderr, flush=True)


def show_log() -> None:
    """Shows what the house logs, as plain lines on standard error, and quietens the libraries."""
    from pipelines.process import quieten

    quieten()
    logger = logging.getLogger("elboflow")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
