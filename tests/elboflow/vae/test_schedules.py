"""The learning rate, step by step, and what a plateau remembers."""

import numpy as np
import pytest

from elboflow.vae.config import Constant, Cosine, Exponential, Plateau, Stages

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]


def rates(settings, steps, steps_per_epoch=10, total_steps=100, factor=1.0):
    from elboflow.vae.training.schedule import rate

    at = rate(settings, steps_per_epoch, total_steps)
    return {step: float(at(step, factor)) for step in steps}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Constant(initial=1.0), {0: 1.0, 99: 1.0}),
        (Cosine(initial=1.0, final=0.2), {0: 1.0, 50: 0.6, 100: 0.2, 200: 0.2}),
        (Exponential(initial=1.0, factor=0.5, every_steps=10), {0: 1.0, 10: 0.5, 15: 2**-1.5, 20: 0.25}),
        # Stages of 1, 2, 4, … epochs of ten steps each.
        (
            Stages(initial=1.0, factor=0.1, growth=2, stages=3),
            {0: 1.0, 9: 1.0, 10: 0.1, 29: 0.1, 30: 0.01, 99: 0.01},
        ),
        (Plateau(initial=1.0), {0: 1.0, 99: 1.0}),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_each_schedule_has_the_rates_that_its_description_says(settings, expected):
    assert rates(settings, expected) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [Constant, Cosine, Exponential, Stages, Plateau])
def test_every_schedule_warms_up_linearly_to_its_initial_rate(kind):
    warm = rates(kind(initial=0.5, warmup_steps=8), range(10), steps_per_epoch=100, total_steps=1000)
    np.testing.assert_allclose([warm[step] for step in range(8)], 0.5 * np.arange(1, 9) / 8, rtol=1e-6)
    assert warm[8] == pytest.approx(0.5, rel=2e-3)


def test_a_cosine_falls_from_the_end_of_its_warm_up_to_the_last_step():
    found = rates(Cosine(initial=1.0, warmup_steps=20), [20, 60, 100])
    assert found == pytest.approx({20: 1.0, 60: 0.5, 100: 0.0}, abs=1e-6)


def test_the_importance_weighted_autoencoders_schedule_is_the_papers():
    """Burda et al., 2016: 0.001 * 10 ** (-i / 7) for 3 ** i passes over the data, i = 0 … 7."""
    passes = np.repeat(np.arange(8), 3 ** np.arange(8))
    some = [0, 1, 3, 4, 12, 13, 39, 40, 120, 121, 363, 364, 1092, 1093, len(passes) - 1]
    found = rates(Stages(initial=1e-3), [epoch * 468 for epoch in some], 468, len(passes) * 468)
    assert list(found.values()) == pytest.approx([1e-3 * 10 ** (-passes[epoch] / 7) for epoch in some])


def test_a_plateau_lowers_the_rate_after_every_so_many_epochs_without_a_better_bound():
    from elboflow.vae.training.schedule import plateau_factor

    settings = Plateau(initial=1.0, factor=0.5, patience=2, minimum_change=0.1, final=0.2)
    elbos = [-10, -9, -9.5, -8.95, -8, -8, -8, -8, -8, -8, -7, -7]
    factors = [plateau_factor(settings, elbos[:epoch]) for epoch in range(1, 13)]
    found = [rates(settings, [99], factor=factor)[99] for factor in factors]
    assert found == pytest.approx([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2])


def test_bounds_move_no_other_schedule():
    from elboflow.vae.training.schedule import plateau_factor

    assert plateau_factor(Constant(), [-5.0] * 20) == plateau_factor(Plateau(), []) == 1.0
