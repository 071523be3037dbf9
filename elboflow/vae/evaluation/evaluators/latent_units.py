"""The information in each latent unit."""

from typing import ClassVar, Literal

from elboflow.settings.text import counted
from elboflow.vae.evaluation import bootstrap, diagnostics, figures
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen, Table
from elboflow.vae.evaluation.metrics import Metric


class LatentUnits(Evaluator):
    """The number of active latent units, and the KL of each unit in nats."""

    order: ClassVar[int] = 50
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["latent_units"] = "latent_units"

    def __call__(self, seen: Seen) -> Result:
        found, above = seen.bounds, diagnostics.ACTIVE_ABOVE
        active = bootstrap.active_units(found.posterior_mean, found.keys, above, seen.resamples, seen.seed)
        latent = found.posterior_mean.shape[1]
        metric = Metric(
            active.value,
            active.low,
            active.high,
            "active units",
            f"of {latent}",
            None,
            "Latent units that the encoder uses: the variance of their posterior mean over the examples is above "
            f"{above}.",
            0,
        )
        if found.kl_by_unit is None:  # the KL of a unit needs a closed form
            return Result({"active_units": metric})
        units = diagnostics.units(found.posterior_mean, found.kl_by_unit)
        picture = Figure(
            "kl_by_unit",
            "KL by latent unit",
            "How many nats of each example a unit carries, on average; a unit near 0 tells the decoder nothing.",
            figures.kl_by_unit(units),
            paper="inverted",
        )
        most = max(float(units.kl.max()), 1e-9)
        rows = [
            (
                str(unit),
                f"{units.kl[unit]:.3f}",
                max(0.0, float(units.kl[unit]) / most),
                f"{units.variance[unit]:.3f}",
                "yes" if units.active[unit] else "no",
            )
            for unit in units.by_kl
        ]
        table = Table(
            "Latent units",
            f"KL and variance of the posterior mean of each of {counted(latent, 'unit')}",
            ("unit", "KL, nats", "", "variance", "active"),
            rows,
            f"A unit is active if the variance is above {above} (Burda et al., 2016).",
        )
        return Result({"active_units": metric}, figures=[picture], tables=[table])
