"""The model as MLflow serves it: a file that MLflow stores beside the model folder and runs when it loads the model.

    model = mlflow.pyfunc.load_model("models:/digits-vae@champion")
    model.predict(raw)                                   # reconstructions
    model.predict(raw, params={"task": "encode"})        # means of q(z|x)
    model.predict(raw, params={"task": "score"})         # bounds on log p(x), in nats

Inputs are raw values, `[examples, …]` in the data's own range, such as 0 to 16 for scikit-learn's digits, of any type
of number, as arrays or lists. A model of several features, or with a condition, takes a table or a mapping of columns.
Reconstructions are raw values, too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from components.registry.predictor import Predictor
from elboflow.settings import RequestError, WorkError
from elboflow.vae.data import Examples

_TASKS = ("reconstruct", "encode", "score")
_MOST_SAMPLES = 100_000  # as in an evaluation


class ServedVAE(mlflow.pyfunc.PythonModel):
    """A model folder behind MLflow's `predict`."""

    def load_context(self, context: Any) -> None:
        """Opens the model folder that lies in the MLflow model; the network is loaded at the first prediction."""
        self.predictor = Predictor.open(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Any:
        """Does what `params["task"]` says.

        Args:
            context: Not used.
            model_input: Raw values: an array or lists of a model's only feature, or columns by name.
            params: `task`: reconstruct, encode or score; `seed`: of the bits and the samples, so that a prediction is a
                function of example and parameters; `samples`: importance samples of `score`.

        Returns:
            reconstruct: the raw values of the only feature, `[examples, …]`, or columns by name; encode: float32
            `[examples, units]`; score: float32 `[examples]`, in nats.

        Raises:
            MlflowException: Inputs or parameters are not what the model takes (INVALID_PARAMETER_VALUE), or the model's
                answer is not finite (INTERNAL_ERROR).
        """
        chosen = {"task": "reconstruct", "samples": 100, "seed": 0, **(params or {})}
        try:
            _check(chosen)
            examples = self.predictor.examples(self._columns(model_input))
        except RequestError as error:
            raise mlflow.MlflowException.invalid_parameter_value(str(error)) from None
        try:
            return self._predict(examples, chosen["task"], chosen["samples"], chosen["seed"])
        except WorkError as error:
            raise mlflow.MlflowException(str(error)) from None

    def _columns(self, model_input: Any) -> Mapping[str, Any]:
        """Returns inputs by feature."""
        if isinstance(model_input, Mapping):
            return model_input
        if hasattr(model_input, "columns"):  # a pandas table, which MLflow makes of JSON
            return {name: model_input[name].to_numpy() for name in model_input.columns}
        (feature, *others) = self.predictor.trained.config.reads
        if others:
            raise RequestError(f"the model takes columns by name: {', '.join([feature, *others])}")
        return {feature: model_input}

    def _predict(self, examples: Examples, task: str, samples: int, seed: int) -> Any:
        if task == "encode":
            return self.predictor.encode(examples, seed).astype(np.float32)
        if task == "score":
            return self.predictor.score(examples, samples, seed)
        made = self.predictor.reconstruct(examples, seed)
        return next(iter(made.values())) if len(made) == 1 else made


def _check(params: dict[str, Any]) -> None:
    if params["task"] not in _TASKS:
        raise RequestError(f"task is {params['task']!r}; allowed are {', '.join(_TASKS)}")
    for name, least, most in (("samples", 1, _MOST_SAMPLES), ("seed", 0, 2**31 - 1)):
        value = params[name]
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
            raise RequestError(f"{name} is {value!r}; a whole number from {least:,} to {most:,} is allowed")


mlflow.models.set_model(ServedVAE())
