"""Secrets stay out of logs, errors, parameters, tags, artifacts and messages: `masked` hides all that are known.

Known are the values of environment variables whose names say so (`secret_names`), of those that
ELBOFLOW_SECRETS lists, all that a secret manager gave to this step, and what stands before the @ of any address.
"""

import os
import re
from functools import cache
from typing import Any, TypeVar, cast

from components.surroundings.secret_forms import forms
from components.surroundings.secret_names import is_secret, may_be_secret
from elboflow.settings.variables import SECRETS

MASK = "***"

Values = TypeVar("Values")

_USERINFO = re.compile(r"(?<=://)[^/?#\s'\"<>]+@")
# Shorter values of variables that are only thought to be secret, such as `none`, would hide half of every log.
_SHORTEST = 6

_hidden: set[str] = set()


def hide(value: str) -> None:
    """Makes a value a secret of this process, from now on."""
    _hidden.add(value)


def masked(text: str) -> str:
    """Returns a text without the secrets that this process knows of."""
    text = _USERINFO.sub(f"{MASK}@", text)
    for form in _forms(frozenset(_hidden) | frozenset(_in_environment().values())):
        if form in text:
            text = text.replace(form, MASK)
    return text


def masked_values(values: Values) -> Values:
    """Returns JSON values without the secrets that this process knows of, in keys and in texts."""
    hidden: Any = values
    if isinstance(values, str):
        hidden = masked(values)
    elif isinstance(values, dict):
        hidden = {masked_values(key): masked_values(value) for key, value in values.items()}
    elif isinstance(values, list | tuple):
        hidden = [masked_values(value) for value in values]
    return cast(Values, hidden)


def variable_in(text: str) -> str | None:
    """Returns the name of a secret variable whose value stands in a text; None where none does."""
    for name, value in _in_environment().items():
        if any(form in text for form in _forms(frozenset({value}))):
            return name
    return None


def without_userinfo(address: str) -> str:
    """Returns an address without the user and the password that may stand in it."""
    return _USERINFO.sub("", address)


def _in_environment() -> dict[str, str]:
    """Returns the secrets in this process's environment, by the variables that hold them."""
    listed = {name.strip() for name in os.environ.get(SECRETS, "").split(",")}
    found = {}
    for name, value in os.environ.items():
        thought = name != SECRETS and is_secret(name) and len(value.strip()) >= _SHORTEST and may_be_secret(value)
        if value.strip() and (name in listed or thought):
            found[name] = value
    return found


@cache
def _forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """Returns all forms of some secrets, the longest first: a form may be a part of another."""
    found = {form for secret in secrets if secret.strip() for form in forms(secret.strip())}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))
