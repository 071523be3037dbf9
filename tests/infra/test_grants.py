"""Who may do what on Google Cloud, as Terraform itself works it out of the roles in infra/terraform.

Every `…_iam_member` becomes a resource of Terraform's own, so that no provider is needed; the accounts, like Google
Cloud's, are known only once they are made.
"""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

Terraform = Callable[..., subprocess.CompletedProcess[str]]
RESOURCE = re.compile(r'^resource "(google_\w+)" "(\w+)" \{\n(.*?)^\}$', re.M | re.S)
BLOCK = re.compile(r"^  \w+ \{\n.*?^  \}\n", re.M | re.S)
REFERENCE = re.compile(r"\b(?:data\.)?google_\w+\.\w+(?:\[\d+\])?\.\w+")
GIVEN = {
    "project": "my-project",
    "tag": "0123abcd",
    "people": ["group:ml@example.com"],
    "submitters": ["user:ada@example.com"],
    "github_repository": "example/elboflow",
}


class Grant(NamedTuple):
    """A role on something: of a resource, of an account, or of the project."""

    member: str
    role: str
    on: str


def written(text: str) -> str:
    """The locals and roles of infra/terraform, each role as a `terraform_data` whose output is the grant."""
    parts = re.findall(r"(?ms)^locals \{.*?^\}$", text)
    outputs = []
    for kind, name, body in RESOURCE.findall(text):
        if kind == "google_service_account":
            each = re.search(r"(?ms)^  for_each = (\{.*?^  \})$", body)
            assert each, "the accounts are no longer a table"
            parts.append(f'resource "terraform_data" "made" {{\n  for_each = {each[1]}\n  input = each.key\n}}')
        if not kind.endswith("_iam_member") or kind.startswith("google_kms"):
            continue
        attributes = dict(
            re.split(r" *= ", attribute, maxsplit=1)
            for attribute in re.split(r"(?m)^  (?=\w+ +=)", BLOCK.sub("", body))[1:]
        )
        how_many = {key: attributes.pop(key) for key in ("for_each", "count") if key in attributes}
        on = attributes.get("service_account_id") or attributes.get("repository") or json.dumps(kind)
        data = f"terraform_data.{kind}_{name}"
        parts.append(
            f'resource "terraform_data" "{kind}_{name}" {{\n'
            + "".join(f"  {key} = {value}\n" for key, value in how_many.items())
            + f"  input = {{\n role = {attributes['role']}\n member = {attributes['member']}\n on = {on}\n }}\n}}"
        )
        outputs.append(f"values({data})" if "for_each" in how_many else data if how_many else f"[{data}]")
    account = '{ name = name, member = "serviceAccount:${account.output}" }'
    parts.append(f"locals {{\n  made = {{ for name, account in terraform_data.made : name => {account} }}\n}}")
    parts.append(f'output "grants" {{\n  value = [for grant in concat({", ".join(outputs)}) : grant.output]\n}}')
    joined = "\n".join(parts).replace("google_service_account.of", "local.made")
    return REFERENCE.sub(lambda found: json.dumps(found[0]), joined)


@pytest.fixture(scope="module")
def grants(root: Path, tmp_path_factory: pytest.TempPathFactory, terraform: Terraform) -> set[Grant]:
    folder, source = tmp_path_factory.mktemp("grants"), root / "infra/terraform"
    files = [path.read_text(encoding="utf-8") for path in sorted(source.glob("*.tf")) if path.name != "variables.tf"]
    (folder / "grants.tf").write_text(written("\n".join(files)), encoding="utf-8")
    (folder / "variables.tf").write_text((source / "variables.tf").read_text(encoding="utf-8"))
    (folder / "given.auto.tfvars.json").write_text(json.dumps(GIVEN), encoding="utf-8")
    for verb in (["init", "-backend=false"], ["apply", "-auto-approve"]):
        done = terraform(folder, *verb)
        assert done.returncode == 0, done.stderr
    return {Grant(**grant) for grant in json.loads(terraform(folder, "output", "-json", "grants").stdout)}


def of(grants: set[Grant], member: str) -> set[tuple[str, str]]:
    return {(grant.role.removeprefix("roles/"), grant.on) for grant in grants if grant.member == member}


PROJECT = "google_project_iam_member"


def test_submitters_and_the_account_that_they_act_as_can_do_the_same(grants: set[Grant]) -> None:
    shared = {
        ("aiplatform.user", PROJECT),
        ("logging.viewer", PROJECT),
        ("iam.serviceAccountUser", "pipeline"),
        ("artifactregistry.writer", "google_artifact_registry_repository.pipelines.name"),
        ("storage.legacyBucketReader", "google_storage_bucket_iam_member"),
    }
    sign = ("iam.serviceAccountTokenCreator", "submit")
    through_iap = ("iap.httpsResourceAccessor", "google_iap_web_cloud_run_service_iam_member")
    assert of(grants, "user:ada@example.com") == shared | {sign}
    assert of(grants, "serviceAccount:submit") == shared | {sign, through_iap}


def test_iap_lets_in_people_and_accounts_that_sign_their_own_tokens(grants: set[Grant]) -> None:
    let_in = {grant.member for grant in grants if grant.role == "roles/iap.httpsResourceAccessor"}
    assert let_in == {"group:ml@example.com", "serviceAccount:pipeline", "serviceAccount:submit"}
    for account in ("pipeline", "submit"):
        assert ("iam.serviceAccountTokenCreator", account) in of(grants, f"serviceAccount:{account}")


def test_only_iap_calls_mlflow_as_the_account_that_terraform_has_it_make(grants: set[Grant]) -> None:
    callers = {grant.member for grant in grants if grant.role == "roles/run.invoker"}
    assert callers == {"google_project_service_identity.iap.member"}


def test_images_are_pushed_by_one_account_that_can_do_nothing_else(grants: set[Grant]) -> None:
    pushed = ("artifactregistry.writer", "google_artifact_registry_repository.images.name")
    assert of(grants, "serviceAccount:images") == {pushed}
    assert [grant.member for grant in grants if (grant.role.removeprefix("roles/"), grant.on) == pushed] == [
        "serviceAccount:images"
    ]
    become = [grant for grant in grants if grant.role == "roles/iam.workloadIdentityUser"]
    assert [grant.on for grant in become] == ["images"]
    assert become[0].member.endswith("/attribute.repository/example/elboflow")


def test_github_signs_in_from_the_main_branch_of_that_repository_only(root: Path) -> None:
    text = (root / "infra/terraform/ci.tf").read_text(encoding="utf-8")
    conditions = re.findall(r'(?m)^\s*attribute_condition\s*= "(.*)"$', text)
    assert conditions == ["assertion.sub == 'repo:${var.github_repository}:ref:refs/heads/main'"]


def test_no_services_account_is_spelled_out_that_enabling_its_api_does_not_make(root: Path) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (root / "infra/terraform").glob("*.tf"))
    spelled = re.findall(r"service-\$\{[\w.]+\}@([\w-]+)\.iam", text)
    assert spelled == ["compute-system"]
