"""Generated images."""

from typing import TYPE_CHECKING, ClassVar, Literal

from elboflow.vae.evaluation import images
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen

if TYPE_CHECKING:
    from elboflow.vae.model import Model


class ImageSamples(Evaluator):
    """Images decoded from latents drawn from the prior."""

    order: ClassVar[int] = 20
    kind: Literal["image_samples"] = "image_samples"

    def fits(self, model: "Model") -> bool:
        return bool(images.modelled(model))

    def __call__(self, seen: Seen) -> Result:
        picture = images.png(seen.samples[images.modelled(seen.model)[0]])
        caption = "Images that the model makes up: z drawn from the prior, decoded to expected intensities."
        return Result(figures=[Figure("samples", "Samples", caption, picture)])
