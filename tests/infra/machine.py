"""The services of compose.yaml, started here without containers: PostgreSQL, and MLflow on it.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from elboflow.testing.platforms.wire import free_port

PASSWORD = "not-4-production"


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


@contextmanager
def started(root: Path, services: dict[str, Any], driver: Path, folder: Path) -> Iterator[Machine]:
    """PostgreSQL and MLflow, healthy.

    Args:
        root: The checkout.
        services: Those of compose.yaml.
        driver: The driver of PostgreSQL.
        folder: An empty folder for the volumes.
    """
    for volume in ("artifacts", "workspace", "experiments"):
        (folder / volume).mkdir()
    scripts = Path(sys.executable).parent
    surroundings = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(driver)}
    containerfile = (root / "infra/images/mlflow.Containerfile").read_text(encoding="utf-8")
    surroundings.update(re.findall(r"(?m)\b(MLFLOW_\w+)=(\w+)", containerfile))
    working = Machine(services, folder, {"postgres": free_port(), "mlflow": free_port()}, surroundings)
    folder.chmod(0o755)
    with postgres(working):
        port = str(working.ports["mlflow"])
        entry = [{"0.0.0.0": "127.0.0.1", "5000": port}.get(word, word) for word in instruction(root, "ENTRYPOINT")]
        working.start("mlflow", [*entry, *map(working.here, services["mlflow"]["command"])])
        health = [word.replace(":5000/", f":{port}/") for word in instruction(root, "CMD")]
        working.until_healthy("mlflow", health)
        yield working
