"""A training that is watched: it tells every epoch, stops when told, and goes on afterwards as if never stopped."""

import pytest

from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Constant, TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.watch import Watch, WatchStoppedError
from tests.elboflow.vae.given import assert_same_weights

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SMALL = Flat(latent=4, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]))
TRAINING = TrainingConfig(epochs=4, batch_size=64, learning_rate=Constant(initial=3e-3), early_stopping=None)


class Told:
    """A watch that remembers what it was told, and stops after an epoch."""

    def __init__(self, last: int = 1000) -> None:
        self.epochs: list[int] = []
        self.elbo: list[float] = []
        self._last = last

    def __call__(self, epoch: int, elbo: float) -> bool:
        self.epochs.append(epoch)
        self.elbo.append(elbo)
        return epoch < self._last


@pytest.fixture
def train(digits, digits_specs, tmp_path):
    def training(watch: Watch | None, name: str = "checkpoint"):
        from elboflow.vae.training import train

        splits = InMemory(digits.head(256)), InMemory(digits[256:384])
        return train(Job(*splits, digits_specs, SMALL, TRAINING, 0, tmp_path / name, {}), watch=watch)

    return training


def test_a_watch_is_told_the_validation_bound_of_every_epoch(train):
    told = Told()
    trained = train(told)
    assert told.epochs == [1, 2, 3, 4]
    assert told.elbo == trained.curves.validation["elbo"]


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_weights_of_one_that_was_not(train):
    with pytest.raises(WatchStoppedError) as stopped:
        train(Told(last=2))
    assert stopped.value.epoch == 2
    told = Told()
    resumed, whole = train(told), train(None, "whole")
    assert told.epochs == [1, 2, 3, 4], "the epochs before are told first"
    assert told.elbo == whole.curves.validation["elbo"]
    assert_same_weights(resumed, whole)


def test_a_training_that_goes_on_past_the_epoch_at_which_it_was_stopped_is_stopped_there_again(train):
    for _ in range(2):
        told = Told(last=2)
        with pytest.raises(WatchStoppedError):
            train(told)
        assert told.epochs == [1, 2]
