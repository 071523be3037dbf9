"""Experiments: what is refused before anything runs, and what the person is told."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from elboflow.settings import RequestError
from elboflow.vae.config import SGD, Adam, Constant, EarlyStopping, Lion, Muon, Optimizer
from pipelines.experiment import Experiment, load, text
from pipelines.experiment import text as source

SHORTEST = "name: mine\ndata: {source: sklearn}\n"
VERTEX = "project: vae-project, location: europe-west4, image: a, tracking_uri: 'https://m'"


@pytest.fixture
def write(tmp_path: Path):
    def written(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return written


def refusal(experiment: str, *assignments: str) -> str:
    with pytest.raises(RequestError) as caught:
        load(experiment, assignments)
    return str(caught.value)


def test_two_lines_are_an_experiment(write):
    experiment = load(write(SHORTEST))
    assert experiment.registry.model == "mine-vae"
    assert experiment.training.epochs == 50


def test_the_ready_made_experiments_load():
    assert list(source.ready_made()) == ["digits", "mnist", "table", "text"]
    assert load("digits").name == "digits"
    assert load("mnist", ["data.source.path=/data/mnist"]).data.splits["test"] == "source"


def test_mnist_without_a_path_says_how_to_give_one():
    assert "elboflow run mnist --set data.source.path=FOLDER" in refusal("mnist")


def test_what_config_prints_is_the_same_experiment(write):
    experiment = load("digits", ["model.encoder=convolutional"])
    assert load(write(yaml.safe_dump(experiment.model_dump(mode="json")))) == experiment


def test_an_unknown_experiment_comes_with_the_nearest():
    assert refusal("digit") == (
        "digit: no such file or experiment; did you mean 'digits'? ready-made experiments: digits, mnist, table, text"
    )
    assert refusal("some/where.yaml") == (
        "some/where.yaml: no such file; ready-made experiments: digits, mnist, table, text"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("training: {epoch: 5}", ":3: training.epoch: unknown key; did you mean 'epochs'? allowed: "),
        ("model:\n  encoder: mpl", ":4: model.encoder: unknown kind 'mpl'; did you mean 'mlp'? allowed: "),
        ("model:\n  encoder:\n    kind: mlp\n    hiden: [3]", ":6: model.encoder.hiden: unknown key; did you mean"),
        ("training: {epochs: 0}", ":3: training.epochs: 0 is not allowed; must be greater than 0"),
        ("training: {epochs: many}", ":3: training.epochs: 'many' is not allowed; must be a whole number"),
        ("training: 5", ":3: training: 5 is not allowed; must be a section with the keys backend, device"),
        ("seed: -1", ":3: seed: -1 is not allowed; must be greater than or equal to 0"),
        ("registry: {confidence: 2}", ":3: registry.confidence: 2 is not allowed; must be less than 1"),
        ("model: {input: label}", ":3: model.likelihood: 'bernoulli' models arrays of levels, as images are; 'label'"),
        ("model: {input: pixels}", ":3: model.input: 'pixels' is no feature of the data; data.features has image"),
        ("model: {condition: pixels}", ":3: model.condition: 'pixels' is no feature of the data; data.features has"),
        ("model: {condition: image}", ":3: model.condition: 'image' is modelled, as model.input says"),
        ("training: {weights: label}", ":3: training.weights: 'label' is no feature of kind number; data.features has"),
        ("training: {balance: {feature: image}}", ":3: training.balance.feature: 'image' is no feature of kind c"),
        ("targets: {aws: {}}", ":3: targets.aws: unknown key; allowed: local, kubeflow, vertex"),
        (f"targets: {{vertex: {{{VERTEX}, root: s3://b}}}}", ":3: targets.vertex.root: 's3://b' is not"),
        ("name: again", ":3: name is given twice, here and on line 1"),
        ("targets: {kubeflow: {image: a, tracking_uri: m}}", ":3: targets.kubeflow.tracking_uri: 'm' is not"),
        ("training: &again {epochs: *again}", ":3: *again stands within what it stands for"),
        ("training: " + "[" * 5000, ":3: nested more deeply than 50 levels"),
        ("training: [", ":3: not valid YAML: "),
        ("training: !!python/object:os.system {}", ":3: the tag !!python/object:os.system is not allowed"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_key_and_what_is_allowed(write, text: str, told: str):
    path = write(SHORTEST + text + "\n")
    assert refusal(path).startswith(path + told)


def test_a_name_that_no_cluster_would_take_is_refused(write):
    for name in ("My Digits", "-x", "x" * 51, "9lives", "x-"):
        told = refusal(write(f"name: '{name}'\ndata: {{source: sklearn}}\n"))
        assert f"name: '{name}' is not allowed; must be lower-case letters, digits and hyphens, at most 50" in told


@pytest.mark.parametrize("name", ["name: 5\n", ""])
def test_a_name_that_is_wrong_or_absent_is_one_mistake(write, name: str):
    assert "name: " in refusal(write(name + "data: {source: sklearn}\n"))
    assert len(refusal(write(name + "data: {source: sklearn}\n")).splitlines()) == 1
    assert len(refusal(write(name + "data: {source: sklearn}\nregistry: {confidence: 0.9}\n")).splitlines()) == 1


def test_an_absent_name_and_absent_data_are_both_told(write):
    told = refusal(write("seed: 1\n"))
    assert "name: missing; it must be given" in told
    assert "data: missing; it must be given" in told


def test_a_file_that_is_no_section_is_refused(write):
    assert "an experiment is a section of keys and values" in refusal(write("- digits\n"))
    assert "name: missing" in refusal(write(""))


def test_bernoulli_pixels_that_are_not_binary_and_stay_so_are_refused():
    assert (
        "model.likelihood.binarize: 'none' says that the data are 0 and 1 already, but data.features.image has 17 "
        in (refusal("digits", "model.likelihood.binarize=none"))
    )


def test_pixels_between_0_and_1_that_are_said_to_be_binary_are_told_the_key_that_makes_them_so():
    zero_to_one = "data.features={image: {kind: image, shape: [8, 8, 1], range: [0, 1]}}"
    told = refusal("digits", zero_to_one, "model.likelihood={kind: bernoulli, binarize: none}")
    assert "has 256 levels; allowed for it: `levels: 2` at data.features.image if they are, dynamic" in told


def test_an_evaluator_that_has_nothing_to_say_of_the_features_is_refused_before_anything_runs():
    told = refusal("text", "evaluation.evaluators=[image_samples]")
    assert told == (
        "--set evaluation.evaluators=[image_samples]: evaluation.evaluators: 'image_samples' does not fit a model of "
        "text: tokens; what fits is chosen without being named"
    )
    assert load("text", ["evaluation.evaluators=[text_samples]"]).evaluation.evaluators[0].kind == "text_samples"


def test_an_evaluator_that_is_named_twice_is_refused():
    told = refusal("digits", "evaluation.evaluators=[curves, latent_map, curves]")
    assert "evaluation.evaluators: names 'curves' more than once; each kind may be named once" in told


def test_every_split_that_a_later_step_needs_must_be_there():
    told = refusal("digits", "data.splits={train: 0.9, test: 0.1}")
    assert "data.splits: needs `validation` (for early stopping) besides what it has: train, test" in told


def test_a_mistake_on_the_command_line_is_placed_there():
    assert refusal("digits", "training.epoch=5").startswith(
        "--set training.epoch=5: training.epoch: unknown key; did you mean 'epochs'?"
    )


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("training.parallel=model", "training.parallel: 'model' is not possible with training.backend tensorflow"),
        ("training.parallel=pipeline", "training.parallel: unknown kind 'pipeline'; allowed: data, model, null"),
        ("training.parallel.devices=4", "training.parallel: no `kind` is given; allowed: data, model, null"),
        ("training.optimizer=adagrad", "training.optimizer: unknown kind 'adagrad'; allowed: adam, adamw, sgd"),
        ("training.optimizer.momentum=0.9", "training.optimizer.momentum: unknown key; allowed: kind, beta_1"),
        ("training.learning_rate.kind=linear", "training.learning_rate: unknown kind 'linear'; "),
        ("training.device=cuda", "training.device: unknown value 'cuda'; did you mean 'gpu'? allowed: auto, cpu"),
        ("training.precision=fp16", "training.precision: unknown value 'fp16'; did you mean 'float16'?"),
        ("training.micro_batches=3", "training.micro_batches: 3 is not allowed: a batch of 32 has no such parts"),
        ("training.ema.decay=1.5", "training.ema.decay: 1.5 is not allowed; must be less than 1"),
        ("training.max_minutes=0", "training.max_minutes: 0 is not allowed; must be greater than 0"),
        ("training.gpu.visible_devices=[-1]", "training.gpu.visible_devices.0: -1 is not allowed"),
    ],
)
def test_how_to_train_is_checked_before_anything_runs(assignment: str, told: str):
    (line,) = refusal("digits", assignment).splitlines()
    assert line.startswith(f"--set {assignment}: {told}")


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        (["training.optimizer.kind=lion"], Lion()),
        (["training.optimizer=muon"], Muon()),
        (["training.optimizer.kind=sgd", "training.optimizer.momentum=0.9"], SGD(momentum=0.9)),
        (["training.optimizer.beta_1=0.8"], Adam(beta_1=0.8)),
        (["training.optimizer.beta_1=0.8", "training.optimizer.kind=lion"], Lion(beta_1=0.8)),
    ],
)
def test_an_optimizer_of_another_kind_has_defaults_of_its_own(assignments: list[str], expected: Optimizer):
    assert load("digits", assignments).training.optimizer == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("&x {epochs: *x}", "*x stands within what it stands for"),
        ("&x [*x, *x]", "*x stands within what it stands for"),
        ("[" * 5000, "nested more deeply than 50 levels"),
        ("{a: " * 5000, "nested more deeply than 50 levels"),
    ],
    ids=range(4),
)
def test_an_assignment_that_contains_itself_or_never_ends_is_refused(text: str, told: str):
    assert told in refusal("digits", f"training={text}")


def test_all_mistakes_are_told_at_once():
    assert len(refusal("digits", "training.epoch=5", "model.latent=0", "seed=x").splitlines()) == 3


@pytest.mark.parametrize(
    ("assignment", "where", "value"),
    [
        ("training.epochs=5", ("training", "epochs"), 5),
        ("training.learning_rate.initial=1e-2", ("training", "learning_rate", "initial"), 0.01),
        ("model.encoder=convolutional", ("model", "encoder", "kind"), "convolutional"),
        ("model.encoder.hidden=[64]", ("model", "encoder", "hidden"), [64]),
        ("model.encoder.hidden.1=7", ("model", "encoder", "hidden"), [256, 7]),
        ("model.objective={kind: beta, beta: 2}", ("model", "objective", "beta"), 2.0),
        ("training.early_stopping=null", ("training", "early_stopping"), None),
        ("evaluation.bound_samples=7", ("evaluation", "bound_samples"), 7),
        ("registry.model=other", ("registry", "model"), "other"),
    ],
)
@pytest.mark.parametrize("base", ["digits", "shortest", "short forms"])
def test_set_reaches_a_value_whether_the_file_gives_it_in_full_in_short_or_not_at_all(
    write, base: str, assignment: str, where: tuple[str, ...], value: object
):
    short = "model: {encoder: mlp, objective: elbo}\ntraining: {learning_rate: cosine, early_stopping: null}\n"
    path = {"digits": "digits", "shortest": SHORTEST, "short forms": SHORTEST + short}[base]
    found = load(path if path == "digits" else write(path), [assignment]).model_dump(mode="json")
    for key in where:
        found = found[key]
    assert found == value


def test_a_value_set_below_a_default_keeps_the_rest_of_that_default(write):
    rate = load(write(SHORTEST), ["training.learning_rate.initial=0.5"]).training.learning_rate
    assert rate == Experiment.model_fields["training"].default.learning_rate.model_copy(update={"initial": 0.5})


VERTEX = (
    "targets.vertex={project: vae-project, location: europe-west4, image: i, tracking_uri: 'https://m', "
    "root: 'gs://bucket/vae', steps: {train: {accelerator: l4}}}"
)
ACCELERATOR = "targets.vertex.steps.train.accelerator"


def test_the_name_of_an_accelerator_opens_up_to_be_set_below():
    targets = load("digits", [VERTEX, f"{ACCELERATOR}.count=2"]).targets
    assert targets.vertex is not None
    assert targets.vertex.steps["train"].accelerator.model_dump() == {"kind": "l4", "count": 2}


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        (f"{ACCELERATOR}.kind=v5", f"{ACCELERATOR}.kind: unknown kind 'v5'; allowed: t4, l4"),
        (f"{ACCELERATOR}.kid=3", f"{ACCELERATOR}.kid: unknown key; did you mean 'kind'? allowed: kind, count"),
        (
            f"{ACCELERATOR}=8",
            f"{ACCELERATOR}: 8 is not allowed; must be the name of a kind, or a section with the keys kind, count",
        ),
        (f"{ACCELERATOR}.count=two", f"{ACCELERATOR}.count: 'two' is not allowed; must be a whole number"),
    ],
)
def test_a_wrong_accelerator_is_told_with_the_assignment_that_made_it_wrong(assignment: str, told: str):
    assert refusal("digits", VERTEX, assignment).startswith(f"--set {assignment}: {told}")


def test_an_assignment_below_an_address_is_refused():
    assert "targets.vertex.image is 'i', which has no keys" in refusal("digits", VERTEX, "targets.vertex.image.cpu=j")


def test_an_accelerator_without_a_kind_is_refused():
    bare = VERTEX.replace("accelerator: l4", "disk_gigabytes: null")
    assert f"{ACCELERATOR}.kind: missing; it must be given" in refusal("digits", bare, f"{ACCELERATOR}.count=2")


def test_of_two_settings_of_one_value_the_last_one_holds():
    assert load("digits", ["training.epochs=5", "training.epochs=6"]).training.epochs == 6


@pytest.mark.parametrize("assignment", ["training.epochs", "=5", "training..epochs=5", ".=5"])
def test_an_assignment_without_a_key_and_a_value_is_refused(assignment: str):
    assert refusal("digits", assignment) == f"--set {assignment}: expected KEY=VALUE, such as training.epochs=5"


def test_an_assignment_through_a_value_that_has_no_keys_is_refused():
    assert (
        refusal("digits", "training.epochs.x=4")
        == "--set training.epochs.x=4: training.epochs is 50, which has no keys"
    )
    assert "and has the places 0 to 1" in refusal("digits", "model.encoder.hidden.5=4")
    assert "not valid YAML" in refusal("digits", "training.epochs=[")


def is_taken_or_refused_with_words(assignment: str) -> bool:
    try:
        load("digits", [assignment])
    except RequestError as error:
        return bool(str(error))
    return True


@given(st.text(max_size=40))
def test_any_text_as_an_assignment_is_taken_or_refused_with_words(text: str):
    assert is_taken_or_refused_with_words(text)


KEYS = st.sampled_from(["name", "data", "source", "kind", "features", "image", "model", "encoder", "path", "x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


@given(
    st.sampled_from(["data", "model", "training", "registry", "targets", "data.features", "model.encoder"]),
    st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)),
)
def test_any_yaml_as_a_section_is_taken_or_refused_with_words(key: str, value: object):
    assert is_taken_or_refused_with_words(f"{key}={yaml.safe_dump(value)}")


KUBEFLOW = "targets.kubeflow={image: a/b:1, tracking_uri: http://mlflow, timezone: %s}"


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("schedule={cron: 0 2 * * *, timezone: CEST}", "schedule.timezone: timezone 'CEST': the tz database has no"),
        (
            KUBEFLOW % "UTC+2",
            "targets.kubeflow.timezone: timezone 'UTC+2': the tz database has no such",
        ),
        (KUBEFLOW % "''", "targets.kubeflow.timezone: empty text is not allowed here"),
        ("schedule=99 2 * * *", "schedule.cron: cron '99 2 * * *': minute '99'; allowed: 0 to 59"),
    ],
)
def test_a_schedule_that_would_never_tick_is_refused_before_anything_runs(assignment: str, told: str):
    assert told in refusal("digits", assignment)


def test_timezones_that_exist_are_taken():
    loaded = load("digits", ["schedule={cron: 0 2 * * *, timezone: Asia/Tokyo}", KUBEFLOW % "Europe/Berlin"])
    assert loaded.schedule is not None
    assert loaded.targets.kubeflow is not None
    assert (loaded.schedule.timezone, loaded.targets.kubeflow.timezone) == ("Asia/Tokyo", "Europe/Berlin")


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("training.balance=label", "training.balance={feature: label}"),
        ("training.early_stopping=7", "training.early_stopping={patience: 7}"),
        ("training.ema=0.99", "training.ema={decay: 0.99}"),
        ("training.learning_rate=0.01", "training.learning_rate={kind: constant, initial: 0.01}"),
        ("training.parallel=4", "training.parallel={kind: data, devices: 4}"),
        ("data.features.image.shape=[8, 8]", "data.features.image.shape=[8, 8, 1]"),
        ("data.shards=8", "data.shards={megabytes: 8}"),
        ("registry=mine", "registry={model: mine}"),
        ("schedule=0 2 * * *", "schedule={cron: 0 2 * * *}"),
        (f"{VERTEX}|targets.vertex.steps.train.retry=5", f"{VERTEX}|targets.vertex.steps.train.retry={{attempts: 5}}"),
    ],
)
def test_a_section_that_is_mostly_about_one_key_may_be_written_as_its_value(short: str, full: str):
    one, other = load("digits", short.split("|")), load("digits", full.split("|"))
    assert one == other
    assert one.model_dump_json() == other.model_dump_json()


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("training.early_stopping=-1", "training.early_stopping.patience: -1 is not allowed; must be greater than 0"),
        ("training.early_stopping=soon", "must be a number, which is its `patience`, or a section with"),
        ("training.early_stopping=false", "training.early_stopping: false is not allowed here; for none, write null"),
        ("training.learning_rate=-1", "training.learning_rate.initial: -1 is not allowed; must be greater than 0"),
        ("training.balance=3", "must be text, which is its `feature`, or a section with the keys feature, strength"),
        ("training.balance=image", "training.balance.feature: 'image' is no feature of kind category"),
        ("training.tensorboard=1", "training.tensorboard: 1 is not allowed; must be true or false"),
        (f"{VERTEX[:-1]}, service_account: ' '}}", "service_account: empty text is not allowed here"),
    ],
)  # fmt: skip
def test_a_wrong_short_form_is_told_by_its_key_and_how_it_is_written_in_full(assignment: str, told: str):
    (line,) = refusal("digits", assignment).splitlines()
    assert told in line


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("model.objective=4", "or a section with that `kind`, such as {kind: beta, beta: 4}"),
        ("model.encoder=[64, 64]", "{kind: convolutional, channels: [64, 64]} or {kind: mlp, hidden: [64, 64]}"),
        ("model.encoder=64", "{kind: mlp, hidden: [64]} or {kind: recurrent, units: 64}"),
        ("model.encoder.hidden=64", "model.encoder.hidden: 64 is not allowed; must be a list: [64]"),
        ("data.features.image=[8, 8, 1]", "such as {kind: image, shape: [8, 8, 1], range: …}"),
        ("data.features.image.range=16", "16 is not allowed; must be a list of 2 values"),
        ("data.source=faces.npz", "unknown kind 'faces.npz'; allowed: csv, idx, jsonl, npz, parquet, sklearn, text; or "
         "write {kind: npz, path: faces.npz}"),
        ("data.source=a/b", "or write {kind: KIND, path: a/b}"),
        ("data.identity=label", "must be a list: [label]"),
        ("evaluation.evaluators=curves", "must be a list: [curves]"),
        ("evaluation=200", "such as {bound_samples: 200}"),
        ("training.checkpoints=5", "such as {every_minutes: 5}"),
        ("training.non_finite=20", "such as {kind: skip, limit: 20}"),
        ("training.optimizer=0.01", "muon, or a section with that `kind`; a learning rate is written beside it: "
         "learning_rate: 0.01"),
        ("data.features.image=[32, 32]", "such as {kind: image, shape: [32, 32], range: …}"),
        ("data.splits=0.9", "such as {train: 0.9, validation: 0.05, test: 0.05}"),
        ("data.splits=[8, 1, 1]", "such as {train: 0.8, validation: 0.1, test: 0.1}"),
        ("notify=ALARM", "or write {kind: webhook, variable: ALARM} or {kind: command, command: [ALARM]}"),
        ("notify=./tell.sh", "allowed: webhook, command, null; or write {kind: command, command: [./tell.sh]}"),
    ],
)  # fmt: skip
def test_a_value_whose_key_is_not_obvious_is_refused_with_how_it_is_written(assignment: str, told: str):
    (line,) = refusal("digits", assignment).splitlines()
    assert told in line


def test_the_address_of_a_webhook_is_not_repeated_and_its_place_is_told():
    told = refusal("digits", "notify=https://hooks.example/T0/secret")
    assert "give it in the environment variable ELBOFLOW_WEBHOOK, and write `webhook` here" in told
    assert told.startswith("--set notify=…: ")
    assert "T0" not in told


def test_a_short_form_opens_up_to_be_set_below_and_to_be_merged_into(write, tmp_path: Path):
    stopping = load("digits", ["training.early_stopping=7", "training.early_stopping.minimum_change=0.5"])
    assert stopping.training.early_stopping == EarlyStopping(patience=7, minimum_change=0.5)
    path = write(SHORTEST + "training: {early_stopping: {patience: 3, minimum_change: 0.5}, learning_rate: cosine}\n")
    overlay = "training: {early_stopping: 7, learning_rate: 0.5}\n"
    (tmp_path / "mine.prod.yaml").write_text(overlay, encoding="utf-8")
    merged = load(path, env="prod").training
    assert merged.early_stopping == stopping.training.early_stopping
    assert merged.learning_rate == Constant(initial=0.5)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("Registry/Elbo image:1", "'Registry/Elbo image:1' is not allowed; must be an image's address, without"),
        ("3", "targets.vertex.image: 3 is not allowed; must be text, or a section with the keys cpu, cuda, tpu"),
        ("{cpu: 3}", "targets.vertex.image.cpu: 3 is not allowed; must be text"),
        ("{cpu: i, gpu: j}", "targets.vertex.image.gpu: unknown key; allowed: cpu, cuda, tpu"),
    ],
)  # fmt: skip
def test_a_value_that_may_be_text_or_a_section_is_told_as_what_was_written(image: str, told: str):
    (line,) = refusal("digits", VERTEX, f"targets.vertex.image={image}").splitlines()
    assert told in line


def test_the_older_spelling_of_a_step_s_settings_goes_on_being_read_and_the_new_one_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    text._notice.cache_clear()
    path = tmp_path / "mine.yaml"
    target = (
        "{project: vae-project, location: europe-west4, image: i, tracking_uri: 'https://m', root: 'gs://bucket/v',"
    )
    written = f"targets:\n  vertex: {target}\n    registration: {{cpu: 2}}, train: {{accelerator: l4}}}}\n"
    path.write_text(source.find("digits").text + written, encoding="utf-8")
    with caplog.at_level("WARNING", "elboflow"):
        found = load(str(path), ["targets.vertex.train.workers=2"]).targets.vertex
    assert found is not None
    assert (found.step("register").cpu, found.step("train").workers) == (2, 2)
    assert found.step("train").accelerator is not None
    notice = "targets.vertex.registration is called targets.vertex.steps.register now; the older spelling goes on being"
    assert notice in caplog.text
    line = len(source.find("digits").text.splitlines()) + 3
    path.write_text(path.read_text(encoding="utf-8").replace("cpu: 2", "cpu: -2"), encoding="utf-8")
    assert refusal(str(path)).startswith(f"{path}:{line}: targets.vertex.steps.register.cpu: -2")


def test_a_key_in_both_spellings_is_refused():
    both = "{train: {accelerator: l4}, steps: {train: {machine: n1-standard-8}}}"
    assert "targets.vertex.train: unknown key" in refusal("digits", f"targets.vertex={both}")
