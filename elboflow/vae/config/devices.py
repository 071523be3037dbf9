"""The devices and the precision of a training."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from elboflow.settings import Settings, by_name_or

Device = Literal["auto", "cpu", "gpu", "tpu"]
Precision = Literal["float32", "bfloat16", "float16"]


class GPU(Settings):
    """The GPUs that a process uses, and their memory."""

    main: ClassVar = "memory_limit_megabytes"
    memory_growth: bool = Field(True, description="take memory as it is needed, not all of it at the start")
    memory_limit_megabytes: PositiveInt | None = Field(
        None, description="the most that is taken of each GPU, in units of 2^20 bytes, as nvidia-smi counts"
    )
    visible_devices: list[NonNegativeInt] | None = Field(
        None, min_length=1, description="the numbers of the GPUs that may be used; null: all"
    )


class DataParallel(Settings):
    """Data parallelism: each device has the whole model, and computes a part of every batch."""

    short_form: ClassVar = "devices"
    kind: Literal["data"] = "data"
    devices: PositiveInt | None = Field(
        None, description="devices of each machine; null: all; on processors, as many virtual devices are made"
    )


class ModelParallel(Settings):
    """Tensor parallelism: the weights are divided, too, on a mesh of data × model devices."""

    kind: Literal["model"] = "model"
    data: PositiveInt = Field(1, description="devices along the axis `data`, which divides batches")
    model: PositiveInt = Field(2, description="devices along the axis `model`, which divides weights")
    layout: dict[str, list[Literal["data", "model"] | None]] | None = Field(
        None, description="the mesh axis of each dimension, by regular expressions on the paths of weights; null: usual"
    )


Parallel = Annotated[
    DataParallel | ModelParallel, Field(discriminator="kind"), BeforeValidator(by_name_or(DataParallel))
]
