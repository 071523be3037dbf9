"""Tables on standard output, in which no id and no time is broken over two lines."""

from collections.abc import Sequence
from itertools import accumulate

from elboflow.settings.terminal import one_line, printable

_WIDE = 1000
"""Columns of a file or a pipe, in which nothing has to be cut off."""

_ROOM = 24
"""Columns that a long last column needs beside the others; with less, it goes below them."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table in which only the last column folds: an id or a time in two lines cannot be read or copied.

    Columns that do not fit beside the others go below their row, with their names.
    """
    from rich.cells import set_cell_size
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from pipelines.console import make_console

    console = make_console(soft_wrap=False)
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
