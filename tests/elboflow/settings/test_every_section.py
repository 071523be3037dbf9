"""Whatever is wrong in whichever section, a person is told so in the words of the experiment."""

import re
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BeforeValidator, ValidationError
from pydantic_core import PydanticKnownError
from pydantic_core._pydantic_core import list_all_errors

from elboflow.settings import Settings, layout
from elboflow.settings.explain import explain
from elboflow.settings.layout import every_section, sections_in
from pipelines.experiment import Experiment

OF_THE_PROGRAM = re.compile(
    r"function-|pydantic|Input should|\[type=|\bctx\b|\binput_value\b|https?://errors|typing\.|<class|\bdict\[|\bstr\]"
    r"|validator|Literal|NoneType|\bNone\b|\b[A-Z][a-z]+Config\b|Error\b|instance of|object at 0x|\bint\b|\bstr\b"
)


SECTIONS = list(every_section(Experiment))
VALID = {
    "name": "mine",
    "data": {"source": "sklearn"},
    "targets": {
        "kubeflow": {"image": "i", "tracking_uri": "https://m"},
        "vertex": {
            "project": "vae-project",
            "location": "europe-west4",
            "image": "i",
            "tracking_uri": "https://m",
            "root": "gs://b/v",
        },
    },
}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([2**62, 0.5, 1e300, "", " ", "x", "1", "a b", "image", "mlp", "adam", "gpu", "gs://", "é"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "a", "cpu", "image", "3x", "path", "0"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def told(values: Any, settings: type[Settings]) -> list[str]:
    try:
        settings.model_validate(values)
    except ValidationError as error:
        return [str(problem) for problem in explain(error, settings)]
    return []


def test_there_are_many_sections():
    assert len(SECTIONS) > 50


@given(st.data())
def test_a_random_value_of_a_section_is_told_without_words_of_the_program(data: st.DataObject):
    section = data.draw(st.sampled_from(SECTIONS))
    keys = data.draw(st.lists(st.sampled_from([*section.model_fields, "unknown"]), min_size=1, max_size=3))
    for sentence in told({key: data.draw(values) for key in keys}, section):
        assert OF_THE_PROGRAM.search(sentence) is None, sentence
        assert len(sentence) < 1200


@given(st.data())
def test_a_random_value_somewhere_in_an_experiment_is_told_by_the_key_that_was_written(data: st.DataObject):
    path, settings = [], Experiment
    while True:
        key = data.draw(st.sampled_from(sorted(settings.model_fields)))
        path.append(key)
        below = list(sections_in(settings.model_fields[key].annotation))
        if len(below) != 1 or data.draw(st.booleans()):
            break
        (settings,) = below
    written: dict[str, Any] = {**VALID}
    node = written
    for key in path[:-1]:
        node[key] = {**node[key]} if isinstance(node.get(key), dict) else {}
        node = node[key]
    node[path[-1]] = data.draw(values)
    for sentence in told(written, Experiment):
        assert OF_THE_PROGRAM.search(sentence) is None, sentence
        assert re.match(r"[a-z0-9_.]+\S*: ", sentence), sentence


@pytest.mark.parametrize("error", list_all_errors(), ids=lambda error: error["type"])
def test_every_error_that_the_validator_knows_has_words(error: dict[str, Any]):
    kind: Any = error["type"]
    context = {**(error["example_context"] or {})}
    if kind in ("value_error", "assertion_error"):
        context = {"error": ValueError("too small")}

    def wrong(value: object) -> object:
        raise PydanticKnownError(kind, context or None)

    class Wrong(Settings):
        size: Annotated[int, BeforeValidator(wrong)]

    (sentence, *others) = told({"size": 3}, Wrong) or ["size: left out"]
    assert others == []
    assert sentence.startswith("size: ")
    assert OF_THE_PROGRAM.search(sentence) is None, sentence


MAY_BE_EMPTY = {("Command", "command"), ("Toleration", "value"), ("KubernetesStep", "node_selector")}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_text_that_is_empty_or_blank_is_refused_unless_it_means_something(section: type[Settings]):
    for key, field in section.model_fields.items():
        written_in = next(base.__name__ for base in section.__mro__ if key in getattr(base, "__annotations__", {}))
        if (written_in, key) in MAY_BE_EMPTY or "str" not in str(field.annotation):
            continue
        for text in ("", "  "):
            for value in (text, [text], {"a": text}, {"A_B": text}):
                if field.annotation == dict[str, str] or (key in ("labels", "annotations") and isinstance(value, dict)):
                    continue
                complaints = [sentence for sentence in told({key: value}, section) if sentence.startswith(key)]
                assert complaints, (key, value)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_setting_says_what_it_means_and_every_section_what_it_is(section: type[Settings]):
    chosen_by = layout.kind(section) and "kind"  # the docstring says what a kind is
    silent = [key for key, field in section.model_fields.items() if key != chosen_by and not field.description]
    assert silent == []
    assert section.__doc__
    repeated = [key for key in section.model_fields if re.search(rf"^\s+{key}: ", section.__doc__, re.MULTILINE)]
    assert repeated == [], "the docstring describes settings that have a description"
