"""The consoles of the commands: tables and colours by Rich, no secret, and no text that steers the terminal."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from typing import Any

from rich.cells import set_cell_size
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from components.surroundings.masking import masked
from elboflow.settings.terminal import one_line, printable

_WIDE = 1000
"""Columns of a file or a pipe, in which nothing has to be cut off."""

_ROOM = 24
"""Columns that a long last column needs beside the others; with less, it goes below them."""


def make_console(stderr: bool = False, soft_wrap: bool = True) -> Console:
    """Returns a console that takes no text for markup, an emoji's name or an escape sequence.

    What is to be bold or dim is printed with a `style`, or is a `Text`.
    """
    return _Plain(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)


def spinner(console: Console) -> Progress:
    """Returns what shows on a terminal that its tasks are at work, and for how long; it goes when they have ended."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True)


@contextmanager
def at_work(what: str) -> Iterator[None]:
    """Shows on standard error that something is at work, if it is a terminal."""
    console = make_console(stderr=True)
    with spinner(console) if console.is_terminal else ExitStack() as shown:
        if isinstance(shown, Progress):
            shown.add_task(what, total=None)
        yield


class _Plain(Console):
    def render_str(self, text: str, **how: Any) -> Text:
        """Makes strings texts, those in the cells of a table included, whose widths are then those of what is shown."""
        return super().render_str(printable(masked(text)), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Catches what was made a `Text` elsewhere."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], stderr: bool = False) -> None:
    """Prints a table in which only the last column folds: an id or a time in two lines cannot be read or copied.

    Columns that do not fit beside the others go below their row, with their names.
    """
    console = make_console(stderr=stderr, soft_wrap=False)
    if not console.is_terminal:
        console.width = _WIDE
    rows = [(*map(one_line, row[:-1]), printable(row[-1])) for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    ends = list(accumulate(width + 2 for width in [*widths[:-1], min(widths[-1], _ROOM)]))
    fitting = max(sum(end - 2 <= console.width for end in ends), 1)
    if fitting == len(columns):
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in columns:
            table.add_column(name, no_wrap=name != columns[-1], overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    for row in (columns, *rows):
        beside = "  ".join(map(set_cell_size, row[:fitting], widths)).rstrip()
        console.print(Text(beside), soft_wrap=True)
        named = zip(columns[fitting:], row[fitting:], strict=True) if row is not columns else ()
        for line in _joined([f"{name}: {cell}" if name else cell for name, cell in named if cell], console.width - 4):
            console.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 4)))


def _joined(items: Sequence[str], width: int) -> list[str]:
    """Returns lines of as many whole items as fit; only an item that is longer than a line will fold."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 2 + len(item) <= width:
            lines[-1] += f"  {item}"
        else:
            lines.append(item)
    return lines
