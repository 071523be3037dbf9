"""The doctor's command line, for an experiment on a platform."""

import json

from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.targets.checks import Finding
from tests.pipelines.doctor.cloud import Cloud


def examined(target: str, *words: str) -> tuple[int, dict[str, Finding]]:
    done = CliRunner().invoke(app, ["doctor", "--target", target, "--experiment", "digits", "--json", *words])
    told = json.loads(done.stdout)
    assert told["ok"] is (done.exit_code == 0)
    return done.exit_code, {each["what"]: Finding(**each) for each in told["findings"]}


def vertex(cloud: Cloud, more: str = "", bucket: str = "data") -> list[str]:
    target = (
        f"{{project: elbo-prod, location: europe-west4, root: 'gs://{bucket}/vae', image: '{cloud.address}/vae/cpu:1', "
        f"tracking_uri: '{cloud.url}/mlflow'{more}}}"
    )
    return ["--set", f"targets.vertex={target}"]


def kubeflow(cloud: Cloud, more: str = "") -> list[str]:
    target = (
        f"{{image: '{cloud.address}/vae/cpu:1', tracking_uri: '{cloud.url}/mlflow', host: '{cloud.url}', "
        f"credentials: {{kind: token, variable: KF_TOKEN}}{more}}}"
    )
    return ["--set", f"targets.kubeflow={target}"]
