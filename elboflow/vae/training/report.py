"""Reports the curves of a running training to its watch and its observers."""

from collections.abc import Sequence

from elboflow.vae.compute import implementation
from elboflow.vae.training.state import State
from elboflow.vae.watch import Group, Observer, Watch, WatchStoppedError


class Report:
    """Appends measurements to the curves, and passes them on.

    Args:
        state: The state of the training, which contains the curves.
        watch: A callback that gets the validation ELBO of every epoch, and can stop the training.
        observers: Callbacks that get all numbers of every epoch.
    """

    def __init__(self, state: State, watch: Watch | None, observers: Sequence[Observer]) -> None:
        self._state, self._watch, self._observers = state, watch, observers

    def add(self, group: Group, /, **numbers: float) -> None:
        """Adds the numbers of the current epoch to a group of curves."""
        epoch, step = self._state.epoch + 1, self._state.step
        self._state.curves.add(group, epoch=epoch, step=step, **numbers)
        for observer in self._observers:
            observer(group, epoch, step, numbers)

    def add_steps(self, learning_rate: float, speed: float, batch_size: int) -> None:
        """Adds the measures and the speed of the steps of the current epoch.

        Args:
            learning_rate: The learning rate of the last step.
            speed: Examples/s; 0 if all steps of the epoch were made before a checkpoint, in another process.
            batch_size: The number of examples of a step.
        """
        sums = self._state.sums
        self.add("train", **sums.means(), learning_rate=learning_rate, skipped_steps=sums.skipped)
        if speed:
            memory = implementation().memory()
            megabytes = {} if memory is None else {"device_memory_megabytes": memory / 1e6}
            milliseconds = 1000 * batch_size / speed
            self.add("machine", examples_per_second=round(speed), step_milliseconds=milliseconds, **megabytes)

    def tell_watch(self, first: int) -> None:
        """Calls the watch for the epochs from `first` on.

        Raises:
            WatchStoppedError: The watch stops the training.
        """
        for epoch, elbo in enumerate(self._state.curves.validation.get("elbo", [])[first - 1 :], first):
            if self._watch is not None and not self._watch(epoch, elbo):
                raise WatchStoppedError(self._state.epoch, self._state.curves.as_json())
