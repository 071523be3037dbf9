"""Inference with a model folder on raw values, for the command line, servers, the gate and notebooks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.binding import raw_values
from components.binding.raw_values import Columns
from elboflow.settings import RequestError
from elboflow.vae import folder
from elboflow.vae.data import Examples, InMemory, Source
from elboflow.vae.evaluation.config import EvaluationConfig
from elboflow.vae.evaluation.evaluators import DatasetDescription
from elboflow.vae.folder import ModelFolder

_BATCH = 100


class Predictor:
    """A trained model that takes and returns raw values. The first call loads the network.

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

    def judge(
        self, metric: str, test: Source, data: DatasetDescription, evaluation: EvaluationConfig, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the keys and a metric of a split's examples, computed as in an evaluation.

        Args:
            metric: The name of the metric.
            test: The split.
            data: The dataset of the split.
            evaluation: The settings of the evaluation.
            seed: The seed of the noise of each example.

        Returns:
            The keys, int64 `[examples]`, and the metric of each example, `[examples]`.

        Raises:
            WorkError: No evaluator of this model computes the metric for each example.
        """
        from elboflow.vae.evaluation.evaluate import of_example

        return of_example(metric, self.trained, test, data, evaluation, seed)

    def reconstruct(self, examples: Examples, seed: int = 0) -> dict[str, np.ndarray]:
        """Returns the expected raw values of each feature given the mean of q(z|x), `[examples, …]`."""
        model = self.trained.model
        from elboflow.vae.evaluation import samples

        return self._raw(samples.reconstruct(model, examples, seed))

    def generate(self, count: int, seed: int = 0, given: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Returns the raw values of each feature of new examples, `[count, …]`; of images, the expected ones.

        Args:
            count: The number of examples. A larger count only appends examples.
            seed: The seed. The same seed gives the same examples.
            given: A raw value for each feature that the model is conditioned on.

        Raises:
            RequestError: The model is conditioned on other features, or a value does not fit.
        """
        condition = self._given(given or {}, count)
        model = self.trained.model
        from elboflow.vae.evaluation import samples

        return self._raw(samples.generate(model, count, seed, condition))

    def _given(self, given: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
        config, specs = self.trained.config, self.trained.specs
        wanted = [name for name in config.reads if name not in config.features]
        if sorted(given) != sorted(wanted):
            takes = f"is conditioned on {', '.join(wanted)}" if wanted else "is conditioned on nothing"
            raise RequestError(f"the model {takes}; given: {', '.join(given) or 'nothing'}")
        stored: dict[str, np.ndarray] = {}
        for name in wanted:
            stored |= raw_values.stored(name, specs[name], [given[name]])
        return {name: np.repeat(values, count, axis=0) for name, values in stored.items()}

    def _raw(self, decoded: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: raw_values.raw(name, self.trained.specs[name], decoded) for name in self.trained.config.features}
