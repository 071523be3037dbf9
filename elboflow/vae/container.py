"""The Keras model in a `.keras` file: the parts of a model by name, and the settings to build it."""

from collections.abc import Mapping
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib  # Keras's public API does not give the paths of weights in a file

from elboflow.vae.model import Model, ModelConfig
from elboflow.vae.terms import Specs

Shape = tuple[int, ...]


@keras.saving.register_keras_serializable(package="elboflow", name="VAE")
class Container(keras.Model):
    """The parts of a model as one Keras model, which is saved and never called.

    Args:
        config: The settings of the model.
        specs: The specs of the features that the model reads.
        parts: The layers of the model, by name.
    """

    def __init__(self, config: ModelConfig, specs: Specs, parts: Mapping[str, keras.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._config, self._specs = config, specs
        for name, layer in parts.items():
            setattr(self, name, layer)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        features = {name: spec.model_dump(mode="json") for name, spec in self._specs.items()}
        return {"config": self._config.model_dump(mode="json"), "features": features}


def contained(model: Model) -> Container:
    """Returns the parts of a model as one Keras model."""
    return Container(model.config, model.specs, model.parts)


def places(config: ModelConfig, specs: Specs) -> dict[str, Shape]:
    """Returns the shape of each weight of a model, by the weight's path in a `.keras` file.

    `encoder/layers/dense_1/vars/0` is the kernel of the second layer. The model is built without memory for weights.
    """
    pending = global_state.get_global_attribute("uninitialized_variables", [])
    global_state.set_global_attribute("uninitialized_variables", [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = config.build(specs)
    finally:  # otherwise the next scope would initialise the variables of this one, and allocate memory for them
        global_state.set_global_attribute("uninitialized_variables", pending)
    return _by_path(contained(model), lambda variable: tuple(variable.shape))


def assigned(model: Model, weights: Mapping[str, Any]) -> None:
    """Sets the weights of a model.

    Args:
        model: The model.
        weights: The value of each weight, by the weight's path in a `.keras` file.
    """
    for place, variable in _by_path(contained(model), lambda variable: variable).items():
        variable.assign(weights[place])


def _by_path(container: Container, of: Any) -> dict[str, Any]:
    store = _Recorder(of)
    saving_lib._save_state(container, weights_store=store, assets_store=None, inner_path="", visited_saveables=set())
    return store.found


class _Recorder(saving_lib.H5IOStore):
    """Records the path of every variable, in place of the weights file that Keras would write."""

    def __init__(self, of: Any) -> None:
        self.found: dict[str, Any] = {}
        self._of = of

    def __bool__(self) -> bool:
        return True

    def make(self, path: str, metadata: dict[str, Any] | None = None) -> "_Entry":
        return _Entry(self.found, path, self._of)


class _Entry(dict[str, Any]):
    def __init__(self, found: dict[str, Any], path: str, of: Any) -> None:
        super().__init__()
        self._found, self._path, self._of = found, path, of

    def __setitem__(self, name: str, variable: keras.Variable) -> None:
        self._found[f"{self._path}/vars/{name}".lstrip("/")] = self._of(variable)
