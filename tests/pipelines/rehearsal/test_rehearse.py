"""`elboflow rehearse`: planted mistakes are found by name, and an experiment without any raises none."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.experiment import Experiment
from pipelines.rehearsal.loops import loops
from pipelines.rehearsal.nights import shown_by
from pipelines.rehearsal.plan import Planned, faults, plan
from pipelines.targets import RunState
from pipelines.timing import Timing

IMAGE = "europe-west4-docker.pkg.dev/shop-prod/e/elboflow:1"
CUDA = "europe-west4-docker.pkg.dev/shop-prod/e/elboflow-cuda:1"
HOOK = "projects/shop-prod/secrets/hook/versions/1"
ACCOUNT = "steps@shop-prod.iam.gserviceaccount.com"


def clean(target: str = "vertex") -> dict[str, Any]:
    """Returns an experiment of which nothing would break."""
    vertex = {
        "project": "shop-prod", "location": "europe-west4", "root": "gs://bucket/vae",
        "image": {"cpu": IMAGE, "cuda": CUDA}, "tracking_uri": "https://mlflow.example.org",
        "service_account": ACCOUNT, "secrets": {"HOOK": HOOK},
        "steps": {"train": {"accelerator": {"kind": "l4", "count": 2}, "timeout_minutes": 240, "provisioning": "spot"}},
    }  # fmt: skip
    kubeflow = {
        "image": IMAGE, "tracking_uri": "http://mlflow.mlflow:5000", "timezone": "Europe/Berlin",
        "credentials": "token", "secrets": {"HOOK": {"name": "hook", "key": "url"}},
        "volumes": [{"claim": "work", "mount": "/work"}],
        "steps": {step: {"timeout_minutes": 120} for step in ("preprocess", "train", "evaluate", "register")},
    }  # fmt: skip
    return {
        "name": "wines",
        "data": {
            "source": {"kind": "csv", "path": "gs://bucket/{date}/wines.csv"},
            "features": {"alcohol": "number", "hue": "number", "label": "category"},
        },
        "model": {"input": ["alcohol", "hue"], "condition": "label", "latent": 2, "likelihood": "product"},
        "notify": {"kind": "webhook", "variable": "HOOK"},
        "schedule": {"cron": "0 4 * * *", "timezone": "Europe/Berlin"},
        "targets": {target: {"vertex": vertex, "kubeflow": kubeflow}[target]},
    }


INVENTORY = {
    "images": [IMAGE, CUDA],
    "secrets": [HOOK, "hook/url"],
    "service_accounts": [ACCOUNT],
    "buckets": {"bucket": "europe-west4"},
    "quota": {"l4": 2},
    "machines": ["g2-standard-24", "g2-standard-8"],
    "volumes": ["work"],
    "models": {"wines-vae": "wines"},
    "timezone": "Europe/Berlin",
}


def rehearse(folder: Path, experiment: dict[str, Any], *words: str, target: str = "vertex") -> Result:
    (folder / "wines.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
    (folder / "inventory.yaml").write_text(yaml.safe_dump(INVENTORY), encoding="utf-8")
    given = ["rehearse", str(folder / "wines.yaml"), "--target", target, "--json", "--workspace", str(folder / "w")]
    return CliRunner().invoke(app, [*given, "--inventory", str(folder / "inventory.yaml"), *words])


def flaws(done: Result) -> dict[str, str]:
    """Returns where each flaw is, by its name."""
    assert done.exit_code in (0, 1), done.stderr
    return {flaw["name"]: flaw["where"] for flaw in json.loads(done.stdout)["flaws"]}


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Returns a mistake: another value at a path; None takes it away."""

    def mistake(experiment: dict[str, Any]) -> None:
        *above, last = path.split("/")
        for key in above:
            experiment = experiment.setdefault(key, {})
        if value is None:
            del experiment[last]
        else:
            experiment[last] = value

    return mistake


