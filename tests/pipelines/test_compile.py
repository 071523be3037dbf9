"""Pipelines compiled for clusters, read back as KFP's own specification."""

import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp import components
from kfp.local import graph_utils
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec
from typer.testing import CliRunner

from pipelines.cli import app

IMAGE = "registry.example/elboflow:1"
TARGETS = {
    "kubeflow": "{image: 'registry.example/elboflow:1', tracking_uri: 'https://mlflow.example'}",
    "vertex": "{image: 'registry.example/elboflow:1', tracking_uri: 'https://mlflow.example', root: 'gs://bucket/vae'}",
}
STEPS = ["preprocess", "train", "evaluate", "register"]


def compile(target: str, output: Path, *assignments: str) -> str:
    settings = [f"targets.{target}={TARGETS[target]}", *assignments]
    arguments = ["compile", "digits", "--target", target, "--output", str(output)]
    done = CliRunner().invoke(app, [*arguments, *(word for setting in settings for word in ("--set", setting))])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(output)
    return output.read_text()


def specification(text: str) -> PipelineSpec:
    assert components.load_component_from_text(text).name == "digits"
    spec = PipelineSpec()
    json_format.ParseDict(next(yaml.safe_load_all(text)), spec)
    return spec


@pytest.fixture(params=TARGETS)
def compiled(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    return request.param, compile(request.param, tmp_path / "pipeline.yaml")


def test_the_same_experiment_gives_the_same_bytes(compiled: tuple[str, str], tmp_path: Path):
    target, text = compiled
    (tmp_path / "elsewhere").mkdir()
    assert compile(target, tmp_path / "elsewhere" / "again.yaml") == text


def test_four_steps_in_order_in_the_target_s_image(compiled: tuple[str, str]):
    spec = specification(compiled[1])
    order = graph_utils.topological_sort_tasks(spec.root.dag.tasks)
    assert [order.pop() for _ in range(len(order))] == STEPS
    executors = dict(spec.deployment_spec["executors"].items())
    assert {executor["container"]["image"] for executor in executors.values()} == {IMAGE}
    assert len(executors) == len(STEPS)


def test_steps_install_nothing_when_they_run(compiled: tuple[str, str]):
    assert "pip install" not in compiled[1]


def test_no_path_of_this_machine_goes_into_it(compiled: tuple[str, str], tmp_path: Path):
    text = compiled[1]
    assert str(Path.cwd()) not in text
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    absolute = re.findall(r"(?<![\w/:.])/(?:\w+/)+\w+", text)
    assert absolute == []


def test_the_first_and_the_last_step_are_never_taken_from_a_cache(compiled: tuple[str, str]):
    tasks = specification(compiled[1]).root.dag.tasks
    assert {name: tasks[name].caching_options.enable_cache for name in STEPS} == {
        "preprocess": False,
        "train": True,
        "evaluate": True,
        "register": False,
    }


def test_a_step_is_given_its_own_sections_and_no_other(compiled: tuple[str, str]):
    tasks = specification(compiled[1]).root.dag.tasks
    assert set(tasks["preprocess"].inputs.parameters) == {"data", "dataset_root"}
    assert set(tasks["train"].inputs.parameters) == {"architecture", "training", "seed"}
    assert set(tasks["evaluate"].inputs.parameters) == {"settings", "seed"}


def test_its_defaults_are_the_experiment(tmp_path: Path):
    text = compile("vertex", tmp_path / "pipeline.yaml", "training.epochs=7")
    spec = specification(text)
    defaults = {name: p.default_value.string_value for name, p in spec.root.input_definitions.parameters.items()}
    assert '"epochs":7' in defaults["training"]
    assert defaults["tracking_uri"] == "https://mlflow.example"
    assert defaults["dataset_root"] == "gs://bucket/vae/datasets"
    assert spec.default_pipeline_root == "gs://bucket/vae"


def test_on_kubeflow_a_dataset_lies_with_the_run_s_other_artifacts(tmp_path: Path):
    spec = specification(compile("kubeflow", tmp_path / "pipeline.yaml"))
    assert spec.root.input_definitions.parameters["dataset_root"].default_value.string_value == ""
