"""Keras optimizers on TensorFlow as pure functions, as they are on Keras's other backends."""

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer  # not in Keras's public API


class _Stateless:
    """The optimizer methods of Keras's other backends, in place of the TensorFlow versions for `tf.distribute`.

    The TensorFlow versions need variables, and sum the gradients of replicas that each have been clipped already.
    """

    assign = BaseOptimizer.assign
    assign_add = BaseOptimizer.assign_add
    assign_sub = BaseOptimizer.assign_sub
    stateless_apply = BaseOptimizer.stateless_apply
    _apply_weight_decay = BaseOptimizer._apply_weight_decay
    _backend_update_step = BaseOptimizer._backend_update_step
    _var_key = BaseOptimizer._var_key


def make_stateless(optimizer: keras.optimizers.Optimizer) -> None:
    """Gives `optimizer`, before it is built, a `stateless_apply`."""
    updates = getattr(optimizer, "inner_optimizer", optimizer)  # LossScaleOptimizer delegates to its inner optimizer
    updates.__class__ = type(type(updates).__name__, (_Stateless, type(updates)), {})
