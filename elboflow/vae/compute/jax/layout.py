"""The layout of a model's weights on a mesh of devices with named axes."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras

from elboflow.settings import RequestError
from elboflow.settings.text import counted

logger = logging.getLogger("elboflow.training")

DATA, MODEL = "data", "model"

Axes: TypeAlias = tuple[str | None, ...]


class Divided(keras.distribution.ModelParallel):
    """Keras's model parallelism with checked layouts, and with a default layout.

    The default layout divides kernels alternately by outputs (with the bias) and by inputs. A layer then takes the
    divided output of the previous layer as it is, and only every second layer needs an all-reduce (Shoeybi et al.,
    2019, Megatron-LM, section 3). A kernel whose size is not divisible is replicated.

    Args:
        mesh: The mesh, with the axes `data` and `model`.
        layout: The mesh axis of each dimension, by regular expressions on the paths of weights; None for the default.
    """

    def __init__(self, mesh: keras.distribution.DeviceMesh, layout: Mapping[str, Sequence[str | None]] | None) -> None:
        super().__init__(layout_map=keras.distribution.LayoutMap(mesh), batch_dim_name=DATA, auto_shard_dataset=False)
        self._sizes = dict(zip(mesh.axis_names, mesh.shape, strict=True))
        self._given = None if layout is None else {pattern: tuple(axes) for pattern, axes in layout.items()}
        self._found: dict[str, tuple[tuple[int, ...], Axes]] = {}
        self._by_outputs: dict[str, bool] = {}

    def get_variable_layout(self, variable: Any) -> keras.distribution.TensorLayout:
        """Returns the layout of a variable. Keras calls this when it creates the variable."""
        made = getattr(variable, "_layout", None)  # an optimizer's variable has the layout of its weight
        if made is not None:
            return made
        shape = tuple(variable.shape)
        axes = self._axes(variable.path, shape) if shape else ()
        if shape:
            self._found[variable.path] = shape, axes
        return keras.distribution.TensorLayout(axes, self.device_mesh)

    def get_tensor_layout(self, path: str) -> None:
        """Returns None: the compiler chooses the layout of activations."""

    def check(self) -> None:
        """Logs the layout of the weights, and checks the patterns. Call it after the model is built.

        Raises:
            RequestError: A pattern matches no weight.
        """
        for pattern in self._given or ():
            if not any(re.search(pattern, path) for path in self._found):
                raise RequestError(
                    f"training.parallel.layout: no weight's path has {pattern!r}; the paths are: "
                    f"{', '.join(self._found)}"
                )
        whole = [path for path, (_, axes) in self._found.items() if not any(axes) and not path.endswith("bias")]
        logger.info(
            "weights divided among %d devices: %s; whole on each: %s",
            self._sizes[MODEL],
            ", ".join(path for path, (_, axes) in self._found.items() if any(axes)) or "none",
            ", ".join(whole) or "only biases",
        )

    def _axes(self, path: str, shape: tuple[int, ...]) -> Axes:
        if self._given is None:
            return self._default_axes(path, shape)
        matching = [pattern for pattern in self._given if re.search(pattern, path)]
        if len(matching) > 1:
            raise RequestError(f"training.parallel.layout: {' and '.join(map(repr, matching))} are both about {path}")
        axes = self._given[matching[0]] if matching else (None,) * len(shape)
        if len(axes) != len(shape):
            raise RequestError(
                f"training.parallel.layout: {matching[0]!r} names axes of {counted(len(axes), 'dimension')}; {path} "
                f"has {len(shape)}: {list(shape)}"
            )
        named = [axis for axis in axes if axis]
        if len(named) > len(set(named)):
            raise RequestError(f"training.parallel.layout: {matching[0]!r} names the axis {named[0]} twice")
        for size, axis in zip(shape, axes, strict=True):
            if axis and size % self._sizes[axis]:
                raise RequestError(
                    f"training.parallel.layout: {path} of shape {list(shape)} cannot be divided as {list(axes)}: "
                    f"{size} is no multiple of the {self._sizes[axis]} devices along {axis}"
                )
        return axes

    def _default_axes(self, path: str, shape: tuple[int, ...]) -> Axes:
        network = path.partition("/")[0]
        layer, _, kind = path.rpartition("/")
        if len(shape) == 1:  # a bias is created after its kernel, and divided like the kernel's outputs
            kernel, axes = self._found.get(f"{layer}/kernel", ((), ()))
            divided = kind == "bias" and len(kernel) > 1 and axes[_outputs(path, len(kernel))] == MODEL
            return (MODEL if divided else None,)
        if kind != "kernel":
            return (None,) * len(shape)
        by_outputs = self._by_outputs.get(network, True)
        outputs = _outputs(path, len(shape))
        inputs = 2 * len(shape) - 3 - outputs  # the other of the last two dimensions
        place = outputs if by_outputs else inputs
        if shape[place] % self._sizes[MODEL]:
            return (None,) * len(shape)
        self._by_outputs[network] = not by_outputs
        return tuple(MODEL if axis == place else None for axis in range(len(shape)))


def _outputs(path: str, dimensions: int) -> int:
    """Returns the output dimension of a kernel: the last one, or the last but one for transposed convolutions."""
    return dimensions - 2 if "_transpose" in path else dimensions - 1
