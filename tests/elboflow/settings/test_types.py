"""A value of another type is refused, also where pydantic would turn it into the right one."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from elboflow.settings import PossiblyEmpty, Settings


class Part(Settings):
    count: Annotated[int, Field(ge=1)] = 1
    rate: float | None = 0.5
    shape: tuple[int, ...] = (1,)
    shares: dict[str, float | Literal["rest"]] = Field({})
    scale: Literal["learned"] | float = 1.0


class Whole(Settings):
    part: Part = Part()
    switch: bool = False


@pytest.mark.parametrize(
    "values",
    [{"count": True}, {"count": "5"}, {"rate": False}, {"rate": "0.1"}, {"shape": [1, True]}, {"shares": {"a": True}}],
)
def test_booleans_and_texts_are_not_numbers(values):
    with pytest.raises(ValidationError) as caught:
        Whole(part=values)
    assert [error["loc"] for error in caught.value.errors()] == [("part", next(iter(values)))]


@pytest.mark.parametrize(
    "values",
    [
        {"count": 5},
        {"rate": 1},
        {"rate": None},
        {"shape": [1, 2]},
        {"shares": {"a": 1, "b": "rest"}},
        {"scale": "learned"},
    ],
)
def test_what_is_of_its_type_is_taken(values):
    assert Whole(part=values, switch=True).part.model_dump(mode="json", include=set(values)) == values


def test_text_that_may_be_empty_is_taken():
    class Named(Settings):
        names: list[PossiblyEmpty]

    assert Named(names=["", "a"]).names == ["", "a"]
