"""Inference with a model folder on raw values, for the command line, servers, the gate and notebooks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.binding import raw_values
from components.binding.raw_values import Columns
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder
from elboflow.vae.data import Examples, InMemory
from elboflow.vae.folder import ModelFolder

_BATCH = 100


class Predictor:
    """A trained model that takes and returns raw values. The first call loads the network.

    Its answers are finite, or a WorkError.

    Args:
        trained: The model folder.
    """

    def __init__(self, trained: ModelFolder) -> None:
        self.trained = trained

    @classmethod
    def open(cls, path: Path | str) -> "Predictor":
        """Opens a model folder.

        Raises:
            WorkError: The folder is not finished, or a file in it is missing or damaged.
        """
        return cls(folder.load(Path(path)))

    def examples(self, columns: Columns) -> Examples:
        """Returns raw values as examples.

        Raises:
            RequestError: The values do not fit the model.
        """
        return raw_values.examples(self.trained.specs, columns)

    def encode(self, examples: Examples, seed: int = 0) -> np.ndarray:
        """Returns the means of q(z|x), float32 `[examples, units]`, concatenated over the layers of latents."""
        model = self.trained.model
        from elboflow.vae.evaluation import samples

        return np.concatenate(samples.encode(model, examples, seed), axis=1)

    def score(self, examples: Examples, importance_samples: int = 100, seed: int = 0) -> np.ndarray:
        """Returns importance-weighted bounds on log p(x), float32 `[examples]`, in nats."""
        model = self.trained.model
        from elboflow.vae.evaluation.bounds import bounds

        found = bounds(model, InMemory(examples), importance_samples, seed, _BATCH)
        return found.log_likelihood.astype(np.float32)

    def reconstruct(self, examples: Examples, seed: int = 0) -> dict[str, np.ndarray]:
        """Returns the expected raw values of each feature given the mean of q(z|x), `[examples, …]`."""
        model = self.trained.model
        from elboflow.vae.evaluation import samples

        return self._raw(samples.reconstruct(model, examples, seed))

    def generate(self, count: int, seed: int = 0, given: Columns | None = None) -> dict[str, np.ndarray]:
        """Returns the raw values of each feature of new examples, `[count, …]`; of images, the expected ones.

        Args:
            count: The number of examples. A larger count only appends examples.
            seed: The seed. The same seed gives the same examples.
            given: The features that the model is conditioned on, raw values `[rows]` by name. `count` examples are
                made for each row: `[rows * count, …]`.

        Raises:
            RequestError: The model is conditioned on other features, or a value does not fit.
        """
        condition, rows = self._given(given or {})
        repeated = {name: np.repeat(values, count, axis=0) for name, values in condition.items()}
        model = self.trained.model
        from elboflow.vae.evaluation import samples

        return self._raw(samples.generate(model, (rows or 1) * count, seed, repeated))

    def decode(self, z: Any, given: Columns | None = None) -> dict[str, np.ndarray]:
        """Returns the expected raw values of each feature given latents, `[examples, …]`.

        Args:
            z: The latents as `encode` returns them, `[examples, units]`.
            given: The features that the model is conditioned on, raw values `[examples]` by name.

        Raises:
            RequestError: The latents have another shape or are not finite, or the condition does not fit the model.
        """
        condition, rows = self._given(given or {})
        model = self.trained.model
        from elboflow.vae.evaluation import samples

        units = samples.units(model, condition)
        takes = f"decode takes finite numbers of shape [examples, {sum(units)}], of at least 1 example"
        try:
            latents = np.asarray(z, np.float32)
        except (TypeError, ValueError, OverflowError):
            raise RequestError(takes) from None
        if latents.ndim != 2 or latents.shape[1] != sum(units) or not len(latents):
            raise RequestError(f"{takes}; found {list(latents.shape)}")
        if not np.isfinite(latents).all():
            raise RequestError(takes)
        if condition and rows != len(latents):
            raise RequestError(f"there are {len(latents)} rows of latents, and {rows} of {', '.join(given or {})}")
        layers = np.split(latents, np.cumsum(units)[:-1], axis=1)
        return self._raw(samples.decode(model, tuple(layers), condition))

    def _given(self, given: Columns) -> tuple[dict[str, np.ndarray], int]:
        """Returns the features that the model is conditioned on as stored values, and the number of rows."""
        config, specs = self.trained.config, self.trained.specs
        wanted = [name for name in config.reads if name not in config.features]
        if sorted(given) != sorted(wanted):
            takes = f"is conditioned on {', '.join(wanted)}" if wanted else "is conditioned on nothing"
            raise RequestError(f"the model {takes}; given: {', '.join(given) or 'nothing'}")
        found: dict[str, np.ndarray] = {}
        for name in wanted:
            found |= raw_values.stored(name, specs[name], given[name])
        rows = {name: len(found[name]) for name in wanted}
        if len(set(rows.values())) > 1:
            raise RequestError(f"the features have different numbers of examples: {rows}")
        return found, max(rows.values(), default=0)

    def _raw(self, decoded: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        specs = self.trained.specs
        with np.errstate(over="ignore", invalid="ignore"):
            made = {name: raw_values.raw(name, specs[name], decoded) for name in self.trained.config.features}
        for name, values in made.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise WorkError(f"the model {self.trained.path} makes values of {name!r} that are not finite")
        return made
