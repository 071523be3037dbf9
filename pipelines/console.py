"""The consoles of the commands: tables and colours by Rich, no secret, and no text that steers the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from components.surroundings.masking import masked
from elboflow.settings.terminal import printable


def make_console(stderr: bool = False, soft_wrap: bool = True) -> Console:
    """Returns a console that takes no text for markup, an emoji's name or an escape sequence.

    What is to be bold or dim is printed with a `style`, or is a `Text`.
    """
    return _Plain(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)


class _Plain(Console):
    def render_str(self, text: str, **how: Any) -> Text:
        """Makes strings texts, those in the cells of a table included, whose widths are then those of what is shown."""
        return super().render_str(printable(masked(text)), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Catches what was made a `Text` elsewhere."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)