V, K = "targets/vertex", "targets/kubeflow"
MISTAKES: list[tuple[str, str, Callable[[dict[str, Any]], None], str]] = [
    ("image-missing", "vertex", put(f"{V}/image/cpu", IMAGE.replace("elboflow:", "elbofow:")), "targets.vertex.image"),
    ("image-moves", "vertex", put(f"{V}/image/cuda", CUDA.removesuffix(":1")), "targets.vertex.image"),
    ("image-without-drivers", "vertex", put(f"{V}/image", "registry.example/elboflow-cpu:1"), "targets.vertex.image"),
    ("secret-missing", "vertex", put(f"{V}/secrets/TOKEN", HOOK.replace("hook", "no")), "targets.vertex.secrets.TOKEN"),
    ("quota", "vertex", put(f"{V}/steps/train/accelerator/count", 8), "targets.vertex.steps.train.accelerator"),
    ("bucket-missing", "vertex", put(f"{V}/root", "gs://buckets/vae"), "targets.vertex.root"),
    ("bucket-elsewhere", "vertex", put(f"{V}/location", "us-central1"), "targets.vertex.root"),
    ("account-missing", "vertex", put(f"{V}/service_account", "s@shop-prod.iam.gserviceaccount.com"),
     "targets.vertex.service_account"),
    ("tracking-unreachable", "vertex", put(f"{V}/tracking_uri", "http://10.0.0.7:5000"), "targets.vertex.tracking_uri"),
    ("zone", "vertex", put("schedule", {"cron": "0 4 * * *"}), "schedule.timezone"),
    ("clock-skips", "vertex", put("schedule/cron", "30 2 * * *"), "schedule.cron"),
    ("clock-twice", "vertex", put("schedule/cron", "30 2 * * *"), "schedule.cron"),
    ("overlap", "vertex", put("schedule/cron", "0 * * * *"), "targets.vertex.steps.train.timeout_minutes"),
    ("overlap", "kubeflow", put(f"{K}/steps/train/timeout_minutes", 130), "targets.kubeflow.steps"),
    ("overlap", "vertex", put("schedule/cron", "0 4,5 15 * *"), "targets.vertex.steps.train.timeout_minutes"),
    ("deadline", "vertex", put("schedule/deadline_minutes", 60), "schedule.deadline_minutes"),
    ("no-timeout", "vertex", put(f"{V}/steps/train/timeout_minutes", None),
     "targets.vertex.steps.train.timeout_minutes"),
    ("no-retry", "vertex", put(f"{V}/steps/train/retry", 0), "targets.vertex.steps.train.retry"),
    ("nobody-told", "vertex", put("notify", None), "notify"),
    ("notify-unset", "vertex", put("notify/variable", "SLACK"), "notify.variable"),
    ("source-undated", "vertex", put("data/source/path", "gs://bucket/wines.csv"), "data.source"),
    ("test-too-small", "vertex", put("data/limit", 300), "data.splits.test"),
    ("model-clash", "vertex", put("registry", {"model": "wines-vae"}), "registry.model"),
    ("refused", "vertex", put("data/source/path", "/data/wines.csv"), "data.source.path"),
    ("refused", "vertex", put("notify/when", ["missed"]), "notify.when"),
    ("machine-missing", "vertex", put(f"{V}/steps/evaluate", {"machine": "n2-standrad-8", "timeout_minutes": 60}),
     "targets.vertex.steps.evaluate.machine"),
    ("decides-by", "vertex", put("registry/decides_by", "kl"), "registry.decides_by"),
    ("decides-by", "kubeflow", put("registry/decides_by", "log_liklihood"), "registry.decides_by"),
    ("guard-absent", "vertex", put("registry/guard", [{"feature": "label", "values": [1, 7]}]),
     "registry.guard.0.values"),
    ("always-changed", "vertex", put("notify/when", ["failure"]), "--if-changed"),
    ("zone", "kubeflow", put(f"{K}/timezone", "UTC"), "schedule.timezone"),
    ("secret-missing", "kubeflow", put(f"{K}/secrets/HOOK/key", "address"), "targets.kubeflow.secrets.HOOK"),
    ("volume-missing", "kubeflow", put(f"{K}/volumes", [{"claim": "works", "mount": "/work"}]),
     "targets.kubeflow.volumes"),
    ("checkpoints-lost", "kubeflow", put("training", {"checkpoints": {"folder": "/tmp/checkpoints"}}),
     "training.checkpoints.folder"),
    ("tracking-unreachable", "kubeflow", put(f"{K}/tracking_uri", "http://localhost:5000"),
     "targets.kubeflow.tracking_uri"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "mistake", "where"), MISTAKES, ids=[f"{m[0]}-{m[3]}" for m in MISTAKES])
