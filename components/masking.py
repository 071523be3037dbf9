"""Secrets stay out of logs, errors, tags and messages: `masked` hides all that this process knows of.

Known are the values of environment variables whose names say so (`…_PASSWORD`, `…_TOKEN`), of those that
ELBOFLOW_SECRETS lists, whatever a step was given from a secret manager, and what stands before the @ of any address.
"""

import base64
import json
import os
import re
from functools import cache
from urllib.parse import quote

SECRETS = "ELBOFLOW_SECRETS"
"""The environment variable that lists, with commas, which other ones hold secrets."""

MASK = "***"

_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|COOKIE|WEBHOOK|API_KEY|ACCESS_KEY|PRIVATE_KEY)$", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^/?#\s'\"<>]+@")
# Shorter lines of a secret, and shorter values of variables that are only thought to be secret, such as `none`, would
# hide half of every log.
_SHORTEST = 6

_hidden: set[str] = set()


def hide(value: str) -> None:
    """Makes a value a secret of this process, from now on."""
    _hidden.add(value)


def masked(text: str) -> str:
    """Returns a text without the secrets that this process knows of."""
    text = _USERINFO.sub(f"{MASK}@", text)
    secrets = frozenset(_hidden) | _in_environment()
    return _pattern(secrets).sub(MASK, text) if secrets else text


def without_userinfo(address: str) -> str:
    """Returns an address without the user and the password that may stand in it."""
    return _USERINFO.sub("", address)


def _in_environment() -> frozenset[str]:
    listed = {name.strip() for name in os.environ.get(SECRETS, "").split(",")}
    found = set()
    for name, value in os.environ.items():
        if name in listed or (len(value.strip()) >= _SHORTEST and name != SECRETS and _SECRET_NAME.search(name)):
            found.add(value)
    return frozenset(found)


@cache
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    forms = {form for secret in secrets for form in _forms(secret.strip()) if form}
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _forms(secret: str) -> set[str]:
    """Returns the ways in which a secret is met: as it is, in an address, in JSON, in a header, a line of it alone."""
    forms = {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1]}
    forms.add(base64.b64encode(secret.encode()).decode())
    return forms | {line.strip() for line in secret.splitlines() if len(line.strip()) >= _SHORTEST}
