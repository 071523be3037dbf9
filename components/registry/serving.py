"""The model as MLflow serves it: a file that MLflow stores beside the model folder and runs when it loads the model.

    model = mlflow.pyfunc.load_model("models:/digits-vae@champion")
    model.predict(images)                                   # reconstructions
    model.predict(images, params={"task": "encode"})        # means of q(z|x)
    model.predict(images, params={"task": "score"})         # bounds on log p(x), in nats

Images are `[images, height, width, channels]` in the data's own range, such as 0 to 16 for scikit-learn's digits: what
a client has before any preprocessing. They may be of any type of number, lists too, and images of one channel may lack
the last axis. Reconstructions are in the same range.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from components.binding import intensities
from elboflow.settings import RequestError, WorkError
from elboflow.vae import folder
from elboflow.vae.data import Examples
from preprocessing import splits

_TASKS = ("reconstruct", "encode", "score")
_MOST_SAMPLES = 100_000  # as in an evaluation
_BATCH = 100


class ServedVAE(mlflow.pyfunc.PythonModel):
    """A model folder behind MLflow's `predict`."""

    def load_context(self, context: Any) -> None:
        """Opens the model folder that lies in the MLflow model; the network is loaded at the first prediction."""
        self.folder = folder.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Does what `params["task"]` says.

        Args:
            context: Not used.
            model_input: Raw images, `[images, height, width, channels]`, as an array or as lists.
            params: `task`: reconstruct, encode or score; `seed`: of the bits and the samples, so that a prediction is a
                function of image and parameters; `samples`: importance samples of `score`.

        Returns:
            float32: reconstruct `[images, height, width, channels]`, in the raw range; encode `[images, latent]`;
            score `[images]`, in nats.

        Raises:
            MlflowException: Images or parameters are not what the model takes (INVALID_PARAMETER_VALUE), or the model's
                answer is not finite (INTERNAL_ERROR).
        """
        chosen = {"task": "reconstruct", "samples": 100, "seed": 0, **(params or {})}
        try:
            _check(chosen)
            codes = intensities.codes(model_input, self.folder.provenance.range, self.folder.spec)
        except RequestError as error:
            raise mlflow.MlflowException.invalid_parameter_value(str(error)) from None
        # The identity of an example is a hash of its codes, as in preprocessing: a score is the evaluation's own.
        examples = Examples(codes, splits.keys([codes.reshape(len(codes), -1)]))
        try:
            return self._predict(examples, chosen["task"], chosen["samples"], chosen["seed"])
        except WorkError as error:
            raise mlflow.MlflowException(str(error)) from None

    def _predict(self, examples: Examples, task: str, samples: int, seed: int) -> np.ndarray:
        model = self.folder.model
        from elboflow.vae.evaluation import bounds
        from elboflow.vae.evaluation import samples as images

        if task == "reconstruct":
            return intensities.raw(images.reconstruct(model, examples, seed), self.folder.provenance.range)
        judged = bounds.bounds(model, examples, samples if task == "score" else 1, seed, _BATCH)
        return (judged.log_likelihood if task == "score" else judged.posterior_mean).astype(np.float32)


def _check(params: dict[str, Any]) -> None:
    if params["task"] not in _TASKS:
        raise RequestError(f"task is {params['task']!r}; allowed are {', '.join(_TASKS)}")
    for name, least, most in (("samples", 1, _MOST_SAMPLES), ("seed", 0, 2**31 - 1)):
        value = params[name]
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
            raise RequestError(f"{name} is {value!r}; a whole number from {least:,} to {most:,} is allowed")


mlflow.models.set_model(ServedVAE())