def test_a_planted_mistake_is_found_by_its_name_and_key(
    tmp_path: Path, name: str, target: str, mistake: Callable[[dict[str, Any]], None], where: str
):
    experiment = clean(target)
    if name == "model-clash":
        experiment["name"] = "whines"
    if name == "guard-absent":
        experiment["data"]["features"]["label"] = {"kind": "category", "classes": 3}
    mistake(experiment)
    words = ["--if-changed"] if name == "always-changed" else []
    done = rehearse(tmp_path, experiment, "--nights", "0", *words, target=target)
    assert done.exit_code == 1, done.stderr
    assert flaws(done).get(name) == where


FAULTS = {
    "429", "500", "lost answer", "expired token", "503 on submission", "lost answer on submission", "pre-emption",
    "failing step", "clock change",
}  # fmt: skip


@pytest.mark.parametrize("target", ["vertex", pytest.param("kubeflow", marks=pytest.mark.slow)])
def test_the_nights_of_a_clean_experiment_meet_every_fault_and_raise_nothing(tmp_path: Path, target: str):
    done = rehearse(tmp_path, clean(target), "--nights", "13", "--announce", target=target)
    assert done.exit_code == 0, done.output
    nights = json.loads(done.stdout)["nights"]
    ticks = [night["tick"] for night in nights]
    assert ticks == sorted(set(ticks))
    assert len(ticks) == 13
    assert {tick[-10:] for tick in ticks} == {" 04:00 CET", "04:00 CEST"}
    by_fault = {night["fault"]: night for night in nights if night["fault"]}
    assert by_fault.keys() == FAULTS
    assert {fault for fault, night in by_fault.items() if night["status"] != "succeeded"} == {"failing step"}
    assert by_fault["failing step"]["notified"] == "$HOOK"
    assert "train succeeded in try 2" in by_fault["pre-emption"]["outcome"]
    late = {"vertex": "went on with a new token", "kubeflow": "put a current token into $KF_PIPELINES_TOKEN; the run"}
    assert late[target] in by_fault["expired token"]["outcome"]
    for fault in ("503 on submission", "lost answer on submission"):
        assert "started by `schedule run`; asked again after the fault" in by_fault[fault]["outcome"]


def seed_of(nights: int, *drawn: str | None, samples: tuple[Path, ...] = ()) -> str:
    """Returns a seed with which the nights after the first have these faults; None for any."""
    known = [*(FAULTS - {"clock change"}), "clock change", "clock change"]
    order = faults(Timing("0 4 * * *", "Europe/Berlin"), datetime.now(UTC), True, samples)
    assert sorted(order) == sorted([*known, *(("no data", "drifted data") if samples else ())])
    for seed in range(100_000):
        planned = [night.fault for night in plan(nights, seed, False, order)][1:]
        if all(wanted in (None, found) for wanted, found in zip(drawn, planned, strict=True)):
            return str(seed)
    raise AssertionError(f"no seed plants {drawn}")


@pytest.mark.slow
def test_a_rehearsal_repeats_itself_and_removes_the_one_before(tmp_path: Path):
    seed = seed_of(2, "429")
    for _ in range(2):
        done = rehearse(tmp_path, clean(), "--nights", "2", "--announce", "--seed", seed)
        assert [night["fault"] for night in json.loads(done.stdout)["nights"]] == [None, "429"]
    assert len(list((tmp_path / "w" / "rehearsal").iterdir())) == 1


