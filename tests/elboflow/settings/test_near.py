"""A suggestion undoes a slip of the keyboard, and never leads to another thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elboflow.settings.near import near

DEVICES = ["auto", "cpu", "gpu", "tpu"]
PRECISIONS = ["float32", "bfloat16", "float16"]
CHIPS = ["t4", "l4", "a100-40gb", "a100-80gb", "h100-80gb", "v5e", "v5p", "v6e"]
KEYS = ["learning_rate", "batch_size", "warmup_steps", "patience", "beta_1", "beta_2", "epochs"]


@pytest.mark.parametrize(
    ("word", "allowed", "meant"),
    [
        ("epoch", KEYS, "epochs"),
        ("batch_sise", KEYS, "batch_size"),
        ("lerning_rate", KEYS, "learning_rate"),
        ("Patience", KEYS, "patience"),
        ("beta1", KEYS, "beta_1"),
        ("warmup", KEYS, "warmup_steps"),
        ("conv", ["mlp", "convolutional"], "convolutional"),
        ("mpl", ["mlp", "convolutional"], "mlp"),
        ("gup", DEVICES, "gpu"),
        ("flaot32", PRECISIONS, "float32"),
        ("bf16", PRECISIONS, "bfloat16"),
        ("cuda", DEVICES, "gpu"),
    ],
)
def test_a_slip_and_another_name_are_understood(word: str, allowed: list[str], meant: str):
    assert near(word, allowed) == meant


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("npu", DEVICES),
        ("xla", DEVICES),
        ("float64", PRECISIONS),
        ("float8", PRECISIONS),
        ("v5", CHIPS),
        ("v4e", CHIPS),
        ("b100-80gb", CHIPS),
        ("a100", CHIPS),
        ("p4", CHIPS),
        ("beta", KEYS),
        ("adagrad", ["adam", "adamw", "lion"]),
        ("CEST", ["EST", "CET", "UTC"]),
        ("v1.2", ["v1.3", "v2.1"]),
        ("10", ["1", "100"]),
        ("", KEYS),
        ("x" * 10_000, KEYS),
    ],
)
def test_another_thing_or_several_are_not_suggested(word: str, allowed: list[str]):
    assert near(word, allowed) is None


@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=6))
def test_what_is_suggested_is_allowed_and_has_the_same_digits(word: str, allowed: list[str]):
    found = near(word, allowed)
    assert found is None or found in allowed
