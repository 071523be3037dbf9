"""Two processes that write the same tag at once: what MLflow answers the slower one."""

import threading
from collections.abc import Callable

import pytest

from components.tracking import store
from components.tracking.upserts import upsert

pytestmark = pytest.mark.xdist_group("mlflow")


def writing(answers: list[Exception | None]) -> Callable[[str], None]:
    def write(_: str) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    return write


@pytest.mark.parametrize(
    "words",
    [
        '(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "model_version_tag_pk"',
        "(sqlite3.IntegrityError) UNIQUE constraint failed: model_version_tags.key, model_version_tags.name",
        "(pymysql.err.IntegrityError) (1062, \"Duplicate entry 'a-b-1' for key 'PRIMARY'\")",
    ],
)
def test_a_row_that_another_process_has_inserted_is_changed_by_the_second_try(words: str) -> None:
    from mlflow import MlflowException

    answers = [MlflowException(words), None]
    upsert(writing(answers), "value")
    assert answers == []


def test_what_mlflow_refuses_otherwise_is_not_tried_again() -> None:
    from mlflow import MlflowException

    answers = [MlflowException("Registered Model with name=digits not found"), None]
    with pytest.raises(MlflowException, match="not found"):
        upsert(writing(answers), "value")
    assert len(answers) == 1


def test_many_that_write_the_same_tag_at_once_all_succeed(tracking_uri: str) -> None:
    client = store.connect(tracking_uri)
    client.create_registered_model("digits-vae")
    failures: list[Exception] = []

    def write(value: str) -> None:
        try:
            for number in range(10):
                upsert(client.set_registered_model_tag, "digits-vae", f"tag-{number}", value)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(client.get_registered_model("digits-vae").tags) == 10
