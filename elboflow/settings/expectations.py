"""The words that follow `must` in a message, for every type of error that pydantic knows."""

from typing import Any, get_args, get_origin

from elboflow.settings.annotations import alternatives, takes
from elboflow.settings.layout import has_kinds, inside, section, sections, words
from elboflow.settings.spelling import in_full

_EXPECTED = {
    "int_": "be a whole number",
    "float_": "be a number",
    "finite_number": "be a finite number",
    "bool_": "be true or false",
    "string_pattern_mismatch": "be written as the regular expression {pattern} says",
    "string_too_short": "have at least {min_length} {characters}",
    "string_too_long": "have at most {max_length} {characters}",
    "string_": "be text",
    "too_short": "have at least {min_length} {values}",
    "too_long": "have at most {max_length} {values}",
    "set_": "be a list",
    "frozen_set_": "be a list",
    "iter": "be a list",
    "dict_": "be a section of keys and values",
    "mapping_": "be a section of keys and values",
    "invalid_key": "have text as its keys",
    "none_required": "be null",
}
"""By the beginning of the type of error; the first match counts."""

_IN_PLAIN_WORDS = ("greater_than", "less_than", "multiple_of", "literal_error", "enum")
"""Types of errors, by their beginning, whose message by pydantic names no Python types."""


def expected(error: str, message: str, context: dict[str, Any], annotation: Any, value: Any = None) -> str:
    """Returns what a value must be, as words that follow `must`.

    Args:
        error: The type of the error in pydantic_core.
        message: The message by pydantic.
        context: The context by pydantic, such as a bound.
        annotation: The annotation of the setting.
        value: The refused value.
    """
    if error == "written":
        return str(context["rule"])
    if error.startswith("model_"):
        example = in_full(annotation, value)
        return _section(annotation) + (f", such as {example}" if example else "")
    if error.startswith(("list_", "tuple_")):
        return _list(annotation, value)
    for beginning, wording in _EXPECTED.items():
        if error.startswith(beginning):
            length = context.get("min_length", context.get("max_length"))
            ending = "" if length == 1 else "s"
            return wording.format(**context, values=f"value{ending}", characters=f"character{ending}")
    return message.removeprefix("Input should ") if error.startswith(_IN_PLAIN_WORDS) else "be of another form"


def _list(annotation: Any, value: Any) -> str:
    tuples = [get_args(member) for member in alternatives(annotation) if get_origin(member) is tuple]
    if tuples and ... not in tuples[0]:
        return f"be a list of {len(tuples[0])} values"
    could_be_in_it = takes(annotation, [value]) or (isinstance(value, str) and has_kinds(inside(annotation, 0)))
    if not could_be_in_it:
        return "be a list"
    from elboflow.settings.yaml_writing import flow  # PyYAML is not where models only predict

    return f"be a list: {flow([value])}"


def _section(annotation: Any) -> str:
    if names := words(annotation):
        return f"be one of {', '.join(names)}, or a section with that `kind`"
    offered = list(sections(annotation).values())
    only = section(annotation, None)
    if only is None:
        return f"be a section with the keys of one of {len(offered)} forms" if offered else "be a section"
    keys = f"a section with the {'key' if len(only.model_fields) == 1 else 'keys'} {', '.join(only.model_fields)}"
    if has_kinds(annotation):
        return f"be the name of a kind, or {keys}"
    if only.short_form is None:
        return f"be {keys}"
    alone = "a number" if isinstance(only.long_form(1), dict) else "text"
    return f"be {alone}, which is its `{only.short_form}`, or {keys}"
