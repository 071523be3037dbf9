"""What the platforms check of a pipeline specification and its arguments before they take a run."""

from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from elboflow.testing.platforms.messages import RefusedError

_KINDS = pb.ParameterType.ParameterTypeEnum
_PYTHON: dict[int, tuple[type, ...]] = {
    _KINDS.NUMBER_INTEGER: (int, float),
    _KINDS.NUMBER_DOUBLE: (int, float),
    _KINDS.STRING: (str,),
    _KINDS.BOOLEAN: (bool,),
    _KINDS.LIST: (list,),
    _KINDS.STRUCT: (dict,),
}


def checked(specification: Any) -> pb.PipelineSpec:
    """Returns a specification as KFP's protobuf; whatever it does not know is refused."""
    try:
        spec = json_format.ParseDict(specification, pb.PipelineSpec())
    except json_format.ParseError as error:
        raise RefusedError(400, f"Failed to parse the pipeline spec: {error}") from None
    if not spec.pipeline_info.name or not spec.root.dag.tasks:
        raise RefusedError(400, "The pipeline spec has no name, or no tasks.")
    for name, component in spec.components.items():
        if component.executor_label and component.executor_label not in spec.deployment_spec["executors"].fields:
            raise RefusedError(400, f"Component {name} has no executor {component.executor_label}.")
    return spec


def arguments(spec: pb.PipelineSpec, given: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a run, whole numbers as such; unknown, missing and mistyped ones are refused."""
    wanted = spec.root.input_definitions.parameters
    for name in given:
        if name not in wanted:
            raise RefusedError(
                400, f"The pipeline parameter {name} is not found in the pipeline job input definitions."
            )
    made: dict[str, Any] = {}
    for name, parameter in wanted.items():
        if name not in given:
            if not parameter.is_optional and not parameter.HasField("default_value"):
                raise RefusedError(400, f"The pipeline parameter {name} is required, and no value is given.")
            continue
        value: Any = given[name]
        kind = parameter.parameter_type
        if not isinstance(value, _PYTHON[kind]) or (isinstance(value, bool) and kind != _KINDS.BOOLEAN):
            raise RefusedError(
                400, f"The pipeline parameter {name} has a value that is no {_KINDS.Name(kind)}: {value!r}."
            )
        if kind == _KINDS.NUMBER_INTEGER and isinstance(value, float):
            value = int(value)  # all numbers of a protobuf's JSON are such
        made[name] = value
    return made


def replaced(value: Any, by: dict[str, str]) -> Any:
    """Returns JSON values with placeholders of the whole job replaced in all strings."""
    if isinstance(value, dict):
        return {key: replaced(each, by) for key, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, by) for each in value]
    if isinstance(value, str) and "{{$." in value:
        for placeholder, real in by.items():
            value = value.replace(placeholder, real)
    return value
