"""The effect of single latent units on an image."""

from typing import ClassVar, Literal

import numpy as np

from elboflow.vae.evaluation import diagnostics, image_figures, images
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen
from elboflow.vae.terms import Specs

_UNITS = 8
_VALUES = np.linspace(-3.0, 3.0, 7)


class ImageTraversal(Evaluator):
    """The first test image, with one latent unit at a time set to other values."""

    order: ClassVar[int] = 40
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["image_traversal"] = "image_traversal"

    def fits(self, modelled: Specs) -> bool:
        return bool(images.among(modelled))

    def __call__(self, seen: Seen) -> Result:
        from elboflow.vae.evaluation import samples

        found = seen.bounds
        if found.kl_by_unit is None or len(seen.means) > 1:
            return Result()  # several layers of latents: a unit of one layer changes all layers below
        units = diagnostics.units(found.posterior_mean, found.kl_by_unit)
        moved = units.by_kl[:_UNITS]
        given = samples.condition_of(seen.model, seen.shown[:1])
        path = samples.traverse(seen.model, found.posterior_mean[0], moved, _VALUES, given)
        picture = image_figures.traversal(path[images.among(seen.modelled)[0]], moved, units.kl[moved], _VALUES)
        caption = (
            "The first test example, with one latent unit at a time set to the values below; units with most KL first."
        )
        return Result(figures=[Figure("traversal", "Latent traversal", caption, picture, paper="transparent")])
