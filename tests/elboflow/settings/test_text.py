"""Numbers in sentences."""

import pytest

from elboflow.settings.text import counted


@pytest.mark.parametrize(
    ("number", "expected"), [(1, "1 epoch"), (0, "0 epochs"), (2, "2 epochs"), (1442, "1,442 epochs")]
)
def test_one_has_a_singular_and_all_other_numbers_a_plural(number, expected):
    assert counted(number, "epoch") == expected


def test_an_irregular_plural_is_given():
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]
