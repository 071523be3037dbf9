"""What the log of a training says between its epochs: how far it is, and how long it will take at most."""

import logging
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from elboflow.vae.training import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


@pytest.mark.parametrize("first", [0, 500])
def test_a_long_epoch_says_how_far_it_is_and_how_much_is_left(
    first: int, clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, "elboflow"), progress._Lines(1000) as shown:
        for done in range(first + 10, first + 60, 10):
            shown.steps(done)
            clock(20)
    assert caplog.messages == [
        f"step {first + 30} of 1,000 ({(first + 30) / 10:.0f} %); after 40 s, "
        f"at most {progress._duration((970 - first) * 2)} left",
        f"step {first + 50} of 1,000 ({(first + 50) / 10:.0f} %); after 80 s, "
        f"at most {progress._duration((950 - first) * 2)} left",
    ]


def test_a_training_that_is_over_soon_says_nothing_of_it(
    clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, "elboflow"), progress._Lines(100) as shown:
        for done in (10, 50, 100):
            clock(3)
            shown.steps(done)
            shown.epoch(done // 10, 10, "validation ELBO -1 nats")
    assert caplog.messages == [f"epoch {number}/10: validation ELBO -1 nats" for number in (1, 5, 10)]


def test_the_end_of_an_epoch_says_the_time_that_is_gone_and_left(
    clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, "elboflow"), progress._Lines(100) as shown:
        shown.steps(0)
        for done in (5, 10, 15, 20):
            clock(20)
            shown.steps(done)
            if done % 10 == 0:
                shown.epoch(done // 10, 10, "validation ELBO -1 nats")
    assert [line for line in caplog.messages if line.startswith("epoch")] == [
        "epoch 1/10: validation ELBO -1 nats; after 40 s, at most 6 min left",
        "epoch 2/10: validation ELBO -1 nats; after 80 s, at most 5 min left",
    ]


def test_a_bar_on_a_terminal_shows_the_time_that_is_gone_and_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "100")
    with progress._Bar(100) as shown:
        shown.steps(10)
        shown.epoch(1, 10, "validation ELBO -1 nats")
    shown_there = re.sub(r"\x1b\[[\d;?]*\w", "", capsys.readouterr().err)
    assert re.search(r"10/100 after 0:00:0\d left \S+ epoch 1/10 · validation ELBO -1 nats", shown_there)
