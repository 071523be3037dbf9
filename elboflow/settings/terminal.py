"""Escapes text from outside (names, keys, messages, answers of servers) before a terminal shows it.

Escape sequences are commands to a terminal, a carriage return overwrites the line, and a direction override shows a
name backwards. They are printed as Python's escapes: `\\x1b`, `\\r`, `\\u202e`.
"""

import unicodedata

_KEPT = "\t\n\u200c\u200d"  # the joiners are letters' own in Persian, in the scripts of India, and in emoji
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode: control, format, half of a pair, and the separators of lines and paragraphs."""


class _Escapes(dict[int, str | int]):
    """The table of `str.translate`, filled as characters are met."""

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        hidden = unicodedata.category(character) in _UNSEEN and character not in _KEPT
        self[code] = character.encode("unicode_escape").decode("ascii") if hidden else code
        return self[code]


_ESCAPES = _Escapes()


def printable(text: str) -> str:
    """Returns a text with its control, escape and direction characters escaped. Lines stay lines."""
    return text if text.isascii() and text.isprintable() else text.translate(_ESCAPES)


def one_line(text: str) -> str:
    """Returns a name, or another text that has no lines, as `printable`, and its line breaks escaped as well."""
    return printable(text).replace("\n", "\\n")
