"""Overlays: what an environment changes of an experiment, and who is told of a mistake in it."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from elboflow.settings import RequestError
from pipelines.cli import app
from pipelines.experiment import Experiment, environments, load
from pipelines.experiment import text as source

BASE = """\
name: faces
data:
  source: {kind: npz, path: faces.npz}
  features: {image: {kind: image, shape: [8, 8, 1], range: [0, 255]}, label: category}
model:
  encoder: {kind: mlp, hidden: [64, 64]}
  decoder: mlp
training:
  epochs: 5
targets:
  vertex:
    {project: faces-dev, location: europe-west4, root: gs://dev/vae, image: i, tracking_uri: https://m,
    labels: {a: x, b: y}}
"""


@pytest.fixture
def overlaid(tmp_path: Path):
    """Writes an experiment and its overlay `prod`, and returns the experiment's path."""

    def written(overlay: str, base: str = BASE) -> str:
        (tmp_path / "faces.yaml").write_text(base, encoding="utf-8")
        (tmp_path / "faces.prod.yaml").write_text(overlay, encoding="utf-8")
        return str(tmp_path / "faces.yaml")

    return written


def refusal(experiment: str, *assignments: str, env: str = "prod") -> str:
    with pytest.raises(RequestError) as caught:
        load(experiment, assignments, env)
    return str(caught.value)