@pytest.mark.parametrize(("credentials", "said"), [("iap", "went on with a new token"), ("in_cluster", "")])
def test_credentials_that_renew_themselves_outlast_an_expired_token(tmp_path: Path, credentials: str, said: str):
    experiment = clean("kubeflow")
    given = {"kind": "iap", "client_id": "proxy.apps.example"} if credentials == "iap" else credentials
    experiment["targets"]["kubeflow"]["credentials"] = given
    seed = ("--seed", seed_of(2, "expired token"))
    done = rehearse(tmp_path, experiment, "--nights", "2", "--announce", *seed, target="kubeflow")
    assert done.exit_code == 0, done.output
    nights = {night["fault"]: night for night in json.loads(done.stdout)["nights"]}
    assert (nights["expired token"]["status"], nights["expired token"]["outcome"]) == ("succeeded", said)


@pytest.mark.parametrize("target", ["vertex", pytest.param("kubeflow", marks=pytest.mark.slow)])
def test_a_night_that_the_clock_skips_and_one_that_it_shows_twice_are_told(tmp_path: Path, target: str):
    experiment = clean(target)
    experiment["schedule"]["cron"] = "30 2 * * *"
    seed = ("--seed", seed_of(5, "clock change", None, "clock change", None))
    done = rehearse(tmp_path, experiment, "--nights", "5", "--announce", *seed, target=target)
    assert flaws(done).keys() == {"clock-skips", "clock-twice"}
    nights = json.loads(done.stdout)["nights"]
    (skipped,) = [night for night in nights if night["status"] == "did not run"]
    assert (skipped["fault"], "-03-" in skipped["tick"]) == ("clock change", True)
    (twice,) = [night for night in nights if "again" in night["outcome"] and "-10-" in night["tick"]]
    before = nights[nights.index(twice) - 1]
    assert (before["fault"], before["tick"][:-5]) == ("clock change", twice["tick"][:-4])
    assert (before["tick"][-4:], twice["tick"][-3:]) == ("CEST", "CET")


