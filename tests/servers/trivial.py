"""Small pipelines, for tests of what surrounds a run."""

import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, dsl
from kfp.dsl import Artifact, Input, Output


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def write(who: str, greeting: Output[Artifact]) -> str:
    """Writes an artifact."""
    with open(greeting.path, "w", encoding="utf-8") as file:
        file.write(f"hello {who}")
    greeting.metadata["length"] = len(who)
    return who


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def read(greeting: Input[Artifact], job: str, who: str) -> None:
    """Reads it."""
    with open(greeting.path, encoding="utf-8") as file:
        print(file.read(), "from", job)
    if who == "nobody":
        raise SystemExit(1)


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def tell(status: dsl.PipelineTaskFinalStatus) -> None:
    """Says how it ended."""
    print(status.state, status.pipeline_job_resource_name, status.error_message)


@dsl.pipeline(name="greeting", pipeline_root="gs://bucket/vae")
def greeting(who: str = "world") -> None:
    """write → read, and in the end tell."""
    with dsl.ExitHandler(tell()):
        written = write(who=who)
        with dsl.If(written.outputs["Output"] != "stranger"):
            read(greeting=written.outputs["greeting"], job=dsl.PIPELINE_JOB_NAME_PLACEHOLDER, who=who)


@dsl.pipeline(name="looped")
def looped() -> None:
    """A step in a loop, with retries."""
    with dsl.ParallelFor(["you", "them"], parallelism=1) as who:
        write(who=who).set_retry(2, backoff_duration="0s").set_caching_options(False)


@dsl.pipeline(name="guarded", pipeline_root="gs://bucket/vae")
def loop_in_exit_handler() -> None:
    """The loop directly in an exit handler, which the platforms take and fail."""
    with dsl.ExitHandler(tell()), dsl.ParallelFor(["you", "them"]) as who:
        write(who=who)


@dsl.pipeline(name="guarded", pipeline_root="gs://bucket/vae")
def loop_in_pipeline() -> None:
    """The loop in a pipeline of its own, in an exit handler."""
    with dsl.ExitHandler(tell()):
        looped()


def compiled(pipeline: Any = greeting) -> str:
    """Returns a pipeline as IR YAML."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")


def specification(pipeline: Any = greeting) -> dict[str, Any]:
    """Returns a pipeline's specification."""
    found: dict[str, Any] = next(yaml.safe_load_all(compiled(pipeline)))
    return found
