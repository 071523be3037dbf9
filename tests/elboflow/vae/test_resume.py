"""Exact resumption: whatever ends a training, it goes on to the same bits as one that nothing ever ended."""

import importlib.util
import random
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Checkpoints, Constant, EarlyStopping, Plateau, Skip, TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import assert_same_weights
from tests.elboflow.vae.killing import STEPS_OF_EPOCH, Process, assert_same, at_work, finished_in_spite_of, in_start_up

SMALL = Flat(latent=4, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]))


def trained(digits, specs, folder, *, watch=None, observers=(), weights=None, **settings):
    from elboflow.vae.training import train

    settings = {"epochs": 4, "batch_size": 32, "early_stopping": EarlyStopping(), **settings}
    job = Job(
        InMemory(replace(digits[:256], weights=weights)),
        InMemory(digits[256:384]),
        specs,
        SMALL,
        TrainingConfig(**{"learning_rate": Constant(initial=3e-3)} | settings),
        0,
        folder,
        {"seed": 0},
    )
    return train(job, watch=watch, observers=observers)


@pytest.fixture(scope="module")
def whole(digits, digits_specs, tmp_path_factory, tensorflow_backend):
    """The training that nothing ends: of 4 epochs of 8 steps."""
    return trained(digits, digits_specs, tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_a_training_that_is_killed_at_work_ends_like_one_that_never_was(tmp_path):
    whole = Process(tmp_path / "whole", "tensorflow", epochs=150)
    moments = [at_work(random.Random(0))]
    killed = finished_in_spite_of(moments, lambda m: Process(tmp_path / "killed", "tensorflow", epochs=150, killed=m))
    assert_same(killed, whole.finish())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_training_that_is_killed_at_twenty_random_moments_ends_like_one_that_never_was(tmp_path, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    chance = random.Random(chosen := f"{backend} {time.time()}")
    print(f"the moments are those of random.Random({chosen!r})")  # shown where it fails
    # Many steps in one call, and few: that makes no difference either.
    whole = Process(tmp_path / "whole", backend, epochs=500, seconds_per_call=0.5).finish()
    moments = [in_start_up(chance) if chance.random() < 0.25 else at_work(chance) for _ in range(20)]
    killed = finished_in_spite_of(moments, lambda m: Process(tmp_path / "killed", backend, epochs=500, killed=m))
    assert_same(killed, whole)


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
class TestInThisProcess:
    @pytest.fixture
    def train(self, digits, digits_specs, tmp_path):
        def training(name, **asked):
            return trained(digits, digits_specs, tmp_path / name, **asked)

        return training

    def assert_same(self, one, other):
        assert (one.curves.train, one.curves.validation) == (other.curves.train, other.curves.validation)
        assert_same_weights(one, other)

    @pytest.mark.slow
    def test_how_many_steps_a_compiled_call_takes_makes_no_difference(self, whole, train, monkeypatch):
        from elboflow.vae.training import pacing

        monkeypatch.setattr(pacing, "SECONDS_PER_CALL", 1e-9)
        self.assert_same(whole, train("one"))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "settings",
        [
            {"checkpoints": Checkpoints(every_minutes=None)},
            {
                "checkpoints": Checkpoints(every_steps=3),
                "precision": "float16",
                "ema": {"decay": 0.9},
                "learning_rate": Plateau(initial=3e-2, patience=1, warmup_steps=5),
                "early_stopping": None,
                "max_steps": 30,
                "micro_batches": 2,
                "non_finite": Skip(),
            },
        ],
        ids=["plainly", "with all that has a state"],
    )
    def test_ctrl_c_is_heeded_after_the_state_is_safe(self, train, settings, monkeypatch, tmp_path):
        from elboflow.vae.training import pacing

        whole = train("whole", **settings)
        monkeypatch.setattr(pacing, "SECONDS_PER_CALL", 1e-9)
        told = []

        def interrupt(group, epoch, step, values):
            told.append((group, epoch))
            if told[-1] == ("validation", 2):
                signal.raise_signal(signal.SIGINT)
                assert told[-1] == ("validation", 2), "it waits"

        with pytest.raises(KeyboardInterrupt):
            train("interrupted", observers=[interrupt], **settings)
        assert told[-1] == ("validation", 2)
        assert (tmp_path / "interrupted/step-000000016/checkpoint.json").exists()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        del told[:]
        self.assert_same(train("interrupted", observers=[lambda *told_: told.append(told_[:2])], **settings), whole)
        assert told[0] == ("train", 3), "what was told before is not told again"

    def test_a_second_ctrl_c_does_not_wait(self, train):
        def impatient(group, epoch, step, values):
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # is part of the same ending
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            raise RuntimeError("ended by the test")

        with pytest.raises(RuntimeError, match="ended by the test"):
            train("impatient", observers=[impatient])

    def test_a_training_that_used_up_its_time_ends_with_what_it_has(self, train):
        result = train("late", epochs=1000, max_minutes=1e-6)
        assert result.curves.validation["step"] == [1]
        assert result.epochs == result.best_epoch == 1

    @pytest.mark.slow
    def test_a_training_that_used_up_its_time_in_mid_epoch_goes_on_when_given_more(
        self, whole, train, monkeypatch, tmp_path
    ):
        from elboflow.vae.training import pacing

        monkeypatch.setattr(pacing, "SECONDS_PER_CALL", 1e-9)
        late = train("late", max_minutes=1e-6)
        assert (late.out_of_time, late.curves.validation["step"]) == (True, [1])
        assert [folder.name for folder in (tmp_path / "late").glob("step-*")] == ["step-000000001"]
        resumed = train("late")
        assert resumed.curves.validation["step"] == [8, 16, 24, 32]
        self.assert_same(resumed, whole)

    @pytest.mark.slow
    def test_the_last_step_of_all_may_be_within_an_epoch(self, train):
        result = train("short", max_steps=10)
        assert result.curves.validation["step"] == result.curves.train["step"] == [8, 10]


@pytest.mark.xdist_group("tensorflow")
def test_sums_do_not_depend_on_how_steps_are_cut_into_calls(tensorflow_backend):
    from elboflow.vae.training.state import Sums

    rng = np.random.default_rng(0)
    measures = {name: rng.normal(size=STEPS_OF_EPOCH).astype(np.float32) for name in ("loss", "kl")}
    measures["skipped"] = np.float32(np.arange(STEPS_OF_EPOCH) % 5 == 0)
    measures["loss"][measures["skipped"] == 1] = np.nan
    whole = Sums()
    whole.add(measures, [""])
    for cuts in ([1] * STEPS_OF_EPOCH, [5, 0, 19], [23, 1]):
        sums, at = Sums(), 0
        for count in cuts:
            sums.add({name: values[at : at + count] for name, values in measures.items()}, [""])
            at += count
        assert sums == whole
    assert (whole.steps, whole.skipped) == (24, 5)
    assert whole.means().keys() == {"loss", "kl"}
    np.testing.assert_allclose(whole.means()["kl"], measures["kl"][measures["skipped"] == 0].mean(), rtol=1e-6)
