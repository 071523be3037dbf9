"""Initial weights by name."""

from collections.abc import Iterator

from keras import initializers

from vae import config

_BY_NAME: dict[config.Initializer, type[initializers.Initializer]] = {
    "glorot_uniform": initializers.GlorotUniform,
    "glorot_normal": initializers.GlorotNormal,
    "he_uniform": initializers.HeUniform,
    "he_normal": initializers.HeNormal,
    "lecun_uniform": initializers.LecunUniform,
    "lecun_normal": initializers.LecunNormal,
    "orthogonal": initializers.Orthogonal,
}


def seeded(name: config.Initializer, seeds: Iterator[int]) -> initializers.Initializer:
    """Returns the initializer of that name, with the next seed."""
    return _BY_NAME[name](seed=next(seeds))
