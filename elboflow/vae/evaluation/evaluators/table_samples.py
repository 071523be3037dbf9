"""Generated rows of a table."""

from typing import ClassVar, Literal

import numpy as np

from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae.evaluation.evaluators import Evaluator, Result, Seen, Table
from elboflow.vae.terms import Specs

_SHOWN = 10


class TableSamples(Evaluator):
    """Generated numbers and classes in the units of the data: samples of each column given z from the prior."""

    order: ClassVar[int] = 24
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["table_samples"] = "table_samples"

    def fits(self, modelled: Specs) -> bool:
        return bool(modelled) and len(_columns(modelled)) == len(modelled)

    def __call__(self, seen: Seen) -> Result:
        columns = _columns(seen.modelled)
        rows = [[_written(spec, seen.samples[name][row]) for name, spec in columns.items()] for row in range(_SHOWN)]
        caption = f"{_SHOWN} generated rows: z is drawn from the prior, then each number and class given z"
        return Result(tables=[Table("Samples", caption, list(columns), rows)])


def _columns(modelled: Specs) -> dict[str, FeatureSpec]:
    return {name: spec for name, spec in modelled.items() if not spec.shape and not spec.ragged}


def _written(spec: FeatureSpec, value: np.ndarray) -> str:
    if spec.levels is None:
        return f"{float(value):.4g}"
    names = spec.facts.get("names")
    return str(int(value)) if names is None else str(names[int(value)])
