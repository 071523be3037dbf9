"""Pictures by epoch in an MLflow run, which its pages show with a slider (`MlflowClient.log_image`)."""

import queue
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "images"
_MOST_WAITING = 64  # pictures that are kept while MLflow is slow; further ones are dropped
_STORED = re.compile(rf"{FOLDER}/(?P<key>.+?)\+step\+(?P<step>\d+)\+timestamp\+.*\+compressed\.webp")


class Pictures:
    """Pictures on their way to a run, by a thread that begins when the run is known."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[str, int, np.ndarray] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def add(self, key: str, epoch: int, picture: np.ndarray) -> None:
        """Takes a picture, uint8 `[height, width, 3]`; never blocks."""
        try:
            self._waiting.put_nowait((key, epoch, picture))
        except queue.Full:
            return

    def send_to(self, client: "MlflowClient", run_id: str, failed: Callable[[Exception], None]) -> None:
        """Sends what there is, and what comes, until `finish`.

        Args:
            client: A client.
            run_id: The run. What it has already, as that of a training that was killed, is not sent again.
            failed: Is called with the error of a picture that was not taken.
        """

        def work() -> None:
            has: set[tuple[str, int]] | None = None
            while (picture := self._waiting.get()) is not None:
                key, epoch, image = picture
                try:
                    has = stored(client, run_id) if has is None else has
                    if (key, epoch) not in has:
                        client.log_image(run_id, image, key=key, step=epoch, synchronous=True)
                except Exception as error:  # of any kind: the training goes on
                    failed(error)

        self._thread = threading.Thread(target=work, name="sends pictures to MLflow", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits until all pictures are sent or refused."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()


def store(client: "MlflowClient", run_id: str, key: str, epoch: int, file: Path) -> None:
    """Stores a PNG as a picture of an epoch."""
    from PIL import Image

    with Image.open(file) as picture:
        client.log_image(run_id, picture, key=key, step=epoch, synchronous=True)


def stored(client: "MlflowClient", run_id: str) -> set[tuple[str, int]]:
    """Returns keys and epochs of the pictures that a run has."""
    found = (_STORED.fullmatch(file.path) for file in client.list_artifacts(run_id, FOLDER))
    return {(name["key"].replace("~", "/"), int(name["step"])) for name in found if name}
