"""The cloud that a doctor asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.doctor.cloud import Cloud
from tests.preprocessing.dataflow_server import service_account


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with Cloud() as server:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(tmp_path, f"{server.url}/token")))
        monkeypatch.setenv("GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED", "false")
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        for api in ("STORAGE", "SERVICEUSAGE"):
            monkeypatch.setenv(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}", server.url)
        yield server
