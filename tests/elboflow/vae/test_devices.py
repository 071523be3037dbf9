"""`training.device` moves the work: what is there is taken and said, what is not there is refused by name."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elboflow.settings import RequestError
from elboflow.vae.compute import devices
from elboflow.vae.config import DataParallel, TrainingConfig

IN_TENSORFLOW = [pytest.mark.xdist_group("tensorflow"), pytest.mark.usefixtures("tensorflow_backend")]
BACKENDS = ("tensorflow", "jax", "torch")

ASKING = """
import sys
from elboflow.settings import RequestError
from elboflow.vae import compute
from elboflow.vae.config import TrainingConfig
try:
    compute.use(sys.argv[1], TrainingConfig(backend=sys.argv[1], device=sys.argv[2]))
except RequestError as error:
    print(error)
"""


def has_gpu():
    return bool(devices.gpus())


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A driver's tool that says that there are two GPUs."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB, 40960'\necho 'NVIDIA L4, 23034'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    return tool


def test_the_gpus_of_a_machine_are_those_that_its_driver_names(driver):
    assert devices.gpus() == [devices.GPU("NVIDIA A100-SXM4-40GB", 40960), devices.GPU("NVIDIA L4", 23034)]
    driver.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n", encoding="utf-8")
    assert devices.gpus() == []


def test_visible_gpus_are_told_to_cuda_and_given_back(driver):
    devices.see([1])
    assert os.environ[devices.VISIBLE] == "1"
    devices.see([0, 1])
    assert os.environ[devices.VISIBLE] == "0,1"
    devices.see(None)
    assert devices.VISIBLE not in os.environ


def test_visible_gpus_count_among_those_that_a_platform_has_chosen(driver, monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "1")
    devices.see([0])
    assert os.environ[devices.VISIBLE] == "1"
    with pytest.raises(RequestError, match=r"there is no GPU 1; .*CUDA_VISIBLE_DEVICES=1.*are: 0 \(NVIDIA L4\)"):
        devices.see([1])


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(driver):
    with pytest.raises(
        RequestError, match=r"visible_devices: there is no GPU 2, 5; .* 0 \(NVIDIA A100-SXM4-40GB\), 1 \(NVIDIA L4\)$"
    ):
        devices.see([0, 2, 5])
    driver.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"there is no GPU 0; the GPUs of this machine are: none"):
        devices.see([0])


ON_PROCESSORS = """
import sys
from elboflow.vae import compute
from elboflow.vae.config import TrainingConfig
compute.use(sys.argv[1], TrainingConfig(backend=sys.argv[1], device=sys.argv[2]))
print(compute.implementation().on_processors())
"""


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "auto"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_tells_whether_it_computes_on_processors(backend, device):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    told = subprocess.run(
        [sys.executable, "-c", ON_PROCESSORS, backend, device], check=True, capture_output=True, encoding="utf-8"
    )
    assert told.stdout.split()[-1] == str(device == "cpu" or not has_gpu())


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gpu_where_there_is_none_is_refused_with_the_devices_that_are_there(backend):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    if has_gpu():
        pytest.skip("this machine has a GPU")
    command = [sys.executable, "-c", ASKING, backend, "gpu"]
    said = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, encoding="utf-8", check=True
    ).stdout
    named = {"tensorflow": "CPU:0; this TensorFlow is built for processors only", "jax": "cpu:0", "torch": "cpu"}
    assert said.startswith("training.device is gpu; the devices that ")
    assert said.strip().endswith(f" finds here are: {named[backend]}")


@pytest.mark.parametrize("platforms", ["cuda", "nonsense"])
def test_platforms_that_jax_does_not_find_are_named_with_the_way_out(platforms):
    if not importlib.util.find_spec("jax"):
        pytest.skip("jax is not installed")
    if has_gpu():
        pytest.skip("this machine has a GPU")
    said = subprocess.run(
        [sys.executable, "-c", ASKING, "jax", "auto"],
        env={**os.environ, "JAX_PLATFORMS": platforms, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True, encoding="utf-8", check=True,
    ).stdout  # fmt: skip
    assert said.startswith(f"JAX_PLATFORMS is '{platforms}': JAX finds no such devices here")
    assert said.endswith("; unset JAX_PLATFORMS, or name one that is there: cpu\n")


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_tpu_is_refused_by_name_where_a_backend_has_none(backend):
    from elboflow.vae import compute

    with pytest.raises(RequestError, match=f"tpu is not possible with training.backend {backend}.*possible with: jax"):
        compute.use(backend, TrainingConfig(backend=backend, device="tpu"))


class TestTensorFlow:
    pytestmark = IN_TENSORFLOW

    def test_what_was_chosen_is_said_once_and_evaluation_says_nothing(self, caplog):
        from elboflow.vae import compute

        if has_gpu():
            pytest.skip("this machine has a GPU")
        with caplog.at_level("INFO", logger="elboflow.training"):
            compute.use("tensorflow", TrainingConfig())
            compute.use("tensorflow")
        assert caplog.messages == ["training on 1 × cpu (TensorFlow)"]

    def test_devices_that_a_process_cannot_make_any_more_are_refused(self):
        import tensorflow as tf

        from elboflow.vae import compute

        there = len(tf.config.list_logical_devices("CPU"))  # it computes from here on
        training = TrainingConfig(device="cpu", parallel=DataParallel(devices=64))
        with pytest.raises(RequestError, match=rf"on 64 CPU devices, .* computes on: {there} of them; start it in"):
            compute.use("tensorflow", training)
        compute.use("tensorflow", TrainingConfig(device="cpu"))  # what it has is enough for this


@pytest.mark.parametrize("limit", [None, 1024])
def test_memory_of_a_gpu_grows_up_to_the_limit(limit):
    if not has_gpu():
        pytest.skip("no GPU is here: how much of its memory is taken cannot be seen")
    program = f"""
from elboflow.vae import compute
from elboflow.vae.config import GPU, TrainingConfig
compute.use("tensorflow", TrainingConfig(device="gpu", gpu=GPU(memory_limit_megabytes={limit})))
import tensorflow as tf
first = tf.config.list_physical_devices("GPU")[0]
made = tf.config.get_logical_device_configuration(first)
assert (made[0].memory_limit if made else None) == {limit}
tf.zeros(2**20) + 1
assert tf.config.experimental.get_memory_info("GPU:0")["current"] < 2**26
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=True)
