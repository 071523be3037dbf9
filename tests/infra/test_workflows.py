"""The workflows are thin: what they do is in the Makefile, where a person can do it, too."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

NAMES = ("test", "images", "compile", "nightly")


@pytest.fixture(scope="module", params=NAMES)
def workflow(request: pytest.FixtureRequest, root: Path) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(
        (root / f".github/workflows/{request.param}.yaml").read_text(encoding="utf-8")
    )
    return loaded


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_every_make_target_that_is_called_exists(workflow: dict[Any, Any], root: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(encoding="utf-8"), re.M))
    called = {word for step in steps(workflow) for word in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    assert called
    assert called <= targets, f"the Makefile has no {sorted(called - targets)}"


def test_a_step_installs_calls_make_or_signs_in_and_nothing_else(workflow: dict[Any, Any]) -> None:
    for step in steps(workflow):
        for line in step.get("run", "").splitlines():
            assert re.match(r"make |sudo apt-get |gcloud auth ", line), line


def test_rights_and_time_are_limited(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"]["contents"] == "read"
    assert set(workflow["permissions"]) <= {"contents", "id-token"}
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())


def test_every_action_has_a_version(workflow: dict[Any, Any]) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in used)


def test_each_image_has_a_machine_of_its_own_and_none_is_left_out(root: Path) -> None:
    (job,) = yaml.safe_load((root / ".github/workflows/images.yaml").read_text(encoding="utf-8"))["jobs"].values()
    images = re.search(r"(?m)^IMAGES\s*\?= (.*)$", (root / "Makefile").read_text(encoding="utf-8"))
    assert images, "an environment's IMAGES must win over the Makefile's"
    assert job["strategy"]["matrix"]["image"] == images[1].split()
    assert job["env"]["IMAGES"] == "${{ matrix.image }}"
    named = [step["with"]["name"] for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert all("${{ matrix.image }}" in name for name in named), "two jobs cannot leave an artifact of one name"


def test_the_tests_have_the_terraform_that_they_would_be_skipped_without(root: Path) -> None:
    for job in jobs_of_the_tests(root):
        installed = {step["uses"].split("@")[0]: step.get("with", {}) for step in job["steps"] if "uses" in step}
        assert installed["hashicorp/setup-terraform"]["terraform_wrapper"] is False


def test_every_test_runs_in_a_job_the_slow_ones_too(root: Path) -> None:
    called = {step.get("run") for job in jobs_of_the_tests(root) for step in job["steps"]}
    assert {"make setup-backends", "make lint", "make test", "make test-slow"} <= called


def jobs_of_the_tests(root: Path) -> list[dict[str, Any]]:
    workflow = yaml.safe_load((root / ".github/workflows/test.yaml").read_text(encoding="utf-8"))
    return list(workflow["jobs"].values())


@pytest.mark.xdist_group("checkers")
def test_githubs_own_schema_accepts_them(root: Path, checker: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    files = [root / f".github/workflows/{name}.yaml" for name in NAMES]
    checked = checker("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    assert checked.returncode == 0, checked.stdout
