"""The section `evaluation` of an experiment."""

from typing import Annotated

from pydantic import Field, PositiveInt

from elboflow.settings import Settings
from elboflow.vae.evaluation.evaluators import Evaluator


class EvaluationConfig(Settings):
    """The settings of the evaluation on the test split."""

    bound_samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        500, description="k, the samples of the importance-weighted bound"
    )
    bootstrap_samples: Annotated[int, Field(ge=100)] = Field(2000, description="resamples behind each 95 % interval")
    batch_size: PositiveInt = Field(100, description="test examples per compiled call")
    evaluators: list[Evaluator] = Field([], description="evaluators of installed packages, or with other settings")
