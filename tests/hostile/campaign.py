"""Commands that are ended at random moments, and what must hold at every one of them."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from elboflow.artifacts.temporary import PREFIX
from elboflow.vae import folder as model_folder
from elboflow.vae.evaluation import folder as evaluation_folder
from pipelines.targets.local.client import LocalClient
from pipelines.workspace import Workspace
from preprocessing import manifest
from preprocessing.folder import finished

SMALL = (
    "training.backend=jax", "training.epochs=3", "training.batch_size=256", "model.latent=2",
    "model.encoder={kind: mlp, hidden: [16]}", "model.decoder={kind: mlp, hidden: [16]}",
    "training.checkpoints={every_steps: 5}", "evaluation.bound_samples=5", "evaluation.bootstrap_samples=100",
    "registry.canary=false", "registry.baseline=false",
)  # fmt: skip
PATIENCE = 300.0


class Command:
    """A command in a child process.

    Args:
        folder: Holds its place for temporary files, `tmp`.
        words: What comes after `elboflow`.
    """

    def __init__(self, folder: Path, *words: str | Path) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self._mark = f"TEST_CAMPAIGN={folder}"
        name, _, value = self._mark.partition("=")
        settings = [word for setting in SMALL for word in ("--set", setting)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", *map(str, words), *settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "TMPDIR": str(self.temporary), name: value, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()

    def wait_for(self, line: str) -> None:
        """Waits until it says a line, or has ended."""
        deadline = time.monotonic() + PATIENCE
        with self._said:
            while f"{line}\n" not in self.lines and self.process.poll() is None:
                assert time.monotonic() < deadline, "".join(self.lines)
                self._said.wait(0.05)

    def end(self, by: signal.Signals | None = None) -> int:
        """Sends a signal to its process alone, waits for the end, and returns the exit code."""
        if by is not None:
            self.process.send_signal(by)
        code = self.process.wait(PATIENCE)
        assert "Traceback" not in "".join(self.lines), "".join(self.lines)
        return code

    def left(self) -> list[str]:
        """Processes that are still there some seconds after its end."""
        deadline = time.monotonic() + 30
        while (found := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _processes(self) -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:  # it has ended since
                continue
        return found

    def temporary_folders(self) -> list[str]:
        """Our own folders in its place for temporary files."""
        return [path.name for path in self.temporary.glob(f"{PREFIX}*")]


def words(step: str, made: Path, output: Path) -> tuple[str | Path, ...]:
    """The options of a step that reads from one folder and writes into another."""
    dataset, model, evaluation = made / "dataset", made / "model", made / "evaluation"
    known: dict[str, tuple[str | Path, ...]] = {
        "preprocess": ("--output", output / "dataset"),
        "train": ("--dataset", dataset, "--output", output / "model"),
        "evaluate": ("--dataset", dataset, "--model", model, "--output", output / "evaluation"),
        "register": ("--dataset", dataset, "--model", model, "--evaluation", evaluation, "--workspace", output),
    }
    return known[step]


def make(folder: Path) -> Path:
    """Makes a dataset, a model and its evaluation in a folder."""
    for step in ("preprocess", "train", "evaluate"):
        command = Command(folder, "step", step, "digits", *words(step, folder, folder))
        assert command.end() == 0, "".join(command.lines)
    return folder


def end_at_some_moment(
    command: Command, after: str | None, by: signal.Signals, chance: random.Random, longest: float = 3.0
) -> int:
    """Ends a command some seconds after its start, or after it said a line; returns its exit code."""
    if after is not None:
        command.wait_for(after)
    deadline = time.monotonic() + chance.uniform(0, longest)
    while time.monotonic() < deadline and command.process.poll() is None:
        time.sleep(0.01)
    return command.end(by)


def check_what_looks_whole(folder: Path) -> set[str]:
    """Reads every artifact below a folder, which must be as whole as it looks; returns the kinds found."""
    kinds = set()
    for path in folder.rglob("dataset.json"):
        if path.parent.parent.name == "datasets" or path.parent.name == "dataset":
            whole, wrong = finished(str(path.parent), manifest.load(str(path.parent)).digest)
            assert whole is not None, wrong
            kinds.add("dataset")
    for name, read in (("model", model_folder.load), ("evaluation", evaluation_folder.load)):
        for path in folder.rglob(f"{name}/{name}.json"):
            if "mlartifacts" not in path.parts:  # MLflow's copies count by what its database says of them
                read(path.parent)
                kinds.add(name)
    return kinds


def states(workspace: Path) -> list[str]:
    """The states of a workspace's runs, the newest first."""
    return [run.status for run in LocalClient(Workspace(workspace)).runs(100)]
