"""Shared by all tests. Frameworks take seconds to import: tests import them inside, in one worker."""

import inspect
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.servers.tracking_server import serving

# Most trainings of tests are compiled for longer than they train: XLA optimizes less to compile faster, here and in the
# processes that tests start. `.ci/run` runs all tests with what users run: XLA's own level.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# A process that a shell starts in the background ignores SIGINT, and so do its children; tests send them Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# KFP calls `inspect.stack` for each setting of each task, and `inspect` walks through all modules for each frame whose
# file is none of theirs: those that start pytest and its workers. With TensorFlow imported, a pipeline took 5 s.
for _file, _module in {"<frozen runpy>": "runpy", "<string>": "__main__"}.items():
    inspect.modulesbyfile[str(Path(_file).absolute())] = _module  # type: ignore[attr-defined]  # not in its stubs

# KFP and the tests read pipelines with PyYAML's own parser, which takes ten times as long as libyaml's.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # type: ignore[misc]  # a class that is replaced


@pytest.fixture(autouse=True)
def own_mlflow() -> Iterator[None]:
    """Restores the MLflow of the environment, which `mlflow.set_tracking_uri` overwrites for all later tests."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture(scope="session")
def tensorflow_backend() -> None:
    """Keras on TensorFlow, in this process. Tests that ask for it belong to the xdist group `tensorflow`."""
    from elboflow.vae import compute

    compute.use("tensorflow")
    assert compute.current() == "tensorflow"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the MLflow server's database and files."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def mlflow_server(mlflow_folder: Path) -> Iterator[str]:
    """The address of a real MLflow on SQLite that all tests share: experiments and models need names of their own."""
    with serving(mlflow_folder) as address:
        yield address
