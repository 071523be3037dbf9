"""How a local run shows itself on standard error: a header for each step, the step's own lines, and its seconds."""

from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self, TextIO

from rich.progress import Progress, TaskID

from components.surroundings.masking import masked
from elboflow.settings.terminal import printable
from pipelines.console import make_console, spinner
from pipelines.step_process import messages

LOG = "log.txt"
"""Everything that a step printed, in its folder."""
LAST = 200
"""Lines of a step that are kept in memory: they outlive a disk that was too full for its log."""


class Screen:
    """The screen of a run.

    Args:
        key: The key of the steps' messages.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._console = make_console(stderr=True)
        self._open = ExitStack()
        self._progress: Progress | None = None
        self._shown: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress = self._open.enter_context(spinner(self._console))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def begin(self, step: str) -> None:
        """Shows that a step begins."""
        self._console.print(step, style="bold")
        if self._progress is not None:
            self._shown = self._progress.add_task(step, total=None)

    def take(self, line: str, log: "Log") -> None:
        """Keeps a line that a step printed in its log, and shows it where it is a message for a person."""
        message = messages.read(line, self._key)
        if message is None:
            log.keep(masked(line))
            return
        text = printable(masked(message.text))
        log.keep(messages.MARK + text.replace("\n", f"\n{messages.MARK}"))
        if message.kind == "error":
            log.errors.append(text)
        else:
            self._console.print("  " + text.replace("\n", "\n  "))

    def say(self, text: str) -> None:
        """Shows a line that is not a step's own."""
        self._console.print(f"  {text}", style="dim")

    def end(self) -> None:
        """Shows that the step at work has ended."""
        if self._progress is not None and self._shown is not None:
            self._progress.remove_task(self._shown)
            self._shown = None


class Log:
    """Everything that a try of a step prints, in a file.

    Attributes:
        errors: What the step said of its failure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last: deque[str] = deque(maxlen=LAST)
        self.errors: list[str] = []
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):  # that the disk is full is for the step to say
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
        return self

    def __exit__(self, *_: object) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def keep(self, line: str) -> None:
        """Writes a line."""
        self.last.append(line)
        if self._file is not None:
            try:
                self._file.write(f"{line}\n")
            except OSError:
                self.__exit__()
