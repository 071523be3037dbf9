"""The registered model behind MLflow's `predict` and its scoring server: raw images as they come, or what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.components.runs import Run
from tests.opened import opened

pytestmark = [pytest.mark.xdist_group("tensorflow")]


@pytest.fixture(scope="module")
def served(trained: Run, empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The champion as MLflow loads it."""
    import shutil

    import mlflow

    workspace = tmp_path_factory.mktemp("served")
    shutil.copy(empty_database, workspace / "mlflow.db")
    trained.register(f"sqlite:///{workspace}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{workspace}/mlflow.db")
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
        ({"task": "paint"}, "task is 'paint'; allowed are reconstruct, encode, score"),
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
