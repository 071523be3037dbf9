"""Locales and terminals without UTF-8, and names that are none: every command works, or says what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = (
    "training.epochs=1",
    "model.latent=2",
    "evaluation.bound_samples=5",
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
)
PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


def elboflow(*words: str | bytes, cwd: Path, **changed: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *words],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **PLAIN, **changed},
    )


@pytest.mark.slow
def test_commands_work_in_the_c_locale_also_with_names_that_are_not_ascii(tmp_path: Path):
    folder = tmp_path / "größe"
    folder.mkdir()
    for words, said in (
        (["experiments"], "8 × 8"),
        (["run", "--help"], "--workspace"),
        (["init", "foo", "--output", "größe/maß.yaml"], "größe/maß.yaml"),
        (["config", "größe/maß.yaml", "--set", "data.source={kind: npz, path: größe/bilder.npz}"], "bilder.npz"),
        (["runs", "--workspace", "größe"], ""),
        (["doctor", "--workspace", "größe"], "✓"),
    ):
        done = elboflow(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    done = elboflow("config", "größe/fehlt.yaml", cwd=tmp_path)
    assert (done.returncode, "größe/fehlt.yaml: no such file" in done.stderr) == (2, True)


@pytest.mark.parametrize("locale", ["C", "de_DE.ISO-8859-1", "POSIX"])
def test_a_terminal_of_another_encoding_gets_what_it_lacks_escaped(locale: str, tmp_path: Path):
    program = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    done = subprocess.run(
        [sys.executable, "-c", program, sys.executable, "-m", "pipelines", "experiments"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), **PLAIN, "LC_ALL": locale},
    )
    assert done.returncode == 0
    assert rb"8 \xd7 8" in done.stdout or "8 × 8".encode("iso-8859-1") in done.stdout


@pytest.mark.slow
def test_a_whole_run_works_in_the_c_locale_in_a_folder_that_is_not_ascii(tmp_path: Path):
    words = [word for setting in SMALL for word in ("--set", setting)]
    done = elboflow("run", "digits", "--workspace", "größe/ws", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the new champion" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [b"runs", b"--workspace", b"gr\xf6\xdfe"],
        [b"run", b"digits", b"--workspace", b"gr\xf6\xdfe"],
        [b"config", b"gr\xf6\xdfe.yaml"],
        [b"step", b"preprocess", b"digits", b"--output", b"gr\xf6\xdfe"],
    ],
)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_name_that_is_not_utf8_is_refused_before_anything_runs(words: list[bytes], locale: str, tmp_path: Path):
    done = elboflow(*words, cwd=tmp_path, LC_ALL=locale)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(r"error: gr\udcf6\udcdfe")
    assert "not UTF-8" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_current_folder_that_is_gone_is_said(tmp_path: Path):
    program = f"cd {tmp_path}/gone && rmdir {tmp_path}/gone && {sys.executable} -P -m pipelines runs"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", program],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: the current folder was removed")
