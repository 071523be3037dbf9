"""A training in a child process, which the parent watches and may stop.

Both exchange lines of JSON: the child reports its epochs and its end through a pipe, and reads the answers from its
standard input. Its standard output is the parent's.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

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
    output: str
    model: ModelConfig
    training: TrainingConfig
    seed: int


@dataclass(frozen=True)
class Ended:
    """How a training ended.

    Attributes:
        status: finished, pruned (its watch stopped it) or failed.
        elbo: The validation ELBO of each epoch that was told, in nats; none where a finished model was kept.
        reason: Why it failed, for a person.
    """

    status: Literal["finished", "pruned", "failed"]
    elbo: tuple[float, ...]
    reason: str | None = None


def train(request: Request, watch: Watch | None = None) -> Ended:
    """Trains in a child process, and returns however the child ends.

    Args:
        request: What to train.
        watch: Is told the validation ELBO of every epoch, and may stop the training after any.
    """
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "components.sweep.trial_process", str(writing)],
        stdin=subprocess.PIPE,
        pass_fds=[writing],
        env={**os.environ, "PYTHONSAFEPATH": "1"},  # a user's folder `components` is not this package
        encoding="utf-8",
    )
    os.close(writing)
    try:
        with os.fdopen(reading, encoding="utf-8") as told, process:
            assert process.stdin is not None
            try:
                return _followed(process, process.stdin, told, request, watch)
            except BaseException:
                _end(process)
                raise
    finally:
        process.kill()


def _end(process: "subprocess.Popen[str]") -> None:
    """Ends the training, which may save where it is."""
    process.terminate()
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.close()  # it may wait for an answer
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _followed(
    process: "subprocess.Popen[str]", answers: IO[str], told: IO[str], request: Request, watch: Watch | None
) -> Ended:
    elbo: list[float] = []
    try:
        _say(answers, _as_json(request))
        for line in told:
            message = json.loads(line)
            if "status" in message:
                return Ended(message["status"], tuple(elbo), message["reason"])
            elbo.append(message["elbo"])
            _say(answers, watch is None or watch(message["epoch"], message["elbo"]))
    except BrokenPipeError:
        pass
    return Ended("failed", tuple(elbo), _last_words(process.wait()))


def _last_words(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, as when memory runs out"
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f"its process ended {how} and gave no reason; see its log"


def _as_json(request: Request) -> dict[str, Any]:
    model, training = request.model.model_dump(mode="json"), request.training.model_dump(mode="json")
    return {**vars(request), "model": model, "training": training}


def _say(to: IO[str], what: Any) -> None:
    to.write(json.dumps(what) + "\n")
    to.flush()


def main(pipe: int) -> None:
    """The child process: trains, and reports every epoch and the end."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    logging.getLogger("elboflow").setLevel(logging.INFO)
    os.set_inheritable(pipe, False)
    request = json.loads(sys.stdin.readline())
    with os.fdopen(pipe, "w", encoding="utf-8") as tell:

        def watch(epoch: int, elbo: float) -> bool:
            _say(tell, {"epoch": epoch, "elbo": elbo})
            answer = sys.stdin.readline()
            if not answer:  # the parent has ended, or is ending: the training saves its state and ends
                signal.raise_signal(signal.SIGTERM)
                return True
            return bool(json.loads(answer))

        from components.train import Monitoring, train

        try:
            train(
                request["dataset"],
                Path(request["output"]),
                ModelConfig.model_validate(request["model"]),
                TrainingConfig.model_validate(request["training"]),
                request["seed"],
                monitoring=Monitoring(watch=watch),
            )
            end = {"status": "finished", "reason": None}
        except WatchStoppedError:
            end = {"status": "pruned", "reason": None}
        except (RequestError, WorkError) as error:
            end = {"status": "failed", "reason": str(error)}
        except Exception as error:
            logging.getLogger("elboflow").exception("the training failed unexpectedly")
            end = {"status": "failed", "reason": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
        _say(tell, end)


def _end_with_parent(parent: int) -> None:
    """Ends this process when its parent is gone: by SIGTERM, and then at once. Artifacts commit last."""
    while os.getppid() == parent:
        time.sleep(0.25)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