@pytest.mark.slow
def test_a_schedule_that_ends_too_soon_and_a_step_without_retries_show_in_their_nights(tmp_path: Path):
    experiment = clean()
    experiment["targets"]["vertex"]["steps"]["train"]["retry"] = 0
    done = rehearse(tmp_path, experiment, "--nights", "8", "--announce")
    assert flaws(done).keys() == {"no-retry", "pre-emption"}
    end = datetime.now(UTC) + timedelta(days=2)
    soon = rehearse(tmp_path, clean(), "--nights", "4", "--announce", "--end", end.isoformat())
    assert flaws(soon) == {"ends": "--end"}
    assert len(json.loads(soon.stdout)["nights"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_a_sweep_whose_machine_is_taken_away_fails_as_platforms_ignore_retries_in_loops(tmp_path: Path, target: str):
    experiment = clean(target)
    if target == "vertex":
        experiment["targets"]["vertex"]["steps"]["train"]["accelerator"] = "l4"
    done = rehearse(tmp_path, experiment, "--nights", "1", "--announce", "--over", "model.latent=2,4", target=target)
    assert flaws(done) == ({"retries-ignored": "targets.vertex.steps.train.provisioning"} if target == "vertex" else {})
    night, sweep = json.loads(done.stdout)["nights"]
    assert (night["kind"], night["status"]) == ("announced", "succeeded")
    assert (sweep["kind"], sweep["fault"], sweep["status"]) == ("sweep", "pre-emption", "failed")
    assert "train failed in try 1" in sweep["outcome"]
    assert "`runs retry` trains what is missing: succeeded" in sweep["outcome"]


def test_a_loop_directly_in_an_exit_handler_and_retries_in_loops_are_found_in_a_compiled_pipeline(tmp_path: Path):
    from kfp import compiler, dsl

    @dsl.component(base_image="python:3.12", install_kfp_package=False)
    def train(value: int) -> None:
        pass

    @dsl.component(base_image="python:3.12", install_kfp_package=False)
    def finish(status: dsl.PipelineTaskFinalStatus) -> None:
        pass

    @dsl.pipeline
    def pipeline() -> None:
        with dsl.ExitHandler(finish()), dsl.ParallelFor([1, 2]) as value:
            train(value=value).set_retry(2)

    compiler.Compiler().compile(pipeline, str(tmp_path / "pipeline.yaml"))
    specification = (tmp_path / "pipeline.yaml").read_text(encoding="utf-8")
    target = Experiment.model_validate(clean()).targets.vertex
    assert target is not None
    assert [flaw.name for flaw in loops(specification, "vertex", target)] == ["loop-in-exit-handler", "retries-ignored"]


def test_without_a_target_the_experiment_s_own_platform_is_rehearsed(tmp_path: Path):
    (tmp_path / "wines.yaml").write_text(yaml.safe_dump(clean("kubeflow")), encoding="utf-8")
    done = CliRunner().invoke(app, ["rehearse", str(tmp_path / "wines.yaml"), "--nights", "0", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["target"]) == (0, "kubeflow")
    nowhere = CliRunner().invoke(app, ["rehearse", "digits", "--set", "schedule=0 4 * * *"])
    assert (nowhere.exit_code, nowhere.stdout) == (2, "")
    assert "digits has neither targets.kubeflow nor targets.vertex" in nowhere.stderr


def test_a_wrong_request_is_one_sentence_and_starts_nothing(tmp_path: Path):
    def refused(*words: str) -> str:
        done = rehearse(tmp_path, clean(), *words)
        assert (done.exit_code, done.stdout) == (2, "")
        assert not (tmp_path / "w").exists()
        return done.stderr.splitlines()[-1]

    assert "expected KEY=FILE" in refused("--sample", "wines.csv")
    assert "no location of data.source; its locations: path" in refused("--nights", "1", "--sample", "images=a.csv")
    assert "there is no such file" in refused("--nights", "1", "--sample", "path=absent.csv")
    assert "cannot be read" in refused("--inventory", str(tmp_path / "absent.yaml"))
    assert "a rehearsal is of kubeflow or vertex" in refused("--target", "local")
    assert "targets.kubeflow: missing" in refused("--target", "kubeflow")


def test_a_night_without_data_that_succeeds_is_a_flaw_and_one_that_fails_is_none():
    ended = RunState("7", "wines", "vertex", "succeeded")
    (flaw,) = shown_by(Planned("no data", True), 3, ended, "", "vertex")
    assert (flaw.name, flaw.where) == ("no-data-unnoticed", "data.source")
    assert "night 3 trains on data of another night" in flaw.breaks
    assert not list(shown_by(Planned("no data", True), 3, replace(ended, status="failed"), "", "vertex"))
    assert not list(shown_by(Planned(None, True), 3, ended, "", "vertex"))


def test_of_thirty_nights_the_first_one_after_a_fault_and_those_with_other_data_execute():
    planned = plan(30, 0, True, [*FAULTS, "no data", "drifted data"])
    faulty = {night.fault for night in planned if night.executes and night.fault}
    assert faulty == {"no data", "drifted data"}
    first, after = (number for number, night in enumerate(planned) if night.executes and not night.fault)
    assert (first, planned[after - 1].fault is not None) == (0, True)
    assert not any(night.executes for night in plan(30, 0, False, list(FAULTS)))


@pytest.mark.slow
def test_steps_do_their_work_in_the_first_night_with_drifted_data_and_without_data(tmp_path: Path):
    from sklearn.datasets import load_wine

    wines, small = load_wine(as_frame=True), tmp_path / "small.csv"
    frame = wines.frame[["alcohol", "hue"]].assign(label=["abc"[kind] for kind in wines.target])
    frame.to_csv(small, index=False)
    seed = ("--seed", seed_of(3, "drifted data", "no data", samples=(small,)))
    done = rehearse(tmp_path, clean(), "--nights", "3", "--sample", f"path={small}", *seed)
    assert done.exit_code == 0, done.output
    first, drifted, without = json.loads(done.stdout)["nights"]
    assert {night["kind"] for night in (first, drifted, without)} == {"executed"}
    assert (first["status"], drifted["status"]) == ("succeeded", "succeeded")
    assert "registered wines-vae version" in drifted["outcome"]
    assert "there is no file gs://bucket/rehearsal-samples/small.csv" in without["outcome"]
    assert (without["status"], without["notified"]) == ("failed", "$HOOK")
