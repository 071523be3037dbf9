"""The command line, without a run: exit codes, what goes to which stream, and round trips."""

import contextlib
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from elboflow import __version__
from pipelines.cli import app
from pipelines.commands.outcome import Commands
from pipelines.commands.ui import pages


def elboflow(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_signal_that_a_library_swallowed_counts_when_it_comes_again_and_none_interrupts_the_tidying_up():
    app, did = typer.Typer(cls=Commands), []

    @app.callback()
    def group() -> None:
        pass

    @app.command()
    def work() -> None:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        did.append("went on")
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            did.append("tidied up")

    done = CliRunner().invoke(app, ["work"])
    assert (done.exit_code, done.stderr, did) == (143, "ended by SIGTERM\n", ["went on", "tidied up"])


def test_help_answers_at_once_and_imports_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "pipelines.cli", "--help"]
    command[3:5] = ["-c", "import sys; sys.argv[0] = 'elboflow'; from pipelines.cli import main; main()"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # of the processor, shared or not
    assert done.returncode == 0
    assert "reconstruct" in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"kfp", "tensorflow", "keras", "mlflow", "apache_beam", "numpy", "pydantic", "jax", "torch"}


def test_the_version_is_printed():
    assert elboflow("--version").stdout == f"elboflow {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run di", ["digits"]),
        ("config m", ["mine.yaml", "mnist"]),
        ("run runs/", ["runs/other.yaml"]),
        ("runs --target ", ["kubeflow", "local", "vertex"]),
        ("compile digits --target v", ["vertex"]),
    ],
)
def test_a_shell_completes_experiments_and_targets(
    words: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "other.yaml").touch()
    monkeypatch.chdir(tmp_path)
    asked = {
        "_ELBOFLOW_COMPLETE": "complete_bash",
        "COMP_WORDS": f"elboflow {words}",
        "COMP_CWORD": str(len(f"elboflow {words}".split(" ")) - 1),
    }
    done = CliRunner(env=asked).invoke(app, [], prog_name="elboflow")
    assert sorted(done.stdout.split()) == expected


def test_experiments_are_listed_with_what_they_are():
    done = elboflow("experiments")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["digits", "mnist", "table", "text"]


def test_init_then_edit_then_config(tmp_path: Path):
    path = tmp_path / "nightly.yaml"
    assert elboflow("init", "nightly", "--from", "digits", "--output", path).stdout.strip() == str(path)
    path.write_text(path.read_text(encoding="utf-8").replace("latent: 16", "latent: 3"))
    resolved = yaml.safe_load(elboflow("config", path, "--set", "training.epochs=2").stdout)
    assert resolved["name"] == "nightly"
    assert resolved["registry"]["model"] == "nightly-vae"
    assert resolved["model"]["latent"] == 3
    assert resolved["training"]["epochs"] == 2
    again = tmp_path / "resolved.yaml"
    again.write_text(elboflow("config", path).stdout, encoding="utf-8")
    assert elboflow("config", again).stdout == elboflow("config", path).stdout


