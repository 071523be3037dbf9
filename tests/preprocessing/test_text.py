"""Text files and tokens: every symbol comes back, vocabularies are those of the train split, damage is told."""

import gzip
import json
from importlib import metadata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from pydantic import ValidationError

from elboflow.settings import RequestError, WorkError
from elboflow.settings.explain import explain
from preprocessing import rejects
from preprocessing.config import DataConfig
from preprocessing.pipeline import dataset_digest, preprocess
from preprocessing.reader import open_dataset
from tests.preprocessing.test_pipeline import contents

ALPHABET = "abcdefgh åß€😀\t"


def sentences(count, seed=0):
    random = np.random.default_rng(seed)
    return ["x" + "".join(random.choice(list(ALPHABET), random.integers(1, 40))) for _ in range(count)]


def config(path, tokens=None, **more):
    source = {"kind": "text", "path": str(path), **more.pop("source", {})}
    features = {"text": {"kind": "tokens", **(tokens or {})}, **more.pop("features", {})}
    return DataConfig.model_validate({"source": source, "features": features, **more})


def texts(folder):
    """Returns the texts of all splits that a dataset holds, sorted; unknown symbols as U+FFFD."""
    dataset = open_dataset(folder)
    facts = dataset.manifest.features["text"].facts
    found = []
    for split in dataset.manifest.counts:
        arrays = dataset.read(split)
        for codes, length in zip(arrays["text"], arrays["text.length"], strict=True):
            assert not codes[length:].any()
            if facts["unit"] == "bytes":
                found.append(bytes(codes[:length].tolist()).decode())
            else:
                found.append("".join([*facts["vocabulary"], "\ufffd"][code] for code in codes[:length]))
    return sorted(found)


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_every_line_comes_back_symbol_by_symbol(unit, tmp_path):
    lines = sentences(700)
    (tmp_path / "a.txt").write_text("\ufeff" + "\r\n".join(lines[:300]) + "\n\n", encoding="utf-8", newline="")
    (tmp_path / "b.txt").write_bytes(gzip.compress("\n".join(lines[300:]).encode()))
    made = preprocess(config(tmp_path / "*.txt", {"unit": unit}), tmp_path / "out").manifest
    assert texts(tmp_path / "out") == sorted(lines)
    spec = made.features["text"]
    size = len if unit == "characters" else lambda line: len(line.encode())
    assert (spec.kind, spec.dtype, spec.ragged, spec.shape) == ("tokens", "int64", True, (max(map(size, lines)),))
    assert spec.levels == (256 if unit == "bytes" else len(spec.facts["vocabulary"]) + 1)


