"""Faults to plant in files and folders of artifacts: what a bad disk, a full disk or a kill leaves behind.

flip_a_bit(dataset / "train-00000-of-00001.tfrecord")
with pytest.raises(WorkError):
    train(dataset, …)
"""

from pathlib import Path

_MANIFESTS = ("dataset.json", "model.json", "evaluation.json")


def flip_a_bit(file: Path, at: int | None = None) -> None:
    """Flips a bit of a file, as a bad disk does.

    Args:
        file: The file, which must not be empty.
        at: The number of the byte; by default the one in the middle.
    """
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    file.write_bytes(content)


def cut_off(file: Path, share: float = 0.5) -> None:
    """Keeps the first part of a file, as a full disk does; `share` is the part that is kept, in 0 … 1."""
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])


def uncommit(folder: Path) -> None:
    """Removes the manifest of an artifact, which is written last: the folder is as a kill before its commit left it.

    Raises:
        FileNotFoundError: The folder holds no manifest.
    """
    found = [folder / name for name in _MANIFESTS if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{folder} holds none of {', '.join(_MANIFESTS)}")
    for manifest in found:
        manifest.unlink()


def lose_a_file(folder: Path) -> Path:
    """Deletes the largest file of an artifact but its manifest, and returns its path."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in _MANIFESTS]
    lost = max(files, key=lambda path: path.stat().st_size)
    lost.unlink()
    return lost
