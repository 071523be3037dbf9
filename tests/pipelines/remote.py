"""The real command line against a platform's wire server: in this process, or where that matters in one of its own."""

import json
import os
import subprocess
import sys
import traceback
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from elboflow.testing.platforms.wire import WireServer

SMALL = {
    "training.epochs": "1",
    "training.batch_size": "256",
    "model.latent": "2",
    "model.encoder": "{kind: mlp, hidden: [16]}",
    "model.decoder": "{kind: mlp, hidden: [16]}",
    "evaluation.bound_samples": "5",
    "evaluation.bootstrap_samples": "100",
    "registry.canary": "false",
    "registry.baseline": "false",
}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """Its standard output, which is one JSON object."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def said(self) -> str:
        """The last line for the person."""
        return self.err.splitlines()[-1]


@dataclass
class Platform:
    """A platform to run on.

    Attributes:
        name: The target's name.
        server: Its wire server.
        target: The section `targets.NAME`, as it is written after --set.
        environment: What the command needs to find it.
        workspace: The workspace of its commands.
    """

    name: str
    server: Any
    target: str
    environment: dict[str, str]
    workspace: Path
    settings: dict[str, str] = field(default_factory=lambda: dict(SMALL))

    def words(self, *arguments: str | Path) -> list[str]:
        """Returns a command, on this platform and in this workspace."""
        words = [sys.executable, "-m", "pipelines", *map(str, arguments)]
        return [*words, "--target", self.name, "--workspace", str(self.workspace)]

    def run_words(self, *arguments: str) -> list[str]:
        """Returns the command that runs the digits."""
        settings = {f"targets.{self.name}": self.target, **self.settings}
        given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return [*self.words("run", "digits"), *given, *arguments]

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        """Starts a command."""
        streams: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, env={**os.environ, **self.environment}, start_new_session=True, **streams)

    def do(self, words: list[str]) -> Done:
        """Runs a command to its end, in this process: it spares the imports of each."""
        from typer.testing import CliRunner

        from pipelines.cli import app

        done = CliRunner().invoke(app, words[3:], env=self.environment)
        expected = done.exc_info is None or issubclass(done.exc_info[0], SystemExit)
        unexpected = "" if expected else "".join(traceback.format_exception(*done.exc_info))
        return Done(done.exit_code, done.stdout, done.stderr + unexpected)

    def do_apart(self, words: list[str], seconds: float) -> Done:
        """Runs a command to its end, in a process of its own."""
        process = self.start(words)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{' '.join(words)} did not end:\n{out}\n{err}") from None
        return Done(process.returncode, out, err)

    def run(self, *arguments: str) -> Done:
        """Runs the digits, as small as they get."""
        return self.do(self.run_words("--json", *arguments))

    def ask(self, *arguments: str | Path) -> Done:
        """Asks about runs."""
        return self.do(self.words(*arguments))


def running(server: WireServer) -> list[str]:
    """Returns the ids of the server's runs that have not ended."""
    return [id for id, run in vars(server)["runs"].items() if run.execution.ended is None]


def newest_version(mlflow: str, model: str = "digits-vae") -> Any:
    """Returns a model's latest version on an MLflow server; the champion may be of an earlier test with that server."""
    named = quote(f"name = '{model}'")
    search = f"model-versions/search?max_results=1000&filter={named}"
    with urllib.request.urlopen(f"{mlflow}/api/2.0/mlflow/{search}", timeout=30) as answer:
        return max(json.load(answer)["model_versions"], key=lambda version: int(version["version"]))
