"""A version is promoted only if it answers: it is served in a process of its own, and asked over HTTP."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.config import RegistryConfig
from components.registry import canary
from components.registry.decisions import verify
from components.registry.decisions.history import open_history
from components.tracking import store
from elboflow.settings import WorkError
from elboflow.testing.platforms.wire import free_port
from tests.components.runs import Champion, Run

pytestmark = pytest.mark.xdist_group("tensorflow")

ASKED = RegistryConfig(canary=True, baseline=False)


@pytest.mark.slow
def test_a_trained_version_answers(champion: Champion) -> None:
    assert canary.failure(champion.tracking_uri, champion.registration.model, 1) is None


@pytest.mark.slow
def test_a_version_that_does_not_answer_is_not_promoted_and_its_history_holds(
    written: Callable[..., Run], values: np.ndarray, tracking_uri: str, dataset: Path, tmp_path: Path
) -> None:
    refused = written("first", values).register(tracking_uri, registry=ASKED)  # its network is a file of any bytes
    assert not refused.promoted
    assert refused.reason.startswith("not promoted: version 1 does not answer when it is served: ")
    assert refused.reason.endswith(
        "Otherwise it would have been promoted: no version of digits-vae was the champion when it came"
    )
    client = store.connect(tracking_uri)
    assert "champion" not in client.get_registered_model("digits-vae").aliases
    written("second", values).register(tracking_uri)
    better = written("third", values + 1).register(tracking_uri, registry=ASKED)
    assert not better.promoted
    assert "Otherwise it would have been promoted: better than version 2, the champion: +1.000 nats" in better.reason
    history = open_history(client, tracking_uri, "digits-vae")
    assert [event.champion for event in history.events] == [None, 2, 2]
    assert verify.verify(history).problems == ()

    third = tmp_path / "third"
    again = Run("third again", dataset, third / "model", third / "evaluation").register(tracking_uri)
    assert again.promoted
    expected = "has the same weights as version 3, which was better than version 2, the champion and did not answer"
    assert again.reason == expected
    history = open_history(client, tracking_uri, "digits-vae")
    assert history.events[-1].repeats == 3
    assert [look.hypothesis for event in history.events for look in event.looks] == [1]
    assert verify.verify(history).problems == ()


def test_a_version_that_cannot_be_fetched_is_not_decided_on_and_asked_when_it_is_registered_again(
    written: Callable[..., Run], values: np.ndarray, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("first", values).register(tracking_uri)
    run, failure, nobody = written("second", values + 1), canary.failure, f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with monkeypatch.context() as patch:
        patch.setattr(canary, "failure", lambda _, *version: failure(nobody, *version))  # the network fails for it
        with pytest.raises(WorkError, match="version 2 of digits-vae was not decided on: it cannot be fetched to be"):
            run.register(tracking_uri, registry=ASKED)
    assert len(open_history(store.connect(tracking_uri), tracking_uri, "digits-vae").events) == 1
    registered = run.register(tracking_uri)
    assert (registered.version, registered.promoted) == (2, True)
    history = open_history(store.connect(tracking_uri), tracking_uri, "digits-vae")
    assert [look.hypothesis for event in history.events for look in event.looks] == [1]


def test_a_version_that_fails_to_answer_time_and_again_is_compared_once(
    written: Callable[..., Run], values: np.ndarray, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("first", values).register(tracking_uri)
    monkeypatch.setattr(canary, "failure", lambda *version: "connection refused")
    run = written("second", values + 1)
    for name in ("second", "second again", "and again"):
        told = Run(name, run.dataset, run.model, run.evaluation).register(tracking_uri, registry=ASKED)
        assert told.reason.startswith(f"not promoted: version {told.version} does not answer")
    history = open_history(store.connect(tracking_uri), tracking_uri, "digits-vae")
    assert [look.hypothesis for event in history.events for look in event.looks] == [1]
    assert verify.verify(history).problems == ()


def test_a_version_that_is_not_there_does_not_answer(tracking_uri: str) -> None:
    told = canary.failure(tracking_uri, "digits-vae", 1)
    assert told is not None
    assert "digits-vae" in told
