"""What this program uses of Keras and PyTorch that they do not promise to keep, and where: a new version may end it."""

import ast
import importlib.util
from pathlib import Path

import pytest

VAE = Path(importlib.util.find_spec("elboflow").origin).parent / "vae"

KERAS = {
    "container.py": {
        "keras.src.backend.common.global_state",  # variables that wait for their memory
        "keras.src.saving.saving_lib",
        "_save_state",  # visits all weights with their places in a file
        "H5IOStore",  # what it writes to, which a recorder stands in for
    },
    "layers/dropout.py": {"_flatten_layers"},
    "compute/jax/layout.py": {"_layout"},  # where a variable lies on a mesh
    "compute/tensorflow/stateless.py": {
        "keras.src.optimizers.base_optimizer.BaseOptimizer",
        "_apply_weight_decay",
        "_backend_update_step",
        "_var_key",
    },
    "compute/torch/devices.py": {"keras.src.backend.torch.core.get_device"},
    "compute/torch/fast.py": {
        "_clip_gradients",
        "_parallel_update_step",
        "_get_variable_index",
        "_momentums",
        "_velocities",
    },
}
TORCH = {
    "compute/torch/backend.py": {"torch.utils._pytree.tree_map", "_foreach_add_", "_foreach_div_"},
    "compute/torch/fast.py": {"_foreach_norm", "_foreach_mul", "_fused_adam_"},
}
NAMED = {"_layout", "_clip_gradients", "_parallel_update_step"}
"""What is asked for by its name, as a text."""

OWNERS = ("self", "cls", "os")
OURS = {"_uniform", "_bound", "_specs"}
"""Private members of this program's own classes, which others of its files use."""

LIBRARIES = ("keras", "torch", "tensorflow", "tf", "jax", "jnp", "distributed")


def used(file: Path) -> set[str]:
    """What a file imports of private modules, and the private attributes that it names of a library's things."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{name.name}" for name in node.names]
            found |= {name for name in names if name.split(".")[0] in LIBRARIES and private(name)}
        if isinstance(node, ast.Attribute):
            owner, is_private = ast.unparse(node.value), node.attr.startswith("_") and not node.attr.startswith("__")
            if owner == "saving_lib" or (is_private and owner not in OWNERS and not owner.startswith("self.")):
                found.add(node.attr)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMED:
            found.add(node.value)
    return found


def private(name: str) -> bool:
    return "keras.src." in name or any(part.startswith("_") for part in name.split("."))


def test_every_private_member_that_is_used_is_named_here_with_its_file():
    found = {}
    for file in sorted(VAE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if not any(library in text for library in ("keras", "torch", "tensorflow", "jax")):
            continue
        if names := used(file) - OURS:
            found[file.relative_to(VAE).as_posix()] = names
    assert found == {path: KERAS.get(path, set()) | TORCH.get(path, set()) for path in {**KERAS, **TORCH}}


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_keras_has_them():
    import keras
    from keras.src.optimizers.base_optimizer import BaseOptimizer
    from keras.src.saving import saving_lib

    assert callable(saving_lib._save_state)
    assert isinstance(saving_lib.H5IOStore, type)
    assert callable(keras.layers.Layer._flatten_layers)
    for name in ("_apply_weight_decay", "_backend_update_step", "_var_key", "_clip_gradients", "_get_variable_index"):
        assert callable(getattr(BaseOptimizer, name)), name
    adam = keras.optimizers.Adam()
    adam.build([keras.Variable([1.0])])
    assert len(adam._momentums) == len(adam._velocities) == 1


def test_torch_has_them():
    torch = pytest.importorskip("torch")
    from torch.utils._pytree import tree_map

    assert callable(tree_map)
    for names in TORCH.values():
        for name in names:
            assert "." in name or callable(getattr(torch, name)), name
