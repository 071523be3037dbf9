"""The model as MLflow serves it: a file that MLflow stores beside the model folder and runs when it loads the model.

    model = mlflow.pyfunc.load_model("models:/digits-vae@champion")
    model.predict(raw)                                              # reconstructions
    model.predict(raw, params={"task": "encode"})                   # means of q(z|x), [examples, units]
    model.predict(raw, params={"task": "score"})                    # bounds on log p(x), in nats
    model.predict(z, params={"task": "decode"})                     # expected values, given latents [examples, units]
    model.predict([], params={"task": "generate", "count": 16})     # new examples

Raw values are `[examples, …]` in the data's own range, such as 0 to 16 for scikit-learn's digits, of any type of
number, as arrays or lists. A model of several features, or with a condition, takes a table or a mapping of columns.
With a condition, `decode` takes the column `z` beside those of the condition, and `generate` makes `count` examples for
each row of the condition.
"""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _choose_code(carried: Path) -> None:
    """Chooses the code that serves the model: that of this environment, or else that which the model carries.

    MLflow puts the folder `code` of a model first in `sys.path` for the rest of the process, and then runs this file.
    That folder holds a part of this project. Where the project is installed, it would hide modules that the part lacks
    (`components.train`), and a process that has imported some modules already would mix two versions. So an installed
    project serves the model, as it does for `elboflow generate`: it reads the folders of all older versions and refuses
    those of newer ones in a sentence. The first model that a process loads decides for all later ones.

    Raises:
        ImportError: The process has imported other packages of these names.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != carried]
    if importlib.util.find_spec("elboflow") is not None:
        return
    if others := [name for name in ("components", "preprocessing") if name in sys.modules]:
        raise ImportError(
            f"this process has imported another package {others[0]!r}, a name that the code of this model has, too; "
            "load the model in another process"
        )
    sys.path.insert(0, str(carried))


_choose_code(Path(__file__).resolve().with_name("code"))

import mlflow
import numpy as np

from components.registry.predictor import Predictor
from elboflow.settings import RequestError, WorkError

PARAMETERS = {"task": "reconstruct", "samples": 100, "seed": 0, "count": 1}
"""The parameters of a prediction, with their defaults."""
_TASKS = ("reconstruct", "encode", "score", "decode", "generate")
_BOUNDS = {"samples": (1, 100_000), "seed": (0, 2**31 - 1), "count": (1, 100_000)}
_Z = "z"


class ServedVAE(mlflow.pyfunc.PythonModel):
    """A model folder behind MLflow's `predict`."""

    def load_context(self, context: Any) -> None:
        """Opens the model folder inside the MLflow model; the network is loaded at the first prediction."""
        self.predictor = Predictor.open(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> Any:
        """Answers one of the tasks.

        Args:
            context: Not used.
            model_input: For reconstruct, encode and score raw values: an array or lists of a model's only feature, or
                columns by name. For decode latents, and for generate the condition; see above.
            params: `task`; `seed`: of the noise, so that a prediction is a function of example and parameters;
                `samples`: importance samples of `score`; `count`: examples of `generate`.

        Returns:
            reconstruct, decode, generate: raw values of the only feature, `[examples, …]`, or columns by name; encode:
            float32 `[examples, units]`; score: float32 `[examples]`, in nats.

        Raises:
            MlflowException: Inputs or parameters do not fit the model (INVALID_PARAMETER_VALUE), or the model's answer
                is not finite (INTERNAL_ERROR).
        """
        chosen = {**PARAMETERS, **(params or {})}
        try:
            _check(chosen)
            return self._answer(model_input, **chosen)
        except RequestError as error:
            raise mlflow.MlflowException.invalid_parameter_value(str(error)) from None
        except WorkError as error:
            raise mlflow.MlflowException(str(error)) from None

    def _answer(self, inputs: Any, task: str, samples: int, seed: int, count: int) -> Any:
        if task == "generate":
            return _alone(self.predictor.generate(count, seed, _columns(inputs)))
        if task == "decode":
            columns = _columns(inputs)
            if columns is None:
                return _alone(self.predictor.decode(inputs))
            if _Z not in columns:
                raise RequestError(f"decode takes the latents in the column {_Z!r}; there are {', '.join(columns)}")
            return _alone(self.predictor.decode(list(columns.pop(_Z)), columns))
        columns = _columns(inputs)
        if columns is None:
            (feature, *others) = self.predictor.trained.config.reads
            if others:
                raise RequestError(f"the model takes columns by name: {', '.join([feature, *others])}")
            columns = {feature: inputs}
        examples = self.predictor.examples(columns)
        if task == "encode":
            return self.predictor.encode(examples, seed).astype(np.float32)
        if task == "score":
            return self.predictor.score(examples, samples, seed)
        return _alone(self.predictor.reconstruct(examples, seed))


def _columns(inputs: Any) -> dict[str, Any] | None:
    """Returns inputs by name; None if they have no names."""
    if isinstance(inputs, Mapping):
        return {str(name): values for name, values in inputs.items()}
    if hasattr(inputs, "columns"):  # a pandas table, which MLflow makes of JSON
        return {str(name): inputs[name].to_numpy() for name in inputs.columns}
    return None


def _alone(made: dict[str, np.ndarray]) -> Any:
    """Returns the values of the only feature, or columns by name."""
    return next(iter(made.values())) if len(made) == 1 else made


def _check(params: Mapping[str, Any]) -> None:
    if params["task"] not in _TASKS:
        raise RequestError(f"task is {params['task']!r}; allowed are {', '.join(_TASKS)}")
    for name, (least, most) in _BOUNDS.items():
        value = params[name]
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
            raise RequestError(f"{name} is {value!r}; a whole number from {least:,} to {most:,} is allowed")


mlflow.models.set_model(ServedVAE())
