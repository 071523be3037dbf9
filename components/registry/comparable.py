"""Two bounds on log p(x) are comparable only if both models assign probabilities to the same outcomes."""

from elboflow.vae.config import Bernoulli, Gaussian, ModelConfig


def outcome_space(model: ModelConfig) -> str:
    """Returns the outcomes that a model assigns probabilities to, in words."""
    match model.likelihood:
        case Bernoulli(binarize="none"):
            return "codes"
        case Bernoulli(binarize=binarize):
            return f"bits ({binarize} binarisation)"
        case Gaussian():
            return "dequantised intensities, a density"
        case _:
            return "codes"
