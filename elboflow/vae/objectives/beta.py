"""The ELBO with a weighted KL term."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from elboflow.vae import ops
from elboflow.vae.objectives import Objective
from elboflow.vae.terms import Loss, Tensor, Terms


class Beta(Objective):
    """The negative ELBO with its KL term weighted by beta; the weight grows linearly over `warmup_steps`."""

    main: ClassVar = "beta"
    kind: Literal["beta"] = "beta"
    beta: PositiveFloat = Field(4.0, description="weight of the KL term; 1 is the ELBO")
    warmup_steps: NonNegativeInt = Field(0, description="steps over which the weight grows from 0 to beta")

    def __call__(self, terms: Terms, step: Tensor) -> Loss:
        return Loss(self.weight(step) * terms.total_kl - terms.reconstruction)

    def weight(self, step: Tensor) -> Tensor:
        """Returns the weight of the KL term: beta (Higgins et al., 2017) after a warm-up (Sønderby et al., 2016)."""
        if not self.warmup_steps:
            return self.beta
        return self.beta * ops.minimum(1.0, ops.cast(step, "float32") / self.warmup_steps)
