"""The registered model behind MLflow's `predict` and its scoring server: raw images as they come, or what is wrong."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.registry.predictor import Predictor
from components.tracking import store
from tests.components.runs import Champion, Run
from tests.opened import opened

pytestmark = [pytest.mark.xdist_group("tensorflow")]


@pytest.fixture(scope="module")
def served(champion: Champion) -> Any:
    """The champion as MLflow loads it."""
    import mlflow

    store.use(champion.tracking_uri)
    return mlflow.pyfunc.load_model("models:/digits-vae@champion")


@pytest.fixture
def images(trained: Run) -> np.ndarray:
    """Test examples in the data's own range, float32 [3, 8, 8, 1]."""
    return opened(trained.dataset).head("test", 10**9).features["image"][:3].astype(np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64", "float16", "float64", ">f4", "longdouble"])
def test_images_of_any_type_of_number_are_taken(served: Any, images: np.ndarray, dtype: str) -> None:
    np.testing.assert_array_equal(served.predict(images.astype(dtype)), served.predict(images))


@pytest.mark.parametrize(
    "form",
    [
        *(lambda a: a[..., 0], lambda a: a.tolist(), lambda a: a[..., 0].astype(int).tolist(), np.asfortranarray, list),
        lambda a: a.astype(object),
    ],
    ids=["without channels", "lists", "lists without channels", "another order", "a list of arrays", "objects"],
)
def test_images_of_any_form_are_taken(served: Any, images: np.ndarray, form: Callable[[np.ndarray], Any]) -> None:
    np.testing.assert_array_equal(served.predict(form(images)), served.predict(images))


def test_images_of_true_and_false_are_taken(served: Any, images: np.ndarray) -> None:
    np.testing.assert_array_equal(served.predict(images > 8), served.predict((images > 8).astype(np.float32)))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"task": "score", "samples": 0}, "samples is 0; a whole number from 1 to 100,000 is allowed"),
        ({"task": "score", "samples": -5}, "samples is -5; a whole number from 1 to 100,000 is allowed"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 10**6}, "samples is 1000000"),
        ({"seed": -1}, "seed is -1; a whole number from 0 to 2,147,483,647 is allowed"),
        ({"task": "paint"}, "task is 'paint'; allowed are reconstruct, encode, score, decode, generate"),
        ({"task": "generate", "count": 0}, "count is 0; a whole number from 1 to 100,000 is allowed"),
        ({"task": ""}, "task is ''"),
    ],
)
def test_a_wrong_parameter_is_mlflows_error_with_what_is_allowed(
    served: Any, images: np.ndarray, params: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(served, images, params)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda a: a[:0], "there are no images; the model takes at least 1"),
        (lambda a: a[:, :7], "found [3, 7, 8, 1]"),
        (lambda a: a[0, :, :, 0], "found [8, 8]"),
        (lambda a: np.float32(3), "found []"),
        (lambda a: a + np.array([0, 17, 0]).reshape(-1, 1, 1, 1), "the model takes values from 0 to 16; image 1 holds"),
        (lambda a: a / 4 - 1, "the finite values lie between -1 and 3"),
        (lambda a: a * np.nan, "holds nan"),
        (lambda a: np.where(a > 15, np.inf, a), "holds inf; the finite values lie between 0 and 1"),
        (lambda a: a.astype(str), "the model takes images of numbers; found an array of <U"),
        (lambda a: a * 1j, "found an array of complex"),
        (lambda a: [[[1, 2], [3]]], "found lists of different lengths"),
        (lambda a: [], "there are no images; the model takes at least 1"),
        (lambda a: [[[None] * 8] * 8], "found other objects"),
        (lambda a: {"picture": a}, "the model takes image; there is no 'image'"),
        (lambda a: a.astype(str).astype(object), "found other objects"),
        (lambda a: np.full((1, 8, 8), 10**400, object), "found an array of object"),
        (lambda a: np.full((1, 8, 8), "x", object), "found other objects"),
    ],
)  # fmt: skip
def test_wrong_images_are_mlflows_error_with_what_is_allowed_and_without_the_pixels(
    served: Any, images: np.ndarray, make: Callable[[np.ndarray], Any], expected: str
) -> None:
    told = refusal(served, make(images))
    assert expected in told
    assert len(told) < 250


