"""TensorFlow over several devices and machines: one and many do the same, and a machine that is lost is said to be."""

import pytest

from tests.elboflow.vae.machines import alone, assert_equal, curves, together

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("parallel_tensorflow"),  # its fixtures are dear
]

EIGHT, TWO = {"kind": "data", "devices": 8}, {"kind": "data", "devices": 2}
SKIPPING = {"non_finite": "skip", "broken_examples": [17], "optimizer": "adam", "micro_batches": 1}


def tensorflow(parallel, **settings):
    """A training with all that may depend on the number of devices: norms, moving averages, parts of batches."""
    asked = {"gradient_clip": 5.0, "ema": {"decay": 0.9}, "micro_batches": 2, "optimizer": "adamw"}
    return {"backend": "tensorflow", "device": "cpu", "parallel": parallel, **asked, **settings}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The curves of trainings on eight virtual devices, or on some of them."""
    trainings = {
        "eight": tensorflow(EIGHT),  # the first decides how many virtual devices there are
        "two, skipping": tensorflow(TWO, **SKIPPING),
        "one": tensorflow(None),
        "one, skipping": tensorflow(None, **SKIPPING),
        "sixteen": tensorflow({"kind": "data", "devices": 16}),
        "three": tensorflow({"kind": "data", "devices": 3}),
    }
    return alone(tmp_path_factory.mktemp("devices"), trainings)


def test_eight_devices_give_the_loss_of_one_after_fifty_steps(found):
    assert found["one"]["train"]["step"][-1] == 50
    assert_equal(found["eight"], found["one"], 1e-4)


def test_a_step_that_is_not_finite_on_one_device_is_skipped_on_all(found):
    assert found["one, skipping"]["train"]["skipped_steps"] == [1] * 5
    assert found["two, skipping"]["train"]["skipped_steps"] == [1] * 5
    assert_equal(found["two, skipping"], found["one, skipping"], 1e-4)


def test_more_devices_than_this_process_computes_on_already_are_refused(found):
    assert found["sixteen"]["refused"] == (
        "training is to be on 16 CPU devices, and in this process TensorFlow already computes on: 8 of them; start it "
        "in a process of its own"
    )


def test_a_batch_that_devices_cannot_share_is_refused(found):
    assert found["three"]["refused"].startswith("training.batch_size: 64 cannot be divided among 3 devices")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The curves of two machines, and the folders of each."""
    chief, other = tmp_path_factory.mktemp("chief"), tmp_path_factory.mktemp("other")
    ended = together(chief, {"data": tensorflow("data")}, second=other)
    assert [code for code, _ in ended] == [0, 0], ended
    return curves(chief, "data"), chief, other


def test_two_machines_give_the_loss_of_one(found, pair):
    assert_equal(pair[0], found["one"], 1e-4)


def test_only_the_chief_writes(pair):
    _, chief, other = pair
    assert (chief / "data-checkpoints").is_dir()
    assert not list(other.iterdir())


@pytest.mark.parametrize("victim", [0, 1])
def test_a_machine_whose_companion_is_killed_says_so_and_the_pair_goes_on_to_the_same_weights(pair, victim, tmp_path):
    ended = together(tmp_path, {"data": tensorflow("data")}, killed={victim: 3})
    assert ended[victim][0] == -9
    code, said = ended[1 - victim]
    assert code == 1, said
    assert said.count(f"error: machine {1 - victim} of 2 stops: machine {victim}, 127.0.0.1:") == 1
    again = together(tmp_path, {"data": tensorflow("data")})
    assert [code for code, _ in again] == [0, 0], again
    assert "going on after step" in again[0][1]
    assert_equal(curves(tmp_path, "data"), pair[0], 0.0)
