"""The encodings of a secret in a text: plain, in a URL, JSON, HTML, a shell word, Base64, and one inside another."""

import base64
import html
import json
import shlex
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

_SHORTEST_LINE = 6
"""Characters of a line of a secret that is hidden by itself; shorter ones would hide half of every log."""
_SHORTEST_CORE = 6
_LONGEST_TWICE = 512
"""Characters of a secret that is looked for in forms of forms, too."""

_ESCAPES: tuple[Callable[[str], str], ...] = (
    quote,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="/:@!$&'()*+,;=~"),
    quote_plus,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: _escaped(json.dumps(text, ensure_ascii=False)[1:-1], "<>&", "\\u{:04x}"),  # Go's
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    html.escape,
    lambda text: html.escape(text, quote=False),
    lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),  # Jinja's
    lambda text: repr(text)[1:-1],
    lambda text: repr(text.encode())[2:-1],
    lambda text: shlex.quote(text)[1:-1] if shlex.quote(text) != text else text,
)


def forms(secret: str) -> set[str]:
    """Returns the forms of a secret, none of which is empty."""
    found = {secret, *_escaped_once(secret), *_in_base64(secret.encode(errors="replace"))}
    found |= {escaped for form in _in_base64(secret.encode(errors="replace")) for escaped in _percent_encoded(form)}
    if len(secret) <= _LONGEST_TWICE:
        found |= {twice for once in _escaped_once(secret) for twice in _escaped_once(once)}
    for line in secret.splitlines():
        if len(line.strip()) >= _SHORTEST_LINE:
            found |= {line.strip(), *_escaped_once(line.strip())}
    return {form for form in found if form}


def _escaped_once(text: str) -> set[str]:
    found = set()
    for escape in _ESCAPES:
        escaped = escape(text)
        found |= {escaped, _in_lower_case(escaped)}
    return found


def _percent_encoded(text: str) -> set[str]:
    encoded = quote(text, safe="")
    return {encoded, _in_lower_case(encoded)}


def _in_lower_case(text: str) -> str:
    """Returns %XX as %xx; the rest stays."""
    pieces = text.split("%")
    return "%".join([pieces[0], *(piece[:2].lower() + piece[2:] for piece in pieces[1:])])


def _escaped(text: str, characters: str, form: str) -> str:
    return "".join(form.format(ord(each)) if each in characters else each for each in text)


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yields Base64 of a secret, alone and as a part of something longer, such as `user:secret`.

    There, it begins at one of three offsets within a group of 3 bytes. The first and last characters also encode
    neighbouring bytes, which are not known, and are left out.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(secret).decode()
        yield from (whole, whole.rstrip("="))
        for before in range(3):
            start, end = -(-8 * before // 6), 8 * (before + len(secret)) // 6
            if end - start >= _SHORTEST_CORE:
                yield encode(bytes(before) + secret + bytes(3)).decode()[start:end]
