"""What a person names on the command line or in an experiment is a path or a URI: never the one taken for the other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from elboflow.settings import RequestError
from pipelines.cli import app

PLACES = {"DIR", "FILE", "EXPERIMENT", "MODEL"}
SOURCE = ["--set", 'data.features={"image": {"kind": "image", "shape": [8, 8, 1], "range": [0, 16]}}']


def elboflow(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def named_places(command: Any, path: str = "elboflow") -> Iterator[tuple[str, Any]]:
    """Yields every argument and option of every command that names a file, a folder, an experiment or a model."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from named_places(inner, f"{path} {name}")
    for parameter in command.params:
        if parameter.metavar in PLACES:
            yield f"{path} {parameter.opts[0]}", parameter


CONTEXT = typer.Context(typer.main.get_command(app))
NAMED = dict(named_places(typer.main.get_command(app)))


@pytest.mark.parametrize("name", sorted(NAMED))
def test_no_argument_or_option_takes_a_uri_for_a_path(name: str):
    for uri in ("s3://bucket/x", "s3:/bucket/x", "https://host/x", "file://host/x"):
        with pytest.raises(RequestError, match=uri):
            NAMED[name].process_value(CONTEXT, uri)
    assert str(NAMED[name].process_value(CONTEXT, "file:///data/My%20x")) == "/data/My x"


def test_every_kind_of_place_is_among_them():
    assert len(NAMED) > 40
    for name in (
        "step preprocess --output",
        "compile --output",
        "generate --output",
        "init --output",
        "run --workspace",
    ):
        assert f"elboflow {name}" in NAMED


