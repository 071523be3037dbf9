"""A Bernoulli distribution over each binary value: the decoder outputs its logit."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from elboflow.artifacts.spec import Shape
from elboflow.settings.explain import ConflictsError, Problem
from elboflow.vae import ops
from elboflow.vae.likelihoods._levels import SMALLEST_PROBABILITY, LevelsLikelihood
from elboflow.vae.terms import Tensor

if TYPE_CHECKING:
    import numpy as np


class Bernoulli(LevelsLikelihood):
    """Independent Bernoulli pixels for binary images. `binarize` makes other images binary."""

    kind: Literal["bernoulli"] = "bernoulli"
    binarize: Literal["dynamic", "threshold", "none"] = Field(
        "dynamic",
        description="dynamic: a pixel is 1 with probability equal to its intensity, drawn anew each epoch in training "
        "and fixed by (seed, example) in evaluation; threshold: 1 from half intensity on; none: the data are binary",
    )

    def check(self) -> None:
        super().check()
        if self.binarize == "none" and self.levels > 2:
            feature = f"data.features.{self.feature}"
            binary = f"`levels: 2` at {feature} if they are, " if self.spec.facts.get("range") == [0, 1] else ""
            sentence = (
                f"'none' says that the data are 0 and 1 already, but {feature} has {self.levels} levels; "
                f"allowed for it: {binary}dynamic, threshold, or another likelihood"
            )
            raise ConflictsError([Problem(("binarize",), sentence)])

    @property
    def parameters(self) -> int:
        return 1

    @property
    def outcome_space(self) -> str:
        return "codes" if self.binarize == "none" else f"bits ({self.binarize} binarisation)"

    @property
    def noise(self) -> Shape | None:
        return self.spec.shape if self.binarize == "dynamic" else None

    def intensities(self, codes: Tensor, uniform: Tensor | None) -> Tensor:
        intensity = super().intensities(codes, uniform)
        threshold = uniform if self.binarize == "dynamic" else 0.5 - 1e-6
        return ops.cast(intensity > threshold, "float32")

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        return self.summed(x * outputs - ops.softplus(outputs))

    def expected(self, outputs: Tensor) -> Tensor:
        return ops.sigmoid(outputs)

    def output_bias(self, codes: "np.ndarray") -> "np.ndarray":
        import numpy as np

        middle = (self.levels - 1) / 2
        bits = codes / (self.levels - 1) if self.binarize == "dynamic" else codes >= middle
        probability = np.clip(bits.mean(axis=0, dtype=np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        return np.log(probability / (1 - probability))
