"""Tables: CSV, Parquet, lines of JSON, and those of scikit-learn; each row is in one split, or told why not."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from pyarrow import parquet

from elboflow.settings import RequestError, WorkError
from preprocessing import rejects
from preprocessing.config import DataConfig
from preprocessing.pipeline import dataset_digest, preprocess
from preprocessing.reader import open_dataset
from tests.preprocessing.test_pipeline import contents

FEATURES = {"size": "number", "kind": "category", "code": "category"}


def rows(count: int, seed: int = 0) -> list[dict[str, object]]:
    random = np.random.default_rng(seed)
    return [
        {
            "size": float(random.integers(0, 10**6)) / 8,
            "kind": str(random.choice(["ape", "bee, or so", "år"])),
            "code": n % 5,
        }
        for n in range(count)
    ]


def csv_text(found: list[dict[str, object]]) -> str:
    return "size,kind,code\n" + "".join(f'{row["size"]},"{row["kind"]}",{row["code"]}\n' for row in found)


def write(folder: Path, kind: str, found: list[dict[str, object]], name: str = "raw") -> Path:
    path = folder / f"{name}.{kind}"
    if kind == "csv":
        path.write_text(csv_text(found), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    else:
        parquet.write_table(pa.Table.from_pylist(found), path, row_group_size=170)
    return path


def config(kind: str, path: object, **more: object) -> DataConfig:
    return DataConfig.model_validate({"source": {"kind": kind, "path": str(path)}, "features": FEATURES, **more})


def read(folder: Path) -> list[tuple[object, ...]]:
    """Returns the rows of all splits of a dataset, sorted."""
    dataset = open_dataset(folder)
    names = dataset.manifest.features["kind"].facts["names"]
    found = []
    for split in dataset.manifest.counts:
        arrays = dataset.read(split)
        found += zip(arrays["size"].tolist(), [names[n] for n in arrays["kind"]], arrays["code"].tolist(), strict=True)
    return sorted(found)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_row_of_a_table_is_in_one_split(kind, tmp_path):
    found = rows(500)
    preprocess(config(kind, write(tmp_path, kind, found)), tmp_path / "out")
    assert read(tmp_path / "out") == sorted((row["size"], row["kind"], row["code"]) for row in found)


def test_the_same_table_makes_the_same_shards_whatever_its_format(tmp_path):
    found = rows(500)
    shards = []
    for kind in ("csv", "jsonl", "parquet"):
        preprocess(config(kind, write(tmp_path, kind, found), workers=2), tmp_path / kind)
        shards.append({name: sha for name, sha in contents(tmp_path / kind).items() if name != "dataset.json"})
    assert shards[0] == shards[1] == shards[2]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_many_files_are_one_source_wherever_they_are(kind, tmp_path):
    found = rows(600)
    for number, part in enumerate((found[:100], found[100:350], found[350:])):
        write(tmp_path, kind, part, f"part-{number}")
    one = config(kind, tmp_path / f"part-*.{kind}")
    preprocess(one, tmp_path / "out")
    preprocess(one.model_copy(update={"workers": 3}), tmp_path / "again")
    assert contents(tmp_path / "out") == contents(tmp_path / "again")
    assert read(tmp_path / "out") == sorted((row["size"], row["kind"], row["code"]) for row in found)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in tmp_path.glob(f"part-*.{kind}"):
        (moved / path.name).write_bytes(path.read_bytes())
    assert dataset_digest(config(kind, moved / f"part-*.{kind}")) == dataset_digest(one)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_feature_may_have_another_column_and_a_part_may_be_held_out(kind, tmp_path):
    found, held_out = rows(300), rows(50, seed=1)
    source = {
        "kind": kind,
        "path": str(write(tmp_path, kind, found)),
        "held_out": str(write(tmp_path, kind, held_out, "test")),
        "columns": {"weight": "size"},
    }
    splits = {"train": 0.9, "validation": 0.1, "test": "source"}
    settings = {"source": source, "features": {"weight": "number", "kind": "category"}, "splits": splits}
    made = preprocess(DataConfig.model_validate(settings), tmp_path / "out").manifest
    assert made.counts["test"] == 50
    test = open_dataset(tmp_path / "out").read("test")
    assert sorted(test["weight"].tolist()) == sorted(row["size"] for row in held_out)
    with pytest.raises(ValueError, match="columns for other; the features are kind, weight"):
        DataConfig.model_validate({**settings, "source": {**source, "columns": {"other": "size"}}})


def test_a_gzipped_table_is_read(tmp_path):
    found = rows(200)
    (tmp_path / "raw.csv.gz").write_bytes(gzip.compress(csv_text(found).encode()))
    preprocess(config("csv", tmp_path / "raw.csv.gz"), tmp_path / "out")
    assert read(tmp_path / "out") == sorted((row["size"], row["kind"], row["code"]) for row in found)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_column_that_is_not_there_is_told_before_anything_runs(kind, tmp_path):
    settings = config(kind, write(tmp_path, kind, [{"size": 1.0, "kind": "ape", "code": 1}]))
    absent = {"source": {**settings.source.model_dump(), "columns": {"size": "weight"}}, "features": FEATURES}
    path = re.escape(str(tmp_path / f"raw.{kind}"))
    told = {
        "jsonl": f"no object of the first lines of {path} has a 'weight'; they have size, kind, code",
    }.get(kind, f"{path} has no column 'weight'; it has size, kind, code")
    with pytest.raises(RequestError, match=f"^data.source: {told}$"):
        dataset_digest(DataConfig.model_validate(absent))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("part", ["path", "held_out"])
def test_a_later_file_that_lacks_a_column_is_told_before_anything_runs(kind, part, tmp_path):
    write(tmp_path, kind, rows(10), "a")
    columns = ["size", "code", *[f"x{n}" for n in range(60)]]
    write_table(tmp_path / f"b.{kind}", columns, [[1.0] * len(columns)])
    source = {"path": f"{tmp_path}/*.{kind}"} if part == "path" else {"path": f"{tmp_path}/a.{kind}"}
    if part == "held_out":
        source["held_out"] = f"{tmp_path}/b.{kind}"
    settings = {"source": {"kind": kind, **source}, "features": FEATURES}
    told = rf"b\.{kind} has no column 'kind'; it has size, code, x0, .*, x47 and 12 more$"
    with pytest.raises(RequestError, match=told):
        dataset_digest(DataConfig.model_validate(settings))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_two_columns_of_one_name_are_refused_where_a_feature_is_made_of_them(kind, tmp_path):
    write_table(tmp_path / f"raw.{kind}", ["x", "y", "y"], [[float(n), n, -n] for n in range(300)])
    source = {"kind": kind, "path": str(tmp_path / f"raw.{kind}")}
    with pytest.raises(RequestError, match=rf"raw\.{kind} has 2 columns 'y'; a feature is one column$"):
        dataset_digest(DataConfig.model_validate({"source": source, "features": {"x": "number", "y": "number"}}))
    made = preprocess(DataConfig.model_validate({"source": source, "features": {"x": "number"}}), tmp_path / "out")
    assert sum(made.manifest.counts.values()) == 300


def write_table(path, names, found):
    """Writes columns of any names."""
    if path.suffix == ".csv":
        path.write_text("\n".join(",".join(map(str, row)) for row in [names, *found]) + "\n", encoding="utf-8")
    else:
        arrays = [pa.array(column) for column in zip(*found, strict=True)]
        parquet.write_table(pa.Table.from_arrays(arrays, names=names), path)


def test_a_file_that_loses_a_column_while_it_is_read_is_no_traceback(tmp_path):
    path = write(tmp_path, "csv", rows(300))
    settings = config("csv", path)
    raw = settings.source.open(settings.features)
    path.write_text("size,kind\n1,ape\n", encoding="utf-8")
    with pytest.raises(WorkError, match=r"raw\.csv has not all of the columns code, kind, size any more"):
        list(raw.read(raw.units()[0]))


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "raw.parquet").write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(WorkError, match=r"raw\.parquet is no whole Parquet file: "):
        preprocess(config("parquet", tmp_path / "raw.parquet"), tmp_path / "out")


def test_a_csv_file_has_no_images(tmp_path):
    image = {"kind": "image", "shape": [2, 2, 1], "range": [0, 1]}
    with pytest.raises(ValueError, match="'image' is of kind image; a cell of a csv file holds one value"):
        DataConfig.model_validate({"source": {"kind": "csv", "path": "x.csv"}, "features": {"image": image}})


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_images_are_lists_nested_or_flat(kind, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (200, 3, 2))
    nested = [{"image": image.tolist()} for image in images]
    flat = [{"image": image.reshape(-1).tolist()} for image in images]
    features = {"image": {"kind": "image", "shape": [3, 2, 1], "range": [0, 255]}}
    made = []
    for name, found in (("nested", nested), ("flat", flat)):
        source = {"kind": kind, "path": str(write(tmp_path, kind, found, name))}
        preprocess(DataConfig.model_validate({"source": source, "features": features}), tmp_path / name)
        dataset = open_dataset(tmp_path / name)
        stored = np.concatenate([dataset.read(split)["image"] for split in dataset.manifest.counts])
        made.append(sorted(image.tobytes() for image in stored))
    assert made[0] == made[1] == sorted(image.astype(np.uint8).tobytes() for image in images)


MALFORMED = {
    "csv": ("3,ape\n", "3 cells are expected in a row, not 2"),
    "jsonl": ('{"size": 3, \n', "a JSON object is expected"),
}


@pytest.mark.parametrize("kind", sorted(MALFORMED))
def test_rows_that_do_not_fit_are_left_out_and_listed_with_place_and_reason(kind, tmp_path):
    found = rows(1000)
    path = write(tmp_path, kind, found)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    header = kind == "csv"
    lines[500 + header] = MALFORMED[kind][0]
    lines[700 + header] = 'wide,"ape",2\n' if header else '{"size": "wide", "kind": "ape", "code": 2}\n'
    lines[800 + header] = ',"ape",2\n' if header else '{"kind": "ape", "code": 2}\n'
    lines[900 + header] = '3,"ape",two\n' if header else '{"size": 3, "kind": "ape", "code": "two"}\n'
    path.write_text("".join(lines), encoding="utf-8")
    made = preprocess(config(kind, path), tmp_path / "out").manifest
    left_out = [json.loads(line) for line in (tmp_path / "out" / rejects.NAME).read_text(encoding="utf-8").splitlines()]
    assert [each["row"] for each in left_out] == [501, 701, 801, 901]
    assert [each["feature"] for each in left_out] == [None, "size", "size", "code"]
    assert {each["place"] for each in left_out} == {path.name}
    assert left_out[0]["reason"] == MALFORMED[kind][1]
    assert [each["found"] for each in left_out[1:]] == ["'wide'", "", "'two'"]
    assert sum(made.rejected.values()) == 4
    assert sum(made.counts.values()) == 996
    kept = [row for number, row in enumerate(found, 1) if number not in (501, 701, 801, 901)]
    assert read(tmp_path / "out") == sorted((row["size"], row["kind"], row["code"]) for row in kept)


def test_rows_left_out_of_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("train/a", "train/b", "test"):
        (tmp_path / folder).mkdir(parents=True)
        text = csv_text(rows(300, seed=len(folder))) + f'wide {folder},"ape",2\n'
        (tmp_path / folder / "part.csv").write_text(text, encoding="utf-8")
    source = {"kind": "csv", "path": f"{tmp_path}/train/*/part.csv", "held_out": f"{tmp_path}/test/part.csv"}
    splits = {"train": 0.9, "validation": 0.1, "test": "source"}
    settings = {"source": source, "features": FEATURES, "splits": splits}
    preprocess(DataConfig.model_validate(settings), tmp_path / "out")
    lines = (tmp_path / "out" / rejects.NAME).read_text(encoding="utf-8").splitlines()
    assert [(each["place"], each["found"]) for each in map(json.loads, lines)] == [
        ("train/a/part.csv", "'wide train/a'"),
        ("train/b/part.csv", "'wide train/b'"),
        ("test/part.csv", "'wide test'"),
    ]


@trying(max_examples=8, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["good", "empty", "text", "infinite", "malformed"]), min_size=100, max_size=200),
    workers=st.integers(1, 3),
)
def test_every_row_is_in_one_split_or_rejected_and_the_counts_add_up(kinds, workers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    cells = {"good": "{}.5,a,1", "empty": ",a,1", "text": "x{},a,1", "infinite": "1e99,a,1", "malformed": "{},a,1,9"}
    made = ["0,b,2", *("7.25,b,2" for _ in range(2)), *(f"{n}.75,c,3" for n in range(300, 380))]
    lines = [*made, *(cells[kind].format(number) for number, kind in enumerate(kinds))]
    (folder / "raw.csv").write_text("size,kind,code\n" + "\n".join(lines) + "\n", encoding="utf-8")
    settings = config("csv", folder / "raw.csv", max_reject_fraction=1.0, workers=workers)
    manifest = preprocess(settings, folder / "out").manifest
    bad = sum(kind != "good" for kind in kinds)
    assert sum(manifest.rejected.values()) == bad
    assert sum(manifest.counts.values()) == len(lines) - bad
    expected = sorted(
        float(line.split(",")[0])
        for line, kind in zip(lines, ["good"] * len(made) + kinds, strict=True)
        if kind == "good"
    )
    assert [row[0] for row in read(folder / "out")] == expected


@pytest.mark.parametrize(
    ("dataset", "features", "examples"),
    [
        ("iris", {"petal_length_cm": "number", "label": "category"}, 150),
        ("wine", {"alcohol": "number", "od280_od315_of_diluted_wines": "number", "label": "category"}, 178),
        ("breast_cancer", {"mean_radius": "number", "label": "category"}, 569),
        ("diabetes", {"bmi": "number", "target": "number"}, 442),
    ],
)
def test_the_tables_of_scikit_learn_have_their_columns_as_features(dataset, features, examples, tmp_path):
    settings = {"source": {"kind": "sklearn", "dataset": dataset}, "features": features}
    made = preprocess(DataConfig.model_validate(settings), tmp_path / "out").manifest
    assert sum(made.counts.values()) == examples
    assert set(made.features) == set(features)
    with pytest.raises(RequestError, match="have no column 'colour'; they have "):
        dataset_digest(DataConfig.model_validate({**settings, "features": {"colour": "number"}}))
