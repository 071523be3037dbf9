"""Following a run: what is shown, how often it is looked at, and what a platform out of reach does to it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from elboflow.settings import RequestError, WorkError
from pipelines import follow
from pipelines.commands.target_runs import follow_to_end
from pipelines.targets import RunState, Status, StepState
from pipelines.targets.local import artifacts
from pipelines.targets.tasks import in_order, outcome, steps_of

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def step(name: str, status: Status, seconds: float = 3.0, reason: str | None = None) -> StepState:
    ended = NOON + timedelta(seconds=seconds) if status in ("succeeded", "failed", "cancelled") else None
    return StepState(name, status, NOON if status != "pending" else None, ended, reason)


def run(status: Status, *steps: StepState) -> RunState:
    return RunState("digits-1", "digits", "vertex", status, steps)


class Platform:
    """A target that tells one state, or raises one error, after the other."""

    name = "vertex"

    def __init__(self, *answers: RunState | Exception) -> None:
        self.answers = list(answers)

    def run(self, id: str) -> RunState:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def followed(*answers: RunState | Exception) -> tuple[RunState, list[float]]:
    waits: list[float] = []
    platform: Any = Platform(*answers)
    return follow.follow(platform, run("pending"), sleep=waits.append), waits


def test_each_step_has_a_header_as_it_begins_and_its_seconds_when_it_has_ended(capsys: pytest.CaptureFixture[str]):
    ended, _ = followed(
        run("running", step("preprocess", "running"), step("train", "pending")),
        run("running", step("preprocess", "succeeded"), step("train", "running")),
        run("succeeded", step("preprocess", "succeeded"), step("train", "succeeded", 61.26)),
    )
    shown = capsys.readouterr()
    assert ended.status == "succeeded"
    assert shown.out == ""
    assert shown.err.splitlines() == ["preprocess", "  3.0 s", "train", "  61.3 s"]


def test_the_ending_of_one_of_two_steps_at_work_says_whose_it_is(capsys: pytest.CaptureFixture[str]):
    followed(
        run("running", step("left", "running"), step("right", "running")),
        run("failed", step("left", "succeeded"), step("right", "failed", 2.0, "a NaN")),
    )
    assert capsys.readouterr().err.splitlines() == ["left", "right", "  left: 3.0 s", "  failed: a NaN, after 2.0 s"]


def test_a_platform_that_is_out_of_reach_for_a_while_loses_nothing(capsys: pytest.CaptureFixture[str]):
    ended, waits = followed(
        WorkError("no answer"), WorkError("no answer"), run("succeeded", step("train", "succeeded"))
    )
    assert ended.status == "succeeded"
    assert capsys.readouterr().err.splitlines() == ["train", "  3.0 s"]
    assert waits == sorted(waits)


def test_a_platform_that_stays_out_of_reach_is_given_up_within_bounds():
    waits: list[float] = []
    platform: Any = Platform(WorkError("no answer"))
    with pytest.raises(WorkError, match="no answer"):
        follow.follow(platform, run("running"), sleep=waits.append)
    assert follow.PATIENCE < sum(waits) < follow.PATIENCE + 2 * follow.LONGEST


def test_credentials_that_ran_out_end_the_following_at_once():
    waits: list[float] = []
    platform: Any = Platform(RequestError("renew them"))
    with pytest.raises(follow.LostError, match="renew them") as lost:
        follow.follow(platform, run("running"), sleep=waits.append)
    assert len(waits) == 1
    assert (lost.value.state, lost.value.exit_code) == (run("running"), 1)  # 2 would say that nothing was started


def test_looks_become_rarer_while_nothing_happens_and_frequent_again_when_something_does():
    quiet = run("running", step("train", "running"))
    _, waits = followed(*[quiet] * 30, run("running", step("train", "succeeded")), run("succeeded"))
    assert max(waits) == follow.LONGEST
    assert waits[-1] == follow.FIRST


class Registered(Platform):
    """A platform whose run has ended, and the log of its last step."""

    def __init__(self, log: list[str] | Exception) -> None:
        super().__init__(run("succeeded"))
        self.log = log

    def logs(self, id: str, step: str) -> Iterator[str]:
        assert (id, step) == ("digits-1", "register")
        if isinstance(self.log, Exception):
            raise self.log
        yield from self.log


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (
            ["[KFP Executor 2026] x", "[elboflow] registered digits-vae version 3", "[elboflow] MLflow: https://m/#/r"],
            ["registered digits-vae version 3", "MLflow: https://m/#/r"],
        ),
        (WorkError("the log of register is gone with its pod"), ["the log of register is gone with its pod"]),
        (RequestError("the run digits-1 has no step 'register' that has begun"), []),
    ],
)
def test_a_run_that_was_followed_ends_with_what_it_registered(
    log: list[str] | Exception, told: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    platform: Any = Registered(log)
    follow_to_end(platform, run("succeeded"), tmp_path, as_json=False)
    assert capsys.readouterr().err.splitlines() == ["digits-1: succeeded", *told]


def test_what_the_log_had_already_shown_of_the_registration_is_not_shown_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    platform: Any = Registered(["[elboflow] registered digits-vae version 3", "[elboflow] MLflow: https://m/#/r"])
    missed = ["train: epoch 1 of 2", "register: registered digits-vae version 3"]
    follow_to_end(platform, run("succeeded"), tmp_path, as_json=False, missed=missed)
    assert capsys.readouterr().err.splitlines() == [*missed, "digits-1: succeeded", "MLflow: https://m/#/r"]


def test_a_run_of_this_machine_that_was_followed_ends_with_where_its_version_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    made = {"tracking_uri": "https://mlflow.example", "run_id": "4711", "model": "digits-vae", "version": 3.0}
    (tmp_path / "runs/digits-1/register").mkdir(parents=True)
    artifacts.keep(
        tmp_path / "runs/digits-1/register", {"registration": artifacts.Artifact("r", "system.Artifact", "r", made)}
    )
    here: Any = Registered([])
    here.name = "local"
    follow_to_end(here, run("succeeded"), tmp_path, as_json=False)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "MLflow: https://mlflow.example/#/runs/4711",
        "        https://mlflow.example/#/models/digits-vae/versions/3",
    ]


PIPELINE = {
    "root": {
        "dag": {
            "tasks": {
                "exit-handler-1": {"componentRef": {"name": "comp-exit-handler-1"}},
                "finish": {"componentRef": {"name": "comp-finish"}, "dependentTasks": ["exit-handler-1"]},
            }
        }
    },
    "components": {
        "comp-exit-handler-1": {
            "dag": {
                "tasks": {
                    "condition-2": {"componentRef": {"name": "comp-condition-2"}, "dependentTasks": ["decide"]},
                    "decide": {"componentRef": {"name": "comp-decide"}},
                }
            }
        },
        "comp-condition-2": {
            "dag": {
                "tasks": {
                    "preprocess": {"componentRef": {"name": "comp-preprocess"}},
                    "aaa-train": {"componentRef": {"name": "comp-train"}, "dependentTasks": ["preprocess"]},
                }
            }
        },
    },
}


def test_the_steps_of_a_pipeline_are_its_tasks_with_containers_in_the_order_in_which_they_run():
    assert steps_of(PIPELINE) == ("decide", "preprocess", "aaa-train", "finish")
    assert steps_of({}) == ()


def test_tasks_that_are_no_steps_are_left_out_and_steps_to_come_are_pending():
    states = [step("condition-2", "running"), step("decide", "succeeded"), step("preprocess", "running")]
    known = steps_of(PIPELINE)
    shown = in_order(known, states, "running")
    assert [(each.name, each.status) for each in shown] == [
        ("decide", "succeeded"),
        ("preprocess", "running"),
        ("aaa-train", "pending"),
        ("finish", "pending"),
    ]
    assert [each.name for each in in_order(known, states, "failed")] == ["decide", "preprocess"]


def test_the_steps_of_a_loop_are_told_apart_by_the_order_in_which_they_began():
    later = replace(step("train", "running"), started=NOON + timedelta(minutes=1))
    assert [each.name for each in in_order(("train",), [later, step("train", "succeeded")], "running")] == [
        "train",
        "train 2",
    ]


def test_a_run_is_unchanged_only_if_nothing_but_the_steps_around_the_work_succeeded():
    known = steps_of(PIPELINE)
    around = [step("decide", "succeeded"), step("finish", "succeeded"), StepState("preprocess", "skipped")]
    assert outcome(known, around, "succeeded", None)[1:] == ("skipped", "nothing has changed since the last success")
    assert outcome(known, [*around, step("preprocess", "succeeded")], "succeeded", None)[1] == "succeeded"
    assert outcome(("preprocess",), [], "succeeded", None)[1] == "succeeded"
