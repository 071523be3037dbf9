"""The bounds on log p(x), which measure how well a model predicts unseen examples."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from elboflow.vae.evaluation import bootstrap, diagnostics
from elboflow.vae.evaluation.bootstrap import Estimate
from elboflow.vae.evaluation.evaluators import Evaluator, Result, Seen
from elboflow.vae.evaluation.metrics import NATS, Metric

_MINUS = "\N{MINUS SIGN}"


class Bounds(Evaluator):
    """The ELBO, its two terms, and the importance-weighted bound (Burda et al., 2016).

    Attributes:
        deciding: The columns of which more is better, so that they can decide between two models.
    """

    order: ClassVar[int] = 10
    columns: ClassVar[tuple[str, ...]] = ("elbo", "reconstruction", "kl", "log_likelihood")
    deciding: ClassVar[tuple[str, ...]] = ("log_likelihood", "elbo", "reconstruction")
    kind: Literal["bounds"] = "bounds"

    def __call__(self, seen: Seen) -> Result:
        found = seen.bounds
        columns = {name: getattr(found, name) for name in self.columns}
        stacked = np.stack(list(columns.values()), axis=1)
        estimates = bootstrap.intervals(stacked, found.keys, seen.resamples, seen.seed)
        named = dict(zip(columns, estimates, strict=True))
        metrics = {
            "log_likelihood": _metric(
                named["log_likelihood"], "log-likelihood bound",
                "How well the model predicts unseen examples: the importance-weighted bound with "
                f"{seen.bound_samples:,} samples, the closer of the two bounds. Higher is better; by default it "
                "decides between two models.",
            ),
            "elbo": _metric(
                named["elbo"], "ELBO",
                f"What training maximised, a looser lower bound of the same: reconstruction {_MINUS} KL. Its distance "
                "from the number before says how far the encoder is from the true posterior.",
            ),
            "reconstruction": _metric(
                named["reconstruction"], "reconstruction",
                "Log-probability of an example, given latents that the encoder draws for it. Higher is better.",
            ),
            "kl": _metric(
                named["kl"], "KL",
                "What the latents tell about an example beyond the prior; near 0, the decoder ignores them.",
            ),
        }  # fmt: skip
        metrics |= {name: replace(metrics[name], better="higher") for name in self.deciding}
        if found.dimensions is not None and found.dimensions.any():  # 0 if all texts are empty
            bits = diagnostics.bits_per_dim(named["log_likelihood"], float(found.dimensions.mean()))
            metrics["bits_per_dim"] = Metric(
                bits.value,
                bits.low,
                bits.high,
                "bits per dimension",
                "",
                "lower",
                "The log-likelihood as the size of each value of an optimally compressed example. Lower is better; it "
                "compares only models of the same data with the same kind of likelihood.",
                3,
            )
        return Result(metrics, columns)


def _metric(estimate: Estimate, title: str, meaning: str) -> Metric:
    return Metric(estimate.value, estimate.low, estimate.high, title, NATS, None, meaning)
