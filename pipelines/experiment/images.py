"""Which container image a step runs in."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from elboflow.settings import Settings
from elboflow.settings.explain import Problem, written
from pipelines.experiment import accelerators
from pipelines.experiment.machines import Accelerator, Step

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
