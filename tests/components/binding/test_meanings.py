"""A model takes a dataset only where stored values mean what those mean that it was trained on."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.binding.datasets import check_fits, open_for
from components.binding.meanings import difference
from components.preprocess import preprocess
from elboflow.artifacts.spec import FeatureSpec
from elboflow.settings import WorkError
from elboflow.vae import folder
from elboflow.vae.families.flat import Flat
from preprocessing import manifest
from preprocessing.config import DataConfig

FORMATS = Path(__file__).parents[2] / "formats"


def made(path: Path, lines: list[str], **tokens: Any) -> Path:
    """Writes a dataset of lines of text."""
    path.with_suffix(".txt").write_text("\n".join(lines), encoding="utf-8")
    source = {"kind": "text", "path": str(path.with_suffix(".txt"))}
    features = {"text": {"kind": "tokens", **tokens}}
    preprocess(DataConfig.model_validate({"source": source, "features": features}), path)
    return path


def test_a_dataset_with_another_vocabulary_of_the_same_size_does_not_fit(tmp_path: Path) -> None:
    letters = made(tmp_path / "letters", [f"abcdefgh{n:03d}" for n in range(200)])
    signs = made(tmp_path / "signs", [f"abcdwxyz{n:03d}" for n in range(200)])
    model = Flat.model_validate({"input": "text", "likelihood": "tokens"})
    specs, found = open_for(model, letters).specs, open_for(model, signs)
    assert specs["text"].levels == found.specs["text"].levels
    check_fits(specs, "the model", open_for(model, letters))
    with pytest.raises(WorkError) as refused:
        check_fits(specs, "m", found)
    assert str(refused.value).startswith(f"the model m does not fit the dataset {signs}: it was trained on 'text' of ")
    assert str(refused.value).endswith(
        'of vocabulary of 18 entries, from 14 on ["e", "f", "g"]; '
        'the dataset\'s is of vocabulary of 18 entries, from 14 on ["w", "x", "y"]'
    )


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"names": ["a", "b"]}, {"names": ["a", "c"]}, ('names ["a", "b"]', 'names ["a", "c"]')),
        ({"names": ["a", "b"]}, {}, ('names ["a", "b"]', "no names")),
        ({"other": 1}, {}, ("other 1", "no other")),
        ({"classes": [0]}, {"classes": [0, 1]}, None),
    ],
)
def test_classes_of_one_number_differ_where_their_names_do(
    one: dict[str, Any], other: dict[str, Any], told: tuple[str, str] | None
) -> None:
    specs = [FeatureSpec(kind="category", dtype="int64", levels=2, facts=facts) for facts in (one, other)]
    found = difference(*specs)
    assert (None if found is None else (found.one, found.other)) == told


def test_a_long_vocabulary_is_told_in_a_few_words() -> None:
    def spec(vocabulary: list[str]) -> FeatureSpec:
        facts = {"unit": "characters", "vocabulary": vocabulary, "unknown": len(vocabulary)}
        return FeatureSpec(kind="tokens", dtype="int64", shape=(9,), levels=9001, ragged=True, facts=facts)

    signs = [chr(0x4E00 + n) for n in range(9000)]
    found = difference(spec(signs), spec([*signs[:8000], *signs[8000:][::-1]]))
    assert found is not None
    assert found.one == 'vocabulary of 9,000 entries, from 8,000 on ["浀", "流", "浂"]'
    assert len(found.other) < 100


def test_the_unit_of_tokens_and_the_range_of_images_are_compared_where_both_are_known() -> None:
    def image(**facts: Any) -> FeatureSpec:
        return FeatureSpec(kind="image", dtype="uint8", shape=(2, 2, 1), levels=17, facts=facts)

    assert difference(image(range=[0, 16]), image(range=[0.0, 16.0])) is None
    assert difference(image(range=[0, 16]), image()) is None
    assert difference(image(range=[0, 16]), image(range=[0, 32])) is not None


def test_a_kind_that_is_not_installed_is_compared_by_its_sizes() -> None:
    spec = FeatureSpec(kind="scent", dtype="float32", shape=(3,), facts={"notes": 1})
    assert difference(spec, spec.model_copy(update={"facts": {"notes": 2}})) is None
    assert difference(spec, spec.model_copy(update={"shape": (4,)})) is not None


@pytest.mark.parametrize("version", ["98a35c2", "737760e"])
def test_models_and_datasets_of_older_versions_fit_each_other_and_those_of_today(version: str, tmp_path: Path) -> None:
    model = folder.load(FORMATS / version / "model")
    old = open_for(model.config, FORMATS / version / "dataset")
    check_fits(model.specs, model.path, old)
    shutil.copytree(FORMATS / version / "dataset", tmp_path / "dataset")
    (tmp_path / "dataset" / manifest.NAME).write_text(old.manifest.to_json(), encoding="utf-8")
    check_fits(model.specs, model.path, open_for(Flat(input="image"), tmp_path / "dataset"))