def test_the_same_bytes_come_of_any_number_of_workers(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("\n".join(sentences(300, number)), encoding="utf-8")
    settings = config(tmp_path / "*.txt", shards=0.01)
    preprocess(settings, tmp_path / "one")
    preprocess(settings.model_copy(update={"workers": 3}), tmp_path / "three")
    assert len(contents(tmp_path / "one")) > 5
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_the_vocabulary_is_that_of_the_train_split_and_other_symbols_are_unknown(tmp_path):
    rare = [chr(0x4E00 + number) for number in range(200)]
    (tmp_path / "raw.txt").write_text("\n".join(f"abc {sign}" for sign in rare), encoding="utf-8")
    made = preprocess(config(tmp_path / "raw.txt"), tmp_path / "out").manifest
    facts = made.features["text"].facts
    dataset = open_dataset(tmp_path / "out")
    train = dataset.read("train")
    assert facts["vocabulary"] == sorted(facts["vocabulary"])
    assert facts["unknown"] == len(facts["vocabulary"]) == made.features["text"].levels - 1
    assert set(np.unique(train["text"])) == set(range(len(facts["vocabulary"])))
    assert (dataset.read("test")["text"][:, 4] == facts["unknown"]).all()
    assert set(" abc") < set(facts["vocabulary"])


def test_a_limited_vocabulary_has_the_most_frequent_symbols(tmp_path):
    (tmp_path / "raw.txt").write_text("\n".join("aaa" * 3 + "bb" + str(n % 10) for n in range(200)), encoding="utf-8")
    lines = [f"{'a' * (n % 17 + 3)}bb{n}" for n in range(300)]
    (tmp_path / "raw.txt").write_text("\n".join(lines), encoding="utf-8")
    made = preprocess(config(tmp_path / "raw.txt", {"vocabulary_size": 2}), tmp_path / "out").manifest
    assert made.features["text"].facts["vocabulary"] == ["a", "b"]
    assert made.features["text"].levels == 3


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_texts_that_are_too_long_are_cut_or_rejected(unit, tmp_path):
    lines = [f"{number:03d}" + "z" * (number % 10) for number in range(400)]
    (tmp_path / "raw.txt").write_text("\n".join(lines), encoding="utf-8")
    made = preprocess(config(tmp_path / "raw.txt", {"length": 5, "unit": unit}), tmp_path / "cut").manifest
    assert made.features["text"].shape == (5,)
    assert texts(tmp_path / "cut") == sorted(line[:5] for line in lines)
    tokens = {"length": 5, "unit": unit, "too_long": "reject"}
    with pytest.raises(WorkError, match=rf"280 examples of 400 do not fit .*length allows 5 {unit}"):
        preprocess(config(tmp_path / "raw.txt", tokens), tmp_path / "refused")
    made = preprocess(config(tmp_path / "raw.txt", tokens, max_reject_fraction=0.8), tmp_path / "left").manifest
    assert texts(tmp_path / "left") == sorted(line for line in lines if len(line) <= 5)
    assert sum(made.rejected.values()) == 280


def test_two_texts_that_are_the_same_when_cut_are_in_one_split(tmp_path):
    lines = [f"{number % 100:03d} tail {number}" for number in range(600)]
    (tmp_path / "raw.txt").write_text("\n".join(lines), encoding="utf-8")
    made = preprocess(config(tmp_path / "raw.txt", {"length": 3}), tmp_path / "out").manifest
    assert sum(made.distinct.values()) == 100
    dataset = open_dataset(tmp_path / "out")
    keys = [set(dataset.read(split)["key"].tolist()) for split in made.counts]
    assert sum(map(len, keys)) == len(set.union(*keys)) == 100


@trying(max_examples=6, deadline=None)
@given(text=st.text(st.sampled_from("ab\n\r😀é "), min_size=400, max_size=900), window=st.integers(1, 9))
def test_every_character_of_a_file_is_in_exactly_one_window(text, window, tmp_path_factory):
    folder = tmp_path_factory.mktemp("windows")
    (folder / "raw.txt").write_bytes(text.encode())
    splits = {"train": 0.5, "test": 0.5}
    settings = config(folder / "raw.txt", source={"unit": "window", "window": window}, splits=splits)
    try:
        preprocess(settings, folder / "out")
    except WorkError as error:
        told = str(error)
    else:
        told = ""
    if "came out empty" in told or "no text in the train split" in told:
        return  # there are few distinct windows
    assert not told
    expected = sorted(text[start : start + window] for start in range(0, len(text), window))
    vocabulary = open_dataset(folder / "out").manifest.features["text"].facts["vocabulary"]
    assert texts(folder / "out") == sorted(
        "".join(sign if sign in vocabulary else "\ufffd" for sign in found) for found in expected
    )


@pytest.mark.slow
def test_files_that_an_installed_distribution_brings_are_read_by_name(tmp_path):
    path = "package://scikit-learn/sklearn/datasets/descr/*.rst"
    settings = config(path, {"length": 80}, features={"file": "category"}, identity=["text", "file"])
    made = preprocess(settings, tmp_path / "out").manifest
    files = [file for file in metadata.distribution("scikit-learn").files if file.match("sklearn/datasets/descr/*.rst")]
    assert made.features["file"].facts["names"] == sorted(file.name for file in files)
    lines = [line for file in files for line in file.locate().read_text(encoding="utf-8").splitlines() if line]
    assert sum(made.counts.values()) == len(lines)
    for wrong in ("package://no-such-distribution/x.txt", "package://scikit-learn/../../etc/passwd"):
        with pytest.raises(RequestError, match=r"no installed distribution|there is no file package://"):
            dataset_digest(config(wrong))


def test_a_line_that_is_no_utf_8_is_rejected_and_a_window_of_it_is_an_error(tmp_path):
    lines = [line.encode() for line in sentences(300)]
    lines[41] = b"x\xff\xfe"
    (tmp_path / "raw.txt").write_bytes(b"\n".join(lines))
    preprocess(config(tmp_path / "raw.txt"), tmp_path / "out")
    (left_out,) = map(json.loads, (tmp_path / "out" / rejects.NAME).read_text(encoding="utf-8").splitlines())
    assert left_out == {
        "place": "raw.txt", "row": 42, "feature": "text", "reason": "bytes that are no UTF-8", "found": ""
    }  # fmt: skip
    with pytest.raises(WorkError, match=r"raw\.txt is no UTF-8: .* near byte"):
        preprocess(config(tmp_path / "raw.txt", source={"unit": "window"}), tmp_path / "windows")


def test_a_part_may_be_held_out(tmp_path):
    (tmp_path / "train.txt").write_text("\n".join(sentences(300)), encoding="utf-8")
    held_out = sentences(40, seed=1)
    (tmp_path / "test.txt").write_text("\n".join(held_out), encoding="utf-8")
    splits = {"train": 0.9, "validation": 0.1, "test": "source"}
    source = {"held_out": str(tmp_path / "test.txt")}
    made = preprocess(config(tmp_path / "train.txt", source=source, splits=splits), tmp_path / "out").manifest
    assert made.counts["test"] == 40
    with pytest.raises(ValueError, match="no held-out part"):
        config(tmp_path / "train.txt", splits=splits)


def test_the_text_source_has_no_other_columns(tmp_path):
    with pytest.raises(ValueError, match="the text source has no 'author'; it has text and file"):
        config("x.txt", features={"author": "category"})


def test_numbers_are_no_text(tmp_path):
    np.savez(tmp_path / "raw.npz", text=np.arange(100))
    settings = {"source": {"kind": "npz", "path": str(tmp_path / "raw.npz")}, "features": {"text": "tokens"}}
    with pytest.raises(WorkError, match=r"raw.npz\[text\]: the feature 'text' is int64; tokens are made of text"):
        preprocess(DataConfig.model_validate(settings), tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "tokens", "said"),
    [
        ({"window": 32}, {}, "source: `window: 32` is for `unit: window`; with `unit: line` an example is a line"),
        ({}, {"unit": "bytes", "vocabulary_size": 9}, "features.text: vocabulary_size is for `unit: characters`; with"),
        ({}, {"too_long": "reject"}, "features.text: `too_long: reject` needs a `length`, beyond which a text is too"),
    ],
)
def test_a_setting_without_an_effect_is_refused(source, tokens, said):
    with pytest.raises(ValidationError) as refused:
        config("x.txt", tokens, source=source)
    assert any(str(problem).startswith(said) for problem in explain(refused.value, DataConfig))


def test_what_a_dump_says_of_settings_that_were_not_given_is_read_again():
    settings = config("x.txt", {"unit": "bytes"})
    assert settings.model_dump(mode="json")["source"]["window"] == 64
    assert DataConfig.model_validate(settings.model_dump(mode="json")) == settings
