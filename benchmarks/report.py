"""What every benchmark prints: a table of figures on stdout, and the same as JSON."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A measured figure; `target` is what it should reach at least, or at most where `at_most`, if it has a target."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


def options(description: str | None, quick: str, data: bool, parts: Sequence[str] = ()) -> argparse.Namespace:
    """Reads a benchmark's command line.

    Args:
        description: What the benchmark does.
        quick: Help of --quick.
        data: Whether it takes --data.
        parts: What --only takes, if the benchmark has parts that can be run alone.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="where to write the figures as JSON")
    if data:
        parser.add_argument("--data", type=Path, help="a folder in MNIST's layout")
    if parts:
        parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="run these parts alone")
    return parser.parse_args()


def publish(figures: Sequence[Figure], json_path: Path | None) -> None:
    """Prints the figures as a table, and writes them as a JSON list where a path is given."""
    rows = [("figure", "value", "unit", "target", "met")]
    for figure in figures:
        sign = "≤" if figure.at_most else "≥"
        target = "" if figure.target is None else f"{sign} {figure.target:,g}"
        met = {None: "", True: "yes", False: "NO"}[figure.met]
        rows.append((figure.name, _number(figure.value), figure.unit, target, met))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        cells = [
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    if json_path:
        entries = [
            {"name": f.name, "value": f.value, "unit": f.unit, "target": f.target, "met": f.met} for f in figures
        ]
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
