"""Terraform: it parses, checkov has nothing to say, accounts can do little, and its output is a Vertex target."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hcl2
import pytest

from pipelines.experiment.vertex import VertexTarget

Checker = Callable[..., subprocess.CompletedProcess[str]]
Terraform = Callable[..., subprocess.CompletedProcess[str]]
STUBS = {
    "google_storage_bucket.artifacts.name": "my-project-elboflow",
    "google_cloud_run_v2_service.mlflow.uri": "https://elboflow-mlflow-abc.a.run.app",
    'google_service_account.of["pipeline"].email': "elboflow-pipeline@my-project.iam.gserviceaccount.com",
    'google_service_account.of["dataflow"].email': "elboflow-dataflow@my-project.iam.gserviceaccount.com",
    "google_kms_crypto_key.artifacts.id": "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/artifacts",
    "google_artifact_registry_repository.images.repository_id": "elboflow",
    "google_artifact_registry_repository.pipelines.repository_id": "elboflow-pipelines",
    "google_compute_subnetwork.this.name": "elboflow",
    "google_secret_manager_secret.webhook.id": "projects/p/secrets/elboflow-webhook",
    'google_service_account.of["submit"].email': "elboflow-submit@my-project.iam.gserviceaccount.com",
    'google_service_account.of["images"].email': "elboflow-images@my-project.iam.gserviceaccount.com",
    "google_iam_workload_identity_pool_provider.github[0].name": "projects/1/locations/global/workloadIdentityPools/p",
}
"""What Google Cloud would answer, for each thing that outputs ask of it."""


@pytest.fixture(scope="module")
def parsed(root: Path) -> dict[str, dict[str, Any]]:
    files = sorted((root / "infra/terraform").glob("*.tf"))
    return {file.name: hcl2.loads(file.read_text(encoding="utf-8")) for file in files}


def blocks(parsed: dict[str, dict[str, Any]], kind: str) -> dict[str, Any]:
    """All blocks of a kind with one label, or resources of all types as TYPE.NAME."""
    found: dict[str, Any] = {}
    for file in parsed.values():
        for block in file.get(kind, []):
            for label, body in block.items():
                name = label.strip('"')
                if kind == "resource":
                    found.update({f"{name}.{inner.strip(chr(34))}": values for inner, values in body.items()})
                else:
                    found[name] = body
    return found


@pytest.fixture(scope="module")
def alone(root: Path, tmp_path_factory: pytest.TempPathFactory, terraform: Terraform) -> Path:
    """Variables, names of images and outputs without the resources, whose answers stand in STUBS: needs no provider."""
    folder, source = tmp_path_factory.mktemp("terraform"), root / "infra/terraform"
    named = re.search(r"(?s)^locals \{.*?^\}$", (source / "registry.tf").read_text(encoding="utf-8"), re.M)
    assert named
    text = f"{(source / 'outputs.tf').read_text(encoding='utf-8')}\n{named[0]}\n"
    for reference, answer in STUBS.items():
        assert reference in text, f"{reference} is asked for no longer"
        text = text.replace(reference, json.dumps(answer))
    (folder / "outputs.tf").write_text(text, encoding="utf-8")
    (folder / "variables.tf").write_text((source / "variables.tf").read_text(encoding="utf-8"))
    ready = terraform(folder, "init", "-backend=false")
    assert ready.returncode == 0, ready.stderr
    return folder


def test_the_rooms_are_there_and_parse(parsed: dict[str, dict[str, Any]]) -> None:
    rooms = {"storage", "registry", "accounts", "mlflow", "secrets", "budget", "variables", "outputs", "versions"}
    assert {f"{room}.tf" for room in rooms} <= parsed.keys()
    kinds = {name.split(".")[0] for name in blocks(parsed, "resource")}
    assert kinds >= {
        "google_storage_bucket",
        "google_artifact_registry_repository",
        "google_service_account",
        "google_cloud_run_v2_service",
        "google_sql_database_instance",
        "google_secret_manager_secret",
        "google_billing_budget",
        "google_iap_web_cloud_run_service_iam_member",
    }


def test_every_variable_is_documented_and_used(root: Path, parsed: dict[str, dict[str, Any]]) -> None:
    variables = blocks(parsed, "variable")
    assert all(variable["description"].strip('"') for variable in variables.values())
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in (root / "infra/terraform").glob("*.tf")
        if path.name != "variables.tf"
    )
    assert set(re.findall(r"\bvar\.(\w+)", text)) == variables.keys()


def test_no_account_has_a_role_that_reaches_beyond_its_work(root: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (root / "infra/terraform").glob("*.tf"))
    roles = set(re.findall(r'"(roles/[\w.]+)"', text))
    assert "roles/dataflow.worker" in roles
    assert not [role for role in roles if role in ("roles/owner", "roles/editor", "roles/viewer") or "dmin" in role]
    assert not re.search(r'member\s*=\s*"?(allUsers|allAuthenticatedUsers)', text)


def test_it_is_formatted(root: Path, terraform: Terraform) -> None:
    checked = terraform(root / "infra/terraform", "fmt", "-check", "-diff")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("checkers")
def test_checkov_finds_nothing_and_every_exception_has_a_reason(root: Path, checker: Checker) -> None:
    checked = checker(
        "checkov", "--directory", "infra/terraform", "--framework", "terraform", "--output", "json", "--skip-download"
    )
    report = json.loads(checked.stdout)
    failed = [f"{check['check_id']} {check['resource']}" for check in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["passed"] > 40
    assert all(len(check["check_result"]["suppress_comment"]) > 20 for check in report["results"]["skipped_checks"])


def test_the_outputs_are_the_section_of_an_experiment_and_the_variables_of_the_workflow(
    root: Path, alone: Path, terraform: Terraform
) -> None:
    given = ["-var=project=my-project", "-var=tag=0123abcd"]
    applied = terraform(alone, "apply", "-auto-approve", *given)
    assert applied.returncode == 0, applied.stderr
    outputs = json.loads(terraform(alone, "output", "-json").stdout)
    section = outputs["targets_vertex"]["value"]
    target = VertexTarget.model_validate(section)
    assert target.root == "gs://my-project-elboflow/pipelines"
    assert section["image"]["tpu"] == "europe-west4-docker.pkg.dev/my-project/elboflow/elboflow-tpu:0123abcd"
    assert target.runner.kind == "dataflow"
    assert target.runner.subnetwork == "regions/europe-west4/subnetworks/elboflow"
    assert outputs.get("github_variables", {}).get("value") is None

    applied = terraform(alone, "apply", "-auto-approve", *given, "-var=github_repository=example/elboflow")
    assert applied.returncode == 0, applied.stderr
    variables = json.loads(terraform(alone, "output", "-json", "github_variables").stdout)
    workflow = (root / ".github/workflows/images.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\bvars\.(\w+)", workflow)) == variables.keys()
    assert variables["REGISTRY"] == "europe-west4-docker.pkg.dev/my-project/elboflow"


def test_the_page_on_vertex_ai_asks_for_outputs_and_variables_that_exist(
    root: Path, parsed: dict[str, dict[str, Any]]
) -> None:
    page = (root / "docs/vertex-ai.md").read_text(encoding="utf-8")
    asked = set(re.findall(r"terraform output -\w+ (\w+)", page))
    assert asked == blocks(parsed, "output").keys() - {"webhook"}
    (given,) = re.findall(r"(?s)my\.auto\.tfvars <<EOF\n(.*?)\nEOF", page)
    assert set(re.findall(r"(?m)^(\w+) *=", given)) <= blocks(parsed, "variable").keys()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("tag=latest", "A tag that stays what it is"),
        ("location=europe-west4-a", "not a zone"),
        ("project=My Project", "A project's id"),
        ('people=["ada@example.com"]', "Each begins with user:"),
        ("keep_days=1", "At least 7"),
        ("billing_account=12", "Three groups"),
        ("budget=-5", "above zero"),
        ("github_repository=https://github.com/example/elboflow", "As owner/name"),
    ],
)
def test_a_wrong_variable_is_refused_with_what_is_allowed(
    alone: Path, terraform: Terraform, given: str, says: str
) -> None:
    values = {"project": "my-project", "tag": "0123abcd", **dict([given.split("=", 1)])}
    planned = terraform(alone, "plan", *[f"-var={name}={value}" for name, value in values.items()])
    assert planned.returncode != 0
    assert says in " ".join(planned.stderr.replace("│", " ").split())
