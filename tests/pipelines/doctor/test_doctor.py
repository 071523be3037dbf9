"""`elboflow doctor`: the command, and checks that are late, broken or wrongly asked for."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from typer.testing import CliRunner, Result

from pipelines import doctor
from pipelines.cli import app
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


def test_checks_are_at_work_side_by_side_and_a_late_or_broken_one_holds_up_nobody(tmp_path: Path, monkeypatch):
    def late() -> Finding:
        time.sleep(30)
        raise AssertionError

    def broken() -> Finding:
        raise RuntimeError("first line\nsecond line")

    slow = [Check(f"slow {n}", lambda n=n: (time.sleep(0.3), Finding(f"slow {n}", "well", ""))[1]) for n in range(10)]
    monkeypatch.setattr(doctor, "checks", lambda *_: [Check("late", late, 0.5), Check("broken", broken), *slow])
    started = time.monotonic()
    found = list(doctor.examine("local", None, tmp_path))
    assert time.monotonic() - started < 2
    assert [finding.what for finding in found] == ["late", "broken", *(f"slow {n}" for n in range(10))]
    assert (found[0].state, found[0].found) == ("unknown", "no answer within 0.5 s")
    assert found[1].found == "could not be looked at: first line"


def test_a_network_that_swallows_everything_is_told_in_seconds(tmp_path: Path):
    with socket.socket() as deaf:  # accepts connections, and never answers
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(50)
        nowhere = f"localhost:{deaf.getsockname()[1]}"
        variables = {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"http://{nowhere}" for api in ("STORAGE", "SERVICEUSAGE")
        }
        key = service_account(tmp_path, f"http://{nowhere}/token")
        variables |= {"GOOGLE_APPLICATION_CREDENTIALS": str(key), "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED": "false"}
        target = (
            "{project: elbo-prod, location: europe-west4, root: 'gs://data/vae', "
            f"image: '{nowhere}/vae/cpu:1', tracking_uri: 'http://{nowhere}'}}"
        )
        command = [sys.executable, "-m", "pipelines", "doctor", "--target", "vertex", "--experiment", "digits"]
        started = time.monotonic()
        done = subprocess.run(
            [*command, "--set", f"targets.vertex={target}"],
            env={**os.environ, **variables},
            capture_output=True,
            encoding="utf-8",
        )
        assert time.monotonic() - started < 15
    assert done.returncode == 1
    assert f"✗ MLflow http://{nowhere}: cannot be reached from here: the MLflow at http://{nowhere} gave no answer" in (
        done.stdout
    )
    assert "bucket" in done.stdout
    assert done.stderr == ""


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
