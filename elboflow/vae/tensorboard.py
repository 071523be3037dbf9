"""Curves as TensorBoard's event files, written while training runs: `tensorboard --logdir MODEL/tensorboard`.

An event file is a TFRecord file of `Event` messages (tensorboard/compat/proto/event.proto). This module encodes the
messages for scalars itself, so that a training on JAX or PyTorch need not import TensorFlow.
"""

import logging
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

from elboflow.artifacts import tfrecord
from elboflow.artifacts.varints import varint
from elboflow.vae.watch import Group, Observer

logger = logging.getLogger("elboflow.training")

_VERSION = b"brain.Event:2"
_START = 1  # SessionLog.START: TensorBoard ignores events of earlier files from this step on


def events(folder: Path) -> Observer:
    """Returns an observer that writes event files into a folder.

    A training that resumes from a checkpoint adds a file, which replaces the events of earlier files for the same
    steps. A training that starts at epoch 1 removes earlier files. If a write fails, training continues without event
    files.

    Args:
        folder: The folder of the event files. A curve has the tag GROUP/NAME; its steps are optimizer steps.
    """
    return _Events(folder)


class _Events:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._failed = False

    def __call__(self, group: Group, epoch: int, step: int, values: Mapping[str, float]) -> None:
        if self._failed:
            return
        now = time.time()
        summary = b"".join(_value(f"{group}/{name}", value) for name, value in values.items())
        try:
            if self._path is None:
                self._path = self._new_file(epoch, step, now)
            _append(self._path, tfrecord.record(_event(now, step, _bytes(5, summary))))
        except OSError as error:
            self._failed = True
            logger.warning("training goes on without TensorBoard's event files: %s", error)

    def _new_file(self, epoch: int, step: int, now: float) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        if epoch == 1:  # the files are from another training, whose steps may differ
            for old in self._folder.glob("events.out.tfevents.*"):
                old.unlink()
        # TensorBoard reads files in the order of their names, so the time has a fixed number of digits.
        path = self._folder / f"events.out.tfevents.{now:017.6f}.{socket.gethostname()}.{os.getpid()}"
        start = _event(now, step, _bytes(7, varint(1 << 3) + varint(_START)))
        _append(path, tfrecord.record(_event(now, 0, _bytes(3, _VERSION))) + tfrecord.record(start))
        return path


def _append(path: Path, records: bytes) -> None:
    """Appends records in a single write, so that readers find whole records also after a kill."""
    with open(path, "ab", buffering=0) as file:
        file.write(records)


def _event(wall_time: float, step: int, what: bytes) -> bytes:
    return varint(1 << 3 | 1) + struct.pack("<d", wall_time) + varint(2 << 3) + varint(step) + what


def _value(tag: str, value: float) -> bytes:
    """Returns a `Summary.Value` with a tag and a float32."""
    return _bytes(1, _bytes(1, tag.encode()) + varint(2 << 3 | 5) + struct.pack("<f", value))


def _bytes(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content
