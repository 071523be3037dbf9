"""The steps of all pipelines by name, and what all targets have in common."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from elboflow.settings import Settings
from elboflow.settings.explain import Problem, nearest, written
from pipelines.experiment import accelerators
from pipelines.experiment.machines import Accelerator, Step

STEPS = (
    *("preprocess", "train", "evaluate", "register"),
    *("begin", "search", "worker-pools", "choose", "choose-found"),  # of sweeps
    *("resolve-date", "decide", "finish"),  # around the others, on platforms
)
"""The steps of all pipelines (`pipelines/graphs/`)."""
ACCELERATED = ("train", "evaluate")
"""The steps that can use an accelerator."""


def _is_step(name: str) -> str:
    if name not in STEPS:
        raise ValueError(f"there is no such step; {nearest(name, STEPS)}")
    return name


StepName = Annotated[str, AfterValidator(_is_step), Field(json_schema_extra={"enum": list(STEPS)})]

HTTPAddress = Annotated[
    str,
    written(r"https?://[^\s@/]+(/\S*)?", "begin with http:// or https:// and have no spaces, no name and no password"),
]
TrackingURI = Annotated[HTTPAddress, Field(description="the address of the MLflow server")]
Variable = Annotated[str, written("[A-Za-z_][A-Za-z0-9_]*", "be the name of an environment variable")]


def misplaced(steps: Mapping[str, Step]) -> list[Problem]:
    """Returns the accelerators of steps that compute on processors."""
    sentence = f"this step computes on processors; steps that can use one: {', '.join(ACCELERATED)}"
    return [
        Problem(("steps", name, "accelerator"), sentence)
        for name, step in steps.items()
        if step.accelerator is not None and name not in ACCELERATED
    ]


Image = Annotated[
    str,
    written(r"\S+", "be an image's address, without spaces"),
    Field(description="a container image that holds the installed project"),
]


class Images(Settings):
    """One image for each kind of machine; those of `infra/images/`."""

    cpu: Image = Field(description="the image of steps without an accelerator")
    cuda: Image | None = Field(None, description="the image of steps on GPUs; null: there is none")
    tpu: Image | None = Field(None, description="the image of steps on TPUs; null: there is none")


def image_for(image: str | Images, accelerator: Accelerator | None) -> str:
    """Returns the image that a step runs in."""
    if isinstance(image, str):
        return image
    if accelerator is None:
        return image.cpu
    return str(getattr(image, accelerators.catalogue().chips[accelerator.of_kind.chip].image))


def absent_images(image: str | Images, steps: Mapping[str, Step]) -> list[Problem]:
    """Returns the images that accelerated steps, by their names, have none of."""
    if isinstance(image, str):
        return []
    problems = []
    for name, step in steps.items():
        if step.accelerator is not None:
            needed = accelerators.catalogue().chips[step.accelerator.of_kind.chip].image
            if getattr(image, needed) is None:
                sentence = f"missing; {name} on {step.accelerator.kind} needs an image with its drivers"
                problems.append(Problem(("image", needed), sentence))
    return problems
