"""What is compiled is compiled once for a model, however many models a process has, and in whatever order it asks."""

import numpy as np
import pytest

from elboflow.vae.config import TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.mlp import MLP
from tests.elboflow.vae.given import images

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SMALL = Flat(latent=3, encoder=MLP(hidden=[8]), decoder=MLP(hidden=[8]))


@pytest.fixture
def traced(monkeypatch):
    """Names of the functions of a model that ran as Python, as they do when they are compiled."""
    from elboflow.vae.families.flat import FlatVAE

    calls: list[str] = []
    for name in ("terms", "encode", "decode", "from_prior"):
        original = getattr(FlatVAE, name)

        def counting(self, *given, name=name, original=original):
            calls.append(name)
            return original(self, *given)

        monkeypatch.setattr(FlatVAE, name, counting)
    return calls


def test_two_models_that_are_asked_in_turn_compile_each_program_once(traced, digits, digits_specs):
    from elboflow.vae.evaluation import samples
    from elboflow.vae.evaluation.bounds import bounds

    models = [SMALL.build(digits_specs, seed) for seed in (0, 1)]
    some = digits.head(20)
    for model in models * 3:
        bounds(model, InMemory(some), 2, 0, 8)
        samples.reconstruct(model, some, seed=0)
        samples.generate(model, 5, seed=0)
    assert sorted(traced) == sorted(["terms", "encode", "decode", "from_prior"] * 2)
    assert models[0].programs.keys() == models[1].programs.keys() == {"bounds", "encode", "decode", "from_prior"}
    assert models[0].programs["bounds"] is not models[1].programs["bounds"]


def test_a_program_reads_the_weights_of_now(digits, digits_specs):
    from elboflow.vae.evaluation import samples

    model, some = SMALL.build(digits_specs), digits.head(4)
    before = samples.reconstruct(model, some, seed=0)["image"]
    bias = model.decoder.get_layer("output").bias
    bias.assign(np.full(bias.shape, 20.0))
    assert before.max() < 0.99 < samples.reconstruct(model, some, seed=0)["image"].min()


@pytest.mark.slow
def test_trainings_of_two_models_in_turn_compile_once_each(traced, digits, digits_specs):
    from tests.elboflow.vae.stepping import stepping

    both = [stepping(SMALL, TrainingConfig(), digits.head(8), digits_specs) for _ in range(2)]
    for steps in both:
        steps.run(0, 3)
    once = len(traced)
    assert once
    for first in (3, 4, 20):
        for steps in both:
            steps.run(first, first % 4 + 1)
    assert len(traced) == once


def test_fewer_examples_than_a_batch_share_the_programs_of_a_power_of_two(traced, digits_specs):
    from elboflow.vae.evaluation.bounds import bounds

    model, codes = SMALL.build(digits_specs), np.zeros((9, 8, 8, 1), np.uint8)
    for count in range(1, 10):
        bounds(model, InMemory(images(codes[:count])), 1, 0, 100)
    assert len(traced) == 5  # of 1, 2, 4, 8 and 16 examples
