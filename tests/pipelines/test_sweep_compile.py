"""Sweeps as platforms take them, read back as KFP's and Vertex AI's own messages."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from elboflow.settings import RequestError
from elboflow.testing.platforms.quirks import has_loop_in_exit_handler
from pipelines.experiment import load
from pipelines.sweeps import axes, tuning
from pipelines.sweeps.candidates import Plan, SearchSettings
from pipelines.targets.submission import sweep_job
from tests.pipelines.compiled import IMAGES, TARGETS, Compiled, images

OVER = ("model.latent=2,8", "seed=0,1")
RANGES = ("model.latent=2..64", "training.learning_rate.initial=1e-4..1e-2:log", "model.objective=elbo,{kind: beta}")
MACHINE = "targets.vertex.steps.train.machine=n2-standard-8"


def grid(target: str, *assignments: str, parallel: int = 3) -> Compiled:
    experiment = load("digits", [f"targets.{target}={TARGETS[target]}", *assignments])
    varied = axes.parse(OVER, experiment)
    return compiled(
        Plan(experiment, varied, parallel, SearchSettings("grid", len(axes.grid(varied)), prune=False)), target
    )


def search(*assignments: str, sampler: str = "tpe") -> Compiled:
    experiment = load("digits", [f"targets.vertex={TARGETS['vertex']}", *assignments])
    return compiled(
        Plan(experiment, axes.parse(RANGES, experiment), 4, SearchSettings(sampler, 20, prune=False)), "vertex"
    )


def compiled(plan: Plan, target: str) -> Compiled:
    job = sweep_job(plan, target)
    assert job.name == "digits"
    assert job.specification is not None
    return Compiled(job.specification)


@pytest.fixture(scope="module", params=list(TARGETS))
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pipeline(target: str) -> Compiled:
    return grid(target)


@pytest.fixture(scope="module")
def tuned() -> Compiled:
    return search(MACHINE)


def the_loop(pipeline: Compiled) -> tuple[str, Any]:
    """Returns the loop of the trials: its name, and its task."""
    ((name, loop),) = (task for task in pipeline.within("sweep").items() if task[0].startswith("for-loop"))
    return name, loop


def test_the_loop_is_in_a_pipeline_of_its_own_because_an_exit_handler_fails_with_one(pipeline: Compiled):
    assert set(pipeline.within("exit-handler-1")) == {"sweep"}
    assert not has_loop_in_exit_handler(pipeline.documents[0])


def test_a_trial_is_tried_again_by_its_step_because_platforms_ignore_retries_in_loops(target: str):
    retry = f"targets.{target}.steps.train.retry={{attempts: 3, wait_seconds: 10, factor: 2}}"
    pipeline = grid(target, retry)
    (name, _) = the_loop(pipeline)
    train = pipeline.within(name)["train"]
    waits = train.inputs.parameters["waits"].runtime_value.constant
    assert json_format.MessageToDict(waits) == [10, 20, 40]


def test_the_trials_are_a_loop_over_the_grid_so_many_at_once(pipeline: Compiled):
    name, loop = the_loop(pipeline)
    assert loop.iterator_policy.parallelism_limit == 3
    assert set(pipeline.within(name)) == {"train"}
    assert [json.loads(values) for values in json.loads(loop.parameter_iterator.items.raw)] == [
        {"model.latent": latent, "seed": seed} for latent in (2, 8) for seed in (0, 1)
    ]


def test_the_best_of_all_trials_is_evaluated_and_registered(pipeline: Compiled):
    tasks = pipeline.within("sweep")
    trials = tasks["choose"].inputs.artifacts["trials"].task_output_artifact
    assert (trials.producer_task, trials.output_artifact_key) == (the_loop(pipeline)[0], "pipelinechannel--train-trial")
    for step in ("evaluate", "register"):
        assert tasks[step].inputs.artifacts["model"].task_output_artifact.producer_task == "choose"
    assert tasks["register"].inputs.parameters["experiment"].task_output_parameter.producer_task == "choose"
    assert tasks["evaluate"].inputs.parameters["seed"].task_output_parameter.producer_task == "choose"


def test_one_dataset_serves_all_trials_and_the_evaluation(pipeline: Compiled):
    producers = [task for task in pipeline.tasks if task.startswith("preprocess")]
    assert producers == ["preprocess"]
    assert set(pipeline.within(the_loop(pipeline)[0])["train"].inputs.artifacts) == {"dataset"}


def test_trials_stand_below_one_run_named_after_the_job_that_is_made_before_them(pipeline: Compiled):
    tasks = pipeline.within("sweep")
    name, loop = the_loop(pipeline)
    assert "begin" in loop.dependent_tasks
    for task in (tasks["begin"], tasks["register"], pipeline.within(name)["train"]):
        assert task.inputs.parameters["run"].runtime_value.constant.string_value == "{{$.pipeline_job_name}}"


def test_nothing_but_the_item_comes_into_the_loop_from_a_task_s_parameters(pipeline: Compiled):
    _, loop = the_loop(pipeline)
    # KFP's local runner would put the loop's item in the place of each.
    assert not [name for name, given in loop.inputs.parameters.items() if given.HasField("task_output_parameter")]


def test_whatever_happens_the_last_step_is_told_how_it_ended(pipeline: Compiled):
    assert set(pipeline.spec.root.dag.tasks) == {"exit-handler-1", "finish"}
    status = pipeline.spec.root.dag.tasks["finish"].inputs.parameters["status"]
    assert status.task_final_status.producer_task == "exit-handler-1"


def test_a_trial_that_failed_is_never_taken_from_a_cache(pipeline: Compiled):
    cached = {name for name, task in pipeline.tasks.items() if task.caching_options.enable_cache}
    assert cached == {"evaluate"}


def test_a_sweep_compiles_to_the_same_bytes_and_names_nothing_of_this_machine(target: str, pipeline: Compiled):
    assert grid(target).text == pipeline.text
    for here in (str(Path.cwd()), str(Path.home() / ""), socket.gethostname()):
        assert len(here) < 3 or here not in pipeline.text


def test_a_trial_has_the_machine_of_the_training():
    on_cluster = grid(
        "kubeflow", images("kubeflow"), "targets.kubeflow.steps.train={accelerator: a100-40gb, memory: 16Gi}"
    )
    assert on_cluster.container("train")["image"] == IMAGES["cuda"]
    assert on_cluster.container("begin")["image"] == IMAGES["cpu"]
    on_vertex = grid("vertex", images("vertex"), "targets.vertex.steps.train.accelerator=a100-40gb")
    assert on_vertex.is_custom_job("train")
    (pool,) = on_vertex.pools("train")
    assert pool.machine_spec.machine_type == "a2-highgpu-1g"
    assert "trials" in json.dumps(on_vertex.given("trials_root"))


def test_a_tpu_makes_all_trials_run_on_jax():
    on_tpu = grid("vertex", images("vertex"), "targets.vertex.steps.train.accelerator={kind: v5e, count: 4}")
    experiment = on_tpu.within(the_loop(on_tpu)[0])["train"].inputs.parameters["experiment"]
    assert json.loads(experiment.runtime_value.constant.string_value)["training"]["backend"] == "jax"


def test_trials_of_vertex_outlive_their_run_in_the_folder_of_the_sweep():
    root = grid("vertex").given("trials_root")
    assert root.startswith("gs://bucket/vae/sweeps/digits-")
    assert root == grid("vertex", parallel=1).given("trials_root")
    assert root != grid("vertex", "training.epochs=3").given("trials_root")
    assert grid("kubeflow").given("trials_root") == ""


def test_trials_on_several_machines_each_are_refused():
    with pytest.raises(
        RequestError, match=r"targets\.vertex\.steps\.train: 2 machines; each trial of a sweep trains on one"
    ):
        grid("vertex", "targets.vertex.steps.train={accelerator: {kind: a100-40gb, count: 2}, workers: 2}")


DATED = (
    "data.source={kind: csv, path: 'gs://bucket/{date}/*.csv'}",
    "data.features={amount: number}",
    "model={input: amount, latent: 2, likelihood: normal}",
)


@pytest.mark.parametrize("given", [None, "2026-11-28"])
def test_a_sweep_of_dated_data_reads_and_records_the_date_that_it_is_asked_for(target: str, given: str | None):
    date = [] if given is None else [f"date='{given}'"]
    pipeline = grid(target, *DATED, *date)
    assert pipeline.spec.root.input_definitions.parameters["date"].default_value.string_value == (given or "")
    resolved = pipeline.within("exit-handler-1")["sweep"].inputs.parameters
    for name in ("data", "date"):
        assert resolved[name].task_output_parameter.producer_task == "resolve-date"
    tasks = pipeline.within("sweep")
    assert tasks["preprocess"].inputs.parameters["data"].component_input_parameter == "data"
    for name in ("begin", "register"):  # a trial's run gets it from that of the sweep
        assert tasks[name].inputs.parameters["date"].component_input_parameter == "date"


def test_a_search_of_dated_data_does_so_too():
    tasks = search(MACHINE, *DATED).within("exit-handler-1")
    for name in ("worker-pools", "register"):
        assert tasks[name].inputs.parameters["date"].task_output_parameter.producer_task == "resolve-date"


def tuning_job(pipeline: Compiled) -> dict[str, Any]:
    """The inputs of the tuning job."""
    inputs = pipeline.within("exit-handler-1")["hyperparameter-tuning-job"].inputs.parameters
    return {
        name: json_format.MessageToDict(given.runtime_value.constant)
        for name, given in inputs.items()
        if given.HasField("runtime_value")
    }


def test_on_vertex_a_search_is_a_tuning_job_of_the_values_asked_for(tuned: Compiled):
    from google.cloud.aiplatform_v1.types import StudySpec

    job = tuning_job(tuned)
    latent, rate, objective = (
        json_format.ParseDict(given, StudySpec.ParameterSpec.pb(StudySpec.ParameterSpec()))
        for given in job["study_spec_parameters"]
    )
    assert (latent.parameter_id, latent.integer_value_spec.min_value, latent.integer_value_spec.max_value) == (
        "model.latent",
        2,
        64,
    )
    assert rate.double_value_spec.min_value == 1e-4
    assert rate.scale_type == StudySpec.ParameterSpec.ScaleType.UNIT_LOG_SCALE
    assert list(objective.categorical_value_spec.values) == ['"elbo"', '{"kind": "beta"}']
    (metric,) = job["study_spec_metrics"]
    parsed = json_format.ParseDict(metric, StudySpec.MetricSpec.pb(StudySpec.MetricSpec()))
    assert (parsed.metric_id, parsed.goal) == ("elbo", StudySpec.MetricSpec.GoalType.MAXIMIZE)
    assert job["max_trial_count"] == job["max_failed_trial_count"] == 20
    assert job["parallel_trial_count"] == 4
    assert job["study_spec_algorithm"] == "ALGORITHM_UNSPECIFIED"
    assert tuning_job(search(MACHINE, sampler="random"))["study_spec_algorithm"] == "RANDOM_SEARCH"
    assert job["location"] == "europe-west4"
    assert job["base_output_directory"].startswith("gs://bucket/vae/sweeps/digits-")


def test_the_best_is_chosen_after_the_tuning_job_among_what_its_trials_left(tuned: Compiled):
    tasks = tuned.within("exit-handler-1")
    assert "hyperparameter-tuning-job" in tasks["choose-found"].dependent_tasks
    assert "worker-pools" in tasks["hyperparameter-tuning-job"].dependent_tasks
    assert tasks["register"].inputs.parameters["experiment"].task_output_parameter.producer_task == "choose-found"


def test_the_trials_of_a_tuning_job_are_this_project_s_own_program(tuned: Compiled):
    from google.cloud.aiplatform_v1.types import WorkerPoolSpec

    trial = tuning.Trial("/gcs/d", {"name": "digits"}, {"model.latent": "2..64"}, "run", "gs://b/t", "https://m")
    (pool,) = tuning.worker_pools(trial, tuned.given("pool"))
    parsed = json_format.ParseDict(pool, WorkerPoolSpec.pb(WorkerPoolSpec()))
    assert parsed.machine_spec.machine_type == "n2-standard-8"
    assert parsed.container_spec.image_uri == "registry.example/elboflow:1"
    assert list(parsed.container_spec.command[:3]) == ["python3", "-m", "pipelines.sweeps.tuning"]
    assert tuning.Trial(**json.loads(parsed.container_spec.command[3])) == trial


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        ((), "targets.vertex.steps.train.machine: missing"),
        ((MACHINE, "targets.vertex.steps.train.provisioning=spot"), "standard machines only"),
    ],
)
def test_what_a_tuning_job_cannot_do_is_refused(assignments: tuple[str, ...], said: str):
    with pytest.raises(RequestError, match=said):
        search(*assignments)


def test_a_trial_of_a_tuning_job_takes_the_values_and_reports_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from components.sweep.trial import Outcome

    experiment = load("digits").recorded()
    over = dict(text.split("=", 1) for text in RANGES)
    trial = tuning.Trial("dataset", experiment, over, "run", f"gs://{tmp_path}/trials", "sqlite:///unused")
    monkeypatch.setenv("CLOUD_ML_HP_METRIC_FILE", str(tmp_path / "metrics/output.metrics"))
    monkeypatch.setenv("CLOUD_ML_TRIAL_ID", "7")
    monkeypatch.setattr(tuning, "Sweep", lambda *_: None)
    tried = {}

    def attempt(dataset: str, candidate: Any, output: Path, tracked: Any, watch: Any) -> Outcome:
        tried.update(candidate.values, folder=output)
        assert watch(1, -30.0)
        assert watch(2, -29.5)
        return Outcome(candidate.digest, candidate.values, "run", "finished", (-30.0, -29.5))

    monkeypatch.setattr(tuning, "attempt", attempt)
    values = ["--model.latent=8.0", "--training.learning_rate.initial=0.001", '--model.objective={"kind": "beta"}']
    tuning.main([json.dumps(vars(trial)), *values])
    folder = tried.pop("folder")
    assert str(folder).startswith("/gcs/")
    assert tried == {
        "model.latent": 8,
        "training.learning_rate.initial": 0.001,
        "model.objective": {"kind": "beta"},
    }
    lines = [
        json.loads(line) for line in (tmp_path / "metrics/output.metrics").read_text(encoding="utf-8").splitlines()
    ]
    assert [(line["trial"], line["elbo"], line["global_step"]) for line in lines] == [
        ("7", "-30.0", "1"),
        ("7", "-29.5", "2"),
    ]


def test_a_failed_trial_of_a_tuning_job_fails_its_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from components.sweep.trial import Outcome

    experiment = load("digits").recorded()
    trial = tuning.Trial("dataset", experiment, {"seed": "0,1"}, "run", "gs://b/t", "sqlite:///unused")
    monkeypatch.setattr(tuning, "Sweep", lambda *_: None)
    monkeypatch.setattr(tuning, "attempt", lambda *_: Outcome("d", {}, "run", "failed", reason="the kl became inf"))
    with pytest.raises(SystemExit) as ended:
        tuning.main([json.dumps(vars(trial)), "--seed=1"])
    assert ended.value.code == 1
