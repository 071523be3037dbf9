"""A real MLflow server with passwords, workspaces and webhooks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from components.tracking import preflight, store
from components.tracking.notes import NOTE
from components.tracking.pages import run_page
from elboflow.settings import RequestError
from elboflow.testing.mlflow_server import serving
from pipelines.targets.checks import server_check
from pipelines.targets.local.checks import local_mlflow
from pipelines.workspace import Workspace
from tests.components.runs import Run

pytestmark = pytest.mark.xdist_group("mlflow")

PASSWORD = "correct-horse-battery"
PUBLIC = "https://1.1.1.1/hook"  # MLflow takes no address of this machine, and no name that it cannot resolve


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that knows the user `admin`, and the workspaces `default` and `team-a`."""
    folder = tmp_path_factory.mktemp("protected")
    settings = folder / "auth.ini"
    text = f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\nadmin_username = admin\n"
    function = "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    settings.write_text(f"{text}admin_password = {PASSWORD}\n{function}", encoding="utf-8")
    variables = {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_FLASK_SERVER_SECRET_KEY": "any"}
    with serving(folder, "--app-name", "basic-auth", "--enable-workspaces", **variables) as address:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
            patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
            store.connect(address).create_workspace("team-a")
        yield address


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


@pytest.mark.slow
def test_a_run_is_recorded_in_the_workspace_that_the_environment_names(
    protected: str, known: None, written: Callable[..., Run], values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team-a")
    preflight.check(protected, "digits")
    run_id = written("night-1", values).register(protected).run_id
    client = store.connect(protected)
    recorded = client.get_run(run_id)
    assert "[all versions](#/models/digits-vae?workspace=team-a)" in recorded.data.tags[NOTE]
    page = f"{protected}/#/experiments/{recorded.info.experiment_id}/runs/{run_id}?workspace=team-a"
    assert run_page(protected, recorded) == page
    assert [model.name for model in client.search_registered_models()] == ["digits-vae"]
    monkeypatch.setenv("MLFLOW_WORKSPACE", "default")
    assert not store.connect(protected).search_registered_models()


@pytest.mark.slow
def test_a_wrong_password_and_a_workspace_that_is_not_there_are_found_before_a_run(
    protected: str, known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_WORKSPACE", "nowhere")
    with pytest.raises(RequestError, match=r"does not give the workspace 'nowhere', .* \(404\); nothing was"):
        preflight.check(protected, "digits")
    assert server_check(protected).look()[0].found.startswith("does not give the workspace 'nowhere'")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-horse-battery")
    with pytest.raises(RequestError, match=r"refuses the credentials \(401\).*nothing was started"):
        preflight.check(protected, "digits")


@pytest.mark.slow
def test_doctor_says_which_webhooks_of_a_server_a_registration_makes_fire(protected: str, known: None) -> None:
    def found() -> str:
        _, of_webhooks = server_check(protected).look()
        return str(of_webhooks.found)

    assert found() == "the registry has none"
    client = store.connect(protected)
    client.create_webhook("deploy", PUBLIC, ["model_version_alias.created"])
    client.create_webhook("old", PUBLIC, ["model_version.created"], status="DISABLED")
    client.create_webhook("prompts", PUBLIC, ["prompt.created"])
    assert set(found().split("; ")) == {
        "deploy fires on model_version_alias.created",
        "old is switched off",
        "prompts does not fire on a registration: it waits for prompt.created",
    }


def test_doctor_says_that_webhooks_of_a_database_without_a_server_do_not_fire(tracking_uri: str) -> None:
    database = Path(tracking_uri.removeprefix("sqlite:///"))
    workspace = Workspace(database.parent)
    assert [finding.state for finding in local_mlflow(database, workspace, None)] == ["ok"]
    client = store.connect(tracking_uri)
    client.create_webhook("deploy", PUBLIC, ["model_version_alias.created", "model_version.created"])
    client.create_webhook("old", PUBLIC, ["model_version.created"], status="DISABLED")
    (finding,) = local_mlflow(database, workspace, None)
    assert (finding.what, finding.state) == ("webhooks", "problem")
    assert finding.found.startswith("deploy will not fire: only a server sends them")
