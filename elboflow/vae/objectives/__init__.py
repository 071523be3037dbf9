"""Objectives: the terms of the bound → the loss of each example, in nats. A kind is one file."""

from abc import abstractmethod

from elboflow.settings.kinds import Kind
from elboflow.vae.terms import Loss, Tensor, Terms


class Objective(Kind):
    """A kind of objective. Training minimises the mean of its loss."""

    group, folder = "elboflow.objectives", __name__

    @property
    def draws(self) -> int:
        """The number of samples of z that training draws for each example."""
        return 1

    @abstractmethod
    def __call__(self, terms: Terms, step: Tensor) -> Loss:
        """Returns the loss of each example.

        Args:
            terms: The terms of the bound.
            step: The step number, from 0.
        """
