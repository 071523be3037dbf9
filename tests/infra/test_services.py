"""compose.yaml: its schema accepts it, and its services do their work, started here without containers."""

import json
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.machine import Machine, query, started

TINY = ("training.epochs=2", "training.batch_size=128", "model.latent=4", "evaluation.bound_samples=20")
TINY += (
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
)


@pytest.fixture(scope="module")
def machine(
    root: Path, services: dict[str, Any], driver: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    with started(root, services, driver, tmp_path_factory.mktemp("machine")) as working:
        working.start("scheduler", services["scheduler"]["entrypoint"] + services["scheduler"]["command"])
        yield working


def status(machine: Machine, host: str) -> int:
    address = f"http://127.0.0.1:{machine.ports['mlflow']}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers={"Host": host}), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.xdist_group("main_job")
@pytest.mark.slow
def test_the_main_job_registers_with_mlflow_on_postgresql(machine: Machine) -> None:
    scheduler = machine.services["scheduler"]
    settings = [word for setting in TINY for word in ("--set", setting)]
    command = [*scheduler["entrypoint"], "run", "digits", "--json", *settings]
    ran = subprocess.run(
        command,
        env=machine.environment("scheduler"),
        capture_output=True,
        encoding="utf-8",
        cwd=machine.folder / "experiments",
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    done = json.loads(ran.stdout)
    assert done["mlflow"]["tracking_uri"] == f"http://127.0.0.1:{machine.ports['mlflow']}"
    runs = "select e.name, r.status from runs r join experiments e using (experiment_id) order by e.name"
    assert query(machine, runs) == "digits|FINISHED\nregistered-models|FINISHED", "the run, and the model's history"
    assert query(machine, "select name, version from model_versions") == "digits-vae|1"
    assert query(machine, "select alias from registered_model_aliases") == "champion"
    assert list((machine.folder / "artifacts").rglob("*.keras")), "the model went through the proxy to the volume"
    assert not (machine.folder / "workspace/mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.xdist_group("main_job")
def test_mlflow_answers_to_the_names_that_it_has_and_to_no_others(machine: Machine) -> None:
    assert status(machine, "mlflow:5000") == 200
    assert status(machine, "localhost:5000") == 200
    assert status(machine, "evil.example") == 403


@pytest.mark.slow
@pytest.mark.xdist_group("main_job")
def test_the_scheduler_is_healthy_until_it_is_stopped(machine: Machine) -> None:
    health = machine.services["scheduler"]["healthcheck"]["test"][1:]
    machine.until_healthy("scheduler", health)
    process = machine.processes["scheduler"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert machine.check("scheduler", health) == 1


def test_every_service_is_checked_limited_and_knows_its_secrets_by_variables(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert "healthcheck" in service or name == "mlflow", "MLflow's is in its image"
        assert service["deploy"]["resources"]["limits"]
        assert "no-new-privileges:true" in service["security_opt"]
        for variable, value in service["environment"].items():
            assert "PASSWORD" not in variable or re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?.*\}", value)


def test_the_example_of_the_variables_names_all_of_them(root: Path) -> None:
    used = set(re.findall(r"\$\{(\w+)", (root / "infra/compose.yaml").read_text(encoding="utf-8")))
    assert used == set(re.findall(r"(?m)^(\w+)=", (root / "infra/.env.example").read_text(encoding="utf-8")))


@pytest.mark.xdist_group("checkers")
def test_composes_own_schema_accepts_the_file(
    root: Path, checker: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    checked = checker("check-jsonschema", "--builtin-schema", "vendor.compose-spec", root / "infra/compose.yaml")
    assert checked.returncode == 0, checked.stdout
