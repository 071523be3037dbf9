"""The JSON schema of settings, by which an editor completes and checks YAML: short forms are allowed as well.

What only the settings' own validators know (a pattern with its own message, sections that contradict each other) is not
in it: a file that fits the schema can still be refused.
"""

from functools import partial
from typing import Any, cast

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from elboflow.settings import table
from elboflow.settings.base import Settings
from elboflow.settings.digest import canonical
from elboflow.settings.layout import every_choice, every_section, kind

_MODE: JsonSchemaMode = "validation"
_CHOICE = "x-choice"


def json_schema(settings: type[Settings], title: str) -> dict[str, Any]:
    """Returns the JSON schema (draft 2020-12) of settings, with all kinds, those of installed packages included."""
    roots = [(section, _MODE) for section in every_section(settings)]
    references, rest = models_json_schema(roots, schema_generator=_Generator)
    definitions = rest["$defs"]
    for base in every_choice(settings):
        kinds = {name: references[table.find(base, name), _MODE] for name in table.names(base)}
        definitions[base.group] = _choice(kinds, base.usual)
    whole = {"$schema": _Generator.schema_dialect, "title": title, **references[settings, _MODE], "$defs": definitions}
    return _referring(whole)


class _Generator(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Allows the value of a section's main key, and a name where the `kind` is any text, for the section."""
        section, written = schema["cls"], super().model_schema(schema)
        if not issubclass(section, Settings):
            return written
        written["description"] = summary(section)
        alone = [written["properties"][section.short_form]] if section.short_form else []
        if "kind" in section.model_fields and kind(section) is None:
            alone.append(written["properties"]["kind"])
        return {"anyOf": [*alone, written], "description": written["description"]} if alone else written

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        return _choice({str(name): self.generate_inner(choice) for name, choice in schema["choices"].items()})

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        """Names the choice. A reference is made of it later: pydantic would put the definition in its place."""
        reader = cast("partial[Any]", schema["function"]["function"])  # as `kinds` makes it
        return {_CHOICE: reader.args[0].group}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leaves out the default of a section that cannot be null and only repeats the defaults of its keys."""
        written, default = super().default_schema(schema), schema.get("default")
        repeats = "$ref" in written and isinstance(default, Settings) and not canonical(default)
        return {key: value for key, value in written.items() if not (repeats and key == "default")}


def _choice(kinds: dict[str, JsonSchemaValue], usual: str | None = None) -> JsonSchemaValue:
    """Returns the schema of a name, or of a section with that `kind`."""
    sections = [{**written, "required": ["kind"]} if name != usual else written for name, written in kinds.items()]
    return {"anyOf": [{"enum": list(kinds)}, *sections]}


def _referring(schema: Any) -> Any:
    """Returns a schema with a reference for each name of a choice."""
    if isinstance(schema, list):
        return [_referring(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    named = {"$ref": f"#/$defs/{schema[_CHOICE]}"} if _CHOICE in schema else {}
    return {**named, **{key: _referring(part) for key, part in schema.items() if key != _CHOICE}}


def summary(section: type[Settings]) -> str:
    """Returns what a section is: the first paragraph of its docstring, and the package that it is of, if not ours."""
    text = " ".join((section.__doc__ or "").split("\n\n")[0].split())
    package = table.installed_by(section)
    return f"{text} (from {package})" if package else text
