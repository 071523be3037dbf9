"""The table of accelerators: that it adds up, and what is refused because it does not exist."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from elboflow.settings import RequestError
from pipelines.experiment import load
from pipelines.experiment.accelerators import Offer, built_into, catalogue, kinds
from pipelines.experiment.machines import MachineType
from tests.pipelines.compiled import TARGETS, images

OFFERS = [(name, offer) for name, kind in kinds().items() for offer in kind.offers]


@pytest.mark.parametrize(("name", "offer"), OFFERS)
def test_chips_hosts_and_topology_add_up(name: str, offer: Offer):
    assert offer.hosts * offer.chips_per_host == offer.chips
    of_kind = kinds()[name]
    assert (offer.topology is not None) == (of_kind.chip == "tpu")
    if offer.topology is not None:
        assert math.prod(map(int, offer.topology.split("x"))) == offer.chips
        assert [int(re.fullmatch(r".*-(\d+)t", machine)[1]) for machine in offer.machines] == [offer.chips_per_host]
    elif offer.machines and not of_kind.attached and not name.startswith("l4"):
        assert [int(re.fullmatch(r".*-(\d+)g", machine)[1]) for machine in offer.machines] == [offer.chips]


@pytest.mark.xdist_group("vertex")
def test_vertex_ai_knows_the_names():
    from google.cloud.aiplatform_v1.types import AcceleratorType

    known = {member.name for member in AcceleratorType}
    names = {kind.accelerator_type for kind in kinds().values() if kind.chip == "gpu" and kind.on_vertex}
    assert None not in names
    assert names <= known


def test_each_kind_and_chip_has_what_a_cluster_needs():
    assert {kind.chip for kind in kinds().values()} == set(catalogue().chips)
    assert len({kind.gke for kind in kinds().values()}) == len(kinds())


def test_a_table_that_does_not_add_up_is_not_read():
    with pytest.raises(ValidationError, match="has not 8 chips"):
        Offer(chips=8, topology="2x2", machines=("ct5lp-hightpu-8t",))
    with pytest.raises(ValidationError, match="not divided evenly"):
        Offer(chips=8, hosts=3, machines=("a2-highgpu-1g",))


def test_a_machine_tells_what_is_in_it():
    assert built_into("ct5lp-hightpu-4t") == "v5e"
    assert built_into("a3-ultragpu-8g") == "h200-141gb"
    assert built_into("n1-standard-8") is None  # it takes T4s, and does without


def refusal(*assignments: str) -> str:
    with pytest.raises(RequestError) as caught:
        load("digits", [f"targets.vertex={TARGETS['vertex']}", *assignments])
    return str(caught.value).partition(": ")[2]


@pytest.mark.parametrize(
    ("train", "told"),
    [
        (
            "{accelerator: {kind: v5e, count: 3}}",
            "accelerator.count: 3 is not allowed; there are 1 (1x1), 4 (2x2), 8 (2x4), 16 (4x4), 32 (4x8)",
        ),
        ("{accelerator: {kind: l4, count: 3}}", "accelerator.count: 3 is not allowed; there are 1, 2, 4, 8"),
        ("{accelerator: v5}", "accelerator.kind: unknown kind 'v5'; allowed: t4, l4"),
        (
            "{accelerator: {kind: l4, count: 1}, machine: ct5lp-hightpu-4t}",
            "machine: 'ct5lp-hightpu-4t' is no machine of this accelerator in this number; allowed: g2-standard-8",
        ),
        (
            "{accelerator: {kind: v5e, count: 4}, machine: a2-highgpu-1g}",
            "machine: 'a2-highgpu-1g' is no machine of this accelerator in this number; allowed: ct5lp-hightpu-4t",
        ),
        ("{machine: ct5lp-hightpu-4t}", "machine: 'ct5lp-hightpu-4t' comes with v5e, which this step is not given"),
        ("{accelerator: {kind: v5e, count: 8}, workers: 2}", "workers: 2 is not allowed; the number of TPU chips says"),
        ("{workers: 2}", "workers: 2 is not allowed without an accelerator: a GPU"),
        (
            "{accelerator: {kind: l4, count: 3}, workers: 2}",
            "accelerator.count: 3 is not allowed; must be a mul",
        ),
        ("{accelerator: v5e, reduction_server: {}}", "reduction_server: adds up the gradients of several machines"),
        ("{accelerator: l4, reduction_server: {}}", "reduction_server: adds up the gradients of several machines"),
        ("{accelerator: v5e, provisioning: flex_start}", "provisioning: 'flex_start' is a way to wait for GPUs"),
        (
            "{accelerator: t4, provisioning: flex_start}",
            "provisioning: 'flex_start' does not exist for 1 of t4; allowed: standard, spot",
        ),
        (
            "{accelerator: {kind: l4, count: 2}, workers: 2, provisioning: flex_start, reduction_server: {}}",
            "reduction_server: is on machines of another type; with `provisioning: flex_start` all are of one",
        ),
        ("{accelerator: v5p}", "accelerator.kind: 'v5p' does not exist on Vertex AI; allowed: t4, l4, "),
        ("{machine: foo-bar}", "machine: 'foo-bar' is not allowed; must be a machine type such as n2-standard-8"),
        ("{machine: N2-standard-8}", "machine: 'N2-standard-8' is not allowed; must be a machine type"),
        (
            "{accelerator: {kind: l4, count: 2}, workers: 2, reduction_server: {machine: big}}",
            "reduction_server.machine: 'big' is not allowed; must be a machine type",
        ),
        (
            "{accelerator: {kind: h100-80gb, count: 1}}",
            "provisioning: 'standard' does not exist for 1 of h100-80gb; allowed: spot, flex_start",
        ),
        ("{accelerator: l4, provisioning: [spot, flex_start]}", "provisioning: "),
        ("{accelerator: l4, max_wait_minutes: 5}", "max_wait_minutes: is only waited with `provisioning: flex_start`"),
        ("{machine: e2-standard-8, cpu: 4}", "cpu: is that of the machine type; leave out one of them"),
        ("{timeout_minutes: 5}", "timeout_minutes: needs a `machine` (or an accelerator)"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(train: str, told: str):
    assert f"targets.vertex.steps.train.{told}" in refusal(f"targets.vertex.steps.train={train}")


@pytest.mark.parametrize("step", ["preprocess", "train", "evaluate", "register"])
def test_no_machine_without_a_gpu_can_be_waited_for(step: str):
    told = refusal(f"targets.vertex.steps.{step}={{machine: n2-standard-8, provisioning: flex_start}}")
    assert f"targets.vertex.steps.{step}.provisioning: 'flex_start' is a way to wait for GPUs" in told


@pytest.mark.parametrize(
    "machine",
    ["e2-medium", "n2d-highmem-96", "m1-ultramem-40", "c3-standard-8-lssd", "c3-highmem-192-metal", "n4-highcpu-2"],
)
def test_a_machine_type_that_is_written_like_one_is_taken(machine: str):
    vertex = load("digits", [f"targets.vertex={TARGETS['vertex']}", f"targets.vertex.steps.evaluate.machine={machine}"])
    assert vertex.targets.vertex.steps["evaluate"].machine == machine


def test_every_machine_of_the_table_is_written_like_one():
    of_machine = TypeAdapter(MachineType)
    for _, offer in OFFERS:
        for machine in offer.machines:
            assert of_machine.validate_python(machine) == machine


@pytest.mark.parametrize("key", ["1st", "_team", "Team", "-"])
def test_a_label_s_key_begins_with_a_letter(key: str):
    told = refusal(f"targets.vertex.labels={{{key}: vae}}")
    assert f"targets.vertex.labels.{key}: '{key}' is not allowed; must begin with a lower-case letter" in told


def test_tpus_that_vertex_ai_has_not_are_to_be_had_on_a_cluster():
    settings = [f"targets.kubeflow={TARGETS['kubeflow']}", "targets.kubeflow.steps.train.accelerator=v5p"]
    assert load("digits", settings).targets.kubeflow.steps["train"].offer.chips == 4


def test_an_accelerator_without_an_image_for_it_is_refused():
    told = refusal("targets.vertex.image={cpu: a, cuda: b}", "targets.vertex.steps.train.accelerator=v6e")
    assert "targets.vertex.image.tpu: missing; train on v6e needs an image with its drivers" in told


def test_the_place_in_the_file_is_told(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndata: {source: sklearn}\ntargets:\n  kubeflow:\n    image: a\n    tracking_uri: https://m\n"
        "    train:\n      accelerator:\n        kind: v5e\n        count: 3\n",
        encoding="utf-8",
    )
    with pytest.raises(RequestError) as caught:
        load(str(path))
    assert str(caught.value).startswith(f"{path}:10: targets.kubeflow.steps.train.accelerator.count: 3 is not allowed")


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_that_no_tpu_can_evaluate_is_refused(target: str):
    settings = [
        f"targets.{target}={TARGETS[target]}",
        images(target),
        f"targets.{target}.steps.evaluate.accelerator=v5e",
    ]
    with pytest.raises(RequestError, match="only JAX runs, and the model is trained with tensorflow"):
        load("digits", settings)
    for remedy in ("training.backend=jax", f"targets.{target}.steps.train.accelerator=v5e"):
        assert getattr(load("digits", [*settings, remedy]).targets, target).steps["evaluate"].accelerator.kind == "v5e"


def test_an_evaluation_on_several_machines_is_refused():
    settings = ["training.backend=jax", "targets.vertex.steps.evaluate.accelerator={kind: v5e, count: 16}"]
    assert "evaluate.accelerator.count: 16 is not allowed: they are in 4 machines" in refusal(*settings)


@given(st.sampled_from(sorted(kinds())), st.integers(1, 300), st.sampled_from(["standard", "spot", "flex_start"]))
def test_any_count_of_any_kind_exists_or_is_refused_with_words(kind: str, count: int, provisioning: str):
    train = f"{{accelerator: {{kind: {kind}, count: {count}}}, provisioning: {provisioning}}}"
    try:
        experiment = load("digits", [f"targets.vertex={TARGETS['vertex']}", f"targets.vertex.steps.train={train}"])
    except RequestError as error:
        told = str(error)
        assert ("does not exist on Vertex AI" in told) == (not kinds()[kind].on_vertex)
        assert ("there are" in told) == (kinds()[kind].on_vertex and count not in kinds()[kind].counts)
        return
    offer = experiment.targets.vertex.steps["train"].offer
    assert offer.chips == count
    assert provisioning in offer.provisioning