def test_init_never_overwrites(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("precious", encoding="utf-8")
    done = elboflow("init", "mine", "--output", path)
    assert (done.exit_code, path.read_text(encoding="utf-8")) == (2, "precious")
    assert f"{path} exists already" in done.stderr
    assert elboflow("init", "Mine!").exit_code == 2
    assert elboflow("init", "mine", "--output", tmp_path / "absent" / "mine.yaml").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "digts"], "digts: no such file or experiment; did you mean 'digits'?"),
        (["run", "digits", "--set", "training.epoch=1"], "training.epoch: unknown key; did you mean 'epochs'?"),
        (["run", "digits", "--target", "lokal"], "--target lokal: unknown target; allowed: local"),
        (["run", "digits", "--target", "vertex"], "targets.vertex: missing"),
        (["run", "digits", "--docker"], "targets.local.image: missing"),
        (["run", "digits", "--docker", "--target", "vertex"], "--docker: runs steps in containers of this machine"),
        (["run", "digits", "--release", "v1"], "--release: published versions run on kubeflow and vertex"),
        (["runs", "--target", "kubeflow"], "has not been used with kubeflow yet; say with --experiment EXPERIMENT"),
        (["runs", "--target", "moon"], "--target moon: unknown target; allowed: local, kubeflow, vertex"),
        (["status", "digits-1"], "there is no run 'digits-1' in "),
        (["cancel", "../runs"], "there is no run '../runs' in "),
        (["run", "mnist"], "elboflow run mnist --set data.source.path=FOLDER"),
        (["run", "mnist", "--set", "data.source.path=/nowhere"], "/nowhere"),
        (["compile", "digits", "--target", "vertex"], "targets.vertex: missing"),
        (["compile", "digits", "--target", "local"], "allowed: kubeflow, vertex"),
        (["step", "train", "digits", "--set", "x", "--dataset", "a", "--output", "b"], "expected KEY=VALUE"),
        (["generate", "no-such-model", "--output", "x.png"], "there is no model 'no-such-model'"),
        (["step", "train", "digits", "--dataset", "nowhere", "--output", "b"], "nowhere: there is no such folder"),
        (
            ["step", "evaluate", "digits", "--dataset", ".", "--model", "none", "--output", "b"],
            "none: there is no such",
        ),
        (["reconstruct", "m", "--dataset", "nowhere", "--output", "x.png"], "nowhere: there is no such folder"),
        (["ui", "--workspace", "no-such-workspace"], "no-such-workspace holds no MLflow yet"),
    ],
)
def test_a_wrong_request_is_exit_code_2_one_message_and_nothing_started(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    done = elboflow(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["run", "digits", "--set", "training.backend=jax"], ["step", "train", "digits", "--dataset", "."]]
)
def test_a_backend_that_is_not_installed_is_told_before_anything_runs(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in ("jax", "tensorflow") else object())
    done = elboflow(*arguments, *(["--output", "model"] if "step" in arguments else []))
    assert done.exit_code == 2
    assert "which is not installed here" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_seed_too_large_for_a_generator_is_exit_code_2():
    assert elboflow("generate", "model", "--output", "x.png", "--seed", "99999999999999999999").exit_code == 2


def test_what_is_told_to_be_called_next_can_be_pasted_here(tmp_path: Path):
    script = Path(sys.executable).with_name("elboflow")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "elboflow").symlink_to(script)
    (tmp_path / "my plans").mkdir()
    called = {
        (str(script), os.defpath): str(script),
        ("elboflow", f"{tmp_path / 'bin'}:{os.defpath}"): "elboflow",
        ("bin/elboflow", os.defpath): "./bin/elboflow",
        (sys.executable, os.defpath): f"{sys.executable} -m pipelines",
    }
    for number, ((program, path), expected) in enumerate(called.items()):
        words = [program, *(["-m", "pipelines"] if program == sys.executable else [])]
        words += ["init", "mine", "--output", f"my plans/{number}.yaml"]
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(Path.cwd())}
        told = subprocess.run(
            ["env", *words], cwd=tmp_path, capture_output=True, encoding="utf-8", env=environment
        ).stderr
        assert told == f"edit it, then: {expected} run 'my plans/{number}.yaml'\n"


