"""The base class of likelihoods over one feature."""

from abc import abstractmethod

from elboflow.artifacts.spec import FeatureSpec
from elboflow.vae.likelihoods import Likelihood


class SingleLikelihood(Likelihood):
    """p(x|z) over one feature."""

    @property
    def feature(self) -> str:
        """The name of the feature."""
        return next(iter(self.specs))

    @property
    def spec(self) -> FeatureSpec:
        """The spec of the feature."""
        return self.specs[self.feature]

    def check(self) -> None:
        if len(self.specs) != 1:
            raise ValueError(f"'{self.kind}' models one feature; model.input names {', '.join(self.specs)}")
        if (unfit := self.unfit()) is not None:
            raise ValueError(f"'{self.kind}' models {unfit}; '{self.feature}' is of kind {self.spec.kind}")

    @abstractmethod
    def unfit(self) -> str | None:
        """Returns the features that the likelihood models, as a plural for messages, or None if the feature fits."""
