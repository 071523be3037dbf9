"""A manifest lists names; none of them reaches a file outside its folder, however it is read, copied or written."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elboflow import artifacts
from elboflow.artifacts import manifest as manifests
from elboflow.artifacts import names
from elboflow.settings import WorkError
from elboflow.vae import folder
from elboflow.vae.evaluation import folder as evaluations
from preprocessing.reader import open_dataset

FORMATS = Path(__file__).parents[1] / "formats/98a35c2"
CANARY, CONTENT = "canary", b"not to be read or written"

HOSTILE = [
    "../canary", "figures/../../canary", "..", ".", "", "./canary", "a//b", "a/", "a/./b", "/etc/passwd", "~/canary",
    "//server/share", "\\\\server\\share\\x", "C:/canary", "C:\\canary", "c:canary", "..\\canary", "nul\\x", "a:b",
    "$HOME/canary", "%2e%2e/canary", "file:///etc/passwd", "gs://bucket/x", "canary\x00.png", "*", "x?",
    "x\nbegin 1 /some/path", "\x1b[2Jx", "x\r", "x\u202eg", "\ud800", "caf\u00e9", "cafe\u0301", "\uff0e\uff0e/canary",
    "x.", "x ", " x", "-x/", ".bashrc", "model.json", "MODEL.JSON", "model.json/x", "a" * 201,
]  # fmt: skip


def planted(root: Path, kind: str, files: dict[str, Any]) -> Path:
    """Writes a folder whose manifest, with a right checksum, lists files by these names, and a canary beside it."""
    (root / CANARY).write_bytes(CONTENT)
    place = root / "folder"
    shutil.copytree(FORMATS / kind, place, dirs_exist_ok=True)
    manifest = place / f"{kind}.json"
    facts = json.loads(manifest.read_text(encoding="utf-8"))
    if kind == "dataset":
        shard = {"examples": 0, **next(iter(files.values()))}
        facts["shards"]["test"] += [{**shard, "name": name} for name in files]
    else:
        facts["files"].update(files)
    manifest.write_text(manifests.sealed({**facts, "format": 2}), encoding="utf-8")
    return place


def listed(content: bytes = CONTENT) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


READERS: dict[str, list[Callable[[Path, Path], Any]]] = {
    "model": [lambda place, _: folder.load(place), lambda place, to: artifacts.copy(place, "model", to)],
    "evaluation": [lambda place, _: evaluations.load(place), lambda place, to: artifacts.copy(place, "evaluation", to)],
    "dataset": [lambda place, _: open_dataset(place).read("test")],
}


def reads() -> Iterator[Any]:
    for kind, readers in READERS.items():
        for number, reader in enumerate(readers):
            yield pytest.param(kind, reader, id=f"{kind}-{('read', 'copied')[number]}")


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize(("kind", "reader"), list(reads()))
def test_a_hostile_name_is_refused_by_name_and_touches_nothing(
    kind: str, reader: Callable[[Path, Path], Any], name: str, tmp_path: Path
) -> None:
    if name.lower().startswith("model.json"):
        name = name.replace("model", kind).replace("MODEL", kind.upper())
    place = planted(tmp_path, kind, {name: listed()})
    with pytest.raises(WorkError, match=rf"{kind}\.json .*: .*(name .* is|text is) not allowed") as refused:
        reader(place, tmp_path / "to")
    assert str(refused.value).replace(str(tmp_path), "").isprintable()
    assert (tmp_path / CANARY).read_bytes() == CONTENT
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("pair", [("a", "A"), ("a", "a/b"), ("x/y", "X"), ("b/c", "B/C")])
@pytest.mark.parametrize("order", [1, -1])
def test_two_names_that_may_be_one_file_are_refused(pair: tuple[str, str], order: int) -> None:
    with pytest.raises(WorkError, match="is not allowed beside"):
        names.check(pair[::order], "model.json")


def test_files_of_one_folder_stand_beside_each_other() -> None:
    names.check(["figures/a.png", "figures/b.png", "Figures/c.png", "model.keras", "a/b/c", "a/b/d"], "model.json")


@given(name=st.text(max_size=12) | st.text("./\\a:~", max_size=8) | st.sampled_from(HOSTILE))
@settings(max_examples=500, deadline=None)
def test_what_is_allowed_stays_in_the_folder_on_every_file_system(name: str) -> None:
    try:
        names.check([name], "model.json")
    except WorkError:
        return
    assert os.path.normpath(name) == name
    assert not Path(name).is_absolute()
    assert ".." not in name.split("/")
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set('\\:*?"<>| ')
    assert all(part and not part.endswith(".") for part in name.split("/"))


@given(name=st.text(max_size=12) | st.text("./\\abc~", max_size=10) | st.sampled_from(HOSTILE))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_reaches_a_canary_outside(name: str, tmp_path: Path) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    place = planted(root, "model", {name: listed()})
    with contextlib.suppress(OSError, ValueError):  # what is listed is there, as far as it would be in the folder
        if (place / name).resolve().is_relative_to(place) and not (place / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(CONTENT)
    before = {path for path in root.rglob("*") if not path.is_relative_to(place)}
    with contextlib.suppress(WorkError):
        artifacts.copy(place, "model", root / "to")
    written = {path for path in root.rglob("*") if not path.is_relative_to(place)} - before
    assert all(path.is_relative_to(root / "to") for path in written)
    assert (root / CANARY).read_bytes() == CONTENT


@pytest.mark.parametrize("entry", [
    {"bytes": -1, "sha256": "0" * 64}, {"bytes": True, "sha256": "0" * 64}, {"bytes": "12", "sha256": "0" * 64},
    {"bytes": 1.5, "sha256": "0" * 64}, {"bytes": 1, "sha256": "0" * 63}, {"bytes": 1, "sha256": "../" * 22},
    {"bytes": 1, "sha256": None}, {"bytes": 1}, {"sha256": "0" * 64}, [], None, 3,
    {"bytes": 1, "sha256": "0" * 64, "link": "../canary"},
])  # fmt: skip
@pytest.mark.parametrize(("kind", "reader"), [p for p in reads() if p.values[0] != "dataset"])
def test_a_file_listed_with_anything_else_than_size_and_sha256_is_refused(
    kind: str, reader: Callable[[Path, Path], Any], entry: Any, tmp_path: Path
) -> None:
    place = planted(tmp_path, kind, {"extra.txt": entry})
    with pytest.raises(WorkError, match=rf"{kind}\.json is damaged"):
        reader(place, tmp_path / "to")


@pytest.mark.parametrize("files", [[], None, "x", 3])
def test_files_that_are_no_mapping_are_refused(files: Any, tmp_path: Path) -> None:
    place = planted(tmp_path, "model", {})
    facts = json.loads((place / "model.json").read_text(encoding="utf-8"))
    (place / "model.json").write_text(manifests.sealed({**facts, "files": files}), encoding="utf-8")
    for reader in READERS["model"]:
        with pytest.raises(WorkError, match=r"model\.json is damaged"):
            reader(place, tmp_path / "to")


@pytest.mark.parametrize(("kind", "moved"), [
    ("model", "curves.json"), ("model", "model.json"), ("evaluation", "figures/curves.png"), ("evaluation", "figures"),
    ("dataset", "test-00000-of-00001.tfrecord"), ("dataset", "dataset.json"),
])  # fmt: skip
def test_links_in_a_folder_are_not_followed(kind: str, moved: str, tmp_path: Path) -> None:
    """A link to the very same content: it is refused for being a link."""
    place = shutil.copytree(FORMATS / kind, tmp_path / kind)
    (place / moved).rename(tmp_path / "elsewhere")
    (place / moved).symlink_to(tmp_path / "elsewhere")
    for reader in READERS[kind]:
        with pytest.raises(WorkError, match="is a link; the files of an artifact stand in its own folder"):
            reader(place, tmp_path / "to")


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(FORMATS / "model")
    assert folder.load(tmp_path / "model").config.latent == 2


def test_a_link_in_the_place_of_a_copy_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / CANARY).write_bytes(CONTENT)
    (tmp_path / "to").mkdir()
    (tmp_path / "to/curves.json").symlink_to(tmp_path / CANARY)
    artifacts.copy(FORMATS / "model", "model", tmp_path / "to")
    assert (tmp_path / CANARY).read_bytes() == CONTENT
    assert folder.load(tmp_path / "to").config.latent == 2


def test_nothing_is_copied_into_a_folder_that_is_a_link(tmp_path: Path) -> None:
    for made in ("outside", "to"):
        (tmp_path / made).mkdir()
    (tmp_path / "to/figures").symlink_to(tmp_path / "outside")
    with pytest.raises(WorkError, match="figures is a link; nothing is written through it"):
        artifacts.copy(FORMATS / "evaluation", "evaluation", tmp_path / "to")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("odd", ["a pipe", "a folder"])
def test_what_is_no_regular_file_is_not_waited_for(odd: str, tmp_path: Path) -> None:
    place = tmp_path / "model"
    shutil.copytree(FORMATS / "model", place)
    (place / "curves.json").unlink()
    os.mkfifo(place / "curves.json") if odd == "a pipe" else (place / "curves.json").mkdir()
    with pytest.raises(WorkError, match=r"curves\.json (is not a regular file|cannot be read)"):
        folder.load(place)


def test_a_listed_file_that_is_damaged_is_not_copied_as_a_whole_one(tmp_path: Path) -> None:
    place = tmp_path / "model"
    shutil.copytree(FORMATS / "model", place)
    content = (place / "model.keras").read_bytes()
    (place / "model.keras").write_bytes(content[:-1] + b"?")
    with pytest.raises(WorkError, match=r"model\.keras is corrupted"):
        artifacts.copy(place, "model", tmp_path / "to")
    assert not (tmp_path / "to/model.json").exists()
