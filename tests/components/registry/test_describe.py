"""What MLflow's pages tell of a run, its version and its model in sentences."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from components.finish import finish
from components.surroundings.notify import RunEnd
from components.tracking import store
from components.tracking.notes import NOTE
from tests.components.runs import EXPERIMENT, Run

pytestmark = pytest.mark.xdist_group("mlflow")

Written = Callable[..., Run]


def texts(tracking_uri: str, run_id: str, version: int) -> tuple[str, str, str]:
    """The run's note, and the descriptions of its version and of the model."""
    client = store.connect(tracking_uri)
    note = client.get_run(run_id).data.tags[NOTE]
    described = client.get_model_version("digits-vae", str(version)).description
    return note, described, client.get_registered_model("digits-vae").description


def test_note_and_descriptions_say_verdict_bound_data_and_model(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    first = written("night_1", values).register(tracking_uri)
    note, version, model = texts(tracking_uri, first.run_id, 1)
    assert note.startswith("Promoted to champion when it was registered: no version of digits-vae was the champion")
    assert "[digits-vae version 1](#/models/digits-vae/versions/1)" in note
    assert f"[report](#/experiments/1/runs/{first.run_id}/artifacts/report.html)" in note
    links = re.findall(r"/artifacts/(.+?)\)", note)
    client = store.connect(tracking_uri)
    known = {file.path for folder in (None, "lineage") for file in client.list_artifacts(first.run_id, folder)}
    assert len(links) == 4
    assert set(links) <= known
    assert r"| log\_likelihood | -30.00 | -31.00 … -29.00 | nats per example |" in note
    for card in (version, model):
        assert "- **Data**: scikit-learn's digits: train 1,442, validation 184, test 171 examples; digest `" in card
        assert "flat, latent 4, encoder mlp \\[32\\], decoder mlp" in card
        assert "; 1,000 parameters\n" in card
        assert "-30.00 (-31.00 … -29.00) nats per example, on 171 test examples" in card
        assert f"[night\\_1](#/experiments/1/runs/{first.run_id})" in card

    second = written("night-2", values - 1).register(tracking_uri)
    note, version, same = texts(tracking_uri, second.run_id, 2)
    assert note.startswith("Not promoted: worse than version 1, the champion: -1.000 nats")
    assert version.startswith("Not promoted: worse than version 1")
    assert same == model  # which tells of the champion


def test_what_a_person_wrote_is_kept_and_a_failure_gives_way_to_the_verdict(
    written: Written, values: np.ndarray, tracking_uri: str
) -> None:
    def fail(run: str) -> str:
        finish(RunEnd(run, "digits", "failed", step="train", reason="no memory"), EXPERIMENT, None, tracking_uri)
        (found,) = client.search_runs(["1"], f"attributes.run_name = '{run}'")
        return str(found.info.run_id)

    client: Any = store.connect(tracking_uri)
    run_id = fail("night-1")
    assert client.get_run(run_id).data.tags[NOTE].startswith("**Failed in the step train**: no memory")
    assert written("night-1", values).register(tracking_uri).run_id == run_id
    assert client.get_run(run_id).data.tags[NOTE].startswith("Promoted")

    run_id = fail("night-2")
    client.set_tag(run_id, NOTE, "Ann: more memory is ordered")
    client.update_registered_model("digits-vae", "Ask Ann.")
    written("night-2", values + 1).register(tracking_uri)
    note, version, model = texts(tracking_uri, run_id, 2)
    assert (note, model) == ("Ann: more memory is ordered", "Ask Ann.")
    assert version.startswith("Promoted")


@pytest.mark.parametrize(
    ("code", "commit"), [("a" * 40, "a" * 40), ("b" * 40 + "-dirty", "b" * 40), ("elboflow 0.2.0", None)]
)
def test_a_run_names_the_commit_of_its_code_where_there_is_one(code: str, commit: str | None) -> None:
    from components.tracking import tags

    assert tags.commit(code).get("mlflow.source.git.commit") == commit