def test_an_unknown_option_is_exit_code_2():
    assert elboflow("run", "digits", "--epochs", "3").exit_code == 2
    assert elboflow("run").exit_code == 2
    assert elboflow("fly").exit_code == 2


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("file", "file is a file, not a folder"),
        ("file/below", "file is a file, not a folder"),
        ("/proc/elboflow", "cannot be written to: "),
    ],
)
def test_a_workspace_that_cannot_be_written_to_is_refused_before_anything_runs(place: str, told: str, tmp_path: Path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    done = elboflow("run", "digits", "--workspace", tmp_path / place)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "--workspace" in done.stderr


def test_work_that_fails_is_exit_code_1_without_a_traceback(tmp_path: Path):
    done = elboflow("step", "train", "digits", "--dataset", tmp_path, "--output", tmp_path / "model")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert "dataset.json" in done.stderr


def test_an_error_that_nobody_foresaw_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.experiment.text.ready_made", lambda: 1 / 0)
    done = elboflow("experiments")
    assert done.exit_code == 1
    assert isinstance(done.exception, ZeroDivisionError)


def test_a_full_disk_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "model.keras"))

    monkeypatch.setattr("components.binding.agreement.check_dataset", lambda *_: None)
    monkeypatch.setattr("components.train.train", full)
    done = elboflow("step", "train", "digits", "--dataset", tmp_path, "--output", tmp_path / "model")
    assert (done.exit_code, "model.keras" in done.stderr) == (1, True)
    assert "no space is left on the disk" in done.stderr


def test_a_step_by_hand_writes_its_folder_and_prints_it(tmp_path: Path):
    dataset = tmp_path / "dataset"
    command = [sys.executable, "-m", "pipelines", "step", "preprocess", "digits", "--output", str(dataset)]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(dataset))
    assert json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["counts"]["train"] > 1000
    assert "wrote 1,797 examples" in done.stderr


def group_of_the_server_on(workspace: Path) -> int | None:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            if b"mlflow" in words.split(b"\0") and f"sqlite:///{workspace}/mlflow.db".encode() in words:
                return os.getpgid(int(folder.name))
        except OSError:
            continue
    return None


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        (signal.SIGINT, 0),
    ],
)
def test_the_ui_leaves_no_server_behind_however_it_is_ended(ending: signal.Signals, code: int, tmp_path: Path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pipelines", "ui", "--workspace", str(tmp_path), "--port", str(port)]
    ui = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    assert ui.stdout is not None
    assert ui.stdout.readline() == f"http://127.0.0.1:{port}\n"
    deadline = time.monotonic() + 30
    while (group := group_of_the_server_on(tmp_path)) in (None, os.getpgid(ui.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert group is not None
    ui.send_signal(ending)
    try:
        _, err = ui.communicate(timeout=30)
        assert ui.returncode == code
        assert "Traceback" not in err
        deadline = time.monotonic() + 10  # what was killed takes a moment to be gone from the list of processes
        while is_alive(group):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("variable", ["ELBOFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI"])
def test_the_ui_tells_the_address_of_a_server_that_holds_the_runs(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, "https://me:S3CR3T@mlflow.example")
    done = elboflow("ui", "--workspace", tmp_path)
    assert (done.exit_code, done.stdout) == (0, "https://mlflow.example\n")


def test_the_pages_of_what_a_run_registered_are_on_the_server_or_in_the_ui(tmp_path: Path):
    def registered(place: str) -> dict[str, Any]:
        return {"tracking_uri": place, "run_id": "4711", "model": "digits vae", "version": 3}

    assert pages(registered("https://mlflow.example/"), tmp_path) == [
        "MLflow: https://mlflow.example/#/runs/4711",
        "        https://mlflow.example/#/models/digits%20vae/versions/3",
    ]
    (line,) = pages(registered(f"sqlite:///{tmp_path}/mlflow.db"), tmp_path)
    assert line.endswith(f" ui --workspace {tmp_path}")
    (line,) = pages(registered("sqlite:////elsewhere/mlflow.db"), tmp_path)
    assert line.endswith(" ui --tracking-uri sqlite:////elsewhere/mlflow.db")


def test_the_ui_s_port_must_be_free(tmp_path: Path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = elboflow("ui", "--workspace", tmp_path, "--port", str(port))
    assert done.exit_code == 2
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in done.stderr


def test_what_is_given_twice_for_one_feature_is_refused():
    model = Path(__file__).parents[1] / "formats/98a35c2/model"
    done = elboflow("generate", model, "--output", "x.png", "--given", "label=7", "--given", "label=8")
    assert done.exit_code == 2
    assert "--given label=8: 'label' is given twice; the first time as '7'" in done.stderr
