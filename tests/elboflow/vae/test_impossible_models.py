"""Models that make no sense are refused before anything is built, by the key that a person can change."""

import subprocess
import sys
from typing import Literal

import pytest
from pydantic import ValidationError

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from elboflow.settings.explain import ConflictsError, explain
from elboflow.vae.model import ModelConfig
from tests.elboflow.vae.given import image

SPECS = {
    **image((8, 8, 1), 17),
    "grey": FeatureSpec(kind="image", dtype="uint8", shape=(8, 8, 1), levels=2),
    "label": FeatureSpec(kind="category", dtype="int64", levels=10),
    "text": FeatureSpec(kind="tokens", dtype="int64", shape=(6,), levels=5, ragged=True),
    "price": FeatureSpec(kind="number", dtype="float32", facts={"mean": 3.0, "std": 2.0}),
}
RECURRENT = {"encoder": "recurrent", "decoder": "recurrent"}
REFUSED = {
    "a likelihood of images of classes": (
        {"input": "label"},
        "likelihood",
        "'bernoulli' models arrays of levels, as images are; 'label' is of",
    ),
    "a likelihood of classes of numbers": ({"input": "price", "likelihood": "category"}, "likelihood", "classes"),
    "a likelihood of numbers of text": ({"input": "text", "likelihood": "normal"}, "likelihood", "models numbers"),
    "a likelihood of text of images": ({"likelihood": "tokens"}, "likelihood", "models sequences of symbols"),
    "one likelihood of two features": (
        {"input": ["price", "label"], "likelihood": "normal"},
        "likelihood",
        "'normal' models one feature; model.input names price, label",
    ),
    "grey images as binary ones": (
        {"likelihood": {"kind": "bernoulli", "binarize": "none"}},
        "likelihood.binarize",
        "17 levels",
    ),
    "a column that is not modelled": (
        {"input": ["price", "label"], "likelihood": {"kind": "product", "columns": {"grey": "bernoulli"}}},
        "likelihood",
        "'grey' has a likelihood, and model.input names price, label",
    ),
    "a column of another kind": (
        {"input": ["price", "label"], "likelihood": {"kind": "product", "columns": {"price": "category"}}},
        "likelihood.columns.price",
        "'category' models classes; 'price' is of kind number",
    ),
    "grey images as a binary column": (
        {
            "input": ["label", "image"],
            "likelihood": {"kind": "product", "columns": {"image": {"kind": "bernoulli", "binarize": "none"}}},
        },
        "likelihood.columns.image.binarize",
        "17 levels",
    ),
    "text as a column": ({"input": ["price", "text"], "likelihood": "product"}, "likelihood", "'text' is of kind tok"),
    "a decoder that reads what has no order": ({"decoder": "recurrent"}, "decoder.kind", "'bernoulli' has no order"),
    "a decoder that reads a table": (
        {"input": ["price", "label"], "likelihood": "product", "decoder": "recurrent"},
        "decoder.kind",
        "'product' has no order",
    ),
    "a condition that is modelled": (
        {"input": ["price", "label"], "likelihood": "product", "condition": "label"},
        "condition",
        "'label' is modelled, as model.input says",
    ),
    "a sequence as a condition": ({"condition": "text"}, "condition", "'text' is a sequence"),
    "an encoder of sequences of images": (
        {"encoder": "recurrent"},
        "encoder.kind",
        "'recurrent' reads sequences, [positions, symbols]; here it would be [8, 8, 1]",
    ),
    "an encoder of images of a number": (
        {"input": "price", "likelihood": "normal", "encoder": "convolutional"},
        "encoder.kind",
        "'convolutional' reads images",
    ),
    "a decoder of images of a number": (
        {"input": "price", "likelihood": "normal", "decoder": "convolutional"},
        "decoder.kind",
        "'convolutional' makes images",
    ),
    "no feature": ({"input": []}, "input", "names nothing"),
    "a feature twice": ({"input": ["price", "price"], "likelihood": "product"}, "input", "names price, price"),
    "a conditional prior of no condition": ({"prior": "conditional"}, "prior", "needs a condition"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused_by_its_key(name):
    settings, key, told = REFUSED[name]
    config = ModelConfig.parse(settings)
    with pytest.raises(ConflictsError) as refused:
        config.check(SPECS)
    (problem,) = refused.value.problems
    assert ".".join(map(str, problem.path)) == key
    assert told in problem.sentence


def test_all_that_is_wrong_is_told_at_once():
    config = ModelConfig.parse({"likelihood": "tokens", "prior": "conditional"})
    with pytest.raises(ConflictsError) as refused:
        config.check(SPECS)
    assert [problem.path[0] for problem in refused.value.problems] == ["likelihood", "prior"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"input": "grey", "likelihood": {"kind": "bernoulli", "binarize": "none"}},
        {"condition": "label", "prior": "conditional"},
        {"condition": "grey"},
        {"input": ["price", "label", "image"], "likelihood": {"kind": "product", "columns": {"image": "gaussian"}}},
        {"input": "text", "likelihood": "tokens", **RECURRENT, "condition": "price"},
        {"input": "text", "likelihood": "tokens"},
    ],
    ids=str,
)
def test_what_makes_sense_is_allowed(settings):
    ModelConfig.parse(settings).check(SPECS)


class Other(ModelConfig):
    """A kind of model of an installed package."""

    kind: Literal["other"] = "other"


def test_only_a_flat_model_is_one_of_the_feature_image_where_no_feature_is_named():
    assert ModelConfig.parse({}).input == "image"
    with pytest.raises(ValidationError) as refused:
        Other.model_validate({})
    assert [str(problem) for problem in explain(refused.value, Other)] == [
        "input: missing; it must be given: the feature that the model models, or a list of features"
    ]


def test_whether_a_model_is_possible_is_told_without_a_framework():
    program = (
        "import sys; from elboflow.vae.model import ModelConfig; from elboflow.artifacts.spec import FeatureSpec; "
        "spec = FeatureSpec(kind='image', dtype='uint8', shape=(8, 8, 1), levels=17); "
        "config = ModelConfig.parse({}); config.check({'image': spec}); config.outcome_space({'image': spec}); "
        "print(sorted({'tensorflow', 'jax', 'torch', 'keras', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, encoding="utf-8")
    assert "keras" not in done.stdout


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_not_built(name):
    settings, key, _ = REFUSED[name]
    with pytest.raises(RequestError, match=rf"^model\.{key}: "):
        ModelConfig.parse(settings).build(SPECS)
