"""The one digest: of canonical JSON without default values."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elboflow.settings import Settings
from elboflow.settings.digest import canonical, digest


class Before(Settings):
    """A section."""

    kind: Literal["one"] = "one"
    size: int = 3
    rate: float = 0.5


class After(Settings):
    """The section in a later version, with a setting more."""

    kind: Literal["one"] = "one"
    size: int = 3
    colour: str | None = None
    rate: float = 0.5
    parts: tuple[Before, ...] = ()


@given(st.integers(-5, 5), st.sampled_from([0.5, 1.0, 2.5]))
def test_a_setting_added_later_changes_no_digest_while_it_has_its_default(size: int, rate: float) -> None:
    assert digest(After(size=size, rate=rate)) == digest(Before(size=size, rate=rate))
    assert digest(After(size=size, colour="red")) != digest(Before(size=size))


def test_the_kind_is_kept_where_it_is_the_default() -> None:
    assert canonical({"a": Before(), "b": [Before(size=4)]}) == {
        "a": {"kind": "one"},
        "b": [{"kind": "one", "size": 4}],
    }


def test_settings_within_settings_lose_their_defaults_too() -> None:
    assert canonical(After(parts=(Before(rate=1.0),))) == {"kind": "one", "parts": [{"kind": "one", "rate": 1}]}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=6))
def test_the_order_of_keys_does_not_matter(values: dict[str, Any]) -> None:
    assert digest(dict(reversed(values.items()))) == digest(values)


def test_a_whole_number_is_the_same_however_it_is_written() -> None:
    assert digest({"a": [1.0, 2]}) == digest({"a": [1, 2.0]})
    assert digest({"a": True}) != digest({"a": 1})


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        digest({"a": float("nan")})
