"""Steps and runs that are killed or interrupted at random moments: nothing is lost, nothing half-written is taken for
whole, no process is left, and the same command ends well."""

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.campaign import Command, check_what_looks_whole, end_at_some_moment, make, states, words

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kills")]


class Begun:
    """The commands of a test, which end with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[Command] = []

    def __call__(self, *words: str | Path) -> Command:
        self.commands.append(Command(self.folder, *words))
        return self.commands[-1]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begun]:
    begun = Begun(tmp_path)
    yield begun
    for command in begun.commands:
        command.process.kill()
        command.process.wait()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made"))


def versions(workspace: Path) -> list[str]:
    """The states of a workspace's registered versions; the champion must be one of those that are whole."""
    from mlflow import MlflowClient

    database = f"sqlite:///{workspace}/mlflow.db"
    client = MlflowClient(database, registry_uri=database)  # an earlier test may have set another one in this process
    found = client.search_model_versions("name = 'digits-vae'")
    champion = client.get_model_version_by_alias("digits-vae", "champion")
    assert champion.status == "READY"
    return [version.status for version in found]


def test_a_run_killed_in_every_stage_leaves_nothing_that_stands_in_the_way(begin: Begun, tmp_path: Path):
    chance, workspace = random.Random(0), tmp_path / "workspace"
    for stage in (None, "preprocess", "train", "evaluate", "register"):
        run = begin("run", "digits", "--workspace", workspace)
        assert end_at_some_moment(run, stage, signal.SIGKILL, chance) in (-signal.SIGKILL, 0)
        assert run.left() == []
        check_what_looks_whole(workspace)
    last = begin("run", "digits", "--workspace", workspace, "--json")
    assert last.end() == 0, "".join(last.lines)
    assert last.process.stdout is not None
    assert json.loads(last.process.stdout.read())["status"] == "succeeded"
    assert last.left() == []
    assert last.temporary_folders() == []
    assert check_what_looks_whole(workspace) == {"dataset", "model", "evaluation"}
    assert set(states(workspace)) <= {"succeeded", "failed"}
    assert states(workspace)[0] == "succeeded"
    assert "READY" in versions(workspace)


@pytest.mark.parametrize(
    ("by", "stages"), [(signal.SIGINT, ("preprocess", "evaluate")), (signal.SIGTERM, ("train", "register"))]
)
def test_a_run_interrupted_in_any_stage_ends_in_order_and_takes_all_with_it(
    by: signal.Signals, stages: tuple[str, ...], begin: Begun, tmp_path: Path
):
    chance, workspace = random.Random(by), tmp_path / "workspace"
    for stage in stages:
        run = begin("run", "digits", "--workspace", workspace)
        code = end_at_some_moment(run, stage, by, chance)
        assert code in (128 + by, 0), "".join(run.lines)
        assert run.left() == []
        assert run.temporary_folders() == []
        check_what_looks_whole(workspace)
        assert states(workspace)[0] == ("cancelled" if code else "succeeded")


@pytest.mark.parametrize("step", ["preprocess", "train", "evaluate", "register"])
def test_a_step_killed_at_random_moments_ends_well_when_it_is_begun_again(
    step: str, begin: Begun, made: Path, tmp_path: Path
):
    output, chance = tmp_path / "output", random.Random(step)
    whole = {"preprocess": {"dataset"}, "train": {"model"}, "evaluate": {"evaluation"}, "register": set[str]()}
    for _ in range(3):
        command = begin("step", step, "digits", *words(step, made, output))
        assert end_at_some_moment(command, None, signal.SIGKILL, chance, longest=8.0) in (-signal.SIGKILL, 0)
        assert command.left() == []
        check_what_looks_whole(output)
    last = begin("step", step, "digits", *words(step, made, output))
    assert last.end() == 0, "".join(last.lines)
    assert last.left() == []
    assert last.temporary_folders() == []
    assert check_what_looks_whole(made) == {"dataset", "model", "evaluation"}
    assert check_what_looks_whole(output) == whole[step]
    if step == "register":
        assert "READY" in versions(output)
