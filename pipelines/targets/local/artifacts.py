"""What goes into a step and comes out of it, as KFP's executor reads and writes it: `ExecutorInput`, `ExecutorOutput`.

Both are JSON messages that KFP's API defines (api/v2alpha1/pipeline_spec.proto); pods get the same.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elboflow.artifacts import read_json, write_atomically
from elboflow.settings import WorkError

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

OUTPUT = "executor_output.json"
"""What a step returns. It is removed as soon as it is read: a parameter may hold a secret."""
KEPT = "outputs.json"
"""The artifacts of a step that succeeded, in this run or before it, for a run that goes on after it."""


@dataclass(frozen=True)
class Artifact:
    """An artifact of a local run.

    Attributes:
        schema: KFP's schema, such as `system.Model`.
    """

    name: str
    schema: str
    uri: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        """Returns it as an `ArtifactList`."""
        schema = {"schemaTitle": self.schema, "schemaVersion": "0.0.1"}
        return {"artifacts": [{"name": self.name, "type": schema, "uri": self.uri, "metadata": dict(self.metadata)}]}


def executor_input(step: "BaseComponent", inputs: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Returns what a step is started with.

    Args:
        inputs: Its inputs by name: artifacts and values.
        folder: The folder of its outputs.
    """
    artifacts = {name: given.message() for name, given in inputs.items() if isinstance(given, Artifact)}
    values = {name: given for name, given in inputs.items() if not isinstance(given, Artifact)}
    parameters = [name for name, schema in _outputs(step).items() if schema is None]
    return {
        "inputs": {"artifacts": artifacts, "parameterValues": values},
        "outputs": {
            "artifacts": {name: artifact.message() for name, artifact in planned(step, folder).items()},
            "parameters": {name: {"outputFile": str(folder / name)} for name in parameters},
            "outputFile": str(folder / OUTPUT),
        },
    }


def planned(step: "BaseComponent", folder: Path) -> dict[str, Artifact]:
    """Returns the artifacts that a step is to make, by name."""
    schemas = _outputs(step)
    return {name: Artifact(name, schema, str(folder / name)) for name, schema in schemas.items() if schema is not None}


def read(step: "BaseComponent", folder: Path) -> dict[str, Any]:
    """Returns what a step has returned, by name: artifacts and values. The file is removed, the artifacts are kept.

    Raises:
        DamagedError: The file is not what an executor writes.
        WorkError: There is none.
    """
    try:
        said = read_json(folder / OUTPUT, dict)
    except FileNotFoundError:
        raise WorkError(f"{folder / OUTPUT}: the step ended without it") from None
    finally:
        remove(folder)
    made = planned(step, folder)
    for name, found in said.get("artifacts", {}).items():
        (artifact,) = found["artifacts"]
        made[name] = Artifact(name, made[name].schema, artifact["uri"], artifact.get("metadata", {}))
    keep(folder, made)
    return {**said.get("parameterValues", {}), **made}


def keep(step_folder: Path, made: Mapping[str, Artifact]) -> None:
    """Writes down the artifacts of a step."""
    text = json.dumps({name: asdict(artifact) for name, artifact in made.items()}, indent=1)
    with suppress(OSError):  # the disk is full: the next step will say so
        write_atomically(step_folder / KEPT, text + "\n")


def kept(step_folder: Path) -> dict[str, Artifact] | None:
    """Returns the artifacts of a step of an earlier run; None where it did not succeed."""
    try:
        found = read_json(step_folder / KEPT, dict)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return {name: Artifact(**values) for name, values in found.items()}


def of_run(folder: Path) -> dict[str, Artifact]:
    """Returns the artifacts of a run's steps by name, those of an earlier run among them."""
    found = [kept(path.parent) or {} for path in folder.glob(f"*/{KEPT}")]
    return {name: artifact for made in found for name, artifact in made.items()}


def remove(folder: Path) -> None:
    """Removes what a step has returned."""
    with suppress(OSError):  # a workspace that cannot be written to is no reason to stop a run
        (folder / OUTPUT).unlink()


def _outputs(step: "BaseComponent") -> dict[str, str | None]:
    """Returns the schemas of a step's outputs by name; None for parameters."""
    outputs = step.component_spec.outputs or {}
    return {name: output.type.partition("@")[0] if "@" in output.type else None for name, output in outputs.items()}
