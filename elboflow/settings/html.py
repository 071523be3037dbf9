"""Tables and pictures as which artifacts show themselves in a notebook: small, and with nothing from outside."""

import base64
from collections.abc import Callable, Iterable, Sequence
from html import escape

_masks: list[Callable[[str], str]] = []


def mask_with(mask: Callable[[str], str]) -> None:
    """Has all texts go through a function that hides secrets; `components` gives the one that knows them."""
    if mask not in _masks:
        _masks.append(mask)


def text(value: object) -> str:
    """Returns a value as HTML, without secrets and with all escaped that HTML would obey."""
    shown = str(value)
    for mask in _masks:
        shown = mask(shown)
    return escape(shown)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Returns a table with a title above it, and a note below it if one is given."""
    head = "".join(f'<th style="text-align: left">{text(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left">{text(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    below = f"<p>{text(note)}</p>" if note else ""
    return (
        f"<div><strong>{text(title)}</strong><table>"
        f"{f'<thead><tr>{head}</tr></thead>' if columns else ''}<tbody>{body}</tbody></table>{below}</div>"
    )


def picture(png: bytes, title: str) -> str:
    """Returns a PNG picture, which is part of the HTML."""
    data = base64.b64encode(png).decode()
    style = "max-width: 32rem; background: white"
    return f'<figure><img alt="{text(title)}" style="{style}" src="data:image/png;base64,{data}"></figure>'
