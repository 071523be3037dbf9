"""Published versions: they never change, and what runs of one is what was published. On both platforms' servers."""

import hashlib
import json
import re

import pytest

from elboflow.settings import RequestError, WorkError
from elboflow.testing.platforms.wire import wait_for
from pipelines import releases
from pipelines.experiment import Experiment, load
from pipelines.releases import Release
from pipelines.targets.submission import specification
from tests.pipelines.remote import Done, Platform

pytestmark = pytest.mark.xdist_group("remote")


@pytest.fixture(params=["kubeflow", "vertex"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Platform:
    found: Platform = request.getfixturevalue(request.param)
    found.server.faults.rehearsed = True
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def vertex_here(vertex: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    for name, value in vertex.environment.items():
        monkeypatch.setenv(name, value)
    return vertex


def publish(platform: Platform, version: str | None = None, *assignments: str) -> Release:
    return releases.publish(digits(platform, *assignments), platform.name, version)


def digits(platform: Platform, *assignments: str) -> Experiment:
    return load("digits", [f"targets.{platform.name}={platform.target}", *assignments])


def command(platform: Platform, *arguments: str) -> Done:
    """Runs `elboflow publish`."""
    words = [*platform.words()[:3], "publish", "digits", "--set", f"targets.{platform.name}={platform.target}"]
    return platform.do([*words, "--target", platform.name, *arguments])


def submissions(platform: Platform) -> list[str]:
    path = r".*/pipelineJobs" if platform.name == "vertex" else r"/apis/v2beta1/runs"
    return [json.dumps(request.json()) for request in platform.server.asked("POST", path)]


def test_the_command_prints_the_reference_and_how_to_run_it(vertex):
    done = command(vertex, "--version", "by-command")
    assert done.code == 0, done.err
    assert re.fullmatch(rf"{vertex.server.repository()}/digits/sha256:[0-9a-f]{{64}}\n", done.out)
    assert "published digits by-command, sha256 " in done.err
    assert done.said.endswith("run digits --target vertex --release by-command")
    assert command(vertex, "--version", "by-command", "--json").result["published"] is False
    refused = command(vertex, "--version", "by-command", "--set", "seed=9")
    assert refused.code == 2
    assert "a version never changes, however it is written: choose another with --version" in refused.said
    assert (
        "allowed: kubeflow, vertex" in vertex.do([*vertex.words()[:3], "publish", "digits", "--target", "local"]).said
    )


def test_the_same_pipeline_is_published_once_and_another_never_under_its_version(platform):
    first = publish(platform, "once")
    again = publish(platform, "once")
    assert (first.published, again.published) == (True, False)
    assert (first.reference, first.digest) == (again.reference, again.digest)
    with pytest.raises(RequestError, match=f"digits once is published on {platform.name} already") as caught:
        publish(platform, "once", "training.epochs=2")
    assert first.digest[:12] in str(caught.value)
    assert publish(platform, "once") == again


def test_the_default_version_says_which_content_it_has(platform):
    release = publish(platform, None, "seed=7")
    assert re.fullmatch(r"v[0-9-]+-[0-9a-f]{12}", release.version)
    wanted = digits(platform, "seed=7")
    assert hashlib.sha256(specification(wanted, platform.name).encode()).hexdigest() == release.digest
    assert release.version.endswith(release.digest[:12])
    assert publish(platform, None, "seed=8").version != release.version


def test_a_run_of_a_version_runs_what_was_published_whatever_the_experiment_is_by_now(platform):
    release = publish(platform, "tested", "seed=41")
    platform.settings.clear()  # --set is refused; the seed of the digits as they are by now is 0
    done = platform.run("--release", "tested", "--no-wait")
    assert done.code == 0, done.err
    run = platform.server.runs[done.result["run"]]
    wait_for(lambda: run.execution.ended is not None)
    assert release.reference.rpartition("/")[2] in submissions(platform)[-1]
    assert "deploymentSpec" not in submissions(platform)[-1]
    train = run.execution.run.spec["components"]["comp-condition-2"]["dag"]["tasks"]["train"]
    assert train["inputs"]["parameters"]["seed"]["runtimeValue"]["constant"] == 41


def test_a_version_that_is_not_there_is_refused_before_anything_is_started(platform):
    wanted = digits(platform)
    with pytest.raises(RequestError, match="--release never-published: digits has no such version"):
        releases.reference(wanted, platform.name, "never-published")
    platform.settings.clear()
    done = platform.run("--release", "never-published", "--no-wait")
    assert (done.code, submissions(platform)) == (2, [])
    assert "never-published" in done.said


@pytest.mark.parametrize(
    ("written", "on_kubeflow", "on_vertex"),
    [
        ("v1", "v1", "v-1"),
        ("v1.0", "v1.0", "v1-0"),
        ("a", "a", "v--a"),
        ("aa", "aa", "a-a"),
        ("v1.0.0", "v1.0.0", "v1-0-0"),
        ("2026.11.30", "2026.11.30", "v2026-11-30"),
        ("v2.0.0-RC1", "v2.0.0-rc1", "v2-0-0-rc1"),
        ("v1.0+abc_1", "v1.0-abc-1", "v1-0-abc-1"),
        ("first", "first", "first"),
    ],
)
def test_a_version_is_called_as_a_platform_takes_it_and_that_is_shown(
    written: str, on_kubeflow: str, on_vertex: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "elboflow.releases")
    for target, expected in (("kubeflow", on_kubeflow), ("vertex", on_vertex)):
        caplog.clear()
        assert releases.platform_version(written, target) == expected
        assert releases.platform_version(expected, target) == expected
        said = [] if expected == written else [f"the version {written} is called {expected} on {target}"]
        assert caplog.messages == said


@pytest.mark.parametrize("wrong", ["", "-v1", "v1.", "my version", "v1/2", "é1", "v" * 64])
def test_what_is_no_version_is_refused_before_anybody_is_asked_for_credentials(
    wrong: str, vertex: Platform, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/absent.json")
    for ask in (publish, lambda platform, version: releases.reference(digits(platform), "vertex", version)):
        with pytest.raises(RequestError, match="a version has at most 63 letters, digits, dots"):
            ask(vertex, wrong)


def test_a_version_as_people_write_it_is_published_and_run(platform: Platform):
    published = {}
    for version in ("v1", "v1.0", "v1.0.0"):
        done = command(platform, "--version", version, "--set", f"seed={len(version)}")
        assert done.code == 0, done.err
        published[done.out] = version
        assert (f"the version {version} is called " in done.err) is (platform.name == "vertex")
        platform.settings.clear()
        assert platform.run("--release", version, "--no-wait").code == 0
    assert list(published.values()) == ["v1", "v1.0", "v1.0.0"]
    other = command(platform, "--version", "V1", "--set", "seed=9")
    assert other.code == 2
    assert "a version never changes, however it is written" in other.said


def test_a_connection_that_breaks_after_an_upload_publishes_one_version(kubeflow):
    publish(kubeflow, "before-the-break")
    kubeflow.server.faults.reset("POST", ".*/upload_version")
    release = publish(kubeflow, "broken-connection", "seed=3")
    named = [version for version in kubeflow.server.versions.values() if version["name"] == "broken-connection"]
    assert [version["pipeline_version_id"] for version in named] == [release.reference.partition("/")[2]]


def test_a_pipeline_on_kubeflow_has_no_version_but_those_published(kubeflow):
    id = publish(kubeflow, "the-only-one", "name=lonely").reference.partition("/")[0]
    assert [v["name"] for v in kubeflow.server.versions.values() if v["pipeline_id"] == id] == ["the-only-one"]


def test_a_version_that_somebody_else_publishes_meanwhile_is_not_moved(vertex_here):
    first = publish(vertex_here, "contended")
    vertex_here.server.faults.refuse("GET", ".*/tags/contended", 404)  # as before the other one was there
    with pytest.raises(RequestError, match="contended is published on vertex already"):
        publish(vertex_here, "contended", "seed=5")
    assert publish(vertex_here, "contended").reference == first.reference


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (401, "does not accept the credentials", RequestError),
        (403, "roles/artifactregistry.writer", RequestError),
        (404, "has no repository .404.: injected; look at targets.vertex.repository", RequestError),
        (500, "failed at the version refused of digits .500.", WorkError),
    ],
)
def test_a_registry_that_refuses_is_told_with_what_to_do(vertex_here, status, told, kind):
    vertex_here.server.faults.refuse("GET", "/kfp/.*", status, times=None)
    with pytest.raises(kind, match=told):
        publish(vertex_here, "refused")


def test_an_experiment_without_a_place_for_versions_is_refused(vertex):
    vertex.target = re.sub(r", repository: '.*?'", "", vertex.target)
    with pytest.raises(RequestError, match=r"targets.vertex.repository: missing"):
        publish(vertex)
    with pytest.raises(RequestError, match=r"targets.kubeflow: missing"):
        releases.publish(load("digits"), "kubeflow")
