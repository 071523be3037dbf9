"""The section `evaluation` of an experiment."""

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt, field_validator

from elboflow.settings import Settings
from elboflow.settings.explain import ConflictsError, Problem
from elboflow.vae.evaluation.evaluators import Evaluator
from elboflow.vae.terms import Specs


class EvaluationConfig(Settings):
    """The settings of the evaluation on the test split."""

    main: ClassVar = "bound_samples"
    bound_samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        500, description="k, the samples of the importance-weighted bound"
    )
    bootstrap_samples: Annotated[int, Field(ge=100)] = Field(2000, description="resamples behind each 95 % interval")
    batch_size: PositiveInt = Field(100, description="test examples per compiled call")
    evaluators: list[Evaluator] = Field(
        [], description="evaluators of installed packages, or with other settings, besides those that fit the model"
    )

    @field_validator("evaluators")
    @classmethod
    def _each_once(cls, evaluators: list[Evaluator]) -> list[Evaluator]:
        kinds = [evaluator.kind for evaluator in evaluators]
        if twice := sorted(kind for kind in set(kinds) if kinds.count(kind) > 1):
            raise ConflictsError([Problem((), f"names '{twice[0]}' more than once; each kind may be named once")])
        return evaluators

    def unfit(self, modelled: Specs) -> str | None:
        """Returns which of the evaluators has nothing to say of a model of these features, as a sentence, or None."""
        for evaluator in self.evaluators:
            if not evaluator.fits(modelled):
                features = ", ".join(f"{name}: {spec.kind}" for name, spec in modelled.items())
                return f"'{evaluator.kind}' does not fit a model of {features}; what fits is chosen without being named"
        return None
