"""`elboflow doctor`: the command, and checks that are late, broken or wrongly asked for."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines import doctor
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.targets.checks import Check, Finding
from tests.preprocessing.dataflow_server import service_account


def test_a_machine_that_is_well_is_told_line_by_line(tmp_path: Path):
    done = CliRunner().invoke(app, ["doctor", "--workspace", str(tmp_path / "new")])
    assert done.exit_code == 0, done.stdout
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if not line.startswith("  ")] == [
        "✓ Python",
        "✓ packages",
        "✓ devices",
        f"✓ workspace {tmp_path}/new",
        "✓ MLflow",
    ]
    assert not (tmp_path / "new").exists()


def test_the_mlflow_that_is_named_is_the_one_that_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ELBOFLOW_TRACKING_URI", "http://another:5000")
    named = "http://127.0.0.1:1"
    own = ["--experiment", "digits", "--set", "targets.local.tracking_uri=http://own:5000"]
    for words in ([], own):
        done = CliRunner().invoke(app, ["doctor", "--workspace", str(tmp_path), "--tracking-uri", named, *words])
        assert done.exit_code == 1
        assert f"✗ MLflow {named}: cannot be reached from here" in done.stdout


def test_checks_are_at_work_side_by_side_and_a_late_or_broken_one_holds_up_nobody(tmp_path: Path, monkeypatch):
    def late() -> Finding:
        time.sleep(30)
        raise AssertionError

    def broken() -> Finding:
        raise RuntimeError("first line\nsecond line")

    slow = [Check(f"slow {n}", lambda n=n: (time.sleep(0.3), Finding(f"slow {n}", "ok", ""))[1]) for n in range(10)]
    monkeypatch.setattr(doctor, "checks", lambda *_: [Check("late", late, 0.5), Check("broken", broken), *slow])
    started = time.monotonic()
    found = list(doctor.examine("local", None, tmp_path))
    assert time.monotonic() - started < 2
    assert [finding.what for finding in found] == ["late", "broken", *(f"slow {n}" for n in range(10))]
    assert (found[0].state, found[0].found) == ("unknown", "no answer within 0.5 s")
    assert found[1].found == "could not be looked at: first line"


def test_a_network_that_swallows_everything_is_told_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "SECONDS", 1.0)
    with socket.socket() as deaf:  # accepts connections, and never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(50)
        nowhere = f"localhost:{deaf.getsockname()[1]}"
        for api in ("STORAGE", "SERVICEUSAGE"):
            monkeypatch.setenv(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}", f"http://{nowhere}")
        key = service_account(tmp_path, f"http://{nowhere}/token")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        monkeypatch.setenv("GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED", "false")
        target = (
            "{project: elbo-prod, location: europe-west4, root: 'gs://data/vae', "
            f"image: '{nowhere}/vae/cpu:1', tracking_uri: 'http://{nowhere}'}}"
        )
        wanted = load("digits", [f"targets.vertex={target}"])
        network = [check for check in doctor.checks("vertex", wanted, tmp_path) if check.what != "data"]
        monkeypatch.setattr(doctor, "checks", lambda *_: network)
        started = time.monotonic()
        found = {each.what: each for each in doctor.examine("vertex", wanted, tmp_path)}
        assert time.monotonic() - started < 8
    assert "no answer" in found[f"MLflow http://{nowhere}"].found
    asked = ("credentials", "bucket gs://data", "APIs", f"image {nowhere}/vae/cpu:1", f"MLflow http://{nowhere}")
    assert {found[what].state for what in asked} == {"problem", "unknown"}


def test_a_check_that_never_ends_does_not_keep_the_process():
    late = (
        "import time; from pathlib import Path; from pipelines import doctor\n"
        "from pipelines.targets.checks import Check\n"
        "doctor.checks = lambda *_: [Check('late', lambda: time.sleep(600), 0.1)]\n"
        "print([each.found for each in doctor.examine('local', None, Path())])"
    )
    done = subprocess.run([sys.executable, "-c", late], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.stdout, done.stderr) == ("['no answer within 0.1 s']\n", "")


def told(*words: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *words])


def test_a_wrong_request_starts_nothing():
    for words, said in (
        (["--target", "vertex"], "say with --experiment EXPERIMENT whose targets.vertex is meant"),
        (["--target", "vertex", "--experiment", "digits"], "targets.vertex: missing"),
        (["--target", "kubeflow", "--experiment", "digits"], "targets.kubeflow: missing"),
        (["--target", "moon"], "--target moon: unknown target; allowed: local, kubeflow, vertex"),
        (["--target", "moon", "--experiment", "digits"], "unknown target; allowed: local, kubeflow, vertex"),
        (["--env", "prod"], "say with --experiment which"),
    ):
        done = told(*words)
        assert (done.exit_code, done.stdout) == (2, ""), words
        assert said in done.stderr
