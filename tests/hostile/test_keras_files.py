"""A `.keras` file that is not what its model folder says: refused in one sentence, before Keras is imported."""

import io
import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from elboflow import artifacts
from elboflow.settings import WorkError
from elboflow.vae import folder
from elboflow.vae.keras_file import CONFIG, METADATA, WEIGHTS
from tests.hostile.memory import elboflow

MODEL = Path(__file__).parents[1] / "formats/98a35c2/model"
KERNEL, ZEROS = "decoder/layers/dense_1/vars/0", np.zeros((8, 64), np.float32)

Parts = dict[str, bytes]
Change = Callable[[Parts, Path], None]


def parts() -> Parts:
    with zipfile.ZipFile(MODEL / "model.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archived(members: Parts, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def planted(place: Path, content: bytes) -> folder.ModelFolder:
    """Writes a model folder with this file of a network; its manifest has the right checksums."""
    facts = artifacts.load(MODEL, "model")
    artifacts.copy(MODEL, "model", place)
    (place / folder.MODEL).write_bytes(content)
    artifacts.commit(place, "model", {**facts, "format": 2}, facts["files"])
    return folder.load(place)


def hdf5(change: Callable[[h5py.File, Path], None]) -> Change:
    """Returns what changes the weights' file."""

    def changed(members: Parts, place: Path) -> None:
        file = io.BytesIO(members[WEIGHTS])
        with h5py.File(file, "r+") as weights:
            change(weights, place)
        members[WEIGHTS] = file.getvalue()

    return changed


def replaced(make: Callable[[h5py.Group, str], None]) -> Change:
    """Returns what puts another thing in the place of a kernel."""

    def change(weights: h5py.File, _: Path) -> None:
        group = weights[str(Path(KERNEL).parent)]
        del group["0"]
        make(group, "0")

    return hdf5(change)


def linked_outside(weights: h5py.File, place: Path) -> None:
    with h5py.File(place / "secret.h5", "w") as secret:
        secret["values"] = np.ones((8, 64), np.float32)
    del weights[KERNEL]
    weights[KERNEL] = h5py.ExternalLink(str(place / "secret.h5"), "values")


def virtual(weights: h5py.File, place: Path) -> None:
    with h5py.File(place / "secret.h5", "w") as secret:
        secret["values"] = np.ones((8, 64), np.float32)
    layout = h5py.VirtualLayout((8, 64), np.float32)
    layout[:] = h5py.VirtualSource(str(place / "secret.h5"), "values", (8, 64))
    del weights[KERNEL]
    weights.create_virtual_dataset(KERNEL, layout)


def elsewhere(weights: h5py.File, place: Path) -> None:
    (place / "secret.bin").write_bytes(b"\x01" * (4 * 8 * 64))
    del weights[KERNEL]
    weights.create_dataset(KERNEL, (8, 64), np.float32, external=[(str(place / "secret.bin"), 0, 4 * 8 * 64)])


def soft(weights: h5py.File, _: Path) -> None:
    weights["real"] = weights[KERNEL][()]
    del weights[KERNEL]
    weights[KERNEL] = h5py.SoftLink("/real")


def behind_a_link(weights: h5py.File, _: Path) -> None:
    weights.move("decoder", "elsewhere")
    weights["decoder"] = h5py.SoftLink("/elsewhere")


def with_value(value: float) -> Change:
    def change(weights: h5py.File, _: Path) -> None:
        weights[KERNEL][1:3, 5] = value

    return hdf5(change)


def put(name: str, content: bytes | None) -> Change:
    def change(members: Parts, _: Path) -> None:
        members.pop(name, None)
        if content is not None:
            members[name] = content

    return change


def of_another_class(members: Parts, _: Path) -> None:
    members[CONFIG] = json.dumps({**json.loads(members[CONFIG]), "registered_name": "elboflow>Other"}).encode()


def of_other_settings(members: Parts, _: Path) -> None:
    described = json.loads(members[CONFIG])
    described["config"]["config"]["latent"] += 1
    members[CONFIG] = json.dumps(described).encode()


CHANGES: dict[str, tuple[Change, str]] = {
    "other settings": (of_other_settings, "its config.json describes another model than it should hold"),
    "NaN": (with_value(np.nan), f"the weight {KERNEL} is not finite in 2 of 512 numbers"),
    "infinite": (with_value(-np.inf), f"the weight {KERNEL} is not finite in 2 of 512 numbers"),
    "a weight missing": (replaced(lambda group, name: None), f"the weight {KERNEL} is missing"),
    "a layer missing": (
        hdf5(lambda weights, _: weights.__delitem__("encoder/layers/dense")),
        "the weight encoder/layers/dense/vars/0 is missing",
    ),
    "a group for a weight": (
        replaced(lambda group, name: group.create_group(name) and None), f"the weight {KERNEL} is missing"
    ),
    "another shape": (
        replaced(lambda group, name: group.__setitem__(name, np.zeros((64, 8), np.float32))),
        rf"the weight {KERNEL} has the shape \[64, 8\] and the type float32; this model's has \[8, 64\] and float32",
    ),
    "no shape": (
        replaced(lambda group, name: group.__setitem__(name, h5py.Empty("f4"))), rf"{KERNEL} has the shape \[\]"
    ),
    "another type": (
        replaced(lambda group, name: group.__setitem__(name, np.zeros((8, 64), np.float16))),
        rf"the weight {KERNEL} has the shape \[8, 64\] and the type float16",
    ),
    "objects": (
        replaced(lambda group, name: group.create_dataset(name, (8, 64), h5py.ref_dtype) and None),
        f"the weight {KERNEL} has the shape .* and the type object",
    ),
    "text": (
        replaced(lambda group, name: group.create_dataset(name, (8, 64), h5py.string_dtype()) and None),
        f"the weight {KERNEL} has the shape .* and the type object",
    ),
    "compressed": (
        replaced(lambda group, name: group.create_dataset(name, data=ZEROS, compression="gzip") and None),
        f"the weight {KERNEL} is not stored in the file itself, as it is",
    ),
    "in chunks": (
        replaced(lambda group, name: group.create_dataset(name, data=ZEROS, chunks=(4, 4)) and None),
        f"the weight {KERNEL} is not stored in the file itself",
    ),
    "never written": (
        replaced(lambda group, name: group.create_dataset(name, (8, 64), "f4") and None),
        f"the weight {KERNEL} is not stored in the file itself",
    ),
    "linked outside": (hdf5(linked_outside), f"the weight {KERNEL} is behind a link, which is not followed"),
    "a virtual dataset": (hdf5(virtual), f"the weight {KERNEL} is not stored in the file itself"),
    "data in another file": (hdf5(elsewhere), f"the weight {KERNEL} is not stored in the file itself"),
    "a soft link": (hdf5(soft), f"the weight {KERNEL} is behind a link, which is not followed"),
    "below a soft link": (hdf5(behind_a_link), "the weight decoder/layers/dense/vars/0 is behind a link"),
    "no HDF5": (lambda members, _: members.update({WEIGHTS: b"x" * 25_000}), f"{WEIGHTS} is no HDF5 file"),
    "cut off": (lambda members, _: members.update({WEIGHTS: members[WEIGHTS][:9000]}), f"{WEIGHTS} is no HDF5 file"),
    "too few bytes": (put(WEIGHTS, b"x" * 100), r"has 100 bytes; 4,624 to [\d,]+ are expected for"),
    "too many bytes": (put(WEIGHTS, b"x" * (2 << 20)), "2,097,152 bytes; 4,624 to .* are expected"),
    "weights missing": (put(WEIGHTS, None), f"'config.json', 'metadata.json'; a model holds {CONFIG}, {METADATA}"),
    "another member": (put("assets/../../../x\n", b""), r"it holds 'assets/\.\./\.\./\.\./x\\n', 'config.json'"),
    "no JSON": (put(CONFIG, b"{"), f"{CONFIG} is not JSON"),
    "no text": (put(CONFIG, b"\xff\xfe\x00"), f"{CONFIG} is not JSON"),
    "too deep": (put(CONFIG, b"[" * 100_000), f"{CONFIG} is not JSON"),
    "a list": (put(CONFIG, b"[]"), "it holds a model of the class None, not 'elboflow>VAE'"),
    "a long text": (put(CONFIG, b"3" * (2 << 20)), f"{CONFIG} has 2,097,152 bytes; 1,048,576 are allowed"),
    "another class": (of_another_class, "it holds a model of the class 'elboflow>Other', not 'elboflow>VAE'"),
    "code": (put(CONFIG, b'{"registered_name": "\\u001b[2J"}'), r"a model of the class '\\x1b\[2J', not"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_wrong_is_one_sentence_that_names_the_file(what: str, tmp_path: Path) -> None:
    members = parts()
    change, told = CHANGES[what]
    change(members, tmp_path)
    trained = planted(tmp_path / "model", archived(members))
    with pytest.raises(WorkError, match=rf"{tmp_path}/model/model\.keras cannot be used: .*{told}") as refused:
        _ = trained.model
    assert str(refused.value).replace(str(tmp_path), "").isprintable()
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04", b"PK\x05\x06" + b"\x00" * 18], ids=repr)
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"model\.keras cannot be used: it (is no \.keras file|holds nothing)"):
        _ = planted(tmp_path / "model", content).model


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO(archived(parts()))
    with zipfile.ZipFile(content, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CONFIG, "{}")
    with pytest.raises(WorkError, match=r"it holds 'config.json', 'config.json', 'metadata.json'"):
        _ = planted(tmp_path / "model", content.getvalue()).model


def test_the_file_of_the_fixture_is_good_in_these_hands(tmp_path: Path) -> None:
    from elboflow.vae import keras_file

    trained = planted(tmp_path / "model", archived(parts()))
    weights = keras_file.weights(trained.path / folder.MODEL, trained.config, trained.specs)
    assert sum(array.size for array in weights.values()) == trained.parameters == 1156


READ = """
import sys
from pathlib import Path
from elboflow.vae import folder
try:
    folder.load(Path(sys.argv[1])).model
except Exception as error:
    if sys.argv[2] == "light":
        assert "keras" not in sys.modules and "tensorflow" not in sys.modules
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.mark.slow
def test_a_member_that_unpacks_to_a_gigabyte_is_not_unpacked(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in (METADATA, WEIGHTS):
            archive.writestr(name, parts()[name])
        with archive.open(CONFIG, "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(16 << 20))
    refuse_with_little_memory(planted(tmp_path / "model", file.getvalue()).path, "is compressed; a model's weights are")


def test_settings_of_a_huge_network_are_held_against_the_file(tmp_path: Path) -> None:
    place = planted(tmp_path / "model", archived(parts())).path
    facts = artifacts.load(place, "model")
    facts["model"]["encoder"]["hidden"] = [10**6, 10**6]
    artifacts.commit(place, "model", facts, facts["files"])
    refuse_with_little_memory(place, "its config.json describes another model than it should hold")


@pytest.mark.slow
def test_no_memory_is_taken_for_a_huge_network_before_its_file_is_found_too_small(tmp_path: Path) -> None:
    members = parts()
    config = json.loads(members[CONFIG])
    config["config"]["config"]["encoder"]["hidden"] = [10**6, 10**6]
    place = planted(tmp_path / "model", archived({**members, CONFIG: json.dumps(config).encode()})).path
    facts = artifacts.load(place, "model")
    facts["model"]["encoder"]["hidden"] = [10**6, 10**6]
    artifacts.commit(place, "model", facts, facts["files"])
    # Keras counts the weights, and takes gigabytes of addresses; the weights would take 4,000.
    refuse_with_little_memory(place, "are expected for the 1,000,070,000,604 weights of this model", gigabytes=32)


@pytest.mark.slow
def test_the_command_ends_with_one_sentence_and_makes_no_image(tmp_path: Path) -> None:
    members = parts()
    with_value(np.nan)(members, tmp_path)
    place = planted(tmp_path / "model", archived(members)).path
    done = elboflow("generate", place, "--output", tmp_path / "images.png")
    assert done.code == 1
    assert "Traceback" not in done.said
    assert done.said.replace("\n", " ").strip().endswith(f"the weight {KERNEL} is not finite in 2 of 512 numbers")
    assert not (tmp_path / "images.png").exists()


def refuse_with_little_memory(place: Path, why: str, gigabytes: int = 1) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, gigabytes << 30))

    command = [sys.executable, "-c", READ, str(place), "light" if gigabytes == 1 else "with Keras"]
    done = subprocess.run(command, preexec_fn=limited, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 1
    assert f"WorkError: {place}/model.keras cannot be used: " in done.stderr
    assert why in done.stderr
