"""The training curves."""

from typing import ClassVar, Literal

from elboflow.vae.evaluation import figures
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen


class Curves(Evaluator):
    """The bound and its terms by epoch."""

    order: ClassVar[int] = 60
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["curves"] = "curves"

    def __call__(self, seen: Seen) -> Result:
        caption = "Epoch by epoch; the steep start is cut off. The dotted line marks the best epoch by validation ELBO."
        picture = figures.curves(seen.trained.curves)
        return Result(figures=[Figure("curves", "Training curves", caption, picture, wide=True, paper="inverted")])
