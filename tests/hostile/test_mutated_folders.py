"""Files of artifacts, damaged in hundreds of ways: refused in one sentence, or read as they were."""

import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.registry import rescoring
from elboflow import artifacts
from elboflow.settings import WorkError
from elboflow.vae import folder, keras_file
from elboflow.vae.evaluation import folder as evaluations
from preprocessing.reader import open_dataset

FORMATS = Path(__file__).parents[1] / "formats/98a35c2"
ROUNDS = 60  # mutations of each file

pytestmark = pytest.mark.slow


def mutated(content: bytes, other: bytes, random: random.Random) -> bytes:
    """Returns content that was cut off, flipped, overwritten, repeated or swapped with another file's."""
    changed = bytearray(content)
    at, length = random.randrange(len(content)), random.choice([1, 4, 64, 512])
    match random.randrange(7):
        case 0:
            del changed[at:]
        case 1:
            for _ in range(random.choice([1, 2, 16])):
                changed[random.randrange(len(content))] ^= 1 << random.randrange(8)
        case 2:
            changed[at : at + length] = bytes([random.randrange(256)]) * len(changed[at : at + length])
        case 3:
            start = random.randrange(len(content))
            changed[at : at + length] = content[start : start + length]
        case 4:
            changed[at:at] = random.randbytes(length)
        case 5:
            del changed[at : at + length]
        case _:
            return other
    return bytes(changed)


def everything(kind: str, place: Path) -> Any:
    """Returns all that is read of a folder, in a form that can be compared."""
    if kind == "dataset":
        dataset = open_dataset(place)
        return dataset.manifest, [dataset.read(split)["image"].tobytes() for split in sorted(dataset.manifest.counts)]
    if kind == "evaluation":
        evaluated = evaluations.load(place)
        values = rescoring.read(place / evaluations.EXAMPLES, "log_likelihood")
        return evaluated.facts, evaluated.metrics, values.keys.tobytes(), values.of_example.tobytes()
    trained = folder.load(place)
    weights = keras_file.weights(place / folder.MODEL, trained.config, trained.specs)
    facts = trained.config, trained.specs, trained.provenance, trained.parameters, trained.best_epoch, trained.epochs
    return facts, trained.curves, {name: array.tobytes() for name, array in weights.items()}


def sealed(kind: str, to: Path) -> Path:
    """Writes a folder of the newest format."""
    place = shutil.copytree(FORMATS / kind, to / kind)
    if kind == "dataset":
        (place / "dataset.json").write_text(open_dataset(place).manifest.to_json(), encoding="utf-8")
    else:
        facts = artifacts.load(place, kind)
        artifacts.commit(place, kind, {**facts, "format": 2}, facts["files"])
    return place


def mutations(place: Path, seed: int) -> Iterator[Path]:
    """Damages one file after the other, and yields which; afterwards it is as it was."""
    chance = random.Random(seed)
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        content, others = path.read_bytes(), [other for other in place.rglob("*") if other.is_file() and other != path]
        for _ in range(ROUNDS):
            path.write_bytes(mutated(content, chance.choice(others).read_bytes(), chance))
            if path.read_bytes() != content:
                yield path
        path.write_bytes(content)


@pytest.mark.parametrize("kind", ["dataset", "model", "evaluation"])
def test_no_damaged_folder_is_read_as_another(kind: str, tmp_path: Path) -> None:
    place = sealed(kind, tmp_path)
    whole, count, same = everything(kind, place), 0, 0
    for damaged in mutations(place, seed=0):
        count += 1
        found, told = read_or_refused(lambda: everything(kind, place))
        if told is not None:
            assert str(tmp_path) in told
            continue
        same += 1
        assert found == whole, damaged
    assert count > 150
    assert same < count / 20


def recommitted(kind: str, place: Path) -> None:
    facts = artifacts.load(place, kind)
    artifacts.commit(place, kind, facts, facts["files"])


@pytest.mark.parametrize("kind", ["model", "evaluation"])
def test_a_damaged_file_whose_checksum_was_mended_is_no_traceback(kind: str, tmp_path: Path) -> None:
    place = sealed(kind, tmp_path)
    count = 0
    for path in mutations(place, seed=1):
        if path.name == f"{kind}.json" or path.suffix == ".png":
            continue
        manifest = (place / f"{kind}.json").read_bytes()
        recommitted(kind, place)
        read_or_refused(lambda: everything(kind, place))
        (place / f"{kind}.json").write_bytes(manifest)
        count += 1
    assert count > 100


def test_damaged_weights_in_a_whole_archive_are_no_traceback(tmp_path: Path) -> None:
    with zipfile.ZipFile(FORMATS / "model/model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    trained = folder.load(FORMATS / "model")
    chance, path, refused = random.Random(2), tmp_path / "model.keras", 0
    for _ in range(1000):
        weights = mutated(members[keras_file.WEIGHTS], b"", chance)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**members, keras_file.WEIGHTS: weights}.items():
                archive.writestr(name, content)
        _, told = read_or_refused(lambda: keras_file.weights(path, trained.config, trained.specs))
        refused += told is not None
    assert refused > 500


def test_damaged_arrays_in_a_whole_archive_are_no_traceback(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(30, dtype=np.int64))
    chance, path, refused = random.Random(3), tmp_path / "examples.npz", 0
    for _ in range(1000):
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("key", "log_likelihood"):
                archive.writestr(f"{name}.npy", mutated(file.getvalue(), b"", chance))
        _, told = read_or_refused(lambda: rescoring.read(path, "log_likelihood"))
        refused += told is not None
    assert refused > 500


def read_or_refused(read: Callable[[], Any], refusal: type[Exception] = WorkError) -> tuple[Any, str | None]:
    """Returns what was read, or the sentence in which it was refused; any other error is a failure."""
    try:
        return read(), None
    except refusal as error:
        told = str(error)
    assert len(told) < 1000
    return None, told


@pytest.mark.xdist_group("tensorflow")
@pytest.mark.usefixtures("tensorflow_backend")
def test_no_damaged_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    from elboflow.vae.training import stored

    place = shutil.copytree(FORMATS / "stopped/checkpoints/step-000000006", tmp_path / "step-000000006")
    facts = artifacts.load(place, "checkpoint")
    artifacts.commit(place, "checkpoint", {**facts, "format": 2}, facts["files"])

    def told() -> str:
        identity, state = stored.read(place)
        arrays = {name: array.tobytes().hex() for name, array in state.arrays().items()}
        return json.dumps([identity, state.facts(), arrays])

    whole, count = told(), 0
    for path in mutations(place, seed=4):
        count += 1
        try:
            found = told()
        except stored.DamagedError:
            found = whole
        assert found == whole, path
    assert count > 150
    for path in mutations(place, seed=5):
        if path.name == "checkpoint.json":
            continue
        manifest = (place / "checkpoint.json").read_bytes()
        recommitted("checkpoint", place)
        read_or_refused(lambda: stored.read(place), stored.DamagedError)
        (place / "checkpoint.json").write_bytes(manifest)
