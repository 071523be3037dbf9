"""What a person is told about a section that is wrong: the key, the value and what is allowed."""

from typing import Annotated, Literal

import pytest
from pydantic import BeforeValidator, Field, PositiveFloat, ValidationError, model_validator

from elboflow.settings import Settings, by_name
from elboflow.settings.explain import ConflictsError, Problem, explain, nearest, written


class Oven(Settings):
    kind: Literal["oven"] = "oven"
    degrees: int = 180


class Pan(Settings):
    kind: Literal["pan"] = "pan"
    oil: Literal["olive", "sunflower"] = "olive"
    heat: Literal["low"] | PositiveFloat = "low"


Way = Annotated[Oven | Pan, Field(discriminator="kind"), BeforeValidator(by_name)]


class Dish(Settings):
    name: str = Field(description="what it is called")
    way: Way = Oven()
    ways: dict[str, Way] = Field({})
    sizes: tuple[int, int] = (1, 2)
    toppings: list[int] = Field([], max_length=11)
    rating: float = 0.0
    side: "Dish | None" = None
    pin: Annotated[str, written("[0-9]{2}", "be two digits")] = "00"

    @model_validator(mode="after")
    def _topped(self) -> "Dish":
        if len(self.toppings) > self.sizes[0] * 10:
            raise ConflictsError([Problem(("toppings",), "too many"), Problem(("sizes", 0), "too small")])
        return self


def told(values: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Dish.model_validate(values)
    return [str(problem) for problem in explain(caught.value, Dish)]


def test_an_unknown_key_comes_with_the_nearest_right_one_and_all_that_are_allowed():
    assert told({"name": "x", "ratting": 3}) == [
        "ratting: unknown key; did you mean 'rating'? allowed: name, way, ways, sizes, toppings, rating, side, pin"
    ]


def test_an_unknown_key_that_is_near_to_nothing_comes_with_all_that_are_allowed():
    assert told({"name": "x", "way": {"kind": "pan", "zzzzzz": 3}}) == [
        "way.zzzzzz: unknown key; allowed: kind, oil, heat"
    ]


def test_a_missing_key_is_named_with_its_meaning():
    assert told({}) == ["name: missing; it must be given: what it is called"]


def test_an_unknown_kind_comes_with_the_nearest_kind_however_it_was_written():
    expected = "way: unknown kind 'oben'; did you mean 'oven'? allowed: oven, pan"
    assert told({"name": "x", "way": "oben"}) == [expected]
    assert told({"name": "x", "way": {"kind": "oben"}}) == [expected]


def test_a_choice_without_a_kind_says_which_kinds_there_are():
    assert told({"name": "x", "way": {"oil": "olive"}}) == ["way: no `kind` is given; allowed: oven, pan"]


def test_a_choice_of_another_type_says_what_it_must_be():
    assert told({"name": "x", "way": 3}) == [
        "way: 3 is not allowed; must be one of oven, pan, or a section with that `kind`"
    ]


@pytest.mark.parametrize("key", ["oven", "pan", "lid"])
def test_a_mapping_s_key_stays_in_the_place_even_if_it_is_called_like_a_kind(key: str):
    assert told({"name": "x", "ways": {key: {"kind": "oven", "degrees": "hot"}}}) == [
        f"ways.{key}.degrees: 'hot' is not allowed; must be a whole number"
    ]


def test_an_unknown_word_comes_with_the_nearest_word():
    assert told({"name": "x", "way": {"kind": "pan", "oil": "oliv"}}) == [
        "way.oil: unknown value 'oliv'; did you mean 'olive'? allowed: olive, sunflower"
    ]


def test_the_alternatives_of_a_value_are_one_sentence():
    assert told({"name": "x", "way": {"kind": "pan", "heat": -1}}) == [
        "way.heat: -1 is not allowed; must be 'low' or greater than 0"
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sizes": [1, 2, 3]}, "sizes: [1, 2, 3] is not allowed; must have at most 2 values"),
        (
            {"toppings": [3] * 12},
            "toppings: [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3] is not allowed; must have at most 11 values",
        ),
        ({"pin": "7"}, "pin: '7' is not allowed; must be two digits"),
        ({"pin": 7}, "pin: 7 is not allowed; must be text"),
    ],
)
def test_lengths_and_forms_are_told_in_words(values: dict[str, object], sentence: str):
    assert told({"name": "x", **values}) == [sentence]


def test_a_place_in_a_list_is_named_by_its_index():
    assert told({"name": "x", "toppings": [1, "b"]}) == ["toppings.1: 'b' is not allowed; must be a whole number"]


def test_a_section_inside_a_section_is_named_from_the_top():
    assert told({"name": "x", "side": {"name": "y", "side": {"nam": "z"}}}) == [
        "side.side.name: missing; it must be given: what it is called",
        "side.side.nam: unknown key; did you mean 'name'? allowed: name, way, ways, sizes, toppings, rating, side, pin",
    ]


def test_all_that_is_wrong_is_told_at_once():
    assert len(told({"name": 3, "rating": "x", "sizes": [1], "way": "x", "a": 1})) == 5


def test_a_check_across_sections_names_the_key_of_each_thing_it_found():
    assert told({"name": "x", "side": {"name": "y", "toppings": list(range(11))}}) == [
        "side.toppings: too many",
        "side.sizes.0: too small",
    ]


def test_values_that_are_not_finite_are_told():
    assert told({"name": "x", "rating": float("nan")}) == ["rating: NaN is not allowed; must be a finite number"]


def test_nothing_of_the_validator_s_own_words_and_addresses_remains():
    text = "\n".join(told({"name": 3, "rating": "x", "sizes": 1, "way": [], "ways": 3, "toppings": 1, "a": 1}))
    assert "pydantic" not in text
    assert "Input" not in text
    assert "http" not in text


def test_nearest_offers_nothing_where_nothing_is_near():
    assert nearest("xyz", ["mlp", "convolutional"]) == "allowed: mlp, convolutional"
