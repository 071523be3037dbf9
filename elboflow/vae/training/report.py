"""What a training reports while it runs: its curves, to those that follow them."""

from collections.abc import Sequence

from elboflow.vae.compute import implementation
from elboflow.vae.training.state import State
from elboflow.vae.watch import Group, Observer, Watch, WatchStoppedError


class Report:
    """Passes on what is measured.

    Args:
        state: The training's, whose curves grow.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.
        observers: Are told all numbers of every epoch.
    """

    def __init__(self, state: State, watch: Watch | None, observers: Sequence[Observer]) -> None:
        self._state, self._watch, self._observers = state, watch, observers

    def add(self, group: Group, /, **numbers: float) -> None:
        """Adds the numbers of the epoch under way to a group of curves."""
        epoch, step = self._state.epoch + 1, self._state.step
        self._state.curves.add(group, epoch=epoch, step=step, **numbers)
        for observer in self._observers:
            observer(group, epoch, step, numbers)

    def add_steps(self, learning_rate: float, speed: float, batch_size: int) -> None:
        """Adds what the steps of the epoch under way measured, and what they cost.

        Args:
            learning_rate: That of the last of them.
            speed: Examples/s; 0 where this process made none, as they were all made before a checkpoint.
            batch_size: Examples of a step.
        """
        sums = self._state.sums
        self.add("train", **sums.means(), learning_rate=learning_rate, skipped_steps=sums.skipped)
        if speed:
            memory = implementation().memory()
            megabytes = {} if memory is None else {"device_memory_megabytes": memory / 1e6}
            milliseconds = 1000 * batch_size / speed
            self.add("machine", examples_per_second=round(speed), step_milliseconds=milliseconds, **megabytes)

    def tell_watch(self, first: int) -> None:
        """Tells the watch of the epochs from the first on.

        Raises:
            WatchStoppedError: It stops the training.
        """
        for epoch, elbo in enumerate(self._state.curves.validation.get("elbo", [])[first - 1 :], first):
            if self._watch is not None and not self._watch(epoch, elbo):
                raise WatchStoppedError(self._state.epoch, self._state.curves.as_json())
