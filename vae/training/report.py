"""What a training tells while it runs: its curves, and whoever watches them grow."""

from collections.abc import Sequence

from vae.training.curves import Group
from vae.training.state import State
from vae.watch import Observer, Watch, WatchStoppedError


class Report:
    """Passes on what is measured.

    Args:
        state: The training's, whose curves grow.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.
        observers: Are told all numbers of every epoch.
    """

    def __init__(self, state: State, watch: Watch | None, observers: Sequence[Observer]) -> None:
        self._state, self._watch, self._observers = state, watch, observers

    def add(self, group: Group, **numbers: float) -> None:
        """Adds the numbers of the epoch under way to a group of curves."""
        epoch, step = self._state.epoch + 1, self._state.step
        self._state.curves.add(group, epoch=epoch, step=step, **numbers)
        for observer in self._observers:
            observer(group, epoch, step, numbers)

    def tell_watch(self, first: int) -> None:
        """Tells the watch of the epochs from the first on.

        Raises:
            WatchStoppedError: It stops the training.
        """
        for epoch, elbo in enumerate(self._state.curves.validation.get("elbo", [])[first - 1 :], first):
            if self._watch is not None and not self._watch(epoch, elbo):
                raise WatchStoppedError(self._state.epoch, self._state.curves.as_json())