def test_the_registered_model_gives_the_values_of_its_evaluation(served: Any, trained: Run) -> None:
    shown = opened(trained.dataset).head("test", 10**9)
    raw = shown.features["image"].astype(np.float32)
    with np.load(trained.evaluation / "examples.npz") as evaluated:
        scores = served.predict(raw, params={"task": "score", "samples": 5})
        np.testing.assert_allclose(scores, evaluated["log_likelihood"], atol=1e-3)
    assert served.predict(raw, params={"task": "encode"}).shape == (len(shown), 4)
    directly = Predictor.open(trained.model).reconstruct(shown)["image"]
    np.testing.assert_allclose(served.predict(raw), directly, atol=1e-3)


def test_latents_are_decoded_to_what_a_reconstruction_makes_of_them(served: Any, images: np.ndarray) -> None:
    z = served.predict(images, params={"task": "encode"})
    for form in (z, z.tolist(), {"z": z}, pd.DataFrame({"z": z.tolist()})):
        decoded = served.predict(form, params={"task": "decode"})
        np.testing.assert_allclose(decoded, served.predict(images), atol=1e-4)


def test_examples_are_generated_as_many_as_are_asked_for(served: Any, trained: Run) -> None:
    made = served.predict([], params={"task": "generate", "count": 5, "seed": 3})
    assert made.shape == (5, 8, 8, 1)
    np.testing.assert_allclose(made, Predictor.open(trained.model).generate(5, seed=3)["image"], atol=1e-4)
    np.testing.assert_allclose(served.predict([], params={"task": "generate", "seed": 3}), made[:1], atol=1e-4)


@pytest.mark.parametrize(
    ("given", "task", "expected"),
    [
        ([], "decode", "decode takes finite numbers of shape [examples, 4], of at least 1 example; found [0]"),
        ([[1, 2, 3]], "decode", "of shape [examples, 4], of at least 1 example; found [1, 3]"),
        ([[1, 2, 3, np.nan]], "decode", "decode takes finite numbers"),
        ([[1, 2], [3]], "decode", "decode takes finite numbers"),
        ([["a"] * 4], "decode", "decode takes finite numbers"),
        ({"image": [1]}, "decode", "decode takes the latents in the column 'z'; there are image"),
        ({"z": [[1, 2, 3, 4]], "label": [1]}, "decode", "the model is conditioned on nothing; given: label"),
        (pd.DataFrame({0: [1], 1: [2]}), "decode", "there are 0, 1"),
        ({"label": [3]}, "generate", "the model is conditioned on nothing; given: label"),
        (pd.DataFrame({"image": []}), "score", "there are no images; the model takes at least 1"),
        (pd.DataFrame({0: [1]}), "score", "the model takes image; there is no 'image'"),
    ],
)  # fmt: skip
def test_wrong_latents_and_conditions_are_mlflows_error_with_what_is_allowed(
    served: Any, given: Any, task: str, expected: str
) -> None:
    assert expected in refusal(served, given, {"task": task})


def test_the_scoring_server_takes_lists_and_answers_400(served: Any, images: np.ndarray) -> None:
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    client = TestClient(scoring_server.init(served))

    def asked(content: dict[str, Any]) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        answer = client.post("/invocations", content=json.dumps(content), headers=headers)
        return answer.status_code, answer.json()

    for inputs in (images.tolist(), images[..., 0].astype(int).tolist()):
        status, answer = asked({"inputs": inputs})
        assert status == 200
        np.testing.assert_allclose(answer["predictions"], served.predict(images), rtol=1e-6)
    status, answer = asked({"inputs": [], "params": {"task": "generate", "count": 2}})
    assert (status, np.shape(answer["predictions"])) == (200, (2, 8, 8, 1))
    for empty in ({"inputs": []}, {"instances": []}, {"dataframe_split": {"columns": ["image"], "data": []}}):
        status, answer = asked(empty)
        assert status == 400
        assert "there are no images; the model takes at least 1" in answer["message"]
    status, answer = asked({"inputs": (images + 9).tolist()})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "the model takes values from 0 to 16" in answer["message"]
    status, answer = asked({"inputs": images.tolist(), "params": {"task": "score", "samples": 0}})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def refusal(served: Any, images: Any, params: dict[str, Any] | None = None) -> str:
    """Asks for a prediction and returns what MLflow says of it."""
    import mlflow

    with pytest.raises(mlflow.MlflowException) as caught:
        served.predict(images, params=params)
    assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
    return str(caught.value)