def elboflow(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_sections_are_merged_and_lists_are_replaced(overlaid):
    path = overlaid("training: {batch_size: 7}\nmodel: {encoder: {hidden: [3]}}\n")
    prod = load(path, env="prod")
    assert (prod.training.epochs, prod.training.batch_size) == (5, 7)
    assert prod.model.encoder.model_dump() == {**load(path).model.encoder.model_dump(), "hidden": [3]}


@pytest.mark.parametrize("other", ["convolutional", "{kind: convolutional, channels: [4]}"])
def test_a_choice_of_another_kind_is_replaced_as_a_whole(overlaid, other: str):
    prod = load(overlaid(f"model: {{encoder: {other}, decoder: {other}}}\n"), env="prod")
    assert prod.model.encoder.kind == prod.model.decoder.kind == "convolutional"


def test_a_choice_of_the_same_kind_is_merged_in_short_form_and_in_long(overlaid):
    path = overlaid("model: {encoder: mlp, decoder: {kind: mlp, hidden: [9]}}\n")
    prod = load(path, env="prod")
    assert prod.model.encoder == load(path).model.encoder
    assert list(prod.model.decoder.hidden) == [9]


def test_what_the_experiment_leaves_to_its_default_is_merged_with_the_default(overlaid):
    path = overlaid("training: {learning_rate: {initial: 0.5}}\n")
    before, after = load(path).training.learning_rate, load(path, env="prod").training.learning_rate
    assert after == before.model_copy(update={"initial": 0.5})
    assert after == load(path, ["training.learning_rate.initial=0.5"]).training.learning_rate


def test_null_takes_a_name_out_of_a_mapping_and_is_a_value_elsewhere(overlaid):
    prod = load(overlaid("targets: {vertex: {labels: {a: null, c: z}}}\nschedule: null\n"), env="prod")
    assert prod.targets.vertex is not None
    assert prod.targets.vertex.labels == {"b": "y", "c": "z"}
    assert prod.schedule is None
    assert load(overlaid("targets: {vertex: null}\n"), env="prod").targets.vertex is None


def test_a_label_called_kind_is_no_choice(overlaid):
    base = BASE.replace("{a: x, b: y}", "{kind: x, b: y}")
    prod = load(overlaid("targets: {vertex: {labels: {kind: z}}}\n", base), env="prod")
    assert prod.targets.vertex is not None
    assert prod.targets.vertex.labels == {"kind": "z", "b": "y"}


def test_null_takes_nothing_out_of_a_mapping_that_the_experiment_does_not_write(overlaid):
    base = BASE.replace("labels: {a: x, b: y}", "runner: direct")
    prod = load(overlaid("targets: {vertex: {labels: {team: null, c: z}, secrets: {KEY: null}}}\n", base), env="prod")
    assert prod.targets.vertex is not None
    assert (prod.targets.vertex.labels, prod.targets.vertex.secrets) == ({"c": "z"}, {})


@pytest.mark.parametrize("vertex", ["", "targets: {vertex: null}\n"])
def test_null_takes_nothing_out_of_a_section_that_is_not_there(overlaid, vertex: str):
    base = BASE[: BASE.index("targets:")] + vertex
    overlay = "training: {epochs: 200}\ntargets: {vertex: {labels: {team: null}}}\n"
    prod = load(overlaid(overlay, base), env="prod")
    assert (prod.training.epochs, prod.targets.vertex) == (200, None)
    assert "faces.prod.yaml:1: targets.vertex.project: missing" in refusal(
        overlaid("targets: {vertex: {labels: {team: null, a: x}}}\n", base)
    )


@pytest.mark.parametrize(
    ("written", "overlay", "expected"),
    [
        ("null", "{kind: v5e, count: 8}", ("v5e", 8)),
        ("l4", "{count: 2}", ("l4", 2)),
        ("{kind: l4, count: 2}", "l4", ("l4", 2)),
        ("{kind: l4, count: 2}", "{count: 4}", ("l4", 4)),
        ("{kind: l4, count: 2}", "v5e", ("v5e", None)),
        ("{kind: l4, count: 2}", "{kind: v5e}", ("v5e", None)),
        ("{kind: l4, count: 2}", "null", None),
    ],
)
def test_an_accelerator_is_merged_with_one_of_its_kind_and_replaced_by_one_of_another(
    overlaid, written: str, overlay: str, expected: tuple[str, int | None] | None
):
    base = BASE.replace("labels: {a: x, b: y}", f"steps: {{train: {{accelerator: {written}}}}}")
    prod = load(overlaid(f"targets: {{vertex: {{steps: {{train: {{accelerator: {overlay}}}}}}}}}\n", base), env="prod")
    assert prod.targets.vertex is not None
    found = prod.targets.vertex.steps["train"].accelerator
    assert (found and (found.kind, found.count)) == expected


def test_set_wins_over_the_environment(overlaid):
    assert load(overlaid("training: {epochs: 9}\n"), ["training.epochs=11"], "prod").training.epochs == 11


@pytest.mark.parametrize(
    ("overlay", "place", "told"),
    [
        ("training:\n  epoch: 5\n", "faces.prod.yaml:2", "training.epoch: unknown key; did you mean 'epochs'?"),
        ("seed: 1\nmodel: {encoder: {kind: mlp, hiden: [3]}}\n", "faces.prod.yaml:2", "model.encoder.hiden: unknown"),
        ("model: {encoder: {hidden: [0]}}\n", "faces.prod.yaml:1", "model.encoder.hidden.0: 0 is not allowed"),
        ("model: {encoder: mpl}\n", "faces.prod.yaml:1", "model.encoder: unknown kind 'mpl'"),
        ("data: {source: {kind: npz}, features: {label: null}}\nmodel: {input: label}\n", "faces.prod.yaml:2", "label"),
        ("targets: {kubeflow: {image: i}}\n", "faces.prod.yaml:1", "targets.kubeflow.tracking_uri: missing"),
        ("seed: [", "faces.prod.yaml:1", "not valid YAML"),
        ("seed: 1\nseed: 2\n", "faces.prod.yaml:2", "seed is given twice, here and on line 1"),
    ],
)  # fmt: skip
def test_a_mistake_of_the_overlay_is_told_with_its_file_and_line(overlaid, overlay: str, place: str, told: str):
    path = Path(overlaid(overlay))
    message = refusal(str(path))
    assert message.startswith(f"{path.parent}/{place}")
    assert told in message
    assert "faces.yaml" not in message


def test_a_mistake_of_the_experiment_is_told_with_the_experiments_file_and_line(overlaid):
    path = overlaid("seed: 1\n", BASE.replace("epochs: 5", "epoch: 5"))
    assert refusal(path).startswith(f"{path}:9: training.epoch: unknown key")
    path = overlaid("model: {encoder: {activation: relu}}\n", BASE.replace("[64, 64]", "[0]"))
    assert refusal(path).startswith(f"{path}:6: model.encoder.hidden.0: 0 is not allowed")


def test_an_assignment_is_blamed_before_both_files(overlaid):
    assert refusal(overlaid("training: {epochs: 0}\n"), "training.epochs=-1").startswith("--set training.epochs=-1: ")


def test_an_absent_overlay_is_refused_with_those_that_exist(overlaid, tmp_path: Path):
    path = overlaid("")
    (tmp_path / "faces.dev.yaml").write_text("", encoding="utf-8")
    (tmp_path / "faces.yaml.bak").write_text("", encoding="utf-8")
    (tmp_path / "other.test.yaml").write_text("", encoding="utf-8")
    assert environments.existing(path) == ["dev", "prod"]
    assert refusal(path, env="stage") == (
        f"--env stage: there is no {tmp_path}/faces.stage.yaml, which would say what is different in stage; "
        f"the environments of {path}: dev, prod"
    )
    assert "has none" in refusal("digits", env="no-such-environment")
    for name in ("../prod", "", "a.b", "-"):
        assert "an environment's name has letters, digits" in refusal(path, env=name)


def test_an_overlay_of_a_ready_made_experiment_is_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("digits.prod.yaml").write_text("training: {epochs: 200, batch_sise: 1}\n", encoding="utf-8")
    assert environments.existing("digits") == ["prod"]
    told = refusal("digits", env="prod")
    assert told.startswith("digits.prod.yaml:1: training.batch_sise: unknown key")
    assert len(told.splitlines()) == 1
    Path("digits.prod.yaml").write_text("training: {epochs: 200}\n", encoding="utf-8")
    assert load("digits", env="prod").training.epochs == 200


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
trees = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(trees, trees)
def test_merging_leaves_its_inputs_alone_and_is_idempotent(below: dict, above: dict):
    base, overlay = (source.parse(name, yaml.safe_dump(tree)) for name, tree in (("base", below), ("over", above)))
    once = environments.merge(base, overlay, Experiment)
    assert (base.values, overlay.values) == (below, above)
    assert environments.merge(once, overlay, Experiment).values == once.values
    assert environments.merge(base, source.parse("empty", ""), Experiment).values == below


@given(trees, trees)
def test_every_place_of_a_merged_experiment_is_a_key_that_it_has(below: dict, above: dict):
    base, overlay = (source.parse(name, yaml.safe_dump(tree)) for name, tree in (("base", below), ("over", above)))
    merged = environments.merge(base, overlay, Experiment)
    for path, place in merged.places.items():
        node = merged.values
        for key in path:
            node = node[key]
        written = base if place.startswith("base:") else overlay
        assert written.places[path] == place


def test_diff_shows_each_key_that_changes_with_both_values(overlaid):
    path = overlaid("training: {epochs: 50}\nmodel: {encoder: convolutional}\nseed: 0\n")
    done = elboflow("config", path, "--env", "prod", "--diff")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert "training.epochs: 5 → 50" in lines
    assert "model.encoder.kind: mlp → convolutional" in lines
    assert "model.encoder.hidden: [64, 64] → –" in lines
    assert not any(line.startswith(("seed", "model.decoder", "targets")) for line in lines)
    assert "\x1b" not in done.stdout


def test_diff_of_what_changes_nothing_is_empty(overlaid):
    done = elboflow("config", overlaid("training: {epochs: 5}\n"), "--env", "prod", "--diff")
    assert (done.exit_code, done.stdout) == (0, "")


def test_diff_of_an_experiment_that_an_environment_completes(overlaid):
    path = overlaid("data: {source: {path: prod.npz}}\n", BASE.replace(", path: faces.npz", ""))
    assert "data.source.path: – → prod.npz" in elboflow("config", path, "--env", "prod", "--diff").stdout


def test_diff_shows_what_set_changes_and_needs_something_to_compare_with():
    done = elboflow("config", "digits", "--set", "seed=3", "--diff")
    assert done.stdout == "seed: 0 → 3\n"
    nothing = elboflow("config", "digits", "--diff")
    assert nothing.exit_code == 2
    assert "give --env ENV, or --set KEY=VALUE" in nothing.stderr


def test_a_terminal_shows_the_values_in_colours(overlaid):
    path = overlaid("training: {epochs: 50}\n")
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "pipelines", "config", path, "--env", "prod", "--diff"]
    subprocess.run(command, stdout=follower, env=environment, check=True)
    os.close(follower)
    shown = os.read(leader, 10_000).decode()
    os.close(leader)
    assert "\x1b[31m5" in shown
    assert "\x1b[32m50" in shown


def test_the_commands_that_read_an_experiment_take_an_environment(overlaid, tmp_path: Path):
    path = overlaid("name: faces-in-production\n")
    assert yaml.safe_load(elboflow("config", path, "--env", "prod").stdout)["registry"]["model"] == (
        "faces-in-production-vae"
    )
    out = str(tmp_path / "out")
    for command in (
        ["step", "preprocess", path, "--output", out],
        ["step", "train", path, "--dataset", out, "--output", out],
        ["step", "evaluate", path, "--dataset", out, "--model", out, "--output", out],
        ["step", "register", path, "--dataset", out, "--model", out, "--evaluation", out],
        ["compile", path, "--target", "vertex"],
        ["publish", path, "--target", "vertex"],
        ["run", path],
    ):
        done = elboflow(*command, "--env", "stage")
        assert done.exit_code == 2, command
        assert "--env stage: there is no" in done.stderr, command
