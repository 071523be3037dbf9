"""Keras optimizers from the settings."""

from typing import Any

import keras

from elboflow.vae import config
from elboflow.vae.layers import OUTPUT


def optimizer(settings: config.TrainingConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a training, not built yet.

    Its learning rate is a variable, which a backend sets at every step. Biases have no weight decay. The optimizer
    clips the global gradient norm. Elements are clipped before (`elboflow.vae.compute.contract`), because a Keras
    optimizer can do only one of both. With float16, the optimizer scales the loss (`scale_loss`), skips steps with
    non-finite gradients, and then halves the scale.
    """
    made = _kind(settings.optimizer)(
        learning_rate=settings.learning_rate.initial,
        weight_decay=settings.optimizer.weight_decay or None,
        global_clipnorm=settings.gradient_clip,
        use_ema=settings.ema is not None,
        ema_momentum=settings.ema.decay if settings.ema else 0.0,
        **_arguments(settings.optimizer),
    )
    made.exclude_from_weight_decay(var_names=["bias"])
    return keras.optimizers.LossScaleOptimizer(made) if settings.precision == "float16" else made


def _kind(settings: config.Optimizer) -> type[keras.optimizers.Optimizer]:
    match settings:
        case config.Adam():
            return keras.optimizers.Adam
        case config.AdamW(weight_decay=decay):
            return keras.optimizers.AdamW if decay else keras.optimizers.Adam  # Keras's AdamW rejects a decay of None
        case config.SGD():
            return keras.optimizers.SGD
        case config.RMSprop():
            return keras.optimizers.RMSprop
        case config.Lion():
            return keras.optimizers.Lion
        case config.Muon():
            return keras.optimizers.Muon


def _arguments(settings: config.Optimizer) -> dict[str, Any]:
    """Returns the arguments of this kind of optimizer; the settings have Keras's names."""
    own = settings.model_dump(exclude={"kind", "weight_decay"})
    if isinstance(settings, config.Muon):
        # Muon is for kernels of hidden layers (Jordan et al., 2024); Keras must be told which layers are not hidden.
        return own | {"adam_weight_decay": settings.weight_decay or None, "exclude_layers": [f"(^|/){OUTPUT}/"]}
    return own
