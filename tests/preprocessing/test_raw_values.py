"""Raw values as clients have them are stored as preprocessing stores them, or refused in one sentence."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from preprocessing.features.category import OTHER, CategoryFeature


def category(levels: int | None = 3, **facts: Any) -> FeatureSpec:
    return FeatureSpec(kind="category", dtype="int64", levels=levels, facts=facts)


NAMED = category(names=["1", "2", "3"])


def classes(spec: FeatureSpec, raw: Any) -> list[int]:
    return CategoryFeature.stored("label", spec, raw)["label"].tolist()


def refusal(spec: FeatureSpec, raw: Any) -> str:
    with pytest.raises(RequestError) as refused:
        CategoryFeature.stored("label", spec, raw)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    return str(refused.value)


def test_a_category_with_names_takes_names_and_no_numbers() -> None:
    assert classes(NAMED, ["1", "3", "2"]) == classes(NAMED, np.array(["1", "3", "2"])) == [0, 2, 1]
    for number in (1, 1.0, np.int64(1), True):
        assert refusal(NAMED, ["2", number]).endswith(
            "; it takes the name of a class, of which there are '1', '2', '3'"
        )


@pytest.mark.parametrize(
    "raw", [[2, 0], [2.0, 0.0], np.array([2, 0], "uint8"), np.array([2.0, 0]), [Decimal(2), False], ["2", " 0"]]
)
def test_a_category_without_names_takes_whole_numbers_and_text_that_is_one(raw: Any) -> None:
    assert classes(category(), raw) == [2, 0]


@pytest.mark.parametrize("value", [3, -1, 1.5, "two", "1.0", float("nan"), float("inf"), None, [1], {}, 10**30])
def test_what_is_no_class_is_refused_with_what_is(value: Any) -> None:
    said = refusal(category(), [1, value])
    assert said.endswith("it takes the number of a class, a whole one from 0 to 2")


def test_classes_beyond_all_levels_are_taken_without_a_list_of_them() -> None:
    assert classes(category(None), [2**40]) == [2**40]
    assert classes(category(2**31), [2**31 - 1]) == [2**31 - 1]
    assert refusal(category(2**31), [2**31]).endswith("a whole one from 0 to 2,147,483,647")


def test_of_many_names_a_few_are_told() -> None:
    assert refusal(category(1000, names=[f"n{n}" for n in range(1000)]), ["x"]).endswith("'n7' and 992 more")


def test_a_class_that_the_train_split_lacks_is_the_other_one_where_there_is_one() -> None:
    assert classes(category(names=["ape", "bee", OTHER], other=2), ["bee", "cat", OTHER]) == [1, 2, 2]
    assert classes(category(10, classes=[0, 4, 9], other=9), [4, 5, 700]) == [4, 9, 9]


def test_codes_become_the_names_of_classes() -> None:
    assert CategoryFeature.raw("label", NAMED, {"label": np.array([2, 0], np.int32)}).tolist() == ["3", "1"]
    assert CategoryFeature.raw("label", category(), {"label": np.array([2, 0])}).tolist() == [2, 0]


@pytest.mark.parametrize("raw", ["1", 1, None, {"label": 1}, {1}, np.array("1"), (n for n in "12")])
def test_values_that_are_no_list_of_examples_are_refused(raw: Any) -> None:
    assert refusal(NAMED, raw) == "'label' takes one class per example, in a list of examples"


def test_no_examples_are_refused() -> None:
    assert refusal(NAMED, []) == "there are no examples of 'label'; the model takes at least 1"
