"""How a command ends: its exit code, and what the person is told."""

import logging
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from pipelines.process import FULL
from settings import RequestError, WorkError

INTERRUPTED = 130


class Commands(TyperGroup):
    """A group of commands whose errors end in exit codes.

    0 done, 1 the work failed, 2 the request was wrong and nothing was started, 130 interrupted. An error that a person
    can understand is told in a line or a few; any other keeps its traceback.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (RequestError, WorkError) as error:
            tell(f"error: {error}")
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno not in FULL:
                raise
            tell(f"error: {error}")
            raise typer.Exit(WorkError.exit_code) from None
        except KeyboardInterrupt:
            tell("interrupted")
            raise typer.Exit(INTERRUPTED) from None


def tell(text: str) -> None:
    """Prints a line for the person at the terminal, to standard error."""
    print(text, file=sys.stderr, flush=True)


def show_log() -> None:
    """Shows what the house logs, as plain lines on standard error."""
    logger = logging.getLogger("elboflow")
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
