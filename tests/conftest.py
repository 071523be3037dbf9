"""Shared by all tests. Frameworks take seconds to import: tests import them inside, in one worker."""

import functools
import inspect
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.testing
import yaml

from components.surroundings import waiting
from elboflow.testing.mlflow_server import serving

# Most trainings of tests are compiled for longer than they train: XLA optimizes less to compile faster, here and in the
# processes that tests start. `.ci/run` runs all tests with what users run: XLA's own level.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# A process that a shell starts in the background ignores SIGINT, and so do its children; tests send them Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# KFP and the tests read pipelines with PyYAML's own parser, which takes ten times as long as libyaml's.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # type: ignore[misc]  # a class that is replaced


def _stack(context: int = 0) -> list[inspect.FrameInfo]:
    """Returns the frames of a call as `inspect.stack` does, without lines of source.

    KFP asks for all frames, for each setting of each task, to learn the name of its caller. `inspect` searches all
    modules for the source of each: with pytest's sixty frames and TensorFlow imported, a pipeline took 5 s to compile.
    """
    frames, frame = [], inspect.currentframe()
    while frame is not None and (frame := frame.f_back) is not None:
        code = frame.f_code
        frames.append(inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None))
    return frames


# Typer builds the whole command line anew for each of the thousand commands that are called in these processes: 20 ms.
typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]  # an import of it

inspect.stack = _stack  # type: ignore[assignment]  # a function that is replaced


@pytest.fixture(autouse=True)
def own_mlflow() -> Iterator[None]:
    """Restores the MLflow of the environment, which `mlflow.set_tracking_uri` overwrites for all later tests."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    if before is not None:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture(autouse=True)
def told_to_end_no_longer() -> Iterator[None]:
    """Lets the tests after one that was told to end wait for servers, and ask them again."""
    yield
    waiting._hurried = None


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
