"""JAX over several devices and machines: one and many do the same, and a machine that is lost is said to be."""

import importlib.util

import pytest

from tests.elboflow.vae.machines import alone, assert_equal, curves, together

pytestmark = pytest.mark.xdist_group("parallel_jax")  # its fixtures are dear

EIGHT = {"kind": "data", "devices": 8}
FOUR_BY_TWO = {"kind": "model", "data": 4, "model": 2}
TWO = {"kind": "model", "data": 1, "model": 2}
LAYOUTS = {
    "divides": {"encoder/dense.*/kernel": [None, "model"], "decoder/.*/kernel": ["model", None]},
    "is about nothing": {"encoder/danse": [None, "model"]},
    "has too few dimensions": {"encoder/output/kernel": ["model"]},
    "names a weight twice": {"encoder/.*/kernel": [None, "model"], "encoder/output/kernel": ["model", None]},
    "does not divide": {"encoder/output/kernel": [None, "model"]},
}


def jax(parallel, **settings):
    """A training with all that may depend on the number of devices: norms, moving averages, parts of batches."""
    asked = {"gradient_clip": 5.0, "ema": {"decay": 0.9}, "micro_batches": 2, "optimizer": "adamw"}
    return {"backend": "jax", "device": "cpu", "parallel": parallel, **asked, **settings}


@pytest.fixture(scope="module", autouse=True)
def installed():
    if not importlib.util.find_spec("jax"):
        pytest.skip("jax is not installed")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The curves of trainings on eight virtual devices, or on some of them."""
    trainings = {
        "data 8": jax(EIGHT),  # the first decides how many virtual devices there are
        "data 4 × model 2": jax(FOUR_BY_TWO),
        "model 2": jax(TWO),
        "one": jax(None),
        "a layout that divides": jax({**TWO, "layout": LAYOUTS["divides"]}),
        **{name: jax({**TWO, "layout": layout}) for name, layout in LAYOUTS.items() if name != "divides"},
        "does not divide": jax({"kind": "model", "data": 1, "model": 3, "layout": LAYOUTS["does not divide"]}),
        "16 devices": jax({"kind": "data", "devices": 16}),
        "three": jax({"kind": "data", "devices": 3}),
    }
    return alone(tmp_path_factory.mktemp("devices"), trainings)


@pytest.mark.parametrize("many", ["data 8", "data 4 × model 2", "model 2", "a layout that divides"])
def test_several_devices_give_the_loss_of_one_after_fifty_steps(found, many):
    assert found["one"]["train"]["step"][-1] == 50
    assert_equal(found[many], found["one"], 1e-4)


@pytest.mark.slow
def test_convolutions_that_are_divided_give_the_loss_of_one_device(tmp_path):
    parallel = {"many": FOUR_BY_TWO, "one": None}
    found = alone(tmp_path, {name: jax(each, network="convolutional") for name, each in parallel.items()})
    assert_equal(found["many"], found["one"], 1e-4)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("is about nothing", "no weight's path has 'encoder/danse'; the paths are: encoder/dense"),
        ("has too few dimensions", "'encoder/output/kernel' names axes of 1 dimension; encoder/output/kernel has 2"),
        (
            "names a weight twice",
            "'encoder/.*/kernel' and 'encoder/output/kernel' are both about encoder/output/kernel",
        ),
        ("does not divide", "encoder/output/kernel of shape [32, 8] cannot be divided as [None, 'model']: 8 is no mul"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_the_path_of_the_weight(found, layout, expected):
    assert f"training.parallel.layout: {expected}" in found[layout]["refused"]


def test_more_devices_than_there_are_are_refused_with_those_that_are(found):
    there = ", ".join(f"cpu:{number}" for number in range(8))
    assert found["16 devices"]["refused"].endswith(f"the devices that JAX finds here are: {there}")


def test_a_batch_that_devices_cannot_share_is_refused(found):
    assert found["three"]["refused"] == (
        "training.batch_size: 64 cannot be divided among 3 devices and 2 training.micro_batches; choose a multiple of 6"
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The curves of two machines with two devices each."""
    folder = tmp_path_factory.mktemp("machines")
    trainings = {"model": jax({"kind": "model", "data": 2, "model": 2}), "data": jax({"kind": "data", "devices": 2})}
    ended = together(folder, trainings)
    assert [code for code, _ in ended] == [0, 0], ended
    return {name: curves(folder, name) for name in trainings}


@pytest.mark.parametrize("kind", ["data", "model"])
def test_two_machines_give_the_loss_of_one(found, pair, kind):
    assert_equal(pair[kind], found["one"], 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_machine_whose_companion_is_killed_says_so_and_the_pair_goes_on_to_the_same_weights(pair, victim, tmp_path):
    wanted = {"data": jax({"kind": "data", "devices": 2})}
    ended = together(tmp_path, wanted, killed={victim: 3})
    assert ended[victim][0] == -9
    code, said = ended[1 - victim]
    assert code == 1, said
    assert said.count(f"machine {1 - victim} of 2 has lost another one") == 1
    again = together(tmp_path, wanted)
    assert [code for code, _ in again] == [0, 0], again
    assert "going on after step" in again[0][1]
    assert_equal(curves(tmp_path, "data"), pair["data"], 0.0)
