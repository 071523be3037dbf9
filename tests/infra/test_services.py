"""compose.yaml: its schema accepts it, and its services do their work, started here without containers.

The commands, variables and health checks are those of the file; addresses and folders, which containers give, are put
in their place. PostgreSQL is Debian's.
"""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.wire import free_port

PASSWORD = "not-4-production"
TINY = ("training.epochs=2", "training.batch_size=128", "model.latent=4", "evaluation.bound_samples=20")
TINY += ("evaluation.bootstrap_samples=100",)


@dataclass
class Machine:
    """Stands for the machine that compose would make: where each service is, and what it is called inside."""

    services: dict[str, Any]
    folder: Path
    ports: dict[str, int]
    surroundings: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """Puts this machine's addresses and folders in the place of those that containers see."""
        given = {"POSTGRES_PASSWORD": PASSWORD}
        text = re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda found: given[found[1]], text)
        for service, port in (("postgres", 5432), ("mlflow", 5000)):
            text = text.replace(f"@{service}:{port}", f"@127.0.0.1:{self.ports[service]}")
            text = text.replace(f"//{service}:{port}", f"//127.0.0.1:{self.ports[service]}")
        return re.sub(r"(?<=[=\s])(/artifacts|/workspace)\b|^(/artifacts|/workspace)$", self._folder, text)

    def _folder(self, found: re.Match[str]) -> str:
        return f"{self.folder}{found[0]}"

    def environment(self, service: str) -> dict[str, str]:
        written = {name: self.here(str(value)) for name, value in self.services[service].get("environment", {}).items()}
        return {**self.surroundings, **written, "PGPORT": str(self.ports["postgres"])}

    def start(self, service: str, command: list[str], user: str | None = None) -> None:
        with (self.folder / f"{service}.log").open("wb") as log:
            self.processes[service] = subprocess.Popen(
                command, env=self.environment(service), stdout=log, stderr=log, start_new_session=True, user=user,
                cwd=self.folder / "experiments",
            )  # fmt: skip

    def check(self, service: str, test: list[str]) -> int:
        """Runs a health check as it is written in the file or the image."""
        return subprocess.run(
            test, env=self.environment(service), capture_output=True, cwd=self.folder / "experiments"
        ).returncode

    def until_healthy(self, service: str, test: list[str], patience: float = 300) -> None:
        deadline = time.monotonic() + patience
        while self.check(service, test):
            log = (self.folder / f"{service}.log").read_text(encoding="utf-8")[-3000:]
            assert self.processes[service].poll() is None, f"{service} ended:\n{log}"
            assert time.monotonic() < deadline, f"{service} never became healthy:\n{log}"
            time.sleep(0.5)

    def end(self) -> None:
        for process in reversed(self.processes.values()):
            for way in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, way)
                    process.wait(20)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue


def instruction(root: Path, word: str) -> list[str]:
    """A JSON-form instruction of the MLflow server's Containerfile."""
    text = (root / "infra/images/mlflow.Containerfile").read_text(encoding="utf-8")
    found = re.findall(rf"(?m)^\s*{word} (\[.*\])$", text)
    words: list[str] = json.loads(found[-1])
    return words


@pytest.fixture(scope="module")
def services(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "infra/compose.yaml").read_text(encoding="utf-8"))["services"]
    return loaded


@pytest.fixture(scope="module")
def driver(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver of PostgreSQL, of the version that MLflow's image has, in a folder of its own."""
    folder, pinned = tmp_path_factory.mktemp("driver"), (root / "infra/images/mlflow.txt").read_text(encoding="utf-8")
    wanted = next(line for line in pinned.splitlines() if line.startswith("psycopg2"))
    uv = Path(sys.executable).with_name("uv")
    pip = (
        [uv, "pip", "install", "--python", sys.executable] if uv.exists() else [sys.executable, "-m", "pip", "install"]
    )
    command = [*pip, "--quiet", "--no-deps", "--target", folder, wanted]
    installed = subprocess.run(command, capture_output=True, encoding="utf-8")
    if installed.returncode:
        pytest.skip(f"{wanted} cannot be installed here: {installed.stderr.strip()[-300:]}")
    return folder


@contextmanager
def postgres(machine: Machine) -> Iterator[None]:
    """PostgreSQL as its image sets it up: a user, a database and a password from the variables."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    programs, given = found[-1], machine.environment("postgres")
    user = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to be run by root
    data = Path(tempfile.mkdtemp(prefix="elboflow-postgres-"))
    try:
        password = data / "password"
        password.write_text(given["POSTGRES_PASSWORD"], encoding="utf-8")
        if user:
            for path in (data, password):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        setup = [programs / "initdb", f"--username={given['POSTGRES_USER']}", f"--pwfile={password}"]
        setup += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", f"--pgdata={data}/data"]
        subprocess.run(setup, check=True, capture_output=True, user=user, cwd=data)
        machine.surroundings["PATH"] = f"{programs}:{machine.surroundings['PATH']}"
        server = [str(programs / "postgres"), "-D", f"{data}/data", "-k", str(data), "-c", "listen_addresses=127.0.0.1"]
        server += ["-c", "fsync=off"]  # nobody needs the data after the tests
        machine.start("postgres", server, user)
        machine.until_healthy("postgres", machine.services["postgres"]["healthcheck"]["test"][1:])
        assert query(machine, "create database mlflow", database="postgres") == ""
        yield
    finally:
        machine.end()
        shutil.rmtree(data)


def query(machine: Machine, statement: str, database: str = "mlflow") -> str:
    given = {**machine.environment("postgres"), "PGPASSWORD": PASSWORD}
    command = ["psql", "--host=127.0.0.1", "--username=mlflow", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
    asked = subprocess.run(
        [*command, f"--dbname={database}", f"--command={statement}"], env=given, capture_output=True, encoding="utf-8"
    )
    assert asked.returncode == 0, asked.stderr
    return asked.stdout.strip()


@pytest.fixture(scope="module")
def machine(
    root: Path, services: dict[str, Any], driver: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    for volume in ("artifacts", "workspace", "experiments"):
        (folder / volume).mkdir()
    scripts = Path(sys.executable).parent
    surroundings = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(driver)}
    containerfile = (root / "infra/images/mlflow.Containerfile").read_text(encoding="utf-8")
    surroundings.update(re.findall(r"(?m)\b(MLFLOW_\w+)=(\w+)", containerfile))
    working = Machine(services, folder, {"postgres": free_port(), "mlflow": free_port()}, surroundings)
    with ExitStack() as stack:
        folder.chmod(0o755)
        stack.enter_context(postgres(working))
        port = str(working.ports["mlflow"])
        entry = [{"0.0.0.0": "127.0.0.1", "5000": port}.get(word, word) for word in instruction(root, "ENTRYPOINT")]
        working.start("mlflow", [*entry, *map(working.here, services["mlflow"]["command"])])
        health = [word.replace(":5000/", f":{port}/") for word in instruction(root, "CMD")]
        working.until_healthy("mlflow", health)
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
    assert query(machine, "select status from runs") == "FINISHED"
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
