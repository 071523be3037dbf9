"""PyTorch over several devices and machines: one and many do the same, and a process that is lost is said to be."""

import importlib.util
import select
import subprocess
import sys

import pytest

from tests.elboflow.vae.machines import alone, assert_equal, curves, together

pytestmark = pytest.mark.xdist_group("parallel_torch")  # its fixtures are dear

TWO = {"kind": "data", "devices": 2}


def torch(parallel):
    """A training with all that may depend on the number of devices: norms, moving averages, parts of batches."""
    asked = {"gradient_clip": 5.0, "ema": {"decay": 0.9}, "micro_batches": 2, "optimizer": "adamw"}
    return {"backend": "torch", "device": "cpu", "parallel": parallel, **asked}


@pytest.fixture(scope="module", autouse=True)
def installed():
    if not importlib.util.find_spec("torch"):
        pytest.skip("torch is not installed")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    trainings = {"one": torch(None), "two": torch(TWO), "three": torch({"kind": "data", "devices": 3})}
    return alone(tmp_path_factory.mktemp("devices"), trainings)


def test_two_devices_give_the_loss_of_one_after_fifty_steps(found):
    assert found["one"]["train"]["step"][-1] == 50
    assert_equal(found["two"], found["one"], 1e-4)


def test_a_batch_that_devices_cannot_share_is_refused(found):
    assert found["three"]["refused"] == (
        "training.batch_size: 64 cannot be divided among 3 devices; such a batch can be divided among 2, 4, 8, 16, 32, "
        "64 devices"
    )


def test_a_worker_that_waits_for_its_job_ends_with_its_killed_parent():
    program = (
        "import subprocess, time; from elboflow.artifacts import child; worker = "
        "child.command('elboflow.vae.training.torch_worker'); subprocess.Popen(worker, env=child.environment()); "
        "print(flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    assert select.select([parent.stdout], [], [], 60)[0], "its pipe is closed by the end of the worker"
    out, err = parent.communicate()
    assert out == b""
    assert b"Traceback" not in err, "it ended for another reason"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    ended = together(folder, {"data": torch("data")})
    assert [code for code, _ in ended] == [0, 0], ended
    return curves(folder, "data")


def test_two_machines_give_the_loss_of_one(found, pair):
    assert_equal(pair, found["one"], 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_machine_whose_companion_is_killed_says_so_and_the_pair_goes_on_to_the_same_weights(pair, victim, tmp_path):
    ended = together(tmp_path, {"data": torch("data")}, killed={victim: 3})
    assert ended[victim][0] == -9
    code, said = ended[1 - victim]
    assert code == 1, said
    assert said.count(f"process {1 - victim} of 2 has lost another one") == 1
    again = together(tmp_path, {"data": torch("data")})
    assert [code for code, _ in again] == [0, 0], again
    assert "going on after step" in again[0][1]
    assert_equal(curves(tmp_path, "data"), pair, 0.0)
