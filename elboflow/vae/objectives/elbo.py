"""The evidence lower bound."""

from typing import Literal

from elboflow.vae.objectives import Objective
from elboflow.vae.terms import Loss, Tensor, Terms


class ELBO(Objective):
    """The negative evidence lower bound."""

    kind: Literal["elbo"] = "elbo"

    def __call__(self, terms: Terms, step: Tensor) -> Loss:
        return Loss(-terms.elbo)
