"""Of what a model's log p(x) is a probability: bounds of different things have no common scale."""

from elboflow.vae.config import Bernoulli, Gaussian, ModelConfig


def things(model: ModelConfig) -> str:
    """Returns what a model gives probabilities of."""
    match model.likelihood:
        case Bernoulli(binarize="none"):
            return "codes"
        case Bernoulli(binarize=binarize):
            return f"bits ({binarize} binarisation)"
        case Gaussian():
            return "dequantised intensities, a density"
        case _:
            return "codes"
