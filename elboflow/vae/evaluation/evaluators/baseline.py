"""The baseline: what a model without latents makes of the test examples, each value independent of the others."""

from typing import ClassVar, Literal

import numpy as np

from elboflow.vae import ops
from elboflow.vae.batches import batches, first
from elboflow.vae.compute import program
from elboflow.vae.evaluation import bootstrap
from elboflow.vae.evaluation.evaluators import Evaluator, Result, Seen
from elboflow.vae.evaluation.metrics import NATS, Metric
from elboflow.vae.noise import drawn
from elboflow.vae.terms import Batch, Tensor

_FITTED_TO = 10_000  # train examples at most
BASELINE = "baseline"


class Baseline(Evaluator):
    """The log-likelihood of independent pixels, independent columns or a unigram model, of the same outcomes.

    The likelihood is that of the model, whose decoder outputs are constants here, fitted to the train split. The bits
    or the noise of an example are those under which the model's own bounds are computed.
    """

    order: ClassVar[int] = 15
    columns: ClassVar[tuple[str, ...]] = (BASELINE,)
    kind: Literal["baseline"] = "baseline"

    def __call__(self, seen: Seen) -> Result:
        if seen.train is None or (values := _log_likelihood(seen)) is None:
            return Result()
        (found,) = bootstrap.intervals(values[:, None], seen.keys, seen.resamples, seen.seed)
        metric = Metric(
            found.value,
            found.low,
            found.high,
            "independent values",
            NATS,
            None,
            "The log-likelihood of a model without latents, in which each value is as often as in the train split. A "
            "model that is not better has learned nothing about how values go together.",
        )
        return Result({BASELINE: metric}, {BASELINE: values})


def _log_likelihood(seen: Seen) -> np.ndarray | None:
    """Returns the log-likelihood of each test example, `[examples]`; None if the likelihood defines no baseline."""
    model, likelihood = seen.model, seen.model.likelihood
    assert seen.train is not None
    fitted = likelihood.independent(first(seen.train, model.specs, _FITTED_TO, "train").features)
    if fitted is None:
        return None
    outputs = fitted.astype(np.float32)

    def of_batch(batch: Batch, numbers: Batch) -> Tensor:
        x = likelihood.prepare(batch, numbers.get("x"))
        count = ops.shape(next(iter(batch.values())))[0]
        return likelihood.log_prob(x, ops.broadcast_to(outputs[None, None], (1, count, *outputs.shape)))[0]

    compute = program(model, BASELINE, of_batch)
    draws = [draw for draw in model.draws(1) if draw.name == "x"]
    parts = []
    for padded in batches(seen.test, model.specs, seen.batch_size, "test"):
        numbers = drawn(draws, seen.seed, padded.examples.keys)
        parts.append(compute(dict(padded.examples.features), numbers)[: padded.count])
    return np.concatenate(parts).astype(np.float64)
