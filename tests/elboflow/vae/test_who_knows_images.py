"""What an image is, is known to files that are named for it, and to no other file of models and components."""

import re
from pathlib import Path

import elboflow

ROOT = Path(elboflow.__file__).parents[1]
WORDS = re.compile(r"\bImageSpec\b|\bImage\b|\bcodes\b|\"image\"|'image'")
NAMED_FOR_THEM = {
    "components/outputs/image_grid.py",
    "components/tracking/pictures.py",  # MLflow's pictures by epoch, of Pillow's Image
    "elboflow/vae/evaluation/evaluators/image_reconstructions.py",
    "elboflow/vae/evaluation/evaluators/image_samples.py",
    "elboflow/vae/evaluation/evaluators/image_traversal.py",
    "elboflow/vae/evaluation/image_figures.py",
    "elboflow/vae/evaluation/images.py",
    "elboflow/vae/image_models.py",  # older formats, which know nothing else
    "elboflow/vae/networks/convolutional.py",
}
LIKELIHOODS_OF_LEVELS = {
    f"elboflow/vae/likelihoods/{name}.py"
    for name in ("_levels", "bernoulli", "categorical", "discretized_logistic", "gaussian")
}
DEFAULT_INPUT = {"elboflow/vae/families/flat.py"}  # `input: image`, as in 0.1.0


def test_only_files_that_are_named_for_images_know_them():
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("components", "elboflow/vae")
        for path in (ROOT / folder).rglob("*.py")
        if WORDS.search(path.read_text(encoding="utf-8"))
    }
    assert found <= NAMED_FOR_THEM | LIKELIHOODS_OF_LEVELS | DEFAULT_INPUT | {"elboflow/vae/spec.py"}
    assert len(NAMED_FOR_THEM) <= 9
