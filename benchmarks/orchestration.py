"""What orchestration costs: a local pipeline against its steps run by hand, a submission, and a list of schedules.

    python -m benchmarks.orchestration [--quick] [--json FILE]

The pipeline and the four `elboflow step …` run in turn, each time in fresh folders, and the median ratio counts. A
submission to Vertex AI and to Kubeflow, on the wire servers of the tests, is timed from outside as a whole command;
what importing that platform's client takes in a bare Python is measured beside it, and taken off. The servers' steps
are rehearsed, so that nothing runs beside what is timed.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Figure, options, publish
from elboflow.testing.platforms.google_identity import GoogleIdentity
from elboflow.testing.platforms.kubeflow import KubeflowServer
from elboflow.testing.platforms.storage import StorageServer
from elboflow.testing.platforms.vertex import VertexServer

PIPELINE_TARGET = 1.25
SUBMIT_TARGET = 3.0
LIST_TARGET = 2.0
QUICK = ("--set", "training.epochs=2", "--set", "evaluation.bound_samples=20")
CLIENTS = {
    "vertex": "from components.surroundings.google import Session; Session(None)",
    "kubeflow": "from kfp.client import Client",
}


def main() -> None:
    """Runs the benchmark from the command line."""
    arguments = options(__doc__, quick="few epochs, and everything once", data=False)
    repetitions = 1 if arguments.quick else 3
    with tempfile.TemporaryDirectory() as folder:
        figures = _pipeline(Path(folder), repetitions, QUICK if arguments.quick else ())
        figures += _platforms(Path(folder), repetitions)
    publish(figures, arguments.json)


def _pipeline(folder: Path, repetitions: int, settings: tuple[str, ...]) -> list[Figure]:
    whole, by_hand = [], []
    for number in range(repetitions):
        place = folder / f"steps-{number}"
        dataset, model, evaluation = place / "dataset", place / "model", place / "evaluation"
        steps: list[list[str | Path]] = [
            ["preprocess", "digits", "--output", dataset],
            ["train", "digits", "--dataset", dataset, "--output", model],
            ["evaluate", "digits", "--dataset", dataset, "--model", model, "--output", evaluation],
            ["register", "digits", "--dataset", dataset, "--model", model, "--evaluation", evaluation,
             "--workspace", place / "workspace"],
        ]  # fmt: skip
        by_hand.append(sum(_seconds(_elboflow("step", *step, *settings)) for step in steps))
        whole.append(_seconds(_elboflow("run", "digits", "--workspace", folder / f"run-{number}", *settings)))
    ratio = statistics.median(run / steps for run, steps in zip(whole, by_hand, strict=True))
    return [
        Figure("the four steps by hand", statistics.median(by_hand), "s"),
        Figure("elboflow run", statistics.median(whole), "s"),
        Figure("elboflow run, by its steps by hand", ratio, "times", PIPELINE_TARGET, at_most=True),
    ]


def _platforms(folder: Path, repetitions: int) -> list[Figure]:
    figures = []
    with (
        GoogleIdentity(folder) as identity,
        StorageServer(folder / "storage", "bucket") as storage,
        VertexServer(folder / "vertex", storage, identity=identity) as vertex,
        KubeflowServer(folder / "kubeflow", storage) as kubeflow,
    ):
        common = "image: registry.example/elboflow:1, tracking_uri: 'http://127.0.0.1:9'"
        place = f"project: {vertex.project}, location: {vertex.location}, root: 'gs://bucket/vae'"
        targets = {
            "vertex": f"{{{common}, {place}, endpoint: '{vertex.address}'}}",
            "kubeflow": f"{{{common}, host: '{kubeflow.url}'}}",
        }
        account = {"GOOGLE_APPLICATION_CREDENTIALS": str(identity.file)}
        environment = {"REQUESTS_CA_BUNDLE": str(vertex.certificate), **account}
        for server in (vertex, kubeflow):
            server.faults.rehearsed = True
            server.faults.step_seconds = 0.0
        for name, target in targets.items():
            words = ["--target", name, "--workspace", str(folder / "workspace")]
            given = ["digits", "--set", f"targets.{name}={target}", *words]
            submit = _elboflow("run", *given, "--no-wait")
            importing = [sys.executable, "-c", CLIENTS[name]]
            beyond = []
            for _ in range(repetitions):
                took = _seconds(submit, environment)
                _settle(vertex, kubeflow)
                beyond.append(took - _seconds(importing))
            figures.append(
                Figure(
                    f"submit to {name}, beyond the import", statistics.median(beyond), "s", SUBMIT_TARGET, at_most=True
                )
            )
            _seconds(_elboflow("schedule", "create", *given, "--cron", "0 2 * * *"), environment)
            listing = _elboflow("schedule", "list", *words)
            figures.append(_listing(f"schedule list on {name}", listing, environment, repetitions))
        everywhere = _elboflow("schedule", "list", "--all-targets", "--workspace", folder / "workspace")
        figures.append(_listing("schedule list --all-targets", everywhere, environment, repetitions))
    return figures


def _listing(name: str, command: list[str], environment: dict[str, str], repetitions: int) -> Figure:
    seconds = statistics.median(_seconds(command, environment) for _ in range(repetitions))
    return Figure(name, seconds, "s", LIST_TARGET, at_most=True)


def _settle(*servers: VertexServer | KubeflowServer) -> None:
    """Waits until no run is at work: it would take the processor from what is measured next."""
    while any(run.execution.ended is None for server in servers for run in server.runs.values()):
        time.sleep(0.1)


def _elboflow(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipelines", *map(str, words)]


def _seconds(command: list[str], environment: dict[str, str] | None = None) -> float:
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, **(environment or {})})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.monotonic() - started


if __name__ == "__main__":
    main()
