"""Generated texts, and reconstructions of texts."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from elboflow.artifacts.spec import LENGTH, FeatureSpec
from elboflow.artifacts.texts import escaped, texts
from elboflow.vae.evaluation.evaluators import Evaluator, Figure, Result, Seen
from elboflow.vae.terms import Specs

_SHOWN = 20


class TextSamples(Evaluator):
    """Generated and reconstructed texts, in the vocabulary of the data."""

    order: ClassVar[int] = 22
    columns: ClassVar[tuple[str, ...]] = ()
    kind: Literal["text_samples"] = "text_samples"

    def fits(self, modelled: Specs) -> bool:
        return bool(_texts(modelled))

    def __call__(self, seen: Seen) -> Result:
        name = _texts(seen.modelled)[0]
        spec = seen.modelled[name]
        made = _lines(spec, name, seen.samples)[:_SHOWN]
        originals = _lines(spec, name, seen.shown.features)
        again = _lines(spec, name, seen.reconstructions)
        pairs = "\n".join(f"  {before}\n→ {after}" for before, after in zip(originals, again, strict=True))
        return Result(
            figures=[
                Figure("texts", "Samples", "Texts that the model makes up: z drawn from the prior.", "\n".join(made)),
                Figure(
                    "text_reconstructions",
                    "Reconstructions",
                    "Test examples, and below each the most probable text, symbol by symbol, given its posterior mean.",
                    pairs,
                    wide=True,
                ),
            ]
        )


def _lines(spec: FeatureSpec, name: str, features: Mapping[str, np.ndarray]) -> list[str]:
    return [escaped(text) for text in texts(spec, features[name], features[name + LENGTH])]


def _texts(modelled: Specs) -> list[str]:
    return [name for name, spec in modelled.items() if spec.kind == "tokens"]
