"""Raw values as clients have them are stored as preprocessing stores them, or refused in one sentence."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import RequestError
from preprocessing.features import Feature
from preprocessing.features.category import OTHER, CategoryFeature
from preprocessing.features.number import NumberFeature
from preprocessing.features.tokens import TokensFeature

NUMBER = FeatureSpec(kind="number", dtype="float32", facts={"mean": 1.0, "std": 1.0, "min": 0.0, "max": 2.0})
SCALARS = ["1", b"1", 1, 1.5, None, {"label": 1}, {1}, np.array("1"), np.float32(1), (n for n in "12"), object()]


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


def tokens(unit: str = "characters", **facts: Any) -> FeatureSpec:
    levels = len(facts["vocabulary"]) + 1 if facts else 256
    return FeatureSpec(
        kind="tokens", dtype="int64", shape=(4,), levels=levels, ragged=True, facts={"unit": unit, **facts}
    )


LETTERS = tokens(vocabulary=["a", "b"], unknown=2)


@pytest.mark.parametrize("raw", SCALARS)
@pytest.mark.parametrize(
    ("feature", "spec", "takes"),
    [
        (CategoryFeature, NAMED, "one class"),
        (CategoryFeature, category(), "one class"),
        (NumberFeature, NUMBER, "one finite number"),
        (TokensFeature, LETTERS, "one text"),
        (TokensFeature, tokens("bytes"), "one text"),
    ],
)
def test_values_that_are_no_list_of_examples_are_refused(
    feature: type[Feature], spec: FeatureSpec, takes: str, raw: Any
) -> None:
    with pytest.raises(RequestError) as refused:
        feature.stored("label", spec, raw)
    assert str(refused.value) == f"'label' takes {takes} per example, in a list of examples"
    with pytest.raises(RequestError, match=r"^there are no examples of 'label'; the model takes at least 1$"):
        feature.stored("label", spec, [])


@pytest.mark.parametrize(
    "raw",
    [[1, 2.5], [Decimal("1"), Decimal("2.5")], ["1", " 2.5 "], ["1e0", 2.5], np.array([1, 2.5], "f2"), (1.0, 2.5)],
)
def test_a_number_is_one_of_any_type_or_text_that_is_one(raw: Any) -> None:
    found = NumberFeature.stored("price", NUMBER, raw)["price"]
    assert (found.dtype, found.tolist()) == (np.float32, [1, 2.5])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "value",
    [
        *(None, float("nan"), float("inf"), 1e39, 10**400, "one", "", "nan", "1_0", b"1", 1j, [1], [], {}, {1}),
        *(Decimal("NaN"), Decimal("sNaN"), np.datetime64("2020-01-01"), object()),
    ],
)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    for raw in ([value], [1.0, value], [value, value]):
        with pytest.raises(RequestError, match=r"^'price' takes one finite number per example$"):
            NumberFeature.stored("price", NUMBER, raw)


def test_arrays_of_a_shape_are_taken_as_arrays_lists_and_objects_and_no_others() -> None:
    spec = FeatureSpec(kind="direction", dtype="float32", shape=(2,))
    whole = np.arange(6.0).reshape(3, 2)
    cells = np.empty(3, object)
    cells[:] = list(whole)
    for raw in (whole, whole.tolist(), list(whole), whole.astype(object), cells):
        assert NumberFeature.stored("wind", spec, raw)["wind"].tolist() == whole.tolist()
    for raw in ([[1, 2], [3]], [1, 2], whole[:, :1], [[1, None]], [[1, float("nan")]], [{}, {}], [[[1], [2]]]):
        with pytest.raises(RequestError, match=r"^'wind' takes finite numbers of shape \[2\] per example$"):
            NumberFeature.stored("wind", spec, raw)


@pytest.mark.parametrize("value", [1.5, 256, -1, "x", None])
def test_whole_numbers_are_never_cut_or_wrapped(value: Any) -> None:
    spec = FeatureSpec(kind="pixel", dtype="uint8")
    assert NumberFeature.stored("pixel", spec, [255, "7"])["pixel"].tolist() == [255, 7]
    with pytest.raises(RequestError, match=r"^'pixel' takes one whole number per example$"):
        NumberFeature.stored("pixel", spec, [0, value])


@pytest.mark.parametrize("raw", [["ab", "xb€"], ("ab", "xb€"), np.array(["ab", "xb€"]), [b"ab", "xb€".encode()]])
def test_texts_are_stored_by_the_vocabulary(raw: Any) -> None:
    found = TokensFeature.stored("text", LETTERS, raw)
    assert found["text"].tolist() == [[0, 1, 0, 0], [2, 1, 2, 0]]
    assert found["text.length"].tolist() == [2, 3]


@pytest.mark.parametrize("value", [None, float("nan"), 1, 1.5, True, "", b"", b"\xff", "\ud800", ["a"], {}, object()])
@pytest.mark.parametrize("spec", [LETTERS, tokens("bytes")], ids=["characters", "bytes"])
def test_what_is_no_text_is_refused(spec: FeatureSpec, value: Any) -> None:
    with pytest.raises(RequestError) as refused:
        TokensFeature.stored("text", spec, ["a", value])
    said = "'text' takes one text per example, of at least one symbol; example 1 is "
    assert str(refused.value).startswith(said)
    assert len(str(refused.value)) < 120


def test_a_text_that_is_too_long_is_refused_by_its_length() -> None:
    with pytest.raises(RequestError, match=r"^'text' takes texts of up to 4 symbols; one has 1,000$"):
        TokensFeature.stored("text", LETTERS, ["a" * 1000])
