"""Pipelines compiled for clusters, read back as KFP's own specification: what both platforms have in common."""

import logging
import re
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from elboflow.settings import RequestError
from pipelines.cli import app
from pipelines.experiment import load
from pipelines.targets.submission import job
from tests.pipelines.compiled import TARGETS, WORK, Compiled, compiled, images

STEPS = {"decide", *WORK, "finish"}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def pipeline(target: str) -> Compiled:
    return compiled(target)


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_the_command_writes_what_the_target_takes_and_says_where(target: str, tmp_path: Path):
    output = tmp_path / "pipeline.yaml"
    done = run(
        "compile", "digits", "--target", target, "--output", str(output), "--set", f"targets.{target}={TARGETS[target]}"
    )
    assert (done.exit_code, done.stdout.strip()) == (0, str(output)), done.stderr
    assert Compiled(output.read_text(encoding="utf-8")).spec.pipeline_info.name == "digits"


def test_an_environment_s_file_is_merged_before_it_is_compiled(target: str, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\ndata: {{source: sklearn}}\ntargets: {{{target}: {TARGETS[target]}}}\n",
        encoding="utf-8",
    )
    (tmp_path / "mine.prod.yaml").write_text("training: {epochs: 321}\n", encoding="utf-8")
    output = tmp_path / "pipeline.yaml"
    done = run("compile", str(tmp_path / "mine.yaml"), "--env", "prod", "--target", target, "--output", str(output))
    assert done.exit_code == 0, done.stderr
    assert Compiled(output.read_text(encoding="utf-8")).given("training")["epochs"] == 321


def test_a_target_that_the_experiment_does_not_describe_is_refused(target: str, tmp_path: Path):
    done = run("compile", "digits", "--target", target, "--output", str(tmp_path / "pipeline.yaml"))
    assert done.exit_code == 2
    assert f"targets.{target}: missing" in done.stderr
    assert not (tmp_path / "pipeline.yaml").exists()


@pytest.mark.parametrize(("device", "accelerator"), [("gpu", None), ("tpu", "l4"), ("gpu", "v5e")])
def test_a_device_that_the_training_s_machine_has_not_is_refused(target: str, device: str, accelerator: str | None):
    given = f"targets.{target}.steps.train.accelerator={accelerator or 'null'}"
    told = rf"training\.device: {device}; targets\.{target}\.steps\.train has no {device.upper()}: "
    with pytest.raises(RequestError, match=told):
        compiled(target, f"training.device={device}", images(target), given)


def test_the_same_experiment_gives_the_same_bytes(target: str, pipeline: Compiled):
    assert compiled(target).text == pipeline.text
    assert compiled(target, "training.epochs=7").text != pipeline.text


def test_the_work_is_in_order(pipeline: Compiled):
    assert pipeline.order == WORK
    assert set(pipeline.tasks) == STEPS


def test_the_work_waits_for_the_decision_to_run(pipeline: Compiled):
    guarded = pipeline.within("exit-handler-1")
    assert set(guarded) == {"decide", "condition-2"}
    condition = guarded["condition-2"]
    assert list(condition.dependent_tasks) == ["decide"]
    assert condition.trigger_policy.condition == ("inputs.parameter_values['pipelinechannel--decide-Output'] == 'run'")
    assert list(pipeline.spec.root.input_definitions.parameters) == ["if_changed"]
    assert pipeline.spec.root.input_definitions.parameters["if_changed"].default_value.bool_value is False


def test_whatever_happens_the_last_step_is_told_how_it_ended(pipeline: Compiled):
    tasks = pipeline.spec.root.dag.tasks
    assert set(tasks) == {"exit-handler-1", "finish"}
    finish = tasks["finish"]
    assert finish.trigger_policy.strategy == finish.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED
    assert finish.inputs.parameters["status"].task_final_status.producer_task == "exit-handler-1"
    assert finish.inputs.parameters["run"].runtime_value.constant.string_value == "{{$.pipeline_job_name}}"


