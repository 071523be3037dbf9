"""Messages of validation errors: the key, the value, and what is allowed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import AfterValidator, ValidationError
from pydantic_core import PydanticCustomError

from elboflow.settings import Settings
from elboflow.settings.annotations import alternatives
from elboflow.settings.expectations import expected
from elboflow.settings.layout import inside, is_tagged, section, sections, words
from elboflow.settings.near import near
from elboflow.settings.spelling import in_full
from elboflow.settings.text import counted, shown

Path = tuple[str | int, ...]
MOST = 20
"""The most problems in one message."""
MANY = 50
"""The most allowed words in one message."""
UNKNOWN_KIND = "unknown kind"

_MUST = " is not allowed; must "


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        path: The keys and indices from the top of the settings to the place.
        sentence: What is wrong, without the place.
    """

    path: Path
    sentence: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.sentence}" if self.path else self.sentence


class ConflictsError(ValueError):
    """Raised by a validator that compares several keys; it names the key of each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


def dotted(path: Path) -> str:
    """Returns a path as on the command line: `model.encoder.hidden.0`."""
    return ".".join(map(str, path))


def explain(error: ValidationError, settings: type[Settings]) -> list[Problem]:
    """Returns the problems in the order of the settings, one per place, and at most MOST of them.

    Args:
        error: What `settings.model_validate` raised.
        settings: The settings that were validated.
    """
    found: dict[Path, list[str]] = {}
    lines = error.errors(include_url=False)
    for i, line in enumerate(lines):
        if line["type"] == "default_factory_not_called":
            continue  # a default that depends on a value which has its own problem
        for problem in _problems(line, settings):
            found.setdefault(problem.path, []).append(problem.sentence)
        if len(found) > MOST:
            rest = len(lines) - i - 1 + len(found) - MOST
            return [*_told(list(found.items())[:MOST]), Problem((), f"… and {counted(rest, 'more mistake')}")]
    return _told(list(found.items()))


def nearest(word: str, allowed: Sequence[str]) -> str:
    """Returns the allowed words for a message, after the one that was probably meant."""
    meant = near(word, allowed)
    rest = f", … and {len(allowed) - MANY:,} more" if len(allowed) > MANY else ""
    return (f"did you mean '{meant}'? " if meant else "") + f"allowed: {', '.join(allowed[:MANY])}{rest}"


def written(pattern: str, rule: str) -> AfterValidator:
    """Returns a validator of text by a regular expression; `rule` is its wording in messages: `be at most 50 …`."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise PydanticCustomError("written", "Input should {rule}", {"rule": rule})
        return value

    return AfterValidator(check)


def _problems(line: Any, settings: type[Settings]) -> list[Problem]:
    path, here, is_alternative = _place(settings, line["loc"])
    value, context = line["input"], line.get("ctx", {})
    if is_alternative and isinstance(value, dict) and sections(here):
        return []  # a section was meant, and has its own problems
    match line["type"]:
        case "value_error" if isinstance(context["error"], ConflictsError):
            return [Problem((*path, *problem.path), problem.sentence) for problem in context["error"].problems]
        case "value_error" | "assertion_error":
            return [Problem(path, str(context["error"]))]
        case "extra_forbidden":
            container = _place(settings, line["loc"][:-1])[1]
            return [Problem(path, f"unknown key; {nearest(str(path[-1]), _keys(container, line['loc'][:-1]))}")]
        case "missing":
            return [Problem(path, "missing; it must be given" + _meaning(settings, line["loc"]))]
        case "union_tag_invalid":
            tag = value["kind"] if isinstance(value, dict) else context["tag"]
            alone = value in (tag, {"kind": tag}) and near(str(tag), words(here)) is None
            example = f"; or write {meant}" if alone and (meant := in_full(here, tag)) else ""
            return [Problem(path, f"{UNKNOWN_KIND} {shown(tag)}; {nearest(str(tag), words(here))}{example}")]
        case "union_tag_not_found":
            return [Problem(path, f"no `kind` is given; allowed: {', '.join(words(here))}")]
        case "literal_error" if isinstance(value, str) and len(alternatives(here)) == 1:
            return [Problem(path, f"unknown value {shown(value)}; {nearest(value, words(here))}")]
        case kind_of_error:
            return [Problem(path, f"{shown(value)}{_MUST}{expected(kind_of_error, line['msg'], context, here, value)}")]


def _place(settings: type[Settings], location: Path) -> tuple[Path, Any, bool]:
    """Translates a location of pydantic, which also names the member of each union that was tried.

    Returns:
        The path as written, the annotation at that path, and whether the error is about a member of a union that is no
        section.
    """
    path: Path = ()
    here: Any = settings
    chosen: str | None = None
    is_alternative = False
    for element in location:
        if element == "[key]":
            break
        offered = sections(here)
        if is_tagged(here) and chosen is None and not is_alternative:
            chosen = next((name for name in offered if name in str(element)), None)
            is_alternative = chosen is None
            continue
        if len(offered) > 1 and chosen is None and element in offered:
            chosen = str(element)
            continue
        path, here, chosen, is_alternative = (*path, element), inside(here, element, chosen), None, False
    return path, here if chosen is None else section(here, chosen), is_alternative


def _keys(container: Any, location: Path) -> list[str]:
    here = section(container, str(location[-1]) if location else None)
    return list(here.model_fields) if here else []


def _meaning(settings: type[Settings], location: Path) -> str:
    here = section(_place(settings, location[:-1])[1], None)
    field = here.model_fields.get(str(location[-1])) if here else None
    return f": {field.description}" if field is not None and field.description else ""


def _told(found: list[tuple[Path, list[str]]]) -> list[Problem]:
    return [Problem(path, _shortened(_merged(sentences))) for path, sentences in found]


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= 1000 else f"{sentence[:997]}…"


def _merged(sentences: list[str]) -> str:
    """Joins the alternatives of one value: `-1 is not allowed; must be 'learned' or greater than 0`."""
    if len(sentences) > 1 and all(_MUST in sentence for sentence in sentences):
        value = sentences[0].split(_MUST)[0]
        wishes = list(dict.fromkeys(sentence.split(_MUST)[1] for sentence in sentences))
        if "be a number" in wishes and "be a whole number" in wishes:
            wishes.remove("be a whole number")
        or_ = ", or " if any("," in wish for wish in wishes) else " or "
        return value + _MUST + or_.join([wishes[0], *(wish.removeprefix("be ") for wish in wishes[1:])])
    return "; ".join(dict.fromkeys(sentences))
