"""A user that the system does not know, without HOME: as Kubernetes and OpenShift start containers."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.step_process.start import give_home
from preprocessing import files

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

USER = 54321
SMALL = (
    "training.epochs=1",
    "model.latent=2",
    "evaluation.bound_samples=5",
    "evaluation.bootstrap_samples=100",
    "registry.canary=false",
    "registry.baseline=false",
)
# The Python of a test may lie in root's own folder: the user may read everything, and be no other.
BECOME = [
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    os.chown(tmp_path, USER, USER)
    (tmp_path / "tmp").mkdir(mode=0o1777)
    (tmp_path / "tmp").chmod(0o1777)
    return tmp_path


def elboflow(place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TMPDIR": str(place / "tmp"),
        "PYTHONPATH": str(Path.cwd()),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [*BECOME, sys.executable, "-m", "pipelines", *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, cwd=place, env=environment)


@pytest.mark.parametrize("command", [["experiments"], ["config", "digits"], ["runs"], ["doctor"], ["schedule", "list"]])
def test_commands_work_without_a_home(command: list[str], place: Path):
    done = elboflow(place, *command)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.slow
def test_a_whole_run_works_without_a_home(place: Path):
    done = elboflow(place, "run", "digits", *(word for setting in SMALL for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    assert "the new champion" in done.stderr
    assert [path.name for path in (place / "tmp").iterdir()] == [f"elboflow-home-{USER}"]
    assert stat.S_IMODE((place / "tmp" / f"elboflow-home-{USER}").stat().st_mode) == 0o700


@pytest.mark.parametrize("trap", ["of another", "link", "open"])
def test_a_home_that_another_user_can_write_to_is_not_taken(trap: str, place: Path, monkeypatch: pytest.MonkeyPatch):
    home = place / "tmp" / f"elboflow-home-{USER}"
    if trap == "link":
        (place / "elsewhere").mkdir()
        home.symlink_to(place / "elsewhere")
    else:
        home.mkdir()
        os.chown(home, 1 if trap == "of another" else USER, -1)
        home.chmod(0o777)
    program = "from pipelines.step_process.start import give_home; import os; give_home(); print(os.environ['HOME'])"
    done = subprocess.run(
        [*BECOME, sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(place / "tmp"), "PYTHONPATH": str(Path.cwd())},
    )
    given = Path(done.stdout.strip())
    assert given != home
    assert given.parent == place / "tmp"
    assert (given.stat().st_uid, stat.S_IMODE(given.stat().st_mode)) == (USER, 0o700)


def test_a_user_whom_the_system_knows_keeps_the_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HOME", raising=False)
    give_home()
    assert "HOME" not in os.environ


def test_a_tilde_of_nobody_is_a_name_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert not files.exists("~nobody-of-this-name/file")
    (tmp_path / "~nobody-of-this-name").mkdir()
    shutil.copy(__file__, tmp_path / "~nobody-of-this-name" / "file")
    assert files.exists("~nobody-of-this-name/file")