def test_who_is_to_be_told_of_the_end_is_in_it_without_any_secret(target: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALARM", "https://chat.example/planted-secret")
    text = compiled(target, "notify={kind: webhook, variable: ALARM}")
    assert text.given("notify") == {"kind": "webhook", "variable": "ALARM", "when": "failure"}
    assert "planted-secret" not in text.text


def test_every_step_runs_in_the_target_s_image(pipeline: Compiled):
    assert {pipeline.container(step)["image"] for step in STEPS} == {"registry.example/elboflow:1"}


def test_steps_install_nothing_when_they_run(pipeline: Compiled):
    assert "pip install" not in pipeline.text


def test_no_path_or_name_of_this_machine_goes_into_it(pipeline: Compiled, tmp_path: Path):
    for here in (Path.cwd(), Path.home(), tmp_path, socket.gethostname()):
        assert not re.search(rf"(?<!\w){re.escape(str(here))}(?!\w)", pipeline.text)
    absolute = re.findall(r"(?<![\w/:.])/(?:\w+/)+\w+", pipeline.text)
    assert absolute == []


def test_what_looks_outside_or_acts_there_is_never_taken_from_a_cache(pipeline: Compiled):
    cached = {name for name, task in pipeline.tasks.items() if task.caching_options.enable_cache}
    assert cached == {"train", "evaluate"}


def test_a_step_is_given_its_own_sections_and_no_other(pipeline: Compiled):
    tasks = pipeline.tasks
    assert set(tasks["preprocess"].inputs.parameters) == {"data", "dataset_root", "runner"}
    constant = {"experiment_name", "tracking_uri"}  # over runs, so that one finds the cached result of another
    assert set(tasks["train"].inputs.parameters) == {"architecture", "training", "seed", *constant}
    assert set(tasks["evaluate"].inputs.parameters) == {"settings", "seed"}


def test_its_defaults_are_the_experiment(target: str):
    pipeline = compiled(target, "training.epochs=7")
    assert pipeline.given("training")["epochs"] == 7
    assert pipeline.given("experiment")["training"]["epochs"] == 7
    assert pipeline.given("tracking_uri") == "https://mlflow.example"
    assert pipeline.given("runner") == {"kind": "direct"}


def test_retries_are_those_of_each_step(target: str):
    pipeline = compiled(
        target,
        f"targets.{target}.steps.train.retry={{attempts: 5, wait_seconds: 7, factor: 3}}",
        f"targets.{target}.steps.register.retry.attempts=0",
    )
    policies = {name: task.retry_policy for name, task in pipeline.tasks.items()}
    assert policies["train"].max_retry_count == 5
    assert policies["train"].backoff_duration.seconds == 7
    assert policies["train"].backoff_factor == 3
    assert {name: policies[name].max_retry_count for name in STEPS - {"train"}} == {
        "decide": 2,
        "preprocess": 2,
        "evaluate": 2,
        "register": 0,
        "finish": 2,
    }


@pytest.mark.parametrize(
    ("accelerator", "image", "backend", "platforms"),
    [
        ("null", "cpu", "tensorflow", "cpu"),
        ("l4", "cuda", "tensorflow", "cuda,cpu"),
        ("{kind: v5e, count: 8}", "tpu", "jax", "tpu,cpu"),
        ("v6e", "tpu", "jax", "tpu,cpu"),
    ],
)
def test_one_field_moves_the_training_between_processors_gpus_and_tpus(
    target: str, accelerator: str, image: str, backend: str, platforms: str
):
    pipeline = compiled(target, images(target), f"targets.{target}.steps.train.accelerator={accelerator}")
    assert pipeline.given("training")["backend"] == backend
    assert pipeline.given("experiment")["training"]["backend"] == backend
    if pipeline.is_custom_job("train"):
        (pool,) = pipeline.pools("train")
        surroundings = {variable.name: variable.value for variable in pool.container_spec.env}
        assert pool.container_spec.image_uri == f"registry.example/elboflow-{image}:1"
    else:
        surroundings = pipeline.environment("train")
        assert pipeline.container("train")["image"] == f"registry.example/elboflow-{image}:1"
    assert surroundings == {"JAX_PLATFORMS": platforms}
    for step in ("evaluate", "register"):
        assert pipeline.container(step)["image"] == "registry.example/elboflow-cpu:1"
        assert pipeline.environment(step) == {"JAX_PLATFORMS": "cpu"}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    logger = logging.getLogger("elboflow.targets")
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(logger, "handle", lambda record: lines.append(record.getMessage()))
    return lines


def test_a_change_of_the_backend_is_said(target: str, said: list[str]):
    compiled(target, f"targets.{target}.steps.train.accelerator=v5e", "training.backend=jax")
    assert said == []
    compiled(target, f"targets.{target}.steps.train.accelerator=v5e")
    assert said == [f"training.backend is jax instead of tensorflow: targets.{target}.steps.train is on a TPU, v5e"]


@pytest.mark.parametrize(
    ("target", "train", "has"),
    [
        ("vertex", "{accelerator: {kind: l4, count: 4}}", "4 chips"),
        ("kubeflow", "{accelerator: {kind: l4, count: 4}}", "4 chips"),
        ("vertex", "{accelerator: {kind: l4, count: 4}, workers: 2}", "2 machines with 2 chips each"),
        ("vertex", "{accelerator: {kind: l4, count: 2}, workers: 2}", "2 machines with 1 chip each"),
        ("vertex", "{accelerator: {kind: v5e, count: 16}}", "4 machines with 4 chips each"),
    ],
)
def test_a_training_is_divided_among_all_that_it_is_given(target: str, train: str, has: str, said: list[str]):
    pipeline = compiled(target, images(target), f"targets.{target}.steps.train={train}")
    assert said[-1] == f"training.parallel is data: targets.{target}.steps.train has {has}"
    assert pipeline.given("training")["parallel"] == {"kind": "data", "devices": None}
    assert pipeline.given("experiment")["training"]["parallel"] == {"kind": "data", "devices": None}


def test_a_training_on_one_chip_is_not_divided(target: str, said: list[str]):
    assert compiled(target, f"targets.{target}.steps.train.accelerator=l4").given("training")["parallel"] is None
    assert said == []


def test_how_it_is_divided_may_be_said(said: list[str]):
    settings = ("training.backend=jax", "training.parallel={kind: model, data: 4, model: 4}")
    pipeline = compiled(
        "vertex", images("vertex"), "targets.vertex.steps.train.accelerator={kind: v5e, count: 16}", *settings
    )
    assert pipeline.given("training")["parallel"]["kind"] == "model"
    assert said == []


@pytest.mark.parametrize(
    ("train", "settings", "told"),
    [
        (
            "{accelerator: {kind: l4, count: 2}, workers: 2}",
            ["training.batch_size=33"],
            "training.batch_size: 33 cannot be divided among 2 machines; such a batch can be divided among one machine",
        ),
        (
            "{accelerator: {kind: l4, count: 4}}",
            ["training.batch_size=30"],
            "training.batch_size: 30 cannot be divided among 4 devices; choose a multiple of 4",
        ),
        (
            "{accelerator: {kind: l4, count: 4}, workers: 2}",
            ["training.batch_size=36", "training.micro_batches=18"],
            "training.batch_size: 36 cannot be divided among 2 machines and 2 devices of each and "
            "18 training.micro_batches; choose a multiple of 72",
        ),
        (
            "{accelerator: {kind: l4, count: 2}}",
            ["training.parallel={kind: data, devices: 4}"],
            "training.parallel.devices: 4; targets.vertex.steps.train has 2 chips",
        ),
        (
            "{accelerator: {kind: l4, count: 2}}",
            ["training.backend=jax", "training.parallel={kind: model, data: 2, model: 2}"],
            "training.parallel: data: 2 times model: 2 is 4; targets.vertex.steps.train has 2 chips",
        ),
        (
            "{accelerator: {kind: v5e, count: 16}}",
            ["training.backend=jax", "training.parallel={kind: model, data: 2, model: 8}"],
            "training.parallel.data: 2 is no multiple of the 4 machines: weights are divided among the devices of a "
            "machine, and batches among machines",
        ),
    ],
)
def test_a_training_that_cannot_be_divided_is_refused_before_anything_is_submitted(
    train: str, settings: list[str], told: str
):
    chosen = [f"targets.vertex={TARGETS['vertex']}", images("vertex"), f"targets.vertex.steps.train={train}", *settings]
    with pytest.raises(RequestError) as caught:
        job(load("digits", chosen), "vertex")
    assert str(caught.value) == told


def test_chips_that_a_step_does_not_use_are_said(target: str, said: list[str]):
    compiled(target, f"targets.{target}.steps.evaluate.accelerator={{kind: l4, count: 4}}")
    assert said == [f"targets.{target}.steps.evaluate.accelerator: evaluation uses one chip of 4"]
    said.clear()
    settings = (
        "training.parallel={kind: data, devices: 2}",
        f"targets.{target}.steps.train.accelerator={{kind: l4, count: 4}}",
    )
    compiled(target, *settings)
    assert said == [f"targets.{target}.steps.train.accelerator: training.parallel uses 2 chips of 4"]


VOLUME = "targets.kubeflow.volumes=[{claim: work, mount: /volume}]"
RETRIED = "targets.kubeflow.steps.train.retry.attempts=3"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ([], None),
        ([RETRIED, VOLUME, "training.checkpoints.folder=/volume/checkpoints"], None),
        (["targets.kubeflow.steps.train.retry.attempts=0"], None),
        ([RETRIED], "targets.kubeflow.steps.train: another try starts over: .*there are none"),
        (
            [VOLUME, "targets.kubeflow.steps.train.node_selector={cloud.google.com/gke-spot: 'true'}"],
            "targets.kubeflow.steps.train: another try starts over: .* is not set, .*(/volume)",
        ),
        (
            [VOLUME, "training.checkpoints.folder=/volumeplace"],
            "training.checkpoints.folder: /volumeplace ends with its pod; .*(/volume)",
        ),
    ],
)
def test_checkpoints_that_end_with_their_pod_are_said(settings: list[str], told: str | None, said: list[str]):
    compiled("kubeflow", *settings)
    assert len(said) == (told is not None)
    assert told is None or re.search(told, said[0])


def test_the_command_says_so_on_standard_error(target: str, tmp_path: Path):
    settings = [f"targets.{target}={TARGETS[target]}", f"targets.{target}.steps.train.accelerator=v5e"]
    output = ["--output", str(tmp_path / "pipeline.yaml")]
    done = run("compile", "digits", "--target", target, *output, "--set", settings[0], "--set", settings[1])
    assert "training.backend is jax instead of tensorflow" in done.stderr
    assert done.stdout.strip() == output[1]
