"""Generated images."""

from typing import ClassVar, Literal

from elboflow.vae.evaluation import images
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen
from elboflow.vae.terms import Specs


class ImageSamples(Evaluator):
    """Images decoded from latents drawn from the prior."""

    order: ClassVar[int] = 20
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["image_samples"] = "image_samples"

    def fits(self, modelled: Specs) -> bool:
        return bool(images.among(modelled))

    def __call__(self, seen: Seen) -> Result:
        picture = images.png(seen.samples[images.among(seen.modelled)[0]])
        caption = "Images that the model makes up: z drawn from the prior, decoded to expected intensities."
        return Result(figures=[Figure("samples", "Samples", caption, picture, paper="transparent")])