@pytest.mark.parametrize(
    "arguments",
    [
        ["step", "preprocess", "digits", "--output", "s3://bucket/ds"],
        ["step", "train", "digits", "--dataset", "s3://bucket/ds", "--output", "model"],
        ["step", "train", "digits", "--dataset", ".", "--output", "gs://bucket/model"],
        ["step", "evaluate", "digits", "--dataset", ".", "--model", "gs://bucket/m", "--output", "evaluation"],
        ["compile", "digits", "--target", "vertex", "--output", "gs://bucket/pipeline.yaml"],
        ["init", "mine", "--output", "gs://bucket/mine.yaml"],
        ["generate", "gs://bucket/model", "--output", "x.png"],
        ["run", "digits", "--workspace", "gs://bucket/workspace"],
        ["run", "gs://bucket/digits.yaml"],
        ["run", "digits", "--set", "training.checkpoints.folder=s3://bucket/x"],
        ["run", "digits", "--set", "training.checkpoints.folder=gs://bucket/x"],  # nothing mounts it here
    ],
    ids=" ".join,
)
def test_a_uri_that_cannot_be_used_is_exit_code_2_and_leaves_nothing(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = elboflow(*arguments)
    assert done.exit_code == 2, done.output
    assert "://bucket/" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_in_the_environment_is_no_uri_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELBOFLOW_WORKSPACE", "s3://bucket/workspace")
    done = elboflow("runs", "list")
    assert done.exit_code == 2
    assert "--workspace (or $ELBOFLOW_WORKSPACE): s3://bucket/workspace is a URI" in done.stderr


@pytest.mark.parametrize("uri", ["https://host/f.npz", "s3://bucket/f.npz", "hdfs://host/f.npz", "gs:/bucket/f.npz"])
@pytest.mark.parametrize("command", ["run", "config", "compile"])
def test_a_source_that_cannot_be_opened_is_refused_with_the_schemes_that_work(command, uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = ["--target", "vertex"] if command == "compile" else []
    done = elboflow(
        command, "digits", *target, "--set", f"data.source={json.dumps({'kind': 'npz', 'path': uri})}", *SOURCE
    )
    assert done.exit_code == 2, done.output
    assert f"data.source.path: {uri} " in done.stderr
    assert "gs://BUCKET/NAME" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_and_a_source_may_be_file_uris(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    raw, out = tmp_path / "My Data.npz", tmp_path / "out"
    np.savez(raw, image=np.arange(100 * 64).reshape(100, 8, 8) % 17)
    source = json.dumps({"kind": "npz", "path": raw.as_uri()})
    done = elboflow("step", "preprocess", "digits", "--output", out.as_uri(), "--set", f"data.source={source}", *SOURCE)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{out}\n"
    assert (out / "dataset.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["My Data.npz", "out"]


VERTEX = (
    "{project: project, location: europe-west4, root: 'gs://bucket/vae', image: 'e/image:1', "
    "tracking_uri: 'https://m', repository: 'https://europe-west4-kfp.pkg.dev/project/pipelines'}"
)
KUBEFLOW = "{image: 'e/image:1', tracking_uri: 'https://m', volumes: [{claim: raw, mount: /data}]}"
MOVED = VERTEX[:-1] + ", runner: dataflow}"


def compiled(target: str, described: str, path: str, *settings: str) -> Result:
    arguments = ["compile", "digits", "--target", target, "--set", f"targets.{target}={described}", *settings]
    if "data.source" not in "".join(settings):
        arguments += ["--set", f"data.source={{kind: npz, path: '{path}'}}", *SOURCE]
    return elboflow(*arguments)


@pytest.mark.parametrize(
    ("target", "described", "path", "wanted"),
    [
        (
            "vertex",
            VERTEX,
            "f.npz",
            "no step on Vertex AI can read; copy the data into a bucket, and write gs://BUCKET/",
        ),
        ("vertex", VERTEX, "/data/f.npz", "no step on Vertex AI can read"),
        ("vertex", VERTEX, "file:///data/f.npz", "no step on Vertex AI can read"),
        ("vertex", VERTEX, "~/f.npz", "no step on Vertex AI can read"),
        ("vertex", MOVED, "/gcs/bucket/f.npz", "Dataflow's workers cannot read; write gs://bucket/f.npz"),
        ("kubeflow", KUBEFLOW, "f.npz", "no step on Kubeflow can read; write gs://BUCKET/NAME, or a path below"),
        ("kubeflow", KUBEFLOW, "/database/f.npz", "targets.kubeflow.volumes (these are mounted: /data)"),
        ("kubeflow", KUBEFLOW, "/data/../f.npz", "no step on Kubeflow can read"),
    ],
)
def test_a_source_that_a_platform_cannot_read_is_refused_with_what_to_write(
    target, described, path, wanted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    done = compiled(target, described, path)
    assert done.exit_code == 2, done.output
    assert f"error: data.source.path: {path.removeprefix('file://')} is a path that " in done.stderr
    assert wanted in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_each_file_of_a_source_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "data.source={kind: idx, images: 'gs://b/images', labels: labels}"
    done = compiled("vertex", VERTEX, "", "--set", source)
    assert "error: data.source.labels: labels is a path that no step on Vertex AI can read" in done.stderr


@pytest.mark.parametrize(
    ("target", "described", "path"),
    [
        ("vertex", VERTEX, "gs://bucket/f.npz"),
        ("vertex", VERTEX, "/gcs/bucket/f.npz"),
        ("kubeflow", KUBEFLOW, "gs://bucket/f.npz"),
        ("kubeflow", KUBEFLOW, "file:///data/f.npz"),
    ],
)
def test_a_source_that_a_platform_can_read_is_compiled(target, described, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = compiled(target, described, path)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "command",
    [
        ["run", "digits"],
        ["publish", "digits"],
        ["schedule", "create", "digits", "--cron", "0 2 * * *"],
        ["sweep", "digits", "--over", "model.latent=2,3"],
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize(("target", "described"), [("vertex", VERTEX), ("kubeflow", KUBEFLOW)])
def test_every_command_for_a_platform_refuses_it(command, target, described, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["--set", f"targets.{target}={described}", "--set", "data.source={kind: npz, path: f.npz}", *SOURCE]
    done = elboflow(*command, "--target", target, *settings)
    assert done.exit_code == 2, done.output
    assert "data.source.path: f.npz is a path that no step on " in done.stderr
