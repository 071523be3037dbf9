"""Where training starts from, as far as it is made from the training examples."""

import itertools

import numpy as np

from elboflow.vae.data import Examples, Source
from elboflow.vae.model import VAE

# Of so many examples the mean of a pixel is known to half a hundredth of its range; and no more values than these are
# looked at, so that large images do not delay the first step.
EXAMPLES, VALUES = 10_000, 2**24


def start_at_mean(model: VAE, source: Source) -> None:
    """Sets the initial bias of the decoder's outputs such that it starts at the mean of the training examples.

    Args:
        model: The model, not trained yet.
        source: The training examples. Of the first shards, up to `EXAMPLES` examples are looked at, evenly spaced: the
            same ones on every machine.

    Raises:
        WorkError: A shard is missing or damaged, or holds no images that the model takes.
    """
    wanted = max(1, min(EXAMPLES, VALUES // model.spec.dimensions))
    shards = 1 + sum(1 for seen in itertools.accumulate(source.counts[:-1]) if seen < wanted)
    examples = Examples.joined([source.read(shard) for shard in range(shards)])
    examples.check(model.spec, "train")
    rows = np.linspace(0, len(examples) - 1, min(wanted, len(examples)))
    model.start_at(examples.images[rows.astype(int)])
