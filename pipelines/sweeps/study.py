"""A search: which values to try next, and which trials to give up, is Optuna's to say. The study is kept on disk."""

from dataclasses import dataclass
from typing import Literal

SAMPLERS = ("tpe", "random")


@dataclass(frozen=True)
class Settings:
    """How to search.

    Attributes:
        sampler: tpe (Bergstra et al., 2011) or random.
        trials: Trials in all, pruned ones and failures included.
        parallel: Trials at work at once.
        prune: Whether trials are given up that are worse by then than half of the others.
        seed: Of the sampler.
        study: The SQLite file that keeps the study.
    """

    sampler: Literal["tpe", "random"]
    trials: int
    parallel: int
    prune: bool
    seed: int
    study: str = ""
