"""Pictures of a model while it trains: reconstructions of validation images, and samples, after some epochs."""

import logging
import sys
import time
from collections.abc import Callable

import numpy as np

from elboflow.vae.data import Examples
from elboflow.vae.evaluation import images, samples
from elboflow.vae.model import Model

logger = logging.getLogger("elboflow.training")

Show = Callable[[str, int, np.ndarray], None]
"""Gets the name of a picture, the epoch, and the picture, uint8 `[height, width, 3]`."""

EXAMPLES = 8
"""How many reconstructions a picture has, and how many samples."""
_COLUMNS = 4  # with the originals about a square, which MLflow's pages shrink to 256 × 256 pixels
SHARE = 0.01
"""The largest part of a training's time that pictures take."""
_GROWTH = 1.25
"""Epochs with pictures grow apart: 1, 2, 3, 4, 5, 7, 9, 12, …; a training of 1,000 epochs has about 30."""
_FIRST_SECONDS = 0.5
"""What the first pictures are expected to take, with their compilation; 0.2 s of the digits' model on two cores."""
_SMALLEST_SIDE = 64  # pixels


class Gallery:
    """Shows pictures of a model after an epoch, if an earlier epoch's are old enough and the time for them has come.

    Args:
        examples: Validation examples with the features of the model; the first ones are shown.
        seed: The seed of the noise.
        show: Is called with the pictures; it must not block.
    """

    def __init__(self, examples: Examples, seed: int, show: Show) -> None:
        self._examples, self._seed, self._show = examples.head(EXAMPLES), seed, show
        self._began, self._spent, self._expected = time.monotonic(), 0.0, _FIRST_SECONDS
        self._next = 1

    def __call__(self, epoch: int, model: Model) -> None:
        started = time.monotonic()
        if epoch < self._next or self._spent + self._expected > SHARE * (started - self._began):
            return
        self._next = max(epoch + 1, round(_GROWTH * epoch))
        try:
            self._draw(epoch, model)
        except Exception as error:  # such as too little memory of the device: the training goes on
            logger.warning("no more pictures of this training in MLflow: %s", error)
            self._next = sys.maxsize
        self._expected = time.monotonic() - started
        self._spent += self._expected

    def _draw(self, epoch: int, model: Model) -> None:
        (name, *_) = images.among({name: model.specs[name] for name in model.config.features})
        levels = model.specs[name].levels
        assert levels is not None
        originals = self._examples.features[name] / (levels - 1)
        again = samples.reconstruct(model, self._examples, self._seed)[name]
        given = samples.condition_of(model, self._examples)
        made = samples.generate(model, len(self._examples), self._seed, given)[name]
        columns = min(_COLUMNS, len(originals))
        rows = [
            part[first : first + columns]
            for first in range(0, len(originals) - columns + 1, columns)
            for part in (originals, again)
        ]
        factor = max(1, round(_SMALLEST_SIDE / max(originals.shape[1:3])))
        self._show("validation/reconstructions", epoch, images.grid(np.concatenate(rows), columns, factor, gap=2))
        self._show("validation/samples", epoch, images.grid(made, columns, factor, gap=2))
