"""Optimisations for PyTorch over plain Keras: traced operations, and fused clipping and Adam updates."""

import types
from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx

Recorded = Callable[..., list[torch.Tensor]]


class Repeated:
    """A function of tensors that is traced at the first call; later calls run the traced operations without its Python.

    Two thirds of the time of an eager step on a CPU are Python code, nearly all of it in Keras. Other inputs than the
    arguments must be tensors that are updated in place, such as variables. Shapes must not change.

    Args:
        function: Takes tensors, and returns a list of them.
    """

    def __init__(self, function: Recorded) -> None:
        self._function = function
        self._repeat: Recorded | None = None

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        if self._repeat is None:
            program = make_fx(self._function)(*inputs)
            for node in program.graph.find_nodes(op="call_function", target=torch.ops.aten.detach.default):
                node.replace_all_uses_with(node.args[0])  # the traced operations run without gradients
            program.graph.eliminate_dead_code()
            program.recompile()
            self._repeat = program.forward
        with torch.no_grad():
            return self._repeat(*inputs)


def norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns the global norm of tensors, with fused operations."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))


class FusedOptimizer:
    """Replaces the clipping of a Keras optimizer by a fused version, and the update if it is Adam or AdamW.

    The formulas and the variables are Keras's.

    Args:
        optimizer: The built optimizer.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._inner = getattr(optimizer, "inner_optimizer", optimizer)
        self._steps = 0
        self._rate = 0.0
        self._replace("_clip_gradients", self._clipped)
        if isinstance(self._inner, keras.optimizers.Adam) and not self._inner.amsgrad:
            self._replace("_parallel_update_step", self._adam)

    def begin(self) -> None:
        """Reads the step count from the device; call it before a series of steps."""
        self._steps = int(self._inner.iterations)

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of the next step."""
        self._rate = rate
        self._inner.learning_rate.value.fill_(rate)

    def _replace(self, method: str, function: Callable[..., Any]) -> None:
        replacement = types.MethodType(lambda _, *arguments: function(*arguments), self._inner)
        object.__setattr__(self._inner, method, replacement)

    def _clipped(self, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
        limit = self._inner.global_clipnorm
        if limit is None:
            return gradients
        # A non-finite norm makes all gradients NaN, as in Keras.
        size = norm(gradients)
        return torch._foreach_mul(gradients, limit * torch.clamp(1 / size, max=1 / limit) + (size - size))

    def _adam(self, gradients: list[torch.Tensor], variables: list[keras.Variable], _: Any) -> None:
        """The Adam update of Kingma and Ba (2015, end of section 2): epsilon is added before the bias correction."""
        self._steps += 1
        adam = self._inner
        places = [adam._get_variable_index(variable) for variable in variables]
        count = torch.full((), float(self._steps), device=gradients[0].device)
        torch._fused_adam_(
            [variable.value for variable in variables],
            gradients,
            [adam._momentums[place].value for place in places],
            [adam._velocities[place].value for place in places],
            [],
            [count] * len(places),
            lr=self._rate,
            beta1=adam.beta_1,
            beta2=adam.beta_2,
            weight_decay=0.0,  # Keras has applied it before
            eps=adam.epsilon / (1 - adam.beta_2**self._steps) ** 0.5,
            amsgrad=False,
            maximize=False,
            grad_scale=None,
            found_inf=None,
        )
