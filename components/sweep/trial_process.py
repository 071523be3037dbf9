"""A training in a child process, which the parent watches and may stop.

Both exchange lines of JSON: the child reports its epochs and its end on its standard output, and reads the answers from
its standard input. All else that it prints goes to standard error, which is the parent's.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import TypeAdapter

from elboflow.artifacts import child
from elboflow.settings import RequestError, WorkError
from elboflow.vae.config import TrainingConfig
from elboflow.vae.model import ModelConfig
from elboflow.vae.watch import Watch, WatchStoppedError

_PATIENCE = 10.0
"""Seconds that a training gets to save where it is."""


@dataclass(frozen=True)
class Request:
    """What the process is to train: the arguments of `components.train.train`."""

    dataset: str
    output: Path
    model: ModelConfig
    training: TrainingConfig
    seed: int


_REQUEST = TypeAdapter(Request)


@dataclass(frozen=True)
class Ended:
    """How a training ended.

    Attributes:
        status: finished, pruned (its watch stopped it) or failed.
        elbo: The validation ELBO of each epoch that was told, in nats; none where a finished model was kept.
        reason: Why it failed, for a person.
        died: Whether its process ended without saying why, as when memory runs out: another try may succeed.
    """

    status: Literal["finished", "pruned", "failed"]
    elbo: tuple[float, ...]
    reason: str | None = None
    died: bool = False


def train(request: Request, watch: Watch | None = None) -> Ended:
    """Trains in a child process, and returns however the child ends.

    Args:
        request: What to train.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.
    """
    process = subprocess.Popen(
        child.command("components.sweep.trial_process"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child.environment(),
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    elbo: list[float] = []
    with child.ended(process, _PATIENCE):
        try:
            _say(process.stdin, _REQUEST.dump_python(request, mode="json"))
            for line in process.stdout:
                if not line.startswith("{"):  # printed by what Python imports first of all, before `main`
                    sys.stderr.write(line)
                    continue
                message = json.loads(line)
                if "status" in message:
                    return Ended(message["status"], tuple(elbo), message["reason"])
                elbo.append(message["elbo"])
                _say(process.stdin, watch is None or watch(message["epoch"], message["elbo"]))
        except BrokenPipeError:
            pass
        return Ended("failed", tuple(elbo), f"{child.death(process.wait())}; see its log", died=True)


def _say(to: IO[str], what: Any) -> None:
    to.write(json.dumps(what) + "\n")
    to.flush()


def main() -> None:
    """The child process: trains, and reports every epoch and the end."""
    child.end_with_parent(_PATIENCE)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("elboflow").setLevel(logging.INFO)
    request = _REQUEST.validate_json(sys.stdin.readline())
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as tell:
        os.dup2(2, 1)  # a library that prints must not print between the reports

        def watch(epoch: int, elbo: float) -> bool:
            _say(tell, {"epoch": epoch, "elbo": elbo})
            answer = sys.stdin.readline()
            if not answer:  # the parent has ended, or is ending: the training saves its state and ends
                signal.raise_signal(signal.SIGTERM)
                return True
            return bool(json.loads(answer))

        from components.train import Monitoring, train

        try:
            train(**vars(request), monitoring=Monitoring(watch=watch))
            end = {"status": "finished", "reason": None}
        except WatchStoppedError:
            end = {"status": "pruned", "reason": None}
        except (RequestError, WorkError) as error:
            end = {"status": "failed", "reason": str(error)}
        except Exception as error:
            logging.getLogger("elboflow").exception("the training failed unexpectedly")
            end = {"status": "failed", "reason": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
        _say(tell, end)


if __name__ == "__main__":
    main()
