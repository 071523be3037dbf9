"""A map of the examples in latent space."""

from typing import ClassVar, Literal

from elboflow.vae.evaluation import figures
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen


class LatentMap(Evaluator):
    """The posterior means, projected on their first two principal components and coloured by class."""

    order: ClassVar[int] = 30
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["latent_map"] = "latent_map"

    def __call__(self, seen: Seen) -> Result:
        picture = figures.latent_map(seen.bounds.posterior_mean, seen.labels, seen.data.classes)
        caption = "The posterior means of up to 5,000 test examples."
        if seen.data.label is not None and seen.data.label not in seen.model.specs:
            caption += " The labels were never seen by the model."
        return Result(figures=[Figure("latent_map", "Latent map", caption, picture, paper="inverted")])
