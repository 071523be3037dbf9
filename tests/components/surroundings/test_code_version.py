"""The version of the code says so where a checkout holds code that no commit has."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.surroundings import code_version as version


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with one file of code, which is committed."""
    (tmp_path / "elboflow").mkdir()
    (tmp_path / "elboflow/kind.py").write_text("", encoding="utf-8")
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    for words in (["init"], ["add", "."], [*identity, "commit", "-m", "a kind"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)
    monkeypatch.setattr(version, "_PROJECT", tmp_path)
    version.code_version.cache_clear()
    yield tmp_path
    version.code_version.cache_clear()


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    (checkout / "notes.md").write_text("no code", encoding="utf-8")
    assert len(version.code_version()) == 40


@pytest.mark.parametrize("file", ["elboflow/kind.py", "elboflow/another.py", "elboflow/below/another.py"])
def test_code_that_was_changed_or_added_is_said(checkout: Path, file: str) -> None:
    (checkout / file).parent.mkdir(exist_ok=True)
    (checkout / file).write_text("changed = True\n", encoding="utf-8")
    assert version.code_version().endswith("-dirty")
