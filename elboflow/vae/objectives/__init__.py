"""Objectives: the terms of the bound → the loss of each example, in nats. One kind is one file."""

from elboflow.settings.kinds import Kind
from elboflow.vae.terms import Loss, Tensor, Terms


class Objective(Kind):
    """What training minimises."""

    group, folder = "elboflow.objectives", __name__

    @property
    def draws(self) -> int:
        """Samples of z that training draws for each example."""
        return 1

    def __call__(self, terms: Terms, step: Tensor) -> Loss:
        """Returns the loss of each example.

        Args:
            terms: Of the bound.
            step: The step's number, from 0.
        """
        raise NotImplementedError
