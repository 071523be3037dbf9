"""pytest fixtures of small artifacts, each really made by its step once a session, of an MLflow server, of platforms.

The platforms' doubles need the extra `rehearsal`; a test that asks for one without it is skipped.
A framework is imported only by a test that asks for a model or an evaluation. All folders are shared by the session:
a test that changes one copies it first.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from elboflow.testing.platforms.google_identity import GoogleIdentity
    from elboflow.testing.platforms.kubeflow import KubeflowServer
    from elboflow.testing.platforms.storage import StorageServer
    from elboflow.testing.platforms.vertex import VertexServer
    from pipelines.experiment import Experiment

SMALL = (
    "data.limit=300",
    "model.latent=2",
    "model.encoder={kind: mlp, hidden: [16]}",
    "model.decoder={kind: mlp, hidden: [16]}",
    "training.epochs=1",
    "training.batch_size=64",
    "training.learning_rate=0.001",
    "evaluation.bound_samples=2",
    "evaluation.bootstrap_samples=100",
)
"""What the ready-made experiment `digits` is made small by, as after --set."""


@pytest.fixture(scope="session")
def elboflow_experiment() -> "Experiment":
    """The experiment of the artifacts below: a small model of 300 handwritten digits, 8×8, with labels."""
    from pipelines.experiment import load

    return load("digits", SMALL)


@pytest.fixture(scope="session")
def elboflow_dataset(elboflow_experiment: "Experiment", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder with the splits train, validation and test."""
    from components.preprocess import preprocess

    folder = tmp_path_factory.mktemp("elboflow") / "dataset"
    preprocess(elboflow_experiment.data, folder)
    return folder


@pytest.fixture(scope="session")
def elboflow_model(
    elboflow_experiment: "Experiment", elboflow_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder, trained for one epoch on that dataset."""
    from components.train import train

    folder, wanted = tmp_path_factory.mktemp("elboflow") / "model", elboflow_experiment
    train(elboflow_dataset, folder, wanted.model, wanted.training, wanted.seed)
    return folder


@pytest.fixture(scope="session")
def elboflow_evaluation(
    elboflow_experiment: "Experiment",
    elboflow_dataset: Path,
    elboflow_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An evaluation folder of that model on that dataset's test split."""
    from components.evaluate import evaluate

    folder, wanted = tmp_path_factory.mktemp("elboflow") / "evaluation", elboflow_experiment
    evaluate(elboflow_dataset, elboflow_model, folder, wanted.evaluation, wanted.seed)
    return folder


@pytest.fixture(scope="session")
def elboflow_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server on SQLite: experiments and models of tests need names of their own."""
    from elboflow.testing.mlflow_server import serving

    with serving(tmp_path_factory.mktemp("elboflow-mlflow")) as address:
        yield address


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[StorageServer]":
    """Cloud Storage, with the bucket `bucket`."""
    _require_the_extra()
    from elboflow.testing.platforms.storage import StorageServer

    with StorageServer(tmp_path_factory.mktemp("storage") / "buckets", "bucket") as server:
        yield server


@pytest.fixture(scope="session")
def google_identity(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[GoogleIdentity]":
    """Google's token endpoint, and a service account whose key it knows."""
    _require_the_extra()
    from elboflow.testing.platforms.google_identity import GoogleIdentity

    with GoogleIdentity(tmp_path_factory.mktemp("identity")) as server:
        yield server


@pytest.fixture(scope="session")
def vertex_servers(
    tmp_path_factory: pytest.TempPathFactory, storage_server: "StorageServer", google_identity: "GoogleIdentity"
) -> "Iterator[VertexServer]":
    """The server of `vertex_server`, with the faults and requests of all tests before."""
    from elboflow.testing.platforms.vertex import VertexServer

    folder = tmp_path_factory.mktemp("vertex") / "server"
    with VertexServer(folder, storage_server, identity=google_identity) as server:
        yield server


@pytest.fixture
def vertex_server(vertex_servers: "VertexServer") -> "VertexServer":
    """Vertex AI, without the faults of the test before."""
    vertex_servers.faults.clear()
    vertex_servers.requests.clear()
    return vertex_servers


@pytest.fixture(scope="session")
def kubeflow_servers(
    tmp_path_factory: pytest.TempPathFactory, storage_server: "StorageServer"
) -> "Iterator[KubeflowServer]":
    """The server of `kubeflow_server`, with the faults and requests of all tests before."""
    from elboflow.testing.platforms.kubeflow import KubeflowServer

    with KubeflowServer(tmp_path_factory.mktemp("kubeflow") / "server", storage_server) as server:
        yield server


@pytest.fixture
def kubeflow_server(kubeflow_servers: "KubeflowServer") -> "KubeflowServer":
    """Kubeflow, without the faults of the test before."""
    kubeflow_servers.faults.clear()
    kubeflow_servers.requests.clear()
    return kubeflow_servers


def _require_the_extra() -> None:
    for module in ("trustme", "cryptography", "google.cloud.aiplatform_v1"):
        pytest.importorskip(module, reason="the platforms' doubles need `pip install 'elboflow[rehearsal]'`")
