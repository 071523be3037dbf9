"""Faults that are really made: each costs a training little, and none of them its result."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elboflow.settings import RequestError, WorkError
from elboflow.vae.compute.contract import Job
from elboflow.vae.config import Checkpoints, Constant, Skip, TrainingConfig
from elboflow.vae.data import InMemory
from elboflow.vae.families.flat import Flat
from elboflow.vae.networks.mlp import MLP
from elboflow.vae.watch import WatchStoppedError
from tests import disks
from tests.elboflow.vae.given import assert_same_weights
from tests.elboflow.vae.killing import ROOT

pytestmark = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]

SMALL = Flat(latent=4, encoder=MLP(hidden=[16]), decoder=MLP(hidden=[16]))
IDENTITY = {"training": {"epochs": 4, "optimizer": {"kind": "adam"}}, "seed": 0}
EVERY_EPOCH = Checkpoints(every_steps=8)  # 256 examples in batches of 32


@pytest.fixture
def train(digits, digits_specs, tmp_path):
    """Trains for four epochs of eight steps, with a checkpoint after each."""

    def training(name, *, last=1000, weights=None, observers=(), restart=False, **settings):
        from elboflow.vae.training import train

        job = Job(
            InMemory(replace(digits[:256], weights=weights)),
            InMemory(digits[256:384]),
            digits_specs,
            SMALL,
            TrainingConfig(
                epochs=4,
                batch_size=32,
                early_stopping=None,
                **{"learning_rate": Constant(initial=3e-3), "checkpoints": EVERY_EPOCH} | settings,
            ),
            0,
            tmp_path / name,
            IDENTITY,
            restart=restart,
        )
        return train(job, watch=lambda epoch, elbo: epoch < last, observers=observers)

    return training


@pytest.fixture
def keeper(tmp_path):
    """Keeps checkpoints as a training does, without one."""

    def keeping(identity=IDENTITY, **arguments):
        from elboflow.vae.training.checkpoints import Keeper

        return Keeper(tmp_path / "kept", identity, Checkpoints(), **arguments)

    return keeping


@pytest.fixture
def state():
    """A state of no training, a function of its step."""

    def made(step):
        from elboflow.vae.training.state import State

        return State([np.random.default_rng(step).normal(size=(30, 40))], step=step, epoch=step // 8)

    return made


def assert_same(one, other):
    assert (one.curves.train, one.curves.validation) == (other.curves.train, other.curves.validation)
    assert_same_weights(one, other)


def stopped_after(epoch: int, train, name: str) -> None:
    with pytest.raises(WatchStoppedError):
        train(name, last=epoch)


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


@pytest.mark.slow
def test_a_kill_before_any_call_of_the_system_leaves_the_checkpoint_before_or_the_new_one_whole(tmp_path):
    script = Path(__file__).with_name("keeping_process.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script, tmp_path], env=environment, stdout=subprocess.PIPE, check=True)
    told = json.loads(done.stdout)
    assert {"open", "write", "fsync", "replace", "unlink", "mkdir", "rmdir"} <= told["calls"].keys()
    found = [death["step"] for death in told["deaths"]]
    assert found == sorted(found)
    assert set(found) == {10, 20, 30}
    assert {tuple(death["left"]) for death in told["deaths"]} == {("step-000000040",)}


def cut_off(checkpoint: Path) -> None:
    os.truncate(checkpoint / "state.npz", 1000)


def with_a_bit_flipped(checkpoint: Path) -> None:
    content = bytearray((checkpoint / "state.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (checkpoint / "state.npz").write_bytes(content)


def with_facts_of_another(checkpoint: Path) -> None:
    facts = checkpoint / "state.json"
    facts.write_text(facts.read_text(encoding="utf-8").replace('"step": 24', '"step": 23'))


def of_a_newer_version(checkpoint: Path) -> None:
    manifest = checkpoint / "checkpoint.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"format": 3', '"format": 4'))


def with_half_a_manifest(checkpoint: Path) -> None:
    os.truncate(checkpoint / "checkpoint.json", 50)


DAMAGES = {
    cut_off: r"state\.npz holds 1,000 bytes; its manifest says",
    with_a_bit_flipped: r"state\.npz is corrupted: its SHA-256 differs",
    with_facts_of_another: r"state\.json is corrupted: its SHA-256 differs",
    of_a_newer_version: "written by a newer ELBOflow: its format is 4; this version reads 1 to 3",
    with_half_a_manifest: r"checkpoint\.json is damaged",
}


@pytest.mark.parametrize(("damaged", "told"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(keeper, state, tmp_path, caplog, damaged, told):
    with keeper() as keeping:
        for step in (8, 16, 24):
            keeping.keep(state(step))
            keeping.flush()
    damaged(tmp_path / "kept/step-000000024")
    with keeper() as keeping:
        found = keeping.latest()
        assert found.facts() == state(16).facts()
        np.testing.assert_array_equal(found.variables[0], state(16).variables[0])
        assert re.search(
            rf"checkpoint .*step-000000024 cannot be used: .*{told}.*going on from step-000000016", caplog.text
        )
        keeping.keep(state(20))
        keeping.flush()
        assert steps(tmp_path / "kept") == [16, 20]


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [with_a_bit_flipped, with_half_a_manifest])
def test_a_training_that_goes_on_before_a_damaged_checkpoint_ends_the_same(train, tmp_path, caplog, damaged):
    whole = train("whole")
    stopped_after(3, train, "damaged")
    assert steps(tmp_path / "damaged") == [16, 24]
    damaged(tmp_path / "damaged/step-000000024")
    caplog.set_level("INFO", "elboflow")
    assert_same(train("damaged"), whole)
    assert "going on after step 16 of 32" in caplog.text
    assert steps(tmp_path / "damaged") == [24, 32]


def test_where_all_checkpoints_are_damaged_starting_over_is_a_persons_choice(keeper, state, tmp_path):
    with keeper() as keeping:
        keeping.keep(state(8))
    cut_off(tmp_path / "kept/step-000000008")
    with (
        keeper() as keeping,
        pytest.raises(WorkError, match=r"no checkpoint in .*kept can be used \(step-000000008: .*--restart"),
    ):
        keeping.latest()
    assert steps(tmp_path / "kept") == [8], "nothing is thrown away"
    with keeper(restart=True) as keeping:
        assert keeping.latest() is None
    assert steps(tmp_path / "kept.before-1") == [8]


def test_a_checkpoint_of_other_settings_or_data_is_refused_by_the_names_of_what_differs(keeper, state, tmp_path):
    with keeper() as keeping:
        keeping.keep(state(8))
    other = {"training": {"epochs": 5, "optimizer": {"kind": "lion", "beta_1": 0.9}}, "seed": 0, "dataset": "abc"}
    with keeper(identity=other) as keeping, pytest.raises(RequestError) as refused:
        keeping.latest()
    told = str(refused.value)
    assert "training.epochs: 4 there, 5 now" in told
    adam = '{"kind": "adam", "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07, "weight_decay": 0.0}'
    lion = '{"kind": "lion", "beta_1": 0.9, "beta_2": 0.99, "weight_decay": 0.0}'
    assert f"training.optimizer: {adam} there, {lion} now" in told
    assert 'dataset: absent there, "abc" now' in told
    assert "seed" not in told
    assert "--restart" in told
    for number in (1, 2):
        with keeper(identity=other, restart=True) as keeping:
            assert keeping.latest() is None
            keeping.keep(state(8))
        assert steps(tmp_path / f"kept.before-{number}") == [8]


def test_the_fingerprint_of_a_training_is_all_that_changes_its_result():
    from elboflow.vae.training.fingerprint import differences, fingerprint

    training = TrainingConfig(max_minutes=1, device="cpu", tensorboard=True, parallel="data", checkpoints={"keep": 1})
    one = fingerprint("digest", SMALL, training, 0)
    assert one == fingerprint("digest", SMALL, TrainingConfig(), 0)
    other = fingerprint(
        "digest", SMALL, TrainingConfig(batch_size=64, backend="jax", optimizer={"kind": "adam", "beta_1": 0.8}), 1
    )
    assert differences(json.loads(json.dumps(one)), other) == [
        'training.backend: "tensorflow" there, "jax" now',
        "training.batch_size: 128 there, 64 now",
        "training.optimizer.beta_1: 0.9 there, 0.8 now",
        "seed: 0 there, 1 now",
    ]


def test_a_fingerprint_with_all_defaults_is_that_without_them():
    """As versions of this program wrote it, and as a version with more settings may."""
    from elboflow.vae.training.fingerprint import differences, fingerprint

    training = TrainingConfig(batch_size=64)
    brief = fingerprint("digest", SMALL, training, 0)
    full = {**brief, "model": SMALL.model_dump(mode="json"), "training": training.model_dump(mode="json")}
    assert brief["training"] == {"batch_size": 64}
    assert differences(full, brief) == differences(brief, full) == []


def test_the_second_of_two_trainings_in_one_folder_is_refused(keeper, state, train, tmp_path):
    with keeper() as keeping:
        with pytest.raises(WorkError, match=r"another training is at work in .*kept"):
            train("kept")
        with pytest.raises(WorkError, match=r"another training is at work in .*kept"):
            train("kept", restart=True)
        keeping.keep(state(8))
    with keeper() as keeping:
        assert keeping.latest().step == 8, "it is free again"


def test_only_the_chief_of_several_processes_writes_and_all_read(keeper, state, tmp_path):
    with keeper() as chief, keeper(chief=False) as other:
        other.keep(state(4))
        assert other.latest() is None
        chief.keep(state(8))
        chief.flush()
        assert other.latest().step == chief.latest().step == 8
    assert steps(tmp_path / "kept") == [8]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", "300k") as folder:
        yield folder


def test_a_full_disk_costs_a_training_no_more_than_checkpoints(train, small_disk, caplog):
    ballast = small_disk / "ballast"

    def fill_and_free(group, epoch, step, values):
        if group == "train" and epoch in (1, 2):  # twice: what a checkpoint that failed had taken is free again
            with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
                file.write(bytes(shutil.disk_usage(small_disk).free))
        if (group, epoch) == ("train", 3):
            ballast.unlink()

    whole = train("whole")
    caplog.set_level("INFO", "elboflow")
    caplog.clear()
    assert_same(train("disk/kept", observers=[fill_and_free]), whole)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert re.match(
        r"could not write the checkpoint of step \d+ to .*No space left.*training goes on, and tries", warnings[0]
    )
    assert "checkpoints are written again: " in caplog.text
    assert steps(small_disk / "kept")[-1] == 32


def one_bad_example() -> np.ndarray:
    weights = np.ones(256, np.float32)
    weights[7] = np.nan
    return weights


def test_a_nan_in_one_batch_stops_a_training(train):
    with pytest.raises(WorkError, match=r"training stopped at step [0-7] of epoch 1: the loss became nan; "):
        train("stop", weights=one_bad_example())


def test_nans_are_skipped_up_to_a_limit_over_all_resumptions(train, tmp_path):
    settings = {"weights": one_bad_example(), "non_finite": Skip(limit=2)}
    with pytest.raises(WatchStoppedError) as stopped:
        train("limit", last=2, **settings)
    curves = stopped.value.curves["train"]
    assert curves["skipped_steps"] == [1, 1]
    assert np.isfinite(curves["loss"]).all()
    with pytest.raises(
        WorkError,
        match=r"stopped at step (1[6-9]|2[0-3]) of epoch 3: the loss, after 2 steps skipped as "
        r"training\.non_finite\.limit allows, became nan; its last checkpoint is .*step-000000016",
    ):
        train("limit", **settings)


def test_a_training_all_of_whose_steps_are_skipped_ends(train):
    nothing = np.full(256, np.nan, np.float32)
    with pytest.raises(WorkError, match="in none of the 8 steps of epoch 1 were loss and gradient finite"):
        train("still", weights=nothing, non_finite=Skip())
