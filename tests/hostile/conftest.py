"""What hostile tests share."""

import shutil
from pathlib import Path

import pytest

from pipelines.workspace import Workspace
from tests.components.conftest import empty_database as empty_database


@pytest.fixture
def workspace(empty_database: Path, tmp_path: Path) -> Workspace:
    """A workspace with an MLflow that has no runs yet."""
    place = Workspace(tmp_path / "workspace")
    place.folder.mkdir()
    shutil.copy(empty_database, place.database)
    return place
