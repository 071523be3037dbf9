"""Images and their reconstructions."""

from typing import ClassVar, Literal

from elboflow.vae.evaluation import image_figures, images
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen
from elboflow.vae.terms import Specs


class ImageReconstructions(Evaluator):
    """Test images, each with its reconstruction below."""

    order: ClassVar[int] = 15
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["image_reconstructions"] = "image_reconstructions"

    def fits(self, modelled: Specs) -> bool:
        return bool(images.among(modelled))

    def __call__(self, seen: Seen) -> Result:
        name = images.among(seen.modelled)[0]
        levels = seen.model.specs[name].levels
        assert levels is not None
        picture = image_figures.reconstructions(seen.shown.features[name] / (levels - 1), seen.reconstructions[name])
        caption = "Test examples, and below each what the decoder makes of the mean of its posterior."
        figure = Figure("reconstructions", "Reconstructions", caption, picture, wide=True, paper="transparent")
        return Result(figures=[figure])
