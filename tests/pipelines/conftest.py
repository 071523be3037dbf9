"""The platforms: wire servers that execute what is submitted, and the MLflow that their steps register with."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from components.surroundings import retries
from pipelines import follow, releases
from pipelines.experiment import Experiment
from pipelines.graphs import Graph
from pipelines.graphs.training import TRAINING
from pipelines.targets import submission
from pipelines.targets.submission import specification
from tests.pipelines.remote import Platform

if TYPE_CHECKING:
    from elboflow.testing.platforms.google_identity import GoogleIdentity
    from elboflow.testing.platforms.kubeflow import KubeflowServer
    from elboflow.testing.platforms.vertex import VertexServer

IMAGE = "registry.example/python-elboflow:1"


@pytest.fixture(scope="session")
def compiled() -> Callable[..., str]:
    """Compiles each experiment once, with each graph."""
    texts: dict[tuple[str, str, str], str] = {}

    def compiled(experiment: Experiment, target: str, graph: Graph = TRAINING) -> str:
        key = experiment.model_dump_json(), target, repr(graph)
        if key not in texts:
            texts[key] = specification(experiment, target, graph)
        return texts[key]

    return compiled


@pytest.fixture
def quick(compiled: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this process compile each experiment once, and wait little before they ask a platform again."""
    for module in (submission, releases):
        monkeypatch.setattr(module, "specification", compiled)
    monkeypatch.setattr(retries, "WAITS", (0.01, 0.02, 0.05, 0.1))
    monkeypatch.setattr(follow, "FIRST", 0.1)
    monkeypatch.setattr(follow, "GROWTH", 1.0)


@pytest.fixture
def vertex(
    vertex_server: "VertexServer", google_identity: "GoogleIdentity", mlflow_address: str, tmp_path: Path, quick: None
) -> Platform:
    """The command line on Vertex AI."""
    target = (
        f"{{project: project, location: europe-west4, root: 'gs://bucket/vae', image: {IMAGE}, "
        f"tracking_uri: '{mlflow_address}', endpoint: 'localhost:{vertex_server.port}', "
        f"repository: '{vertex_server.repository()}'}}"
    )
    environment = {
        "REQUESTS_CA_BUNDLE": str(vertex_server.certificate),
        "GOOGLE_APPLICATION_CREDENTIALS": str(google_identity.file),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": vertex_server.url,
    }
    return Platform("vertex", vertex_server, target, environment, tmp_path / "workspace")


@pytest.fixture
def kubeflow(kubeflow_server: "KubeflowServer", mlflow_address: str, tmp_path: Path, quick: None) -> Platform:
    """The command line on Kubeflow."""
    target = f"{{image: {IMAGE}, tracking_uri: '{mlflow_address}', host: '{kubeflow_server.url}'}}"
    return Platform("kubeflow", kubeflow_server, target, {}, tmp_path / "workspace")


@pytest.fixture
def mlflow_address(request: pytest.FixtureRequest) -> str:
    """The MLflow of a test that asks for `mlflow_server`; for others, whose steps are rehearsed, one never asked."""
    if "mlflow_server" in request.fixturenames:
        address: str = request.getfixturevalue("mlflow_server")
        return address
    return "http://127.0.0.1:9"
