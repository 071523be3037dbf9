"""The images: clean, pinned as the project is, non-root, and really built and run where that is possible."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

IMAGES = ("cpu", "cuda", "tpu", "mlflow")


def instructions(root: Path, image: str) -> list[tuple[str, str]]:
    """A Containerfile as (instruction, rest), continuation lines joined and comments dropped."""
    text = (root / f"infra/images/{image}.Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def final_stage(root: Path, image: str) -> dict[str, str]:
    """The last of each instruction in the last stage."""
    stages = instructions(root, image)
    start = max(at for at, (word, _) in enumerate(stages) if word == "FROM")
    return dict(stages[start:])


def pins(path: Path) -> dict[str, str]:
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if "==" in line and not line.startswith("#")
    ]
    return {name: version for name, _, version in (line.split(";")[0].strip().partition("==") for line in lines)}


def test_hadolint_finds_nothing(root: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    files = [root / f"infra/images/{image}.Containerfile" for image in IMAGES]
    checked = subprocess.run([hadolint, *files], capture_output=True, encoding="utf-8")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_not_roots_and_says_so_by_a_number(root: Path, image: str) -> None:
    last = final_stage(root, image)
    arguments = dict(rest.split("=", 1) for word, rest in instructions(root, image) if word == "ARG")
    user = arguments.get("USER", "") if last["USER"] == "${USER}" else last["USER"]
    assert int(user) >= 10000


@pytest.mark.parametrize("image", ["cpu", "cuda", "tpu"])
def test_beams_runners_find_the_worker_of_the_sdk_that_is_installed(root: Path, image: str) -> None:
    arguments = dict(rest.split("=", 1) for word, rest in instructions(root, image) if word == "ARG")
    version = pins(root / "constraints.txt")["apache-beam"]
    assert arguments["BEAM"] == f"docker.io/apache/beam_python3.11_sdk:{version}"
    assert json.loads(final_stage(root, image)["ENTRYPOINT"]) == ["entrypoint"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--id=1", "--semi_persist_dir=/var/opt/google"], "boot --id=1 --semi_persist_dir=/var/opt/google"),
        (["--worker_pool"], "boot --worker_pool"),
        ([], "boot"),
        (["sh", "-c", "echo step"], "step"),
        (["echo", "--id=1"], "--id=1"),
    ],
)
def test_options_start_beams_worker_and_a_command_is_run(
    root: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    boot = tmp_path / "boot"
    boot.write_text('#!/bin/sh\necho "boot $*" | sed "s/ $//"\n', encoding="utf-8")
    boot.chmod(0o755)
    entrypoint = tmp_path / "entrypoint"
    entrypoint.write_text(
        (root / "infra/images/entrypoint.sh").read_text(encoding="utf-8").replace("/opt/apache/beam/boot", str(boot))
    )
    entrypoint.chmod(0o755)
    assert subprocess.run([entrypoint, *arguments], capture_output=True, encoding="utf-8").stdout.strip() == says


def test_all_bases_are_the_same_python_by_its_full_version(root: Path) -> None:
    bases = {
        rest for image in IMAGES for word, rest in instructions(root, image) if word == "ARG" and "PYTHON=" in rest
    }
    assert len(bases) == 1
    assert re.fullmatch(r"PYTHON=docker\.io/library/python:3\.11\.\d+-slim-\w+", bases.pop())


def test_only_the_server_says_whether_it_is_healthy(root: Path) -> None:
    assert [image for image in IMAGES if "HEALTHCHECK" in final_stage(root, image)] == ["mlflow"]


@pytest.mark.parametrize("kind", ["cuda", "tpu"])
def test_accelerator_builds_are_of_the_versions_that_the_project_is_tested_with(root: Path, kind: str) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = {Requirement(line).name: Requirement(line).specifier for line in project["dependencies"]}
    bounds["jax"] = Requirement(project["optional-dependencies"]["jax"][0]).specifier
    bounds["tensorflow"] = bounds["tensorflow-cpu"]
    tested, pinned = pins(root / "constraints.txt"), pins(root / f"infra/images/{kind}.txt")
    assert not tested.keys() & pinned.keys(), "what constraints.txt pins must have no second pin"
    for line in (root / f"infra/images/{kind}.in").read_text(encoding="utf-8").splitlines():
        wanted = Requirement(line)
        assert wanted.specifier == bounds[wanted.name]
        assert wanted.extras
    if kind == "cuda":
        assert pinned["tensorflow"] == tested["tensorflow-cpu"]
        assert pinned["jax-cuda12-plugin"] == tested["jax"]
        assert {name for name in pinned if name.startswith("nvidia-")} >= {"nvidia-cudnn-cu12", "nvidia-nccl-cu12"}
    else:
        assert "libtpu" in pinned


@pytest.mark.parametrize("arguments", [[], ["build"], ["build", "gpu"], ["paint", "cpu"]])
def test_a_wrong_request_builds_nothing_and_lists_what_is_allowed(root: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "ENGINE": "false"}
    command = [root / "infra/images/build.sh", *arguments]
    asked = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert asked.returncode == 2
    assert "build IMAGE" in asked.stderr


def test_build_gives_the_engine_the_commit_and_worker_is_cpu_run_by_root(root: Path, tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    engine.write_text(
        '#!/bin/sh\nfor last; do :; done\nprintf "%s\\n" "$@" >"$RECORD"\nls "$last" >>"$RECORD"\n', encoding="utf-8"
    )
    engine.chmod(0o755)
    environment = {**os.environ, "ENGINE": str(engine), "RECORD": str(tmp_path / "record"), "REGISTRY": "r", "TAG": "t"}
    command = [root / "infra/images/build.sh", "build", "worker"]
    built = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=True)
    assert built.stdout == "r/elboflow-worker:t\n"
    given = (tmp_path / "record").read_text(encoding="utf-8").splitlines()
    assert given[2].endswith("/infra/images/cpu.Containerfile")
    assert "USER=0" in given
    assert {"pyproject.toml", "constraints.txt", "pipelines"} <= set(given)
    assert ".venv" not in given


ENGINE = r"""#!/bin/sh
# Records what it is asked, and keeps what is pushed, each with the digest of its first push.
echo "$(basename "$0") $*" >>"$RECORD/asked"
for last; do :; done
case "$(basename "$0") $*" in
"docker buildx imagetools inspect "* | "skopeo inspect "*) cat "$RECORD/$(basename "$last")" ;;
*" push "*) printf 'sha256:%s\n' "$PUSHED" >"$RECORD/$(basename "$last")" ;;
"buildah "*" from "*) echo working ;;
"buildah "*" run working -- cat /opt/elboflow/sbom.json" | *" run --rm --entrypoint cat "*)
    echo '{"bomFormat": "CycloneDX"}'
    exit "${FAILS:-0}" ;;
esac
"""


@pytest.fixture(params=["docker", "podman", "buildah"])
def engine(request: pytest.FixtureRequest, root: Path, tmp_path: Path) -> Callable[..., tuple[int, str, list[str]]]:
    """Runs build.sh with a recorded engine; returns the exit code, what it printed and what the engine was asked."""
    for name in (request.param, "skopeo"):
        (tmp_path / name).write_text(ENGINE, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    asked = tmp_path / "asked"

    def run(*arguments: str, **variables: str) -> tuple[int, str, list[str]]:
        asked.write_text("", encoding="utf-8")
        given = {"ENGINE": f"{tmp_path / request.param} --quiet" if request.param == "buildah" else request.param}
        given |= {"RECORD": str(tmp_path), "REGISTRY": "r/p", "TAG": "t", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        ran = subprocess.run(
            [root / "infra/images/build.sh", *arguments],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, **given, **variables},
        )
        return ran.returncode, ran.stdout, asked.read_text(encoding="utf-8").splitlines()

    return run


def test_a_tag_that_is_in_the_registry_stays_what_it_is(engine: Callable[..., tuple[int, str, list[str]]]) -> None:
    code, printed, asked = engine("push", "cpu", PUSHED="first")
    assert (code, printed) == (0, "r/p/elboflow-cpu@sha256:first\n")
    assert len([line for line in asked if re.search(r" push r/p/elboflow-cpu:t$", line)]) == 1
    code, printed, asked = engine("push", "cpu", "mlflow", PUSHED="second")
    assert (code, printed) == (0, "r/p/elboflow-cpu@sha256:first\nr/p/elboflow-mlflow@sha256:second\n")
    assert [line.split(" push ")[1] for line in asked if " push " in line] == ["r/p/elboflow-mlflow:t"]


def test_the_sbom_is_read_out_of_the_image_and_no_container_stays(
    engine: Callable[..., tuple[int, str, list[str]]],
) -> None:
    code, printed, asked = engine("sbom", "cpu")
    assert code == 0
    assert json.loads(printed) == {"bomFormat": "CycloneDX"}
    failed, _, asked_again = engine("sbom", "cpu", FAILS="3")
    assert failed == 3
    assert asked == asked_again
    if asked[0].startswith("buildah"):
        assert asked[-1] == "buildah --quiet rm working"
    else:
        assert len(asked) == 1
        assert " --rm " in asked[0]


def test_push_says_what_it_lacks_before_it_pushes(root: Path, tmp_path: Path) -> None:
    for name in ("bash", "dirname", "basename", "env"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    (tmp_path / "podman").symlink_to(shutil.which("false") or "")
    environment = {"PATH": str(tmp_path), "ENGINE": "podman", "TAG": "t"}
    command = [root / "infra/images/build.sh", "push", "cpu"]
    asked = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert asked.returncode == 2
    assert "by skopeo: install it" in asked.stderr


@pytest.mark.slow
def test_the_cpu_image_is_built_of_debians_packages_and_the_main_job_runs_in_it(root: Path, tmp_path: Path) -> None:
    for needed in ("buildah", "debootstrap"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed: apt-get install buildah debootstrap")
    if os.getuid() != 0:
        pytest.skip("debootstrap needs root")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [root / "infra/images/try.sh"]
    tried = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=3000)
    assert tried.returncode == 0, tried.stderr[-3000:]
    done = json.loads(tried.stdout.splitlines()[-1])
    assert done["status"] == "succeeded"
    assert done["mlflow"]["promoted"] is True
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
